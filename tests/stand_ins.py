"""Files under the names that the tests of PyPI's nd2 open, with the axes, pixels and metadata that they compare.

The files of those tests are not published.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2
from nd2._core.chunks import experiment
from nd2._core.format import clx_lite
from nd2._core.format.clx_lite import I32, U32
from nd2.structures import (
    ROI,
    AnimParam,
    ExtrudedShape,
    InterpType,
    Position,
    RoiInfo,
    RoiShapeType,
    StagePosition,
    XYPoint,
    XYPosLoop,
    XYPosLoopParams,
)
from tests import builder, legacy_builder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LIMITS = {"T": 6, "P": 6, "Z": 6, "Y": 32, "X": 32}
"""Largest size of each axis; otherwise sizes are those of the tests' own files."""
WHOLE = ("jonas_header_test2.nd2",)
"""Files without limits: a test compares their shape."""
OPTIONS: dict[str, dict[str, Any]] = {
    "10ms_2xbin_100xmag": {"exposure": [10.0]},
    "Exp3_9.8.21_Mouse1_DiI_4x_2x2-Slide1-1_B12": {"exposure": [150.0, 100.0]},
    "dims_c2y32x32": {"voxel_size": (0.1625, 0.1625), "custom": {"Settings_V1_0": {"Gain": 2}}},
    "dims_p4z5t3c2y32x32": {"positions": [f"point name {i}" for i in range(1, 5)]},
    "dims_t3y32x32": {"times": [0.0, 107.97998, 215.959961]},
    "jonas_3": {"version": (2, 1), "start": -1.0},
    "jonas_control002": {"version": (2, 1)},
    "jonas_header_test2": {"version": (2, 1)},
}
"""Options of the writer, if only sizes are not enough."""
SAMPLES = {"cluster.nd2": "cluster_t3z10c2.nd2", "dims_rgb.nd2": "rgb_64.nd2"}
"""Samples that are the tests' own files."""
AXES = {"TimeLoop": "T", "NETimeLoop": "T", "XYPosLoop": "P", "ZStackLoop": "Z"}
NAMES = ("p1", "", "p3")
WELLS = ("A1", "A4", "B4", "C2")
# Values that the tests compare: a corner of some frames, a row of a mask, the sum of all masks.
RESCUED_CROP = [99, 98, 102, 100, 99, 96, 97, 98, 100, 99, 100, 100, 94, 99, 98, 98]
DROSOPHILA_CROP = [
    [57, 11, 51, 60, 92],
    [9, 19, 63, 80, 90],
    [17, 4, 47, 104, 62],
    [33, 28, 48, 36, 53],
    [67, 73, 86, 64, 69],
]
LOSSLESS_CROP = [
    [[151, 131, 130, 120], [124, 125, 131, 126], [123, 121, 121, 138], [119, 123, 141, 114]],
    [[133, 121, 128, 128], [136, 130, 141, 137], [115, 125, 115, 101], [132, 141, 131, 120]],
]
PADDED_CROP = [[203, 195, 193, 197], [203, 195, 195, 197], [205, 191, 192, 190], [204, 201, 196, 206]]
MASK_ROW = [0, 0, *[1] * 8, *[0] * 8, 2, 2, 2, 0, 0, 0, 3, *[0] * 7]
MASK_SUM = 172947
POLYGON = [
    (-0.05231780847932399, -0.10247210748706266),
    (0.09780325689597874, 0.04522765038218665),
    (0.030006646726487105, 0.11302426055167814),
    (-0.0959013435882828, -0.05646726487205058),
]


