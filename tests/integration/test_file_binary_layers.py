"""``ND2File.binary_data``: binary layers as run lengths and as rasters."""

from __future__ import annotations

import json
import pickle
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xarray as xr

import nd2
from tests.builder import build
from tests.optional_chunks import TAG, layer_table, runs

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("largest", [9, 70_000])
def test_run_length_layers(tmp_path: Path, version: int, largest: int) -> None:
    path = tmp_path / "a.nd2"
    rng = np.random.default_rng(1)
    masks = rng.choice(np.array([0, 0, 1, 5, largest]), (2, 6, 8))
    chunks = {
        b"CustomDataVar|BinaryMetadata_v1!": layer_table(TAG, "none"),
        f"CustomDataSeq|{TAG}|0!".encode(): runs(masks[0], version=version),
        f"CustomDataSeq|{TAG}|1!".encode(): b"\0",
        f"CustomDataSeq|{TAG}|3!".encode(): runs(masks[1], version=version),
    }
    build(path, loops=[("T", 2), ("Z", 2)], chunks=chunks)
    with nd2.ND2File(path) as file:
        layers = file.binary_data
        assert layers is not None
        layer, other = layers
        assert (len(layers), len(layer), layer.coordinate_shape) == (2, 4, (2, 2))
        assert (layer.name, layer.file_tag, layer.comp_name) == ("layer 0", TAG, "Channel 0")
        assert (layer.comp_order, layer.color, layer.color_mode) == (2, 255, 8)
        assert (layer.state, layer.layer_id, layer.frame_shape) == (0x80000, 1, (6, 8))
        assert "layer 0" in repr(layer)
        np.testing.assert_array_equal(layer[0], masks[0])
        np.testing.assert_array_equal(layer.data[-1], masks[1])
        assert layer[1] is layer[2] is None
        assert [mask is None for mask in layer] == [False, True, True, False]
        with pytest.raises(IndexError):
            layer[4]
        stack = layer.asarray()
        assert stack is not None
        assert stack.dtype == ("uint16" if largest == 9 else "uint32")
        np.testing.assert_array_equal(stack.reshape(4, 6, 8)[[0, 3]], masks)
        assert not stack[0, 1].any()
        assert other.asarray() is None
        assert np.asarray(layers).shape == (2, 2, 2, 6, 8)
        copy = pickle.loads(pickle.dumps(layer.data))
    np.testing.assert_array_equal(copy[3], masks[1])
    copy.source.close()


def test_raster_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    mask = np.arange(48, dtype="<u4").reshape(6, 8)
    layer = {
        "binWidth": 8,
        "binHeight": 6,
        "binTileWidth": 5,
        "binTileHeight": 4,
        "binCompressionId": "zlib",
        "binBitdepth": 32,
        "binLayerId": 4,
        "binName": "cells",
        "binComp": "Channel 0",
        "binCompOrder": 0,
        "binState": 1,
        "binColor": 7,
        "binColorMode": 0,
    }
    chunks = {b"CustomData|BinaryMetadata_v2!": json.dumps([layer]).encode()}
    padded = np.pad(mask, ((0, 2), (0, 2)))
    for row, column in np.ndindex(2, 2):
        tile = padded[4 * row : 4 * row + 4, 5 * column : 5 * column + 5]
        name = f"CustomDataSeq|TiledRasterBinaryData_4_{row}_{column}|1!"
        chunks[name.encode()] = zlib.compress(np.ascontiguousarray(tile).tobytes())
    del chunks[b"CustomDataSeq|TiledRasterBinaryData_4_1_0|1!"]
    mask[4:, :5] = 0
    build(path, loops=[("T", 2)], chunks=chunks)
    with nd2.ND2File(path) as file:
        assert file.binary_data is not None
        (found,) = file.binary_data
        assert (found.name, found.comp_name, found.layer_id) == ("cells", "Channel 0", 4)
        assert (found.state, found.color) == (1, 7)
        assert found[0] is None
        np.testing.assert_array_equal(found[1], mask)
        np.testing.assert_array_equal(found.asarray(), [np.zeros_like(mask), mask])


