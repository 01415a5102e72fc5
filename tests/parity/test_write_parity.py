"""Files of the writer, read by nd2 0.12.0, by Nikon's SDK and by this package: pixels, loops, names, calibration.

Run as a script (``python -m tests.parity.test_write_parity``) it prints the table. The other readers live apart, see
``make oracle``; where they are absent the tests are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import nd2
from tests.samples import SAMPLES, each_sample, sample_names

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["DAPI", "GFP", "mCherry µ", "Cy5", "漢"]

OTHER_READER = """
import hashlib, json, sys
import numpy as np
import nd2
sha = lambda a: hashlib.sha1(np.ascontiguousarray(a)).hexdigest()
def say(file):
    first = file.frame_metadata(0).channels[0] if file.attributes.sequenceCount else None
    return {
        "version": nd2.__version__,
        "sizes": dict(file.sizes),
        "pixels": sha(file.asarray()),
        "dtype": file.dtype.name,
        "loops": [[loop.type, loop.count] for loop in file.experiment],
        "names": [c.channel.name for c in file.metadata.channels],
        "colors": [list(c.channel.color)[:3] for c in file.metadata.channels],
        "emission": [c.channel.emissionLambdaNm for c in file.metadata.channels],
        "voxel": list(file.voxel_size()),
        "time": first.time.relativeTimeMs,
        "text": file.text_info.get("description"),
    }
found = []
for path in sys.argv[1:]:
    try:
        with nd2.ND2File(path) as file:
            found.append(say(file))
    except Exception as error:
        found.append({"error": repr(error)})
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Kind:
    """A file to write: its axes, and what else it is to say."""

    sizes: dict[str, int]
    dtype: str = "u2"
    options: dict[str, Any] = field(default_factory=dict)
    missing: frozenset[int] = frozenset()

    @property
    def loops(self) -> dict[str, int]:
        return {name: size for name, size in self.sizes.items() if name in "TPZU"}

    @property
    def frames(self) -> np.ndarray[Any, Any]:
        """Pixels, shape (n, C, Y, X, S), color in the order that is stored."""
        rng = np.random.default_rng(3)
        count = int(np.prod(list(self.loops.values()), dtype=int))
        shape = [count, *(self.sizes.get(axis, 1) for axis in "CYXS")]
        frames = rng.integers(0, 250, shape).astype(self.dtype)
        if self.dtype == "f4":
            frames += rng.random(shape, np.float32)
        frames[list(self.missing)] = 0
        return frames

    def write(self, path: Path) -> None:
        channels = NAMES[: self.sizes.get("C", 1)]
        options = {"channels": channels, "voxel_size": (0.325, 0.325, 1.5), **self.options}
        with nd2.ND2Writer(path, self.sizes, self.dtype, samples="BGR", **options) as writer:
            for index, frame in enumerate(self.frames):
                if index not in self.missing:
                    writer.write_frame(index, frame, time=100.0 + 250.0 * index)


YX = {"Y": 20, "X": 32}
TPZ = {"T": 2, "P": 3, "Z": 4, "C": 2, "Y": 9, "X": 33}
XML = {"version": (2, 1)}
ZLIB = {"compression": "zlib"}
POINTS = {"positions": [(1.5, -2.5), (10.0, 20.0), (-30.0, 40.0)]}
TEXT: dict[str, Any] = {"text_info": {"description": "made for a test", "optics": "Plan Apo 20x"}}

