"""Results for the sample files, compared with those of the public package nd2 0.12.0.

Where Nikon's SDK contradicts nd2, or nd2 fails, ours differs on purpose: those places are listed here, and in
docs/migrating.md. The OME sections of the dumps are compared where the exporter is tested.
"""

from __future__ import annotations

import re
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import nd2
from tests.samples import BEYOND_THE_LOOPS, each_sample, sample_names
from xarray_nd2 import to_kerchunk


@dataclass(frozen=True)
class Known:
    """A place where ours differs from nd2 0.12.0 on purpose.

    Attributes
    ----------
    samples : set of str
        Samples that show it, all of them.
    path : str
        Pattern for the places in the dumps.
    reason : str
        Why ours is right.
    """

    samples: frozenset[str]
    path: str
    reason: str

    def covers(self, sample: str, place: str) -> bool:
        return sample in self.samples and re.fullmatch(self.path, place) is not None


def of(names: str) -> frozenset[str]:
    return frozenset(names.split())


ALL = frozenset(name.rpartition("/")[2] for name in sample_names()) - {"nometa"}
"""nd2 0.12.0 cannot read nometa at all."""
COLOR = of("plain_rgb8_T2 rgb8 rgb8_T3_w31 rgb8_w33 rgb_64 vendor_rgb zip_rgb8_w33")
STACKS = of(
    "TPZ TPZ_ch3_w33 TZ Z7 cluster_t3z10c2 crop_z18c4 loop_xy_invalid_Z order_ZT z_down z_t0_i1_c0"
    " z_t2_i0_c1 z_t2_i1_c2 z_t6_i0_c1 zip_smooth_TZ zstack_z11"
)
BEYOND = frozenset(BEYOND_THE_LOOPS)
UNTIMED = of("plain_TPZ_ch3 plain_mono16 plain_rgb8_T2")
NESTED = of("loop_t_t nested_TT")
SCAN_AREA = of("confocal_c3 confocal_shared_setting crop_z18c4 multichannel_c4 rgb_64 timelapse_t53 zstack_z11")
FOCUS = of("confocal_c3 confocal_c5 confocal_shared_setting crop_z18c4 multichannel_c4 rgb_64 zstack_z11")

KNOWN = [
    Known(
        ALL - BEYOND - {"short_T"},
        r"bad_index\.read_frame\((-1|nseq)\)",
        "A frame that does not exist is an IndexError; nd2 gives zeros.",
    ),
    Known(
        BEYOND | {"short_T"},
        r"bad_index\.read_frame\(-1\)",
        "A frame that does not exist is an IndexError; nd2 gives zeros.",
    ),
    Known(
        STACKS,
        r"frame_metadata\[\d+\]\.channels\[\d+\]\.position\.stagePositionUm\.z",
        "Each plane of a stack has its own z, as Nikon's SDK says; nd2 gives all the same.",
    ),
    Known(
        FOCUS,
        r"frame_metadata\[\d+\]\.channels\[\d+\]\.position\.pfsOffset",
        "The recorded offset of the focus system; nd2 never gives it.",
    ),
    Known(
        UNTIMED | BEYOND,
        r"frame_metadata\[\d+\]\.\w+",
        "nd2 fails where no time was recorded for a frame, or no loop reaches it; the SDK reads it.",
    ),
    Known(
        of("short_T"),
        r"events_(records\.len|list\.Time \[s\]\.len|dict\..*)",
        "Frames without a recorded time also have a row; nd2 omits them, or columns of unequal length.",
    ),
    Known(
        NESTED,
        r"(ndim|shape|size|nbytes|sizes|loop_indices|asarray|array_protocol|to_dask|imread|fileobj"
        r"|pickle|xarray_values|to_xarray\w*|asarray_position0|events_\w+)\b.*",
        "Two loops of one kind are two axes, as for the SDK; nd2 loses one, and cannot read the array.",
    ),
    Known(
        COLOR,
        r"to_xarray\w*\.coords\.S\.values\.values\[[02]\]",
        "Samples of color are stored blue first; nd2 labels them red first.",
    ),
    Known(of("binary_T3"), r"binary_data", "nd2 does not read raster layers."),
    Known(
        SCAN_AREA,
        r"unstructured_metadata(_raw)?\..*\.(ba)?ScanArea\.\w+",
        "All records of a byte array are decoded; nd2 decodes the first one.",
    ),
    Known(
        of("crop_z18c4 multichannel_c4 timelapse_t53 zstack_z11"),
        r"unstructured_metadata(_raw)?\..*\.p?DeviceSetting\.\.len",
        "Two unnamed, empty arrays are two; nd2 gives one.",
    ),
    Known(
        of("confocal_shared_setting"),
        r"(frame_)?metadata(\[\d+\])?\.channels\[\d+\]\.channel\.index",
        "The place of the channel, as the SDK says; nd2 gives that of its sample setting.",
    ),
    Known(
        of("xy_names"),
        r"to_xarray_position0\.coords\.P\.values\.dtype",
        "The name of the position has the width of that name, whether pixels are read or not.",
    ),
]


