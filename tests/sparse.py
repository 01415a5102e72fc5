"""Large ND2 files that take no space: frames are holes, save for a mark at the start and the end of some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.format import chunks, clx_lite
from tests.builder import Nd2Spec, attributes_tree, experiment_tree, picture_tree

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sparse:
    """Content of such a file: ``count`` frames of one channel of 16 bits."""

    count: int
    height: int
    width: int
    marked: tuple[int, ...]

    @property
    def frame_bytes(self) -> int:
        return self.height * self.width * 2

    def frame(self, index: int) -> NDArray[np.uint16]:
        pixels = np.zeros((self.height, self.width), np.uint16)
        if index in self.marked:
            pixels[0, :] = index + 1
            pixels[-1, :] = index + 2
            pixels[self.height // 2, :] = index + 3
        return pixels


def build_sparse(
    path: Path,
    *,
    count: int = 1000,
    height: int = 1024,
    width: int = 1024,
    marked: tuple[int, ...] = (),
    picture_bytes: int = 0,
) -> Sparse:
    """Write a file.

    Parameters
    ----------
    path : Path
        Where.
    count, height, width : int
        Frames of a time series, and their shape.
    marked : tuple of int
        Frames that hold something.
    picture_bytes : int
        Length of a text that makes the picture metadata as long as those of real files.
    """
    spec = Nd2Spec(loops=[("T", count)], height=height, width=width)
    made = Sparse(count, height, width, marked)
    picture = {**picture_tree(spec), "sFiller": "x" * (picture_bytes // 2)}
    before: list[tuple[bytes, dict[str, Any]]] = [
        (b"ImageMetadataLV!", {"SLxExperiment": experiment_tree(spec)}),
        (b"ImageMetadataSeqLV|0!", {"SLxPictureMetadata": picture}),
    ]
    text: dict[str, Any] = {"SLxImageTextInfo": {"TextInfoItem_5": "made for a test"}}
    entries = [(chunks.FILE_SIGNATURE, 0, 64)]
    with path.open("wb") as handle:
        handle.write(chunks.encode_signature())

        def write(name: bytes, data: bytes) -> None:
            position = chunks.page_up(handle.tell())
            handle.seek(position)
            handle.write(chunks.encode_chunk(name, data))
            entries.append((name, position, len(data)))

        for name, tree in before:
            write(name, clx_lite.encode(tree))
        position = chunks.page_up(handle.tell())
        step = chunks.PAGE + chunks.page_up(made.frame_bytes)
        for index in range(count):
            name, at = chunks.frame_name(index), position + index * step
            stamp = np.array([100.0 * index], "<f8").tobytes()
            handle.seek(at)
            handle.write(chunks.encode_chunk(name, stamp, made.frame_bytes))
            entries.append((name, at, 8 + made.frame_bytes))
            if index in marked:
                handle.write(made.frame(index).tobytes())
        handle.seek(position + count * step)
        write(b"ImageTextInfoLV!", clx_lite.encode(text))
        write(b"CustomData|AcqTimesCache!", (100.0 * np.arange(count)).tobytes())
        write(b"ImageAttributesLV!", clx_lite.encode({"SLxImageAttributes": attributes_tree(spec)}))
        handle.seek(chunks.page_up(handle.tell()))
        handle.write(chunks.encode_map(entries, handle.tell()))
    return made
