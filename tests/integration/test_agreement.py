"""One truth: every output of a file says the same about names, places, times, heights, calibration and start.

Each output is reduced to claims; the claims of the engine, opened position by position, are the measure. What a format
cannot say is in `CANNOT`: an output that says less than its formats can fails, as does one that says something else.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import ome_types
import pytest
import xarray as xr
from hypothesis import strategies as st

import nd2
from nd2._core.catalog import index_file
from nd2._core.chunks.recorded_data import STAGE
from nd2._core.open import open_reader
from nd2._core.structures import Metadata
from nd2._core.views.facts import Facts
from nd2._core.views.summary import summary
from tests.builder import build
from tests.optional_chunks import recorded
from tests.samples import each_sample
from xarray_nd2 import ND2Parser, open_references, to_kerchunk
from xarray_nd2.serve import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")

Claims = dict[Any, Any]
"""Facts of an output, by the name of the fact, or by name and position."""

GENERAL = {
    "channels": "names of the channels",
    "colors": "their colors",
    "exposure": "exposure of each channel in the first frame, milliseconds",
    "pixel": "size of a pixel, micrometers; None where the file is not calibrated",
    "z_step": "distance of planes, micrometers",
    "start": "instant of the first frame",
}
OF_POSITION = {
    "name": "name of a position",
    "place": "stage at its first frame, micrometers",
    "times": "times of its steps, milliseconds from the first frame of the file",
    "time_step": "mean of their distances, milliseconds",
    "source": "whether its times are recorded, nominal or mixed",
    "heights": "heights of its planes, micrometers",
    "elapsed": "time of each frame, milliseconds from the first frame of the file",
    "stage": "stage at each frame, micrometers",
}
VIRTUAL = {"times", "source", "heights", "elapsed", "stage", "place", "name", "exposure"}
CANNOT: dict[str, set[str]] = {
    # One scale for each axis; all else is in the attribute ome_xml, without what varies between frames.
    "virtual OME-Zarr": VIRTUAL,
    "served OME-Zarr": VIRTUAL,
    "attribute ome_xml": {*VIRTUAL, "time_step"},
    # DeltaT and PositionZ of each plane instead.
    "OME": {"times", "source", "heights"},
    "OME-TIFF": {"times", "source", "heights"},
    "OME-Zarr": {"times", "source", "heights", "start", "exposure"},
    "ImageJ": {"channels", "exposure", "start", *OF_POSITION} - {"time_step"},
    "nd2 info": {"times", "source", "heights", "elapsed", "stage"},
    "catalog": {*GENERAL, *OF_POSITION} - {"start"},
}
"""Facts that an output cannot state, by its name; an output that is not here states everything."""
ONE_AXIS = {"engine, all positions", "kerchunk 2", "kerchunk 3", "VirtualiZarr", "nd2 info"}
"""Outputs with one axis of time for all positions: it is that of the first one."""
ONE_TIME = {"OME", "OME-TIFF", "OME-Zarr", "nd2 info", "ImageJ"}
"""Outputs in which all loops over time are one axis."""
SAMPLED = {"OME-Zarr", "virtual OME-Zarr", "served OME-Zarr"}
"""Outputs in which samples of color are channels."""
REFUSING = {
    "engine, time='absolute'",
    *("kerchunk 2", "kerchunk 3", "kerchunk 2, positions", "kerchunk 3, positions"),
    *("VirtualiZarr", "virtual OME-Zarr", "served OME-Zarr"),
    *("copy of the frames", "copy of the dataset"),
}
"""Outputs that refuse some files with an error: those without a start, or whose frames are not Zarr chunks."""


def arrays(dataset: xr.Dataset, name: str, scale: float = 1.0) -> Any:
    """Return a coordinate of frames as T, Z; None where it is absent."""
    if name not in dataset.coords:
        return None
    variable = dataset.variables[name]
    variable = variable.isel({dim: 0 for dim in variable.dims if dim not in ("T", "Z")})
    variable = variable.transpose(*(dim for dim in "TZ" if dim in variable.dims))
    times = variable.dtype.kind == "M"
    values = instants(variable) if times else np.asarray(variable.values, float) * scale
    return values.reshape(variable.sizes.get("T", 1), variable.sizes.get("Z", 1))


def instants(variable: xr.Variable) -> Any:
    """Return instants as milliseconds since 1970."""
    values = np.atleast_1d(variable.values).astype("M8[ns]")
    return np.where(np.isnat(values), np.nan, values.astype(np.int64) / 1e6)


def milliseconds(variable: xr.Variable | None, scale: float = 1000.0) -> Any:
    """Return times in milliseconds, or None where they have no unit."""
    if variable is None:
        return None
    if variable.dtype.kind == "M":
        return instants(variable)
    if variable.attrs.get("units") != "s":
        return None
    return np.atleast_1d(variable.values).astype(float) * scale


def mean_step(values: Any) -> float | None:
    if values is None or len(values) < 2:
        return None
    step = float(values[-1] - values[0]) / (len(values) - 1)
    return step if math.isfinite(step) and step > 0 else None


@dataclass
class Origin:
    """Origin of times: the first frame of the file, in milliseconds on the clock of the output."""

    first: float = 0.0


def from_dataset(dataset: xr.Dataset, position: int, origin: Origin) -> Claims:
    """Return the claims of the coordinates of one position, or of a selection of one."""
    claims: Claims = {}
    sampled = "S" in dataset.dims
    claims["channels"] = [str(name) for name in np.atleast_1d(dataset.C.values)]
    if "channel_color" in dataset.coords and not sampled:
        colors = np.atleast_1d(dataset.channel_color.values)
        claims["colors"] = [str(color).lstrip("#") for color in colors]
    exposures = None
    if "channel_exposure" in dataset.coords:
        exposures = np.atleast_1d(dataset.channel_exposure.values).astype(float)
    frames = arrays(dataset, "exposure")
    if frames is not None and len(claims["channels"]) == 1 and (frames > 0).any():
        exposures = frames.reshape(-1)[:1]
    if exposures is not None:
        claims["exposure"] = exposures
    x, y = dataset.variables["X"], dataset.variables["Y"]
    if x.size > 1 and y.size > 1:
        steps = (float(np.diff(x.values)[0]), float(np.diff(y.values)[0]))
        claims["pixel"] = steps if "units" in x.attrs else None
    heights = np.atleast_1d(dataset.Z.values).astype(float) if "Z" in dataset.coords else None
    if heights is not None and len(heights) > 1:
        claims["heights", position] = heights
        claims["z_step"] = abs(float(heights[1] - heights[0])) or None
    date = dataset.attrs.get("acquisition_date")
    if date is not None:
        claims["start"] = date
    if "position_name" in dataset.coords:
        claims["name", position] = str(np.atleast_1d(dataset.position_name.values)[0])
    times = milliseconds(dataset.variables.get("T"))
    if times is not None and len(times) > 1:
        claims["times", position] = times - origin.first
        claims["time_step", position] = mean_step(times)
        claims["source", position] = dataset.variables["T"].attrs["source"]
    elapsed = arrays(dataset, "time", 1000.0)
    if elapsed is not None and np.isfinite(elapsed).any():
        claims["elapsed", position] = elapsed - origin.first
    stage = [arrays(dataset, f"stage_{axis}") for axis in "xyz"]
    if all(axis is not None for axis in stage):
        claims["stage", position] = np.stack(stage)
        claims["place", position] = np.stack(stage)[:, 0, 0]
    return claims


def first_time(dataset: xr.Dataset, scale: float = 1000.0) -> Origin:
    """Return the origin of a dataset whose first item is the first frame."""
    values = dataset.variables.get("time", dataset.variables.get("T"))
    if values is None:
        return Origin()
    value = values.values.reshape(-1)[0]
    if values.dtype.kind == "M":
        first = float(instants(values).reshape(-1)[0])
        if math.isnan(first):  # not recorded: times are counted from the start
            first = float(np.datetime64(dataset.attrs["acquisition_date"].rstrip("Z"), "ms").astype(int))
        return Origin(first)
    return Origin(float(value) * scale) if math.isfinite(float(value)) else Origin()


def coordinates(dataset: xr.Dataset) -> xr.Dataset:
    """Return a dataset without its pixels, with coordinates in memory."""
    return dataset.drop_vars(list(dataset.data_vars)).load()


@lru_cache(maxsize=4)
def positions(path: Path) -> int:
    with nd2.ND2File(path) as file:
        return dict(file._reader.layout.loops).get("P", 1)


def of_positions(path: Path, open_position: Callable[[int], xr.Dataset]) -> Claims:
    claims: Claims = {}
    origin: Origin | None = None
    for index in range(positions(path)):
        dataset = coordinates(open_position(index))
        origin = origin or first_time(dataset)
        claims |= from_dataset(dataset, index, origin)
    return claims


def engine(path: Path, **options: Any) -> Claims:
    return of_positions(path, lambda index: xr.open_dataset(path, engine="nd2", position=index, **options))


def whole(path: Path, dataset: xr.Dataset) -> Claims:
    """Return the claims of a dataset of all positions."""
    claims: Claims = {}
    dataset = coordinates(dataset)
    origin = first_time(dataset)
    for index in range(positions(path)):
        part = dataset.isel(P=index) if "P" in dataset.dims else dataset
        claims |= from_dataset(part, index, origin)
    return {key: value for key, value in claims.items() if not _later_times(key)}


def _later_times(key: Any) -> bool:
    return key[0] in ("times", "time_step", "source") and key[1] > 0


def datatree(path: Path, folder: Path) -> Claims:
    tree = xr.open_datatree(path, engine="nd2")
    claims = of_positions(path, lambda index: tree[f"P{index}"].to_dataset())
    start = tree.attrs.get("acquisition_date")
    return claims if start is None else {**claims, "start": start}


def kerchunk(zarr_format: Any) -> Callable[[Path, Path], Claims]:
    def claims(path: Path, folder: Path) -> Claims:
        references = to_kerchunk(path, zarr_format=zarr_format)
        return whole(path, open_references(references))

    return claims


def kerchunk_positions(zarr_format: Any) -> Callable[[Path, Path], Claims]:
    def claims(path: Path, folder: Path) -> Claims:
        references = to_kerchunk(path, zarr_format=zarr_format, layout="positions")
        if positions(path) == 1:
            return whole(path, open_references(references))
        return of_positions(path, lambda index: open_references(references, group=f"P{index}"))

    return claims


def virtualizarr(path: Path, folder: Path) -> Claims:
    registry = pytest.importorskip("obspec_utils.registry").ObjectStoreRegistry
    store = pytest.importorskip("obstore.store").LocalStore()
    parsed: Any = ND2Parser()(path.resolve().as_uri(), registry({"file://": store}))
    return whole(path, xr.open_zarr(parsed, consolidated=False, zarr_format=3))


def from_ome_zarr(attributes: Mapping[str, Any], index: int) -> Claims:
    """Return the claims of the attributes of one OME-Zarr image."""
    claims: Claims = {}
    ome = attributes["ome"]
    [image] = ome["multiscales"]
    scale = image["datasets"][0]["coordinateTransformations"][0]["scale"]
    axes = {axis["name"]: (axis, step) for axis, step in zip(image["axes"], scale, strict=True)}
    shown = ome.get("omero", {}).get("channels", ())
    if shown:
        claims["channels"] = [channel["label"] for channel in shown]
        claims["colors"] = [channel["color"] for channel in shown]
    (x, x_step), (y, y_step) = axes["x"], axes["y"]
    assert ("unit" in x) == ("unit" in y)
    if "unit" in x:
        assert x["unit"] == y["unit"] == "micrometer"
    else:
        assert x_step == y_step == 1.0
    claims["pixel"] = (x_step, y_step) if "unit" in x else None
    if "z" in axes:
        claims["z_step"] = axes["z"][1] if "unit" in axes["z"][0] else None
    if "t" in axes and "unit" in axes["t"][0]:
        assert axes["t"][0]["unit"] == "millisecond"
        claims["time_step", index] = axes["t"][1]
    return claims


def virtual_ome_zarr(path: Path, folder: Path) -> Claims:
    references = to_kerchunk(path, zarr_format=3, layout="ome-zarr")["refs"]
    return from_documents(path, lambda name: json.loads(references[f"{name}zarr.json"]))


def served(path: Path, folder: Path) -> Claims:
    from urllib.request import urlopen

    with serve(path) as endpoint:
        url = endpoint.url.rstrip("/")

        def document(name: str) -> Any:
            with urlopen(f"{url}/{name}zarr.json") as answer:
                return json.loads(answer.read())

        return from_documents(path, document)


def from_documents(path: Path, document: Callable[[str], Any]) -> Claims:
    """Return the claims of OME-Zarr over references: those of the images, and of the root's attributes."""
    claims: Claims = {}
    count = positions(path)
    root = document("")["attributes"]
    for index in range(count):
        attributes = root if "multiscales" in root["ome"] else document(f"{index}/")["attributes"]
        claims |= from_ome_zarr(attributes, index)
    # Facts that OME-Zarr cannot express are in the attributes of the engine.
    return {**from_ome(parse_ome(root["ome_xml"])), **claims}