KINDS = {
    "1 channel, 16 bit": Kind(YX),
    "1 channel, 8 bit": Kind(YX, "u1"),
    "1 channel, float": Kind(YX, "f4"),
    "12 of 16 bits": Kind(YX, options={"significant_bits": 12}),
    "9 of 16 bits": Kind(YX, options={"significant_bits": 9}),
    "1 of 8 bits": Kind(YX, "u1", {"significant_bits": 1}),
    "7 of 8 bits, width 31, zlib": Kind({"Y": 7, "X": 31}, "u1", {"significant_bits": 7, **ZLIB}),
    "exposure": Kind({"C": 3, **YX}, options={"exposure": [1.0, None, 300.0]}),
    "3 channels": Kind({"C": 3, **YX}),
    "5 channels": Kind({"C": 5, **YX}),
    "3 channels, 8 bit, width 33": Kind({"C": 3, "Y": 7, "X": 33}, "u1"),
    "5 channels, float, width 3": Kind({"C": 5, "Y": 7, "X": 3}, "f4"),
    "width 1, 8 bit": Kind({"Y": 7, "X": 1}, "u1"),
    "RGB": Kind({"S": 3, **YX}, "u1"),
    "RGB, width 31, T": Kind({"T": 3, "S": 3, "Y": 7, "X": 31}, "u1"),
    "RGB, 16 bit": Kind({"S": 3, **YX}),
    "zlib": Kind({"T": 4, **YX}, options=ZLIB),
    "zlib, RGB, width 33": Kind({"S": 3, "Y": 7, "X": 33}, "u1", ZLIB),
    "zlib, 3 channels, float": Kind({"C": 3, **YX}, "f4", ZLIB),
    "T": Kind({"T": 6, **YX}, options=TEXT),
    "T with period": Kind({"T": 6, **YX}, options={"times": np.arange(6) * 250.0}),
    "Z": Kind({"Z": 7, **YX}),
    "Z downwards": Kind({"Z": 5, **YX}, options={"z": [4.0, 2.0, 0.0, -2.0, -4.0]}),
    "Z from above 0": Kind({"Z": 5, **YX}, options={"z": [100.0, 100.5, 101.0, 101.5, 102.0]}),
    "P": Kind({"P": 3, **YX}, options=POINTS),
    "T P Z": Kind(TPZ, options=POINTS),
    "T P Z, zlib": Kind(TPZ, options={**POINTS, **ZLIB}),
    "P Z T": Kind({"P": 2, "Z": 3, "T": 4, **YX}),
    "T, missing": Kind({"T": 6, **YX}, missing=frozenset({0, 3})),
    "T, missing, zlib, width 33": Kind({"T": 6, "Y": 7, "X": 33}, "u1", ZLIB, missing=frozenset({2, 5})),
    "not calibrated": Kind(YX, options={"voxel_size": None}),
    "XML, T P Z": Kind(TPZ, options={**XML, **POINTS}),
    "XML, zlib": Kind({"C": 3, **YX}, options={**XML, **ZLIB}),
}


