"""Whole files of every layout, read in every way, against a plain NumPy decode of what was written."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nd2
from tests.builder import Nd2Spec, build

READ_AS = {1: "|u1", 2: "<u2", 4: "<f4"}
"""Types of samples of 1, 2 and 4 bytes, whatever the file's pixel type says, as Nikon's SDK reads them."""


@st.composite
def specs(draw: st.DrawFn) -> Nd2Spec:
    letters = draw(st.lists(st.sampled_from("TPZ"), unique=True, max_size=3))
    loops = tuple((letter, draw(st.integers(1, 3))) for letter in letters)
    extra = draw(st.integers(0, 2))
    count = math.prod(n for _, n in loops) + extra
    channels, samples = draw(st.integers(1, 12)), draw(st.sampled_from([1, 1, 3]))
    dtype, pixel_type = draw(st.sampled_from([("|u1", 1), ("<u2", 1), ("<i2", 0), ("<u4", 1), ("<f4", 2)]))
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 35))
    packed = width * channels * samples * np.dtype(dtype).itemsize
    # rows as NIS-Elements pads them, packed, or longer by any number of bytes
    row_bytes = draw(st.sampled_from([None, packed, packed + draw(st.integers(1, 40))]))
    # A lone frame that ends in as many zeros as its name field is longer cannot be distinguished from a damaged one.
    name_field = draw(st.sampled_from([0, 0, 0, 9, 50] if row_bytes in (None, packed) else [0, 0, 0, 50]))
    return Nd2Spec(
        loops=loops,
        channels=channels,
        samples=samples,
        height=height,
        width=width,
        dtype=dtype,
        pixel_type=pixel_type,
        zlib=draw(st.booleans()),
        row_bytes=row_bytes,
        missing=draw(st.frozensets(st.integers(0, count - 1), max_size=2)),
        order=draw(st.one_of(st.none(), st.permutations(range(count)))),
        extra=extra,
        name_field=name_field,
        version=draw(st.sampled_from([(3, 0), (2, 1)])),
    )


def as_read(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return pixels.view(READ_AS[pixels.dtype.itemsize])


def same(found: Any, expected: np.ndarray[Any, Any]) -> None:
    """Assert equality of type, shape and bits (some of what is read as floats is not a number)."""
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()


@settings(max_examples=150)
@given(specs())
def test_every_way_of_reading_every_layout(spec: Nd2Spec) -> None:
    frames, array = as_read(spec.frames), as_read(spec.array)
    with tempfile.TemporaryDirectory() as folder:
        path = build_in(folder, spec)
        with nd2.ND2File(path) as file:
            stored = len(file._reader.frames.table)
            count = max(stored, len(frames) - spec.extra)
            for index, frame in enumerate([file.read_frame(index) for index in range(count)]):
                same(frame, frames[index].squeeze())
            whole = file.asarray()
            same(whole, array)
            assert whole.flags.c_contiguous
            assert whole.flags.writeable
            same(np.asarray(file), array)
            into = np.full(array.shape, 7, array.dtype)
            assert file.asarray(out=into) is into
            same(into, array)
            lazy = file.to_dask()
            positions = dict(spec.loops).get("P", 1)
            if positions > 1:
                axis = list(file.sizes).index("P")
                last = file.asarray(position=positions - 1)
                same(last, np.take(array, [positions - 1], axis))
            same(nd2.imread(path, dask=True, xarray=True).compute().to_numpy(), array)
            same(nd2.imread(path, validate_frames=True), array)
        same(lazy.compute(), array)  # type: ignore[no-untyped-call]  # as one read
        blocks = lazy.map_blocks(lambda block: block, dtype=lazy.dtype)  # type: ignore[call-arg,arg-type]
        same(blocks.compute(scheduler="synchronous"), array)


def build_in(folder: str, spec: Nd2Spec) -> Path:
    path = Path(folder) / "a.nd2"
    build(path, spec)
    return path


@pytest.mark.parametrize("zlib", [False, True])
def test_padded_color_of_several_channels_with_a_missing_frame(tmp_path: Path, zlib: bool) -> None:
    spec = Nd2Spec(
        loops=(("T", 3),), channels=2, samples=3, width=5, dtype="|u1", row_bytes=37, missing=frozenset({1}), zlib=zlib
    )
    build(tmp_path / "a.nd2", spec)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file._reader.frames.table.present(3).tolist() == [True, False, True]
        same(file.asarray(), spec.array)
        same(file.read_frame(1), np.zeros((2, 6, 5, 3), np.uint8))


def test_arrays_outlive_the_file(tmp_path: Path) -> None:
    spec = Nd2Spec(loops=(("T", 3),))
    path = tmp_path / "a.nd2"
    build(path, spec)
    with nd2.ND2File(path) as file:
        frame, whole = file.read_frame(1), file.asarray()
    path.write_bytes(b"\xff" * path.stat().st_size)
    path.unlink()
    same(frame, spec.array[1])
    same(whole, spec.array)
    frame += 1  # independent memory: it can be written to
    assert (frame == spec.array[1] + 1).all()