def ome_zarr(path: Path, folder: Path) -> Claims:
    dest = folder / "agreement.zarr"
    with nd2.ND2File(path) as file:
        file.write_ome_zarr(dest, force_series=True, include_all_metadata=False, overwrite=True)
    claims: Claims = {}
    first = 0.0
    for index in range(positions(path)):
        attributes = json.loads((dest / str(index) / "zarr.json").read_text())["attributes"]
        claims |= from_ome_zarr(attributes, index)
        values = attributes["nd2"]
        if values["position_name"]:
            claims["name", index] = values["position_name"]
        tables = {**values.get("nominal", {}), **values.get("recorded", {})}
        if "time_ms" in tables:
            times = np.array(tables["time_ms"], float)
            if index == 0 and math.isfinite(times[0, 0]):
                first = times[0, 0]
            claims["elapsed", index] = times - first
        stage = [tables.get(f"stage_{axis}_um") for axis in "xyz"]
        if all(axis is not None for axis in stage):
            claims["stage", index] = np.array(stage, float)
            claims["place", index] = np.array(stage, float)[:, 0, 0]
    return claims


@lru_cache(maxsize=4)
def parse_ome(xml: str) -> ome_types.OME:
    return ome_types.from_xml(xml)


def from_ome(document: ome_types.OME) -> Claims:
    claims: Claims = {}
    for index, image in enumerate(document.images):
        pixels = image.pixels
        claims["channels"] = [channel.name for channel in pixels.channels]
        if pixels.channels[0].samples_per_pixel == 1:
            colors = [channel.color.as_rgb_tuple()[:3] for channel in pixels.channels]
            claims["colors"] = ["{:02X}{:02X}{:02X}".format(*color) for color in colors]
        size = (pixels.physical_size_x, pixels.physical_size_y)
        claims["pixel"] = None if size == (None, None) else size
        if pixels.size_z > 1:
            claims["z_step"] = pixels.physical_size_z
        if image.acquisition_date is not None:
            claims["start"] = image.acquisition_date.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        if pixels.time_increment is not None:
            assert pixels.time_increment_unit.value == "s"  # bioio takes the step for seconds
            claims["time_step", index] = pixels.time_increment * 1000
        label = image.stage_label
        if label is not None:
            if label.name != f"Position {index}":
                claims["name", index] = label.name
            claims["place", index] = np.array([label.x, label.y, label.z], float)
        if not pixels.planes:
            continue
        shape = (pixels.size_t, pixels.size_z)
        elapsed, stage = np.full(shape, np.nan), np.full((3, *shape), np.nan)
        exposures = np.full(len(pixels.channels), np.nan)
        for plane in pixels.planes:
            if plane.the_c == 0:
                where = plane.the_t, plane.the_z
                elapsed[where] = math.nan if plane.delta_t is None else plane.delta_t
                values = (plane.position_x, plane.position_y, plane.position_z)
                stage[:, *where] = [math.nan if value is None else value for value in values]
            if index == plane.the_t == plane.the_z == 0 and plane.exposure_time is not None:
                exposures[plane.the_c] = plane.exposure_time
        if np.isfinite(exposures).any():
            claims["exposure"] = exposures
        if np.isfinite(elapsed).any():
            claims["elapsed", index] = elapsed
        if np.isfinite(stage).any():
            claims["stage", index] = stage
            claims.setdefault(("place", index), stage[:, 0, 0])
    return claims


