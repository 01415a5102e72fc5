"""Every sample, cut and damaged in every way: whole frames come back, exact and in their places."""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nd2
from nd2._core.format import chunks
from nd2._core.io import open_source
from nd2._core.readers.chunk_file import ChunkFile
from nd2._core.readers.modern import ModernReader
from tests.samples import each_sample, sample_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

GARBAGE = np.random.default_rng(1).bytes(4096)
"""Contains no magic number (asserted below)."""

# A file that was edited holds two copies of a frame: the older one comes back where the newer one is lost.
WRITTEN_ONCE = [name for name in sample_names() if name != "made/rewritten_T3"]


def sound(data: bytes) -> dict[str, Any]:
    """Content of the sound file: its frames by index, their positions, and that of its map."""
    reader = ModernReader(ChunkFile(open_source(io.BytesIO(data))), (3, 0))
    frames = reader.frames
    known = np.flatnonzero(frames.table.lengths).tolist()
    where = {i: (int(reader.frame_positions[i]), sum(frames.table.location(i))) for i in known}
    return {
        "frames": {i: frames.frame(i) for i in known},
        "where": where,
        "map": reader.chunk_file.chunk_map.position,
        "raw": frames.pixels.codec == "raw",
        "attributes": reader.attributes,
    }


def rescued(data: bytes) -> nd2.ND2File:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = nd2.ND2File(io.BytesIO(data), rescue=True)
        _ = file.sizes
    return file


def assert_frames(data: bytes, said: dict[str, Any], whole: list[int]) -> None:
    """Assert that exactly these frames are there, with these pixels."""
    if not whole:  # where the attributes are lost, too, nothing is left that could be shown
        with suppress(ValueError), rescued(data) as file:
            assert not file._reader.frames.table.lengths.any()
        return
    with rescued(data) as file:
        assert file.rescued is not None
        assert file.rescued.frame_count == len(whole)
        table = file._reader.frames.table
        assert np.flatnonzero(table.lengths).tolist() == whole
        for index in whole:
            found = file._reader.frames.frame(index)
            assert same(found, said["frames"][index])
        shape = file._reader.layout
        known = {"Y": shape.height, "X": shape.width} == {
            "Y": said["attributes"].heightPx,
            "X": said["attributes"].widthPx,
        }
        assert known or any("attributes are lost" in sentence for sentence in file.rescued.lost)


def same(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Whether the samples are the same; where the shape of a frame was lost, without its rows."""
    if found.shape == expected.shape:
        return bool((found.view(np.uint8) == expected.view(np.uint8)).all())
    flat = np.moveaxis(expected, 0, 2).tobytes()
    return np.moveaxis(found, 0, 2).tobytes()[: len(flat)] == flat


@each_sample(WRITTEN_ONCE)
@pytest.mark.parametrize("percent", [25, 50, 75, 90, 99])
def test_cut(sample: Path, percent: int) -> None:
    data = sample.read_bytes()
    said = sound(data)
    length = len(data) * percent // 100
    whole = [i for i, (_, end) in said["where"].items() if end <= length]
    assert_frames(data[:length], said, sorted(whole))


@each_sample()
@pytest.mark.parametrize("damage", ["map zeroed", "map shifted", "head zeroed"])
def test_damaged_map_or_head(sample: Path, damage: str) -> None:
    data = bytearray(sample.read_bytes())
    said = sound(bytes(data))
    if damage == "map zeroed":
        data[said["map"] :] = bytes(len(data) - said["map"])
    elif damage == "map shifted":
        wrong = chunks.TAIL.pack(chunks.MAP_SIGNATURE, said["map"] + 4096)
        data[-len(wrong) :] = wrong
    else:
        data[: chunks.PAGE] = bytes(chunks.PAGE)
    assert_frames(bytes(data), said, sorted(said["frames"]))


@each_sample(WRITTEN_ONCE)
def test_garbage_in_the_middle(sample: Path) -> None:
    data = bytearray(sample.read_bytes())
    said = sound(bytes(data))
    assert chunks.MAGIC_BYTES not in GARBAGE
    first = (len(data) // 2) // 4096 * 4096
    touched = range(first, first + len(GARBAGE))
    data[first : touched.stop] = GARBAGE
    kept: list[int] = []
    for index, (start, end) in said["where"].items():
        hit = start < touched.stop and end > touched.start
        pixels = hit and end - 1 >= touched.start and start not in touched
        if hit and (start in touched or not said["raw"]):
            continue  # its head is gone, or it cannot be inflated any more
        if pixels:
            # Nothing tells that pixels were overwritten: the frame is there, as it now is.
            said["frames"][index] = None
        kept.append(index)
    with rescued(bytes(data)) as file:
        table = file._reader.frames.table
        assert np.flatnonzero(table.lengths).tolist() == sorted(kept)
        for index in kept:
            expected = said["frames"][index]
            if expected is not None:
                assert same(file._reader.frames.frame(index), expected)


@each_sample()
def test_bytes_inserted_and_lost(sample: Path) -> None:
    data = sample.read_bytes()
    said = sound(data)
    starts = sorted(start for start, _ in said["where"].values())
    middle = starts[len(starts) // 2]
    shifted = data[:middle] + bytes(777) + data[middle:]
    assert_frames(shifted, said, sorted(said["frames"]))
    lost = next(i for i, (start, _) in said["where"].items() if start == middle)
    shorter = data[: middle + 2048] + data[middle + 2048 + 1000 :]
    assert_frames(shorter, said, sorted(i for i in said["frames"] if i != lost))


DAMAGED: dict[str, tuple[type[Exception], str, dict[str, int] | None, int]] = {
    # error without rescue; sizes and number of whole frames with it
    "damaged_empty": (OSError, r"it is empty \(0 bytes\)", None, 0),
    "damaged_head": (ValueError, "does not end with a chunk map signature", None, 0),
    "damaged_text": (OSError, "it starts with b'hell'", None, 0),
    "damaged_nomap_T5": (ValueError, "does not end with a chunk map signature", {"T": 5, "Y": 24, "X": 32}, 5),
    "damaged_trunc_T5": (ValueError, "does not end with a chunk map signature", {"T": 5, "Y": 24, "X": 32}, 5),
    "damaged_half_T5": (ValueError, "does not end with a chunk map signature", {"U": 4, "Y": 24, "X": 32}, 3),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_samples(name: str, shared_samples: Path) -> None:
    """As docs/damaged.md says."""
    path = shared_samples / "made" / f"{name}.nd2"
    kind, message, sizes, whole = DAMAGED[name]
    with pytest.raises(kind, match=message), nd2.ND2File(path) as file:
        _ = file.sizes
    if sizes is None:
        with pytest.raises((OSError, ValueError)), suppress_warnings(), nd2.ND2File(path, rescue=True) as file:
            _ = file.sizes
        return
    with rescued(path.read_bytes()) as file:
        assert file.sizes == sizes
        assert file.rescued is not None
        assert file.rescued.frame_count == whole
        with nd2.ND2File(path.with_name("T5.nd2")) as sound_file:
            frames = sound_file.asarray()
        for index in np.flatnonzero(file._reader.frames.table.lengths).tolist():
            assert np.array_equal(file.read_frame(index), frames[index])


@contextmanager
def suppress_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