@pytest.mark.parametrize("shape", [(4, 5), (9, 11), (3, 20)])
def test_a_raster_of_another_size_than_the_image_is_put_on_it(tmp_path: Path, shape: tuple[int, int]) -> None:
    zarr = pytest.importorskip("zarr")
    height, width = shape
    mask = np.arange(1, height * width + 1, dtype="<u4").reshape(shape)
    layer = {"binWidth": width, "binHeight": height, "binLayerId": 4, "binName": "cells"}
    chunks = {
        b"CustomData|BinaryMetadata_v2!": json.dumps([layer]).encode(),
        b"CustomDataSeq|TiledRasterBinaryData_4_0_0|1!": mask.tobytes(),
    }
    build(tmp_path / "a.nd2", loops=[("T", 2)], chunks=chunks)
    expected = np.zeros((2, 6, 8), np.uint32)
    expected[1, :height, :width] = mask[:6, :8]
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.binary_data is not None
        np.testing.assert_array_equal(file.binary_data[0][1], mask)
        file.write_ome_zarr(tmp_path / "a.zarr")
    stored = zarr.open_array(tmp_path / "a.zarr" / "labels" / "label_0_cells" / "0", mode="r")
    np.testing.assert_array_equal(stored[...], expected)
    dataset = xr.open_dataset(tmp_path / "a.nd2", engine="nd2")
    np.testing.assert_array_equal(dataset.labels_cells, expected)


def test_a_mask_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    good = runs(np.eye(6, 8, dtype=int))
    chunks = {
        b"CustomDataVar|BinaryMetadata_v1!": layer_table(TAG),
        f"CustomDataSeq|{TAG}|0!".encode(): good,
        f"CustomDataSeq|{TAG}|1!".encode(): good[:-12] + b"\xff" * 12,
        f"CustomDataSeq|{TAG}|2!".encode(): b"\xff\xff\xff\xff" + good[4:],
    }
    build(path, loops=[("T", 3)], chunks=chunks)
    with nd2.ND2File(path) as file:
        assert file.binary_data is not None
        (layer,) = file.binary_data
        assert layer[0] is not None
        for frame in (1, 2):
            with pytest.raises(ValueError, match=rf"a\.nd2.*{TAG}.{frame}!.*frame {frame}"):
                layer[frame]


@pytest.mark.parametrize(
    "words", [[3, 8], [3, 80, 6, 0], [3, 8, 6, 1], [3, 8, 6, 1, 0, 0, 0, 1, *[0] * 5, 1, 0, 0, 9, 0]]
)
def test_a_mask_that_contradicts_itself(tmp_path: Path, words: list[int]) -> None:
    path = tmp_path / "a.nd2"
    block = struct.pack(f"<{len(words)}I", *words)
    data = struct.pack("<I", len(block)) + zlib.compress(block)
    chunks = {b"CustomDataVar|BinaryMetadata_v1!": layer_table(TAG), f"CustomDataSeq|{TAG}|0!".encode(): data}
    build(path, chunks=chunks)
    with nd2.ND2File(path) as file:
        assert file.binary_data is not None
        with pytest.raises(ValueError, match=r"mask.*a\.nd2"):
            file.binary_data[0][0]


def test_layers_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    masks = {"cells": np.ones((2, 3, 4), "u1"), "nuclei": np.zeros((2, 3, 4), "u1")}
    nd2.imwrite(path, np.zeros((2, 3, 4), "u2"), axes="TYX", labels=masks)
    with nd2.ND2File(path) as file:
        layers = file.binary_data
        assert layers is not None
        assert layers["cells"] is layers[0]
        with pytest.raises(KeyError, match="no binary layer 'cell'; did you mean 'cells'"):
            layers["cell"]