def ome(path: Path, folder: Path) -> Claims:
    with nd2.ND2File(path) as file:
        return from_ome(file.ome_metadata(include_unstructured=False))


def ome_attribute(path: Path, folder: Path) -> Claims:
    return from_ome(parse_ome(xr.open_dataset(path, engine="nd2").attrs["ome_xml"]))


def ome_tiff(path: Path, folder: Path) -> Claims:
    import tifffile

    dest = folder / "agreement.ome.tif"
    with nd2.ND2File(path) as file:
        file.write_tiff(dest, include_unstructured_metadata=False)
    with tifffile.TiffFile(dest) as tif:
        assert tif.ome_metadata is not None
        claims = from_ome(parse_ome(tif.ome_metadata))
        tags = tif.pages.first.tags
        assert ("XResolution" in tags and tags["ResolutionUnit"].value != 1) == (claims["pixel"] is not None)
    return claims


def imagej(path: Path, folder: Path) -> Claims:
    import tifffile

    dest = folder / "agreement.tif"
    with nd2.ND2File(path) as file:
        file.write_tiff(dest)
    with tifffile.TiffFile(dest) as tif:
        said = tif.imagej_metadata
        if said is None:
            raise Impossible
        claims: Claims = {"pixel": None}
        if "unit" in said:
            tags = tif.pages.first.tags
            x, y = (tags[f"{axis}Resolution"].value for axis in "XY")
            claims["pixel"] = (x[1] / x[0], y[1] / y[0])
        if "spacing" in said:
            claims["z_step"] = said["spacing"]
        if "finterval" in said:
            claims["time_step", 0] = said["finterval"] * 1000
        if "LUTs" in said:
            luts = np.reshape(said["LUTs"], (-1, 3, 256))[..., -1]
            claims["colors"] = ["{:02X}{:02X}{:02X}".format(*color) for color in luts]
    return claims


