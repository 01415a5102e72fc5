"""A part of a file as a new ND2 file: rows, columns and channels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nd2
from nd2._core.cli import main
from nd2._core.region_types import ROI, InterpType, RoiInfo, RoiShapeType
from nd2._core.structures import ChannelMeta, Metadata
from tests import rich_file
from tests.builder import build
from tests.kinds import KINDS
from tests.samples import each_sample

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> dict[str, Any]:
    """Return what must not change: everything but pixels and what states their size."""
    with nd2.ND2File(path) as file:
        return {
            "experiment": file.experiment,
            "text": file.text_info,
            "events": [{k: str(v) for k, v in row.items()} for row in file.events()],
            "voxel": file.voxel_size(),
            "start": file.ome_metadata(include_unstructured=False).images[0].acquisition_date,
        }


def channels_of(file: nd2.ND2File) -> list[ChannelMeta]:
    metadata = file.metadata
    assert isinstance(metadata, Metadata)
    return [channel.channel for channel in metadata.channels or ()]


def check_crop(source: Path, dest: Path, y: slice, x: slice, channels: list[int]) -> None:
    with nd2.ND2File(source) as file:
        array, names = file.asarray(), list(file.sizes)
        all_channels, sizes = channels_of(file), dict(file.sizes)
        layers = [layer.asarray() for layer in file.binary_data or ()]
        file.write_nd2(dest, Y=y, X=x, C=channels)
    if "C" in names:
        array = np.take(array, channels, names.index("C"))
    array = array[tuple({"Y": y, "X": x}.get(name, slice(None)) for name in names)]
    with nd2.ND2File(dest) as file:
        found = file.asarray()
        np.testing.assert_array_equal(found.reshape(array.shape), array)
        assert file.dtype == array.dtype
        for kept, number in zip(channels_of(file), channels, strict=True):
            assert kept.name == all_channels[number].name
            assert kept.color == all_channels[number].color
        for layer, expected in zip(file.binary_data or (), layers, strict=True):
            assert expected is not None
            np.testing.assert_array_equal(layer.asarray(), expected[..., y, x])
        assert file.attributes.channelCount == len(channels)
        assert {k: v for k, v in file.sizes.items() if k in "TPZ"} == {k: v for k, v in sizes.items() if k in "TPZ"}
    assert read(dest) == read(source)


def check_file(path: Path, folder: Path) -> None:
    """Crop the middle of a file and its last channel, if it has so many."""
    with nd2.ND2File(path) as file:
        height, width = file.attributes.heightPx, file.attributes.widthPx or 1
        count = file.attributes.channelCount or 1
    y = slice(height // 3, max(height * 2 // 3, height // 3 + 1))
    x = slice(width // 3, max(width * 2 // 3, width // 3 + 1))
    check_crop(path, folder / "crop.nd2", y, x, list(range(count)))
    check_crop(path, folder / "channel.nd2", slice(None), slice(None), [count - 1])
    check_crop(path, folder / "both.nd2", y, x, [0])


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name: str, tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", **KINDS[name])
    check_file(tmp_path / "a.nd2", tmp_path)


@each_sample()
def test_samples(sample: Path, tmp_path: Path) -> None:
    with nd2.ND2File(sample) as file:
        if file.is_legacy:
            with pytest.raises(NotImplementedError, match="legacy file"):
                file.write_nd2(tmp_path / "a.nd2", Y=slice(0, 1))
            return
        beyond = file.attributes.sequenceCount > np.prod([n for k, n in file.sizes.items() if k in "TPZU"], dtype=int)
    if beyond:
        pytest.skip("a crop has the frames of the loops only")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "regions of interest are left out")
        check_file(sample, tmp_path)


def test_binary_layers_are_cropped(tmp_path: Path) -> None:
    source = rich_file.write(tmp_path / "a.nd2")
    with nd2.ND2File(source) as file:
        assert file.binary_data is not None
        masks = file.binary_data[0].asarray()
        file.write_nd2(tmp_path / "b.nd2", Y=slice(1, 4), X=slice(2, 5), C="GFP")
        file.write_nd2(tmp_path / "c.nd2", C=0)
    with nd2.ND2File(tmp_path / "b.nd2") as file:
        assert file.binary_data is not None
        assert masks is not None
        np.testing.assert_array_equal(file.binary_data[0].asarray(), masks[..., 1:4, 2:5])
        assert [channel.name for channel in channels_of(file)] == ["GFP"]
    with nd2.ND2File(tmp_path / "c.nd2") as file:
        assert file.binary_data is not None
        np.testing.assert_array_equal(file.binary_data[0].asarray(), masks)


def test_regions_of_interest_are_left_out(tmp_path: Path) -> None:
    info = RoiInfo(shapeType=RoiShapeType.Rectangle, interpType=InterpType.StandardROI, color=255)
    region = ROI(id=1, info=info, guid="{1}", animParams=[])
    rich_file.write(tmp_path / "a.nd2", rois=[region])
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.warns(UserWarning, match="regions of interest are left out"):
        file.write_nd2(tmp_path / "b.nd2", Y=slice(0, 2))
    with nd2.ND2File(tmp_path / "b.nd2") as file:
        assert not file.rois


@pytest.mark.parametrize(
    ("picks", "message"),
    [
        ({"Y": slice(0, 6, 2)}, "the selection of axis 'Y' must be contiguous"),
        ({"X": [0, 3]}, "the selection of axis 'X' must be contiguous"),
        ({"X": 99}, "index 99 is out of range for axis 'X' of size 8"),
        ({"Y": slice(6, 9)}, "the selection of axis 'Y' of size 6 is empty"),
        ({"C": "gfp"}, "there is no channel 'gfp'; did you mean 'GFP'"),
        ({"C": 7}, "index 7 is out of range for axis 'C' of size 2"),
        ({"T": slice(9, None)}, "the selection of loop 'T' of size 3 is empty"),
        ({"T": [1, 0]}, "the indices of loop 'T' must be in increasing order"),
    ],
)
def test_refusals(tmp_path: Path, picks: dict[str, Any], message: str) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)], channels=2, channel_names=["DAPI", "GFP"])
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.raises((ValueError, IndexError), match=message):
        file.write_nd2(tmp_path / "b.nd2", **picks)
    assert not (tmp_path / "b.nd2").exists()


def test_the_command(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 3)], channels=3, channel_names=["DAPI", "GFP", "RFP"])
    options = ["-Y", "1:4", "-X", ":5", "-c", "RFP", "-c", "0", "-T", "0,2"]
    assert main(["crop", str(tmp_path / "a.nd2"), str(tmp_path / "b.nd2"), *options]) == 0
    found = nd2.imread(tmp_path / "b.nd2")
    np.testing.assert_array_equal(found, spec.array[[0, 2]][:, [0, 2], 1:4, :5])