def sha(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha1(array.tobytes()).hexdigest()


def expected(kind: Kind) -> dict[str, Any]:
    """Values that every reader must return for a file."""
    frames = kind.frames
    loops = [[{"T": "TimeLoop", "P": "XYPosLoop", "Z": "ZStackLoop"}[name], size] for name, size in kind.loops.items()]
    array = frames.reshape(*kind.loops.values(), *frames.shape[1:]).squeeze()
    planes = np.moveaxis(frames, 1, 3).reshape(len(frames), *frames.shape[2:4], -1)
    calibrated = kind.options.get("voxel_size", ()) is not None
    grid = np.indices(tuple(kind.loops.values())).reshape(len(kind.loops), len(frames))
    index = dict(zip(kind.loops, grid, strict=True))
    stage = np.zeros((len(frames), 3))
    if "positions" in kind.options:
        stage[:, :2] = np.array(kind.options["positions"])[index["P"]]
    if "Z" in index:
        planes_z = kind.options.get("z", 1.5 * np.arange(-((kind.sizes["Z"] - 1) // 2), 99))
        stage[:, 2] = np.array(planes_z)[index["Z"]]
    return {
        "sizes": {name: size for name in "TPZUCYXS" if (size := kind.sizes.get(name, 1)) > 1},
        "pixels": sha(array),
        "frames": [sha(frame) for frame in planes],
        "loops": loops,
        "names": NAMES[: kind.sizes.get("C", 1)],
        "pixel": 0.325 if calibrated else 1.0,
        "stage": np.round(stage, 6).tolist(),
        "times": [100.0 + 250.0 * index for index in range(len(frames)) if index not in kind.missing],
    }


def read_with_ours(path: Path) -> dict[str, Any]:
    with nd2.ND2File(path) as file:
        channels = file.metadata.channels  # type: ignore[union-attr]
        count = file.attributes.sequenceCount
        frames: list[Any] = [file.frame_metadata(i).channels[0] for i in range(count)]  # type: ignore[union-attr]
        return {
            "sizes": dict(file.sizes),
            "pixels": sha(file.asarray()),
            "loops": [[loop.type, loop.count] for loop in file.experiment],
            "names": [channel.channel.name for channel in channels or []],
            "pixel": file.voxel_size().x,
            "stage": [np.round(frame.position.stagePositionUm, 6).tolist() for frame in frames],
            "times": [frame.time.relativeTimeMs for frame in frames],
        }


def read_with_nd2(*paths: Path) -> list[dict[str, Any]]:
    """Ask nd2 0.12.0 about files, in one process."""
    python = ROOT / ".venv-oracle" / "bin" / "python"
    command = [str(python), "-I", "-W", "ignore", "-c", OTHER_READER, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said: list[dict[str, Any]] = json.loads(done.stdout)
    return [one if "error" in one else {**one, "pixel": one["voxel"][0]} for one in said]


def read_with_sdk(path: Path) -> dict[str, Any]:
    libraries = ROOT / ".oracle-sdk" / "nd2.libs"
    done = subprocess.run(
        [sys.executable, SAMPLES.parent / "tools" / "sdk_dump.py", path],
        capture_output=True,
        text=True,
        env={**os.environ, "ND2SDK_LIBS": str(libraries)},
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    said: dict[str, Any] = json.loads(done.stdout)
    channels = said["metadata"]["channels"]
    frames = [frame["channels"][0] for frame in said["frame_metadata"]]
    return {
        **said,
        "frames": said["frame_sha1"],
        "loops": [list(pair) for pair in said["coord_info"]],
        "names": [channel["channel"]["name"] for channel in channels],
        "pixel": channels[0]["volume"]["axesCalibration"][0],
        "stage": [np.round(f["position"]["stagePositionUm"], 6).tolist() for f in frames],
        "times": [frame["time"]["relativeTimeMs"] for frame in frames],
    }


def differences(kind: Kind, said: dict[str, Any]) -> list[str]:
    """Return what a reader says otherwise; frames that are missing count for those that read zeros alone."""
    if "error" in said:
        return [said["error"]]
    wanted = expected(kind)
    found = [
        f"{key}: {said[key]} instead of {wanted[key]}"
        for key in ("sizes", "pixels", "loops", "names", "pixel", "stage")
        if key in said and said[key] != wanted[key]
    ]
    if "times" in said:
        times = [time for i, time in enumerate(said["times"]) if i not in kind.missing]
        if not np.allclose(times, wanted["times"], atol=1e-6):
            found.append(f"times: {times} instead of {wanted['times']}")
    if "frames" in said:
        for index, digest in enumerate(wanted["frames"]):
            if index not in kind.missing and said["frames"][index] != digest:
                found.append(f"frame {index} differs")
    return found


def has_nd2() -> bool:
    return (ROOT / ".venv-oracle" / "bin" / "python").exists()


def has_sdk() -> bool:
    return (ROOT / ".oracle-sdk" / "nd2.libs").is_dir() and SAMPLES.is_dir()


@pytest.mark.parametrize("name", KINDS)
def test_ours(name: str, tmp_path: Path) -> None:
    KINDS[name].write(tmp_path / "a.nd2")
    assert differences(KINDS[name], read_with_ours(tmp_path / "a.nd2")) == []


@pytest.fixture(scope="module")
def read_by_nd2(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Values of nd2 0.12.0 for each kind."""
    folder = tmp_path_factory.mktemp("kinds")
    paths = [folder / f"{number}.nd2" for number in range(len(KINDS))]
    for path, kind in zip(paths, KINDS.values(), strict=True):
        kind.write(path)
    return dict(zip(KINDS, read_with_nd2(*paths), strict=True))


@pytest.mark.skipif(not has_nd2(), reason="nd2 0.12.0 is not installed in .venv-oracle")
@pytest.mark.parametrize("name", KINDS)
def test_nd2(name: str, read_by_nd2: dict[str, dict[str, Any]]) -> None:
    if name == "T, missing, zlib, width 33":
        pytest.skip("nd2 0.12.0 cannot read a file with padded rows and missing frames")
    assert differences(KINDS[name], read_by_nd2[name]) == []


@pytest.mark.skipif(not has_sdk(), reason="Nikon's SDK is not in .oracle-sdk")
@pytest.mark.parametrize("name", KINDS)
def test_sdk(name: str, tmp_path: Path) -> None:
    KINDS[name].write(tmp_path / "a.nd2")
    assert differences(KINDS[name], read_with_sdk(tmp_path / "a.nd2")) == []


@pytest.mark.skipif(not has_sdk(), reason="Nikon's SDK is not in .oracle-sdk")
@each_sample(sample_names("real"))
def test_sdk_says_of_a_copied_dataset_what_it_says_of_the_sample(sample: Path, tmp_path: Path) -> None:
    with xr.open_dataset(sample, engine="nd2") as ds:
        nd2.imwrite(tmp_path / "copy.nd2", ds)
        place = [float(ds[key].values.flat[0]) for key in ("stage_x", "stage_y", "stage_z")]
    expected = json.loads((SAMPLES / "expected_sdk" / f"{sample.stem}.json").read_text())
    said = read_with_sdk(tmp_path / "copy.nd2")
    assert said["frame_sha1"] == expected["frame_sha1"]
    assert said["stage"][0] == pytest.approx(place)
    for key in ("bitsPerComponentSignificant", "bitsPerComponentInMemory", "componentCount"):
        assert said["attributes"][key] == expected["attributes"][key]
    channels = zip(said["metadata"]["channels"], expected["metadata"]["channels"], strict=True)
    for one, other in channels:
        assert one["channel"] == other["channel"]
        volume, optics = one["volume"], other["microscope"]
        assert volume["axesCalibration"][:2] == other["volume"]["axesCalibration"][:2]
        shared = one["microscope"].keys() & optics.keys()
        assert {key: one["microscope"][key] for key in shared} == {k: optics[k] for k in shared}
        assert optics.keys() <= one["microscope"].keys()


@pytest.mark.skipif(not has_sdk(), reason="Nikon's SDK is not in .oracle-sdk")
@pytest.mark.parametrize("part", [False, True], ids=["frame by frame", "as bytes"])
@each_sample(sample_names("real"))
def test_sdk_says_of_a_copy_what_it_says_of_the_sample(sample: Path, part: bool, tmp_path: Path) -> None:
    copy = tmp_path / "copy.nd2"
    with nd2.ND2File(sample) as file:
        if part:
            file.write_nd2(copy)
        else:
            with file.writer(copy) as writer:
                for index in range(writer.frame_count):
                    writer.write_frame(index, file.read_frame(index))
    expected = json.loads((SAMPLES / "expected_sdk" / f"{sample.stem}.json").read_text())
    said = read_with_sdk(copy)
    for key in expected.keys() - {"file"}:
        assert said[key] == expected[key], key


def main() -> None:
    """Print a row for each kind: equal, or what differs, for each reader."""
    readers = {"ours": read_with_ours, "nd2 0.12.0": lambda path: read_with_nd2(path)[0], "Nikon's SDK": read_with_sdk}
    out = sys.stdout.write
    out(f"{'file':30}" + "".join(f"{name:14}" for name in readers) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in KINDS.items():
            path = Path(folder) / f"{len(list(Path(folder).iterdir()))}.nd2"
            kind.write(path)
            found = [differences(kind, read(path)) for read in readers.values()]
            out(f"{name:30}" + "".join(f"{'differs' if one else 'equal':14}" for one in found) + "\n")
            for reader, one in zip(readers, found, strict=True):
                for line in one:
                    out(f"    {reader}: {line}\n")


if __name__ == "__main__":
    main()