def info(path: Path, folder: Path) -> Claims:
    with open_reader(path) as reader:
        said = json.loads(json.dumps(summary(reader, Facts(reader))))
    claims: Claims = {"pixel": None}
    claims["channels"] = [channel["name"] for channel in said["channels"]]
    if "S" not in said["sizes"]:
        claims["colors"] = [channel["color"].lstrip("#") for channel in said["channels"]]
    exposures = np.array([c.get("exposure_ms", math.nan) for c in said["channels"]], float)
    if np.isfinite(exposures).any():
        claims["exposure"] = exposures
    if "voxel_um" in said:
        claims["pixel"] = tuple(said["voxel_um"][:2])
    if "Z" in said["sizes"]:
        claims["z_step"] = said.get("z_step_um")
    if "start" in said:
        claims["start"] = said["start"]
    if "time_step_ms" in said:
        claims["time_step", 0] = said["time_step_ms"]
    for index, position in enumerate(said.get("positions", ())):
        if "name" in position:
            claims["name", index] = position["name"]
        claims["place", index] = np.array(position["stage_um"], float)
    return claims


def catalog(path: Path, folder: Path) -> Claims:
    acquired = index_file(path)["acquired"]
    return {"start": acquired} if acquired else {}


def frames_copy(path: Path, folder: Path) -> Claims:
    copy = folder / "frames.nd2"
    with nd2.ND2File(path) as file:
        file.write_nd2(copy)
    return engine(copy)


