"""Legacy files that the tests write, as the public package nd2 0.12.0 reads them and as this one does.

nd2 runs in an environment of its own, ``.venv-oracle`` (``make oracle``). No real legacy file was available, so this
shows that the two agree about the format, not that either is right. Intended differences are in the last tests, and in
docs/format/legacy.md.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nd2
from nd2._core.readers.legacy import LegacyReader
from tests.legacy_builder import build

pytest.importorskip("imagecodecs")

ORACLE = Path(__file__).resolve().parents[2] / ".venv-oracle" / "bin" / "python"
if not ORACLE.exists():
    pytest.skip("nd2 0.12.0 is not installed in .venv-oracle (make oracle)", allow_module_level=True)

KINDS: dict[str, dict[str, Any]] = {
    "one frame": {},
    "8 bit": {"bits": 8},
    "12 bit": {"bits": 12},
    "three channels": {"channels": 3},
    "color": {"samples": 3, "bits": 8},
    "color, 16 bit, T": {"samples": 3, "loops": [("T", 3)]},
    "T": {"loops": [("T", 4)], "channels": 3},
    "P": {"loops": [("P", 3)], "bits": 8},
    "T P Z": {"loops": [("T", 2), ("P", 3), ("Z", 4)], "channels": 3, "bits": 8},
    "Z T": {"loops": [("Z", 3), ("T", 2)]},
    "siblings": {"loops": [("T", 2), ("P", 2)], "siblings": True},
    "more frames than loops": {"loops": [("T", 3)], "extra": 2},
}

SAY = """
import dataclasses, hashlib, json, sys, warnings
import numpy as np
import nd2
warnings.simplefilter("ignore")
{functions}
files = {{}}
for path in sys.argv[1:]:
    with nd2.ND2File(path) as file:
        files[path] = say(file, file.frame_metadata(0))
print(json.dumps(files))
"""


def plain(value: Any) -> Any:
    """Turn structures into what JSON holds."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def say(file: Any, frame_metadata: Any) -> dict[str, Any]:
    """Metadata of a file."""

    def digest(array: Any) -> list[Any]:
        data = np.ascontiguousarray(array)
        return [list(data.shape), data.dtype.str, hashlib.sha1(data.tobytes()).hexdigest()]

    labels = file.to_xarray().coords
    return {
        "version": plain(file.version),
        "is_legacy": file.is_legacy,
        "is_rgb": file.is_rgb,
        "sizes": plain(dict(file.sizes)),
        "dtype": file.dtype.name,
        "attributes": plain(file.attributes),
        "experiment": plain(file.experiment),
        "loop_indices": plain(file.loop_indices),
        "text_info": plain(file.text_info),
        "voxel_size": plain(file.voxel_size()),
        "metadata": plain(file.metadata),
        "frame_metadata": plain(frame_metadata),
        "asarray": digest(file.asarray()),
        "frames": [digest(file.read_frame(i)) for i in range(file.attributes.sequenceCount)],
        "labels": {str(k): v.values.tolist() for k, v in sorted(labels.items())},
    }


def agreed(said: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs on purpose, so that all else must be equal."""
    said = copy.deepcopy(said)
    if said["attributes"]["bitsPerComponentSignificant"] == 12:
        said.pop("dtype")
        for key in ("bitsPerComponentInMemory", "widthBytes"):
            said["attributes"].pop(key)
        for channel in said["metadata"]["channels"]:
            channel["volume"].pop("bitsPerComponentInMemory")
    for loop in said["experiment"]:
        if loop["type"] == "ZStackLoop":
            loop["parameters"].pop("homeIndex")
            loop["parameters"].pop("deviceName")
    for channel in said["metadata"]["channels"]:
        volume = channel["volume"]
        volume["axesCalibration"].pop()
        volume["axesCalibrated"].pop()
    return said


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every kind of file, and what nd2 0.12.0 says of it (one process for all)."""
    import inspect

    folder = tmp_path_factory.mktemp("legacy")
    paths = {kind: folder / f"{i}.nd2" for i, kind in enumerate(KINDS)}
    for kind, path in paths.items():
        build(path, **KINDS[kind])
    functions = "\n".join(inspect.getsource(f).replace("Any", "object") for f in (plain, say))
    done = subprocess.run(
        [str(ORACLE), "-I", "-c", SAY.format(functions=functions), *map(str, paths.values())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    return {kind: {"path": path, "says": said[str(path)]} for kind, path in paths.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_both_say_the_same(kind: str, theirs: dict[str, dict[str, Any]]) -> None:
    with nd2.ND2File(theirs[kind]["path"]) as file:
        reader = file._reader
        assert isinstance(reader, LegacyReader)
        ours = json.loads(json.dumps(say(file, reader.frame_metadata(0))))
    assert agreed(ours) == agreed(theirs[kind]["says"])


def test_12_bits_take_16_in_memory(theirs: dict[str, dict[str, Any]]) -> None:
    said = theirs["12 bit"]
    assert said["says"]["attributes"]["bitsPerComponentInMemory"] == 12
    assert said["says"]["dtype"] == "uint8"  # of an array that nd2 itself returns as uint16
    assert said["says"]["asarray"][1] == "<u2"
    with nd2.ND2File(said["path"]) as file:
        assert file.attributes.bitsPerComponentInMemory == 16
        assert file.dtype == np.uint16


def test_home_plane_is_an_index(theirs: dict[str, dict[str, Any]]) -> None:
    said = theirs["T P Z"]
    stack = said["says"]["experiment"][2]["parameters"]
    assert (stack["homeIndex"], stack["deviceName"]) == (0, None)  # the position of the home plane
    with nd2.ND2File(said["path"]) as file:
        loop = file.experiment[2]
    assert isinstance(loop, nd2.structures.ZStackLoop)
    assert (loop.parameters.homeIndex, loop.parameters.deviceName) == (1, "Ti ZDrive")


def test_stack_calibrates_the_third_axis(theirs: dict[str, dict[str, Any]]) -> None:
    said = theirs["T P Z"]
    volume = said["says"]["metadata"]["channels"][0]["volume"]
    assert (volume["axesCalibrated"][2], volume["axesCalibration"][2]) == (False, 1.0)
    assert said["says"]["voxel_size"]["z"] == 0.5
    with nd2.ND2File(said["path"]) as file:
        assert isinstance(file.metadata, nd2.structures.Metadata)
        assert file.metadata.channels is not None
        ours = file.metadata.channels[0].volume
    assert (ours.axesCalibrated[2], ours.axesCalibration[2]) == (True, 0.5)