def run(monkeypatch: pytest.MonkeyPatch, tool: Path, *arguments: object) -> int:
    """Run a tool as the command it is, and return its exit status."""
    monkeypatch.setattr(sys, "argv", [str(tool), *map(str, arguments)])
    try:
        runpy.run_path(str(tool), run_name="__main__")
    except SystemExit as done:
        return int(done.code or 0)
    return 0


def test_the_documentation_lists_the_files() -> None:
    page = Path(__file__).parents[2] / "docs" / "migrating.md"
    listed = set(re.findall(r"`(\w+)`", page.read_text(encoding="utf-8")))
    assert listed >= frozenset[str]().union(*(known.samples for known in KNOWN if len(known.samples) < 20))


def places(printed: str) -> list[str]:
    """Return the places that the tool for comparing dumps printed."""
    lines = [line[3:] for line in printed.splitlines() if line.startswith("   ")]
    return [line for line in lines if not line.startswith((" ", "..."))]


# The tools leave the files that they write and read to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@each_sample()
def test_equal_to_expected_but_where_ours_is_right(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = sample.parents[1] / "expected" / f"{sample.stem}.json"
    if not expected.exists():
        pytest.skip("nd2 0.12.0 cannot read this file")
    ours = tmp_path / "ours.json"
    monkeypatch.chdir(sample.parent)
    tools = sample.parents[2] / "tools"
    exporters = "ome_xml,ome_xml_notiff"
    run(monkeypatch, tools / "api_dump.py", sample.name, "-o", ours, "--skip", exporters)
    capsys.readouterr()
    run(monkeypatch, tools / "api_diff.py", expected, ours, *("--ignore", exporters, "--max", 100_000))
    found = places(capsys.readouterr().out)
    assert [place for place in found if not any(known.covers(sample.stem, place) for known in KNOWN)] == []
    assert [
        known
        for known in KNOWN
        if sample.stem in known.samples and not any(known.covers(sample.stem, place) for place in found)
    ] == []


@each_sample()
def test_the_engine_and_the_references_give_the_same_pixels(sample: Path) -> None:
    with nd2.ND2File(sample) as file:
        pixels = file.asarray()
    dataset = xr.open_dataset(sample, engine="nd2")
    image = dataset.image
    stored = image.isel(S=slice(None, None, -1)) if "S" in image.dims else image
    np.testing.assert_array_equal(stored.values.reshape(pixels.shape), pixels)
    if sample.stem in {"zip_ch3_w33", "zip_rgb8_w33"}:
        with pytest.raises(ValueError, match="padded by part of a pixel"):
            to_kerchunk(sample)
        return
    virtual = xr.open_dataset(to_kerchunk(sample), engine="kerchunk")  # type: ignore[arg-type]
    assert virtual.image.dtype == image.dtype
    again = virtual.image.transpose(*image.dims)
    if "S" in image.dims:
        again = again.sel(S=image.S.values)
    np.testing.assert_array_equal(again.values, image.values)
    for name, coordinate in dataset.coords.items():
        if name != "S":
            np.testing.assert_array_equal(virtual[name].values, coordinate.values)
            assert virtual[name].attrs == coordinate.attrs
