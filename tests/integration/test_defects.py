"""What the package nd2 0.12.0 gets wrong, and ours right.

Three of its twelve defects belong to parts with tests of their own: OME metadata of floating-point files, TIFF files in
colour (with the exporters), the validation of uncompressed frames and the shape of dask graphs (with the frames).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

import nd2
from nd2.structures import FrameMetadata, Metadata
from tests.builder import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.nd2"


def heights(path: Path) -> list[float]:
    with nd2.ND2File(path) as file:
        frames = [file.frame_metadata(i) for i in range(len(file.loop_indices))]
    return [
        f.channels[0].position.stagePositionUm.z for f in frames if isinstance(f, FrameMetadata)
    ]


def test_1_each_plane_of_a_stack_has_its_own_height(path: Path) -> None:
    build(path, loops=[("T", 2), ("Z", 3)])
    assert heights(path) == [298.0, 300.0, 302.0] * 2


def test_2_samples_of_colour_have_the_names_of_what_is_stored(path: Path) -> None:
    spec = build(path, samples=3, dtype="u1")
    with nd2.ND2File(path) as file:
        labelled = file.to_xarray()
    assert labelled.S.values.tolist() == ["Blue", "Green", "Red"]
    np.testing.assert_array_equal(labelled.sel(S="Blue"), spec.array[..., 0])


@pytest.mark.parametrize("times", [[], [5.0]])
def test_4_frames_without_a_recorded_time_have_metadata(path: Path, times: list[float]) -> None:
    build(path, loops=[("T", 3)], times=times)
    with nd2.ND2File(path) as file:
        frames = [file.frame_metadata(i) for i in range(3)]
    stamps = [f.channels[0].time.relativeTimeMs for f in frames if isinstance(f, FrameMetadata)]
    assert stamps == [*times, 0.0, 0.0, 0.0][:3]


def test_5_frames_that_do_not_exist_are_refused(path: Path) -> None:
    build(path, loops=[("T", 3)])
    with nd2.ND2File(path) as file:
        for index in (-1, 3, 4):
            with pytest.raises(IndexError, match=f"frame index {index}"):
                file.read_frame(index)


@pytest.mark.parametrize("compressed", [False, True])
def test_5_missing_frames_with_padded_rows_are_zero(path: Path, compressed: bool) -> None:
    spec = build(
        path, loops=[("T", 3)], missing=frozenset({1}), width=5, dtype="u1", zlib=compressed
    )
    assert spec.layout.row_bytes == 8
    with nd2.ND2File(path) as file:
        assert not file.read_frame(1).any()
        np.testing.assert_array_equal(file.asarray(), spec.array)
        np.testing.assert_array_equal(np.asarray(file.to_dask()), spec.array)


def test_6_a_file_without_picture_metadata_is_read(path: Path) -> None:
    spec = build(path, loops=[("T", 2)], channels=2, chunks={b"ImageMetadataSeqLV|0!": None})
    with nd2.ND2File(path) as file:
        assert file.sizes == {"T": 2, "C": 2, "Y": 6, "X": 8}
        np.testing.assert_array_equal(file.asarray(), spec.array)
        assert isinstance(file.metadata, Metadata)
        assert [c.channel.name for c in file.metadata.channels or []] == ["Channel_1", "Channel_2"]


def test_7_loops_of_one_kind_are_axes_of_their_own(path: Path) -> None:
    spec = build(path, loops=[("T", 2), ("Z", 2), ("T", 3)])
    with nd2.ND2File(path) as file:
        assert file.sizes == {"T": 2, "Z": 2, "T2": 3, "Y": 6, "X": 8}
        assert file.loop_indices[7] == {"T": 1, "Z": 0, "T2": 1}
        np.testing.assert_array_equal(file.asarray(), spec.array)
        np.testing.assert_array_equal(np.asarray(file.to_dask()), spec.array)
        assert file.to_xarray().dims == ("T", "Z", "T2", "Y", "X")


def test_8_the_order_of_axes_does_not_depend_on_the_hash_seed(path: Path) -> None:
    build(path, loops=[("Z", 2)])
    code = (
        "import sys, nd2\n"
        "with nd2.ND2File(sys.argv[1]) as file: print(file.to_xarray(squeeze=False).dims)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert said == {"('P', 'C', 'Z', 'Y', 'X')\n"}


def test_10_arrays_of_several_channels_are_contiguous(path: Path) -> None:
    build(path, loops=[("T", 3)], channels=3)
    with nd2.ND2File(path) as file:
        array = file.asarray()
    assert array.flags.c_contiguous
    assert array.base is None or array.base.nbytes == array.nbytes


def test_12_raster_layers_are_read(path: Path) -> None:
    mask = np.arange(48, dtype="<u4").reshape(6, 8)
    layer = {
        "binWidth": 8,
        "binHeight": 6,
        "binTileWidth": 8,
        "binTileHeight": 6,
        "binCompressionId": "zlib",
        "binLayerId": 1,
        "binName": "cells",
    }
    build(
        path,
        chunks={
            b"CustomData|BinaryMetadata_v2!": json.dumps([layer]).encode(),
            b"CustomDataSeq|TiledRasterBinaryData_1_0_0|0!": zlib.compress(mask.tobytes()),
        },
    )
    with nd2.ND2File(path) as file:
        assert file.binary_data is not None
        np.testing.assert_array_equal(file.binary_data[0][0], mask)