def write_files(folder: Path, samples: Path) -> list[Path]:
    """Write the files that the tests name, and copies of the samples if there are any; return all, sorted."""
    folder.mkdir(parents=True)
    known = json.loads((folder.parent / "samples_metadata.json").read_text())
    for path in sorted(samples.glob("*/*.nd2")):
        # The readers treat damaged files differently.
        if not path.name.startswith(("damaged", "nometa")):
            shutil.copy(path, folder)
    for name, facts in known.items():
        _write_known(folder / name, facts)
    for name, sample in SAMPLES.items():
        if (folder / sample).exists():
            (folder / sample).replace(folder / name)
    _write_cropped(folder)
    _write_series(folder)
    _write_jobs(folder)
    _write_layers(folder / "with_binary_and_rois.nd2")
    _write_regions(folder / "rois.nd2")
    (folder / "bf_shapes.json").write_text("{}")
    return sorted(folder.glob("*.nd2"))


def _write_known(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a file with the axes of one of the tests' own files."""
    attributes, loops = facts["attributes"], facts["experiment"]
    channels = attributes["channelCount"]
    steps = [(AXES[loop["type"]], loop["count"]) for loop in loops]
    sizes = {
        **dict(steps),
        "C": channels,
        "Y": attributes["heightPx"],
        "X": attributes["widthPx"],
        "S": attributes["componentCount"] // channels,
    }
    if path.name not in WHOLE:
        sizes = {name: min(size, LIMITS.get(name, size)) for name, size in sizes.items()}
    options: dict[str, Any] = {
        "loops": [(name, sizes[name]) for name, _ in steps],
        "channels": sizes["C"],
        "height": sizes["Y"],
        "width": sizes["X"],
    }
    if facts["ver"] == "legacy":
        legacy_builder.build(path, **options)
    elif sizes["C"] > 1 and sizes["S"] > 1:
        builder.build(path, samples=sizes["S"], dtype="u1", **options)
    else:
        _write(path, {name: size for name, size in sizes.items() if size > 1}, **OPTIONS.get(path.stem, {}))


def _pixels(sizes: Mapping[str, int]) -> NDArray[Any]:
    dtype = np.uint8 if "S" in sizes else np.uint16
    return np.random.default_rng(0).integers(0, 250, tuple(sizes.values())).astype(dtype)


def _write(path: Path, sizes: Mapping[str, int], pixels: NDArray[Any] | None = None, **options: Any) -> None:
    image = _pixels(sizes) if pixels is None else pixels
    with nd2.ND2Writer(path, sizes, image.dtype, overwrite=True, **options) as writer:
        frame = [i for i, name in enumerate(sizes) if name not in "CYXS"]
        for index in np.ndindex(*(image.shape[i] for i in frame)):
            writer.write_frame(index, image[index])


def _write_cropped(folder: Path) -> None:
    sizes = {"T": 3, "C": 2, "Y": 32, "X": 32}
    image = _pixels(sizes)
    image[:2, :2, 10:12, 10:12] = np.reshape(RESCUED_CROP, (2, 2, 2, 2))
    # The test takes bytes 287000 to 289000 away, which must not belong to frames.
    _write(folder / "dims_t3c2y32x32.nd2", sizes, image, custom={"Padding_V1_0": {"Text": "x" * 300_000}})
    sizes = {"Y": 512, "X": 512}
    image = _pixels(sizes)
    image[250:255, 250:255] = DROSOPHILA_CROP
    _write(folder / "1.2audrosophila.nd2", sizes, image)
    sizes = {"P": 2, "Y": 256, "X": 256}
    image = _pixels(sizes)
    image[:, 100:104, 100:104] = LOSSLESS_CROP
    columns = {"PFS Status": [5, 5]}
    _write(folder / "compressed_lossless.nd2", sizes, image, compression="zlib", columns=columns)
    sizes = {"T": 2, "Z": 3, "Y": 28, "X": 23}
    image = _pixels(sizes)
    image[0, 0, :4, :4] = PADDED_CROP
    _write(folder / "jonas_JJ1473_control_24h_JJ1473_control_24h_03.nd2", sizes, image, version=(2, 1))


def _write_series(folder: Path) -> None:
    x = ([0] * 5 + [1000] * 5 + [2000] * 5) * 3
    options: dict[str, Any] = {
        "positions": [Position(StagePosition(1000.0 * i, 1000.0 * i, 0), name=name) for i, name in enumerate(NAMES)],
        "z": [-1, -0.5, 0, 0.5, 1],
        "times": np.arange(3) * 1000.0,
        "columns": {"X Coord [µm]": np.array(x, float), "Y Coord [µm]": np.array(x, float), "PFS Status": [3] * 45},
    }
    for name in ("t3p3z5c3", "t3p3c3z5", "t1t1t1p3c3z5"):
        _write(folder / f"{name}.nd2", {"T": 3, "P": 3, "Z": 5, "C": 3, "Y": 16, "X": 16}, **options)


def _write_jobs(folder: Path) -> None:
    task = clx_lite.encode({"CLxJobTask_LoopTime": {"uiCount": U32(5)}})
    job = {"Job": {"Tasks": {"TimeLoop": {"wsKey": "k", "wsName": "Loop", "baData": task}}}}
    chunks = {
        b"CustomData|JobDefinitionV1_0!": clx_lite.encode(job),
        b"CustomData|JobDefinitionDescV1_0!": clx_lite.encode({"ProgramDesc": {"iJobDefType": I32(2)}}),
        b"CustomData|JobRunGUIDV1_0!": "{ab-12}".encode("utf-16-le") + b"\0\0\0\0",
    }
    options: dict[str, Any] = {"height": 32, "width": 32, "chunks": chunks}
    for number, well in enumerate(("A01", "A02", "B02", "B01")):
        name = f"JOBS_Platename_Well{well}_ChannelWidefield_Green_Seq{number:04}.nd2"
        builder.build(folder / name, loops=[("P", 5)], experiment=_positions([None] * 5), **options)
    path = folder / "wellplate96_4_wells_with_jobs.nd2"
    builder.build(path, loops=[("P", 4)], experiment=_positions(WELLS), **options)


def _positions(names: Sequence[str | None]) -> dict[str, Any]:
    points = [Position(StagePosition(9000.0 * i, 0, 0), name=name) for i, name in enumerate(names)]
    tree = experiment.encode([XYPosLoop(len(points), 0, XYPosLoopParams(False, points))])
    return dict((tree or {})["SLxExperiment"])


def _write_layers(path: Path) -> None:
    sizes = {"T": 3, "P": 4, "Z": 5, "C": 2, "Y": 32, "X": 32}
    masks = np.zeros((4, 60, 32, 32), np.uint16)
    masks[:, 4:] = 1
    masks[0, 2, 0] = MASK_ROW
    masks[3, 5].flat[:] = 2
    masks.reshape(-1)[_excess(masks, MASK_SUM)] = 0
    names = ["attached Widefield green (green color)", "second", "third", "fourth"]
    _write(path, sizes, labels=dict(zip(names, masks, strict=True)))
    # The test expects that the first layer has no mask of frame 3: its chunk gets a name that no layer has.
    path.write_bytes(path.read_bytes().replace(b"BinarySequence_1_v1|3!", b"BinarySequence_9_v1|3!"))


def _excess(masks: NDArray[Any], total: int) -> NDArray[np.intp]:
    """Return where to remove ones, so that the sum is `total`."""
    ones = np.flatnonzero(masks == 1)
    return ones[len(ones) - (int(masks.sum()) - total) :]


def _write_regions(path: Path) -> None:
    _write(path, {"Y": 100, "X": 100}, rois=list(_regions()))


def _regions() -> Iterable[ROI]:
    for number in range(1, 19):
        stimulation = number == 16
        info = RoiInfo(
            shapeType=RoiShapeType.Polygon if stimulation else RoiShapeType.Rectangle,
            interpType=InterpType.StimulationROI if stimulation else InterpType.StandardROI,
            label={1: "rect bgrd", 16: "S3:16 stim 3 poly"}.get(number, f"region {number}"),
        )
        shape = ExtrudedShape(0.0, [XYPoint(*point) for point in POLYGON]) if stimulation else ExtrudedShape()
        yield ROI(number, info, f"guid {number}", [AnimParam(extrudedShape=shape)])