def dataset_copy(path: Path, folder: Path) -> Claims:
    copy = folder / "dataset.nd2"
    nd2.imwrite(copy, xr.open_dataset(path, engine="nd2", squeeze=False))
    return engine(copy)


def writer_copy(path: Path, folder: Path) -> Claims:
    """Copy frame by frame, with all else from the file."""
    copy = folder / "writer.nd2"
    with nd2.ND2File(path) as file, file.writer(copy) as writer:
        for index in present(file):
            writer.write_frame(index, file.read_frame(index))
    return engine(copy)


def values_copy(path: Path, folder: Path) -> Claims:
    """Copy frame by frame, with plain values of what the file says."""
    copy = folder / "values.nd2"
    with nd2.ND2File(path) as file:
        facts, layout = Facts(file._reader), file._reader.layout
        metadata = file.metadata
        assert isinstance(metadata, Metadata)
        if file.dtype not in ("u1", "u2", "f4") or not metadata.channels:
            raise Impossible
        options: dict[str, Any] = {
            "channels": metadata.channels,
            "exposure": [channel.capture.exposure_ms for channel in facts.channels],
            "voxel_size": facts.pixel_size,
            "start": facts.start,
            "samples": "BGR",
        }
        x, y, z = (series.values for series in facts.stage.values())
        home = 0.0
        for loop in file.experiment:
            if loop.type == "XYPosLoop":
                options["positions"] = loop.parameters.points
            elif loop.type == "ZStackLoop":
                options["z"] = facts.heights("Z", loop.count)
                home = float(options["z"][0])
            elif loop.type == "TimeLoop":
                options["period"] = loop.parameters.periodDiff.avg or loop.parameters.periodMs
        moves = facts.stage["x"].source == "recorded"
        if moves:
            options["columns"] = dict(zip(STAGE, (x, y, z), strict=True))
        else:
            options["stage"] = (x[0], y[0], z[0] - home)
        options["times"] = facts.times(np.arange(layout.frame_count))
        with nd2.ND2Writer(copy, layout.all_sizes, file.dtype, **options) as writer:
            for index in present(file):
                writer.write_frame(index, file.read_frame(index))
    return engine(copy)


