"""Files in which bytes were lost or inserted: frames are found again, or count as missing, and never are wrong."""

from __future__ import annotations

import pickle
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import nd2
from nd2._core.io import open_source
from nd2._core.open import open_reader
from tests.builder import Nd2Spec, build

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPEC: dict[str, Any] = {"loops": (("T", 7),), "height": 20, "width": 30, "channels": 2}


def shifted(path: Path, spec: Nd2Spec, before: int, change: int) -> Path:
    """Write a file whose bytes from frame `before` on are moved by inserted or removed bytes; its map stays."""
    build(path, spec)
    with nd2.ND2File(path) as file:
        place = int(file._reader.frames.table.offsets[before]) - 4096
    data = path.read_bytes()
    # what is removed is the end of the padding, or of the frame before
    kept = data[:place] + b"\xda" * change if change > 0 else data[: place + change]
    path.write_bytes(kept + data[place:])
    return path


@pytest.mark.parametrize("zlib", [False, True])
@pytest.mark.parametrize("change", [8192, 17, -16])
def test_shifted_frames_and_metadata_are_found_again(tmp_path: Path, zlib: bool, change: int) -> None:
    spec = Nd2Spec(**SPEC, zlib=zlib)
    path = shifted(tmp_path / "a.nd2", spec, 3, change)
    with pytest.raises(ValueError, match=r"a\.nd2"):
        nd2.imread(path)
    np.testing.assert_array_equal(nd2.imread(path, validate_frames=True), spec.array)
    with nd2.ND2File(path, validate_frames=True) as file:
        np.testing.assert_array_equal(file.read_frame(5), spec.frames[5].squeeze())
        assert file.text_info["optics"] == "Plan Apo 20x"
        assert "Channel 1" in repr(file.metadata)
        with pickle.loads(pickle.dumps(file)) as copy:
            np.testing.assert_array_equal(copy.asarray(), spec.array)
        array = file.to_dask()
    np.testing.assert_array_equal(array[4].compute(), spec.array[4])


def test_several_shifts_are_followed(tmp_path: Path) -> None:
    spec = Nd2Spec(loops=(("T", 40),), height=8, width=8)
    path = tmp_path / "a.nd2"
    build(path, spec)
    with nd2.ND2File(path) as file:
        places = (file._reader.frames.table.offsets - np.uint64(4096)).astype(int).tolist()
    data, cuts = path.read_bytes(), [0, *(places[k] for k in (4, 5, 20, 33)), None]
    parts = [data[a:b] for a, b in pairwise(cuts)]
    path.write_bytes(b"\x0a\xda".join(parts))
    np.testing.assert_array_equal(nd2.imread(path, validate_frames=True), spec.array)


def test_a_frame_that_is_too_far_away_or_damaged_is_missing_with_a_warning(tmp_path: Path) -> None:
    spec = Nd2Spec(**SPEC)
    path = tmp_path / "a.nd2"
    build(path, spec)
    with nd2.ND2File(path) as file:
        place = int(file._reader.frames.table.offsets[2]) - 4096
    data = bytearray(path.read_bytes())
    data[place + 16 + len("ImageDataSeq|")] = ord("9")  # "ImageDataSeq|9!"
    path.write_bytes(data)
    with pytest.warns(UserWarning, match=r"1 of 7 frames .* \(frames 2; file .*a\.nd2"):
        found = nd2.imread(path, validate_frames=True)
    expected = spec.array.copy()
    expected[2] = 0
    np.testing.assert_array_equal(found, expected)
    with pytest.warns(UserWarning, match="not found"):
        dataset = xr.open_dataset(path, engine="nd2", validate_frames=True)
    np.testing.assert_array_equal(dataset["image"], expected)


def test_the_window_is_in_kilobytes_and_its_limit_is_kept(tmp_path: Path) -> None:
    path = shifted(tmp_path / "a.nd2", Nd2Spec(**SPEC), 3, 8192)
    with pytest.raises(ValueError, match=r"no chunk map within 5000 bytes.*a\.nd2"):
        nd2.imread(path, validate_frames=True, search_window=5)
    np.testing.assert_array_equal(nd2.imread(path, validate_frames=True, search_window=9), Nd2Spec(**SPEC).array)


@pytest.mark.parametrize("zlib", [False, True])
def test_a_sound_file_reads_as_without_validation(tmp_path: Path, zlib: bool) -> None:
    spec = build(tmp_path / "a.nd2", Nd2Spec(**SPEC, zlib=zlib, missing=frozenset({1}), order=[4, 2, 1, 0, 6, 5, 3]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(nd2.imread(tmp_path / "a.nd2", validate_frames=True), spec.array)


def test_every_head_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "a.nd2", Nd2Spec(**SPEC))
    source = open_source(tmp_path / "a.nd2")
    spans: list[tuple[int, int]] = []
    read_many = source.read_many

    def noted(asked: Sequence[tuple[int, int]]) -> list[bytes]:
        spans.extend(asked)
        return read_many(asked)

    monkeypatch.setattr(source, "read_many", noted)
    frames = open_reader(source, validate_frames=True).frames
    heads = {place for place, _ in spans}
    assert heads >= set((frames.table.offsets - np.uint64(4096)).tolist())
    source.close()
