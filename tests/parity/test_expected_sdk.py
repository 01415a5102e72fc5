"""Results for the sample files, compared with those of Nikon's own SDK (Nd2ReadSdk 1.7.2).

Every value of the SDK must be in our results. Our additional values are listed in `ADDED`; None counts as no value.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import pytest

import nd2
from nd2.structures import Color, StagePosition
from tests.samples import each_sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDED = {
    "channelCount",  # of the attributes, as in the package nd2
    "name",  # of points and positions: the SDK does not report names
    "pfsOffset",  # of a frame, from the recorded data
    "pfs_status",
}
DEFAULTS = {"cameraTransformationMatrix", "componentMaxima", "componentMinima"}
"""Values that the SDK omits for a file without picture metadata (nometa): ours are the values of an unknown camera."""
SDK_FAILS = {"gap_T6", "gap_first", "short_T"}
"""The SDK kills its process when it reads the pixels of a frame that the file does not hold."""
SDK_SAYS_NOW = 1.0
"""Where a file holds no absolute time the SDK reports the time of the call; ours the stored zero."""


def oracle(sample: Path) -> dict[str, Any]:
    path = sample.parents[1] / "expected_sdk" / f"{sample.stem}.json"
    if not path.exists():
        pytest.skip("the SDK cannot open this file")
    said: dict[str, Any] = json.loads(path.read_text())
    return said


def plain(value: Any) -> Any:
    """Return a value in the form in which the SDK says it: JSON, without what is None."""
    if isinstance(value, Color):
        return value.r | value.g << 8 | value.b << 16
    if isinstance(value, StagePosition):
        return list(value)
    if dataclasses.is_dataclass(value):
        value = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {"colorRGB" if key == "color" else key: plain(item) for key, item in value.items() if item is not None}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def unlisted(sample: Path, found: Iterator[str]) -> list[str]:
    """Return the differences that are not listed above for the sample."""
    return [one for one in found if sample.stem != "nometa" or one.partition(":")[0].rpartition(".")[2] not in DEFAULTS]


def differences(sdk: Any, ours: Any, path: str = "") -> Iterator[str]:
    """Say where ours is not what the SDK says."""
    if isinstance(sdk, dict) and isinstance(ours, dict):
        for key, value in sdk.items():
            if value is not None:
                yield from differences(value, ours.get(key), f"{path}.{key}")
        # the SDK leaves out what is empty
        yield from (
            f"{path}.{key}: only ours says {value!r}"
            for key, value in ours.items()
            if sdk.get(key) is None and key not in ADDED and value not in ("", [], {"modalityFlags": []})
        )
    elif isinstance(sdk, list) and isinstance(ours, list) and len(sdk) == len(ours):
        for i, (one, other) in enumerate(zip(sdk, ours, strict=True)):
            yield from differences(one, other, f"{path}[{i}]")
    elif isinstance(sdk, float) and isinstance(ours, (int, float)):
        if not math.isclose(sdk, ours, rel_tol=1e-12):
            yield f"{path}: {sdk} by the SDK, {ours} by ours"
    elif sdk != ours:
        yield f"{path}: {sdk!r} by the SDK, {ours!r} by ours"


@each_sample()
@pytest.mark.parametrize("section", ["attributes", "metadata", "experiment", "text_info"])
def test_a_section_is_what_the_sdk_says(sample: Path, section: str) -> None:
    said = oracle(sample)[section]
    with nd2.ND2File(sample) as file:
        ours = plain(getattr(file, section))
    if said is None:  # the SDK's way to say that there is none
        assert ours in ([], {})
    else:
        assert not unlisted(sample, differences(said, ours))
    if section == "attributes":
        assert "channelCount" in ours


@each_sample()
def test_each_frame_is_what_the_sdk_says(sample: Path) -> None:
    frames = oracle(sample)["frame_metadata"]
    with nd2.ND2File(sample) as file:
        for index, said in enumerate(frames):
            ours = plain(file.frame_metadata(index))
            for one, other in zip(said["channels"], ours["channels"], strict=True):
                if other["time"]["absoluteJulianDayNumber"] < SDK_SAYS_NOW:
                    now = one["time"].pop("absoluteJulianDayNumber")
                    assert now > 2_460_000
                    del other["time"]["absoluteJulianDayNumber"]
            assert not unlisted(sample, differences(said, ours)), f"frame {index}"


@each_sample()
def test_frames_and_axes_are_those_of_the_sdk(sample: Path) -> None:
    said = oracle(sample)
    with nd2.ND2File(sample) as file:
        assert [list(file.loop_indices[i].values()) for i in range(said["seq_count"])] == said["coords"]
        assert len(file.loop_indices) == said["seq_count"]
        assert [[loop.type, loop.count] for loop in file.experiment] == said["coord_info"]
    missing = {int(frame) for frame in said["frame_errors"]}
    assert bool(missing) == (sample.stem in SDK_FAILS)