def present(file: nd2.ND2File) -> list[int]:
    """Return the frames that a file holds."""
    reader = file._reader
    there = reader.frames.table.present(reader.layout.frame_count)
    return [int(index) for index in np.flatnonzero(there)]


class Impossible(Exception):
    """An output that cannot hold the file, and says so."""


OUTPUTS: dict[str, Callable[[Path, Path], Claims]] = {
    "engine, all positions": lambda path, _: whole(path, xr.open_dataset(path, engine="nd2")),
    "engine, squeeze=False": lambda path, _: engine(path, squeeze=False),
    "engine, time='absolute'": lambda path, _: engine(path, time="absolute"),
    "datatree": datatree,
    "kerchunk 2": kerchunk(2),
    "kerchunk 3": kerchunk(3),
    "kerchunk 2, positions": kerchunk_positions(2),
    "kerchunk 3, positions": kerchunk_positions(3),
    "VirtualiZarr": virtualizarr,
    "virtual OME-Zarr": virtual_ome_zarr,
    "served OME-Zarr": served,
    "OME-Zarr": ome_zarr,
    "OME": ome,
    "OME-TIFF": ome_tiff,
    "attribute ome_xml": ome_attribute,
    "ImageJ": imagej,
    "nd2 info": info,
    "catalog": catalog,
    "copy of the frames": frames_copy,
    "copy by ND2File.writer": writer_copy,
    "copy by ND2Writer": values_copy,
    "copy of the dataset": dataset_copy,
}


def same(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    if isinstance(left, str | list):
        return bool(left == right or (isinstance(left, str) and left[:19].replace("T", " ") == right))  # to the second
    left, right = np.asarray(left, float), np.asarray(right, float)
    if left.shape != right.shape:
        return False
    return bool(np.allclose(left, right, rtol=1e-5, atol=2e-3, equal_nan=True))


def disagreements(path: Path, folder: Path) -> Iterator[str]:
    """Return facts that outputs state differently from the engine, or omit although they could state them."""
    truth = engine(path)
    with nd2.ND2File(path) as file:
        layout = file._reader.layout
    nested = any(name not in ("T", "P", "Z") for name, _ in layout.loops)
    for name, output in OUTPUTS.items():
        try:
            claims = output(path, folder)
        except Impossible:
            continue
        except (ValueError, NotImplementedError) as error:
            if name not in REFUSING:
                yield f"{name}: {type(error).__name__}: {error}"
            continue
        silent = set(CANNOT.get(name, ()))
        if nested and name in ONE_TIME:
            silent |= {"elapsed", "stage", "times", "time_step", "source"}
        if layout.samples > 1 and name in SAMPLED:
            silent |= {"channels"}
        if layout.channels == 1 and name == "ImageJ":
            silent |= {"colors"}  # gray
        if truth.get("pixel") is None and name == "ImageJ":
            silent |= {"z_step"}  # one unit for all axes, which is that of the pixels
        for key in truth | {key: None for key in claims if key[0] == "time_step"}:
            fact = key if isinstance(key, str) else key[0]
            if fact in silent or (name in ONE_AXIS and _later_times(key)):
                continue
            if fact == "name" and not truth[key] and key not in claims:
                continue  # a position without a name
            if name == "nd2 info" and fact == "place" and positions(path) == 1:
                continue
            if name == "copy of the dataset" and _later_times(key) and truth.get(("source", key[1])) != "recorded":
                continue  # a dataset has one T: it does not hold the planned step of other positions
            said, expected = claims.get(key), truth.get(key)
            if fact == "time_step" and expected is None and ("times", key[1]) in truth:
                continue  # a clock that stood still or jumped back: scales are above zero, as planned
            if fact == "channels" and said is not None and len(set(said)) < len(said):
                # The engine makes repeated names unique.
                expected = [re.sub(r" \(\d+\)$", "", label) for label in expected or ()]
            if not same(expected, said):
                yield f"{name}: {key}: {said}, but the engine says {expected}"


@each_sample()
def test_all_outputs_of_a_sample_agree(sample: Path, tmp_path: Path) -> None:
    assert list(disagreements(sample, tmp_path)) == []


@st.composite
def files(draw: st.DrawFn) -> dict[str, Any]:
    """Options of files with any loops, with and without what may not have been recorded."""
    letters = draw(st.permutations("TPZ"))[: draw(st.integers(0, 3))]
    loops = [(letter, draw(st.integers(1, 3))) for letter in letters]
    count = math.prod(size for _, size in loops)
    times = draw(
        st.one_of(
            st.just([]),
            st.lists(st.integers(0, 10**7), min_size=count, max_size=count, unique=True).map(
                lambda steps: [step / 8 for step in sorted(steps)]
            ),
            # Clocks that jump back or stand still, and times that were not recorded.
            st.lists(
                st.one_of(st.integers(0, 10**4).map(lambda step: step / 8), st.just(math.nan)),
                min_size=count,
                max_size=count,
            ),
            st.integers(0, count).map(lambda n: [150.0 + 1250.5 * i for i in range(n)]),
        )
    )
    channels = draw(st.integers(1, 3))
    options: dict[str, Any] = {
        "loops": loops,
        "times": times,
        "channels": channels,
        "channel_names": draw(st.lists(st.sampled_from(["A", "B", "A", ""]), min_size=channels, max_size=channels)),
        "samples": draw(st.sampled_from([1, 1, 3])) if channels == 1 else 1,
        "dtype": draw(st.sampled_from(["<u2", "u1"])),
        "zlib": draw(st.booleans()),
        "calibration": draw(st.sampled_from([0.325, 0.0])),
        "julian_day": draw(st.sampled_from([2459486.0, 2459486.0, 2440000.5, 0.0])),
        "version": draw(st.sampled_from([(3, 0), (2, 1)])),
        "missing": frozenset({count - 1}) if count > 1 and draw(st.booleans()) else frozenset(),
    }
    drift = draw(st.sampled_from([None, 0.0, 1.5]))
    if drift is not None:
        columns = {
            name: (f"{name} Coord", "µm", [drift * (i + 1 + 10 * axis) for i in range(count)])
            for axis, name in enumerate("XYZ")
        }
        options["chunks"] = recorded(columns)
    return options


@hypothesis.given(files())
@hypothesis.settings(
    max_examples=15,
    deadline=None,
    # An example takes a second: shrinking one would take minutes.
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_all_outputs_of_any_file_agree(tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("agreement")
    path = folder / "a.nd2"
    build(path, **options)
    assert list(disagreements(path, folder)) == []


@pytest.mark.parametrize(
    ("loops", "times"),
    [
        ([("T", 3), ("P", 2)], [103.375, 487.75, math.nan, math.nan, 79.0, 52.875]),
        ([("P", 2), ("T", 3)], [math.nan, 656.75, 111.75, math.nan, 308.125, math.nan]),
        ([("T", 4)], [500.0, 656.0, 111.0, math.nan]),
    ],
)
def test_all_outputs_agree_on_clocks_that_run_backward(
    tmp_path: Path, loops: list[tuple[str, int]], times: list[float]
) -> None:
    build(tmp_path / "a.nd2", loops=loops, times=times)
    assert list(disagreements(tmp_path / "a.nd2", tmp_path)) == []
