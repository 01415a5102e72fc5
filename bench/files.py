"""The files that benchmarks read: written once into a cache folder, from the package's own encoders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nd2._core.format import chunks, clx_lite
from nd2._core.format.inflate import deflate_zlib
from tests.builder import Nd2Spec, attributes_tree, experiment_tree, picture_tree
from tests.sparse import build_sparse

if TYPE_CHECKING:
    from numpy.typing import NDArray

CACHE = Path(os.environ.get("ND2_BENCH_CACHE", Path(__file__).parent / ".cache"))
"""Where the files lie; some 11 GB. Git ignores the default."""

_DISTINCT = 8
"""Different frames in a file; they repeat, because only their bytes matter."""


@dataclass(frozen=True)
class BenchFile:
    """A file of many frames of one kind."""

    frames: int
    height: int
    width: int
    channels: int = 1
    zlib: bool = False
    sparse: bool = False
    listed: bool = False
    """Whether only the chunk map has the frames after the first: they are holes, without headers."""

    @property
    def spec(self) -> Nd2Spec:
        """The same file as the tests' builder describes it."""
        loops = (("T", self.frames),) if self.frames > 1 else ()
        return Nd2Spec(loops=loops, channels=self.channels, height=self.height, width=self.width, zlib=self.zlib)

    @property
    def array_bytes(self) -> int:
        """Size of the whole image in memory."""
        return self.frames * self.channels * self.height * self.width * 2


FILES = {
    "tiny": BenchFile(10, 64, 64),
    "raw": BenchFile(1000, 1024, 1024),
    "small": BenchFile(100_000, 64, 64),
    "zlib": BenchFile(300, 1024, 1024, zlib=True),
    "channels3": BenchFile(170, 1024, 1024, channels=3),
    "channels4": BenchFile(128, 1024, 1024, channels=4),
    "large": BenchFile(1, 20_000, 20_000),
    # only headers: its frames are holes
    "million": BenchFile(1_000_000, 4, 8, sparse=True),
    **{f"listed{n}": BenchFile(n, 4, 8, listed=True) for n in (10**k for k in range(3, 8))},
}


def path_of(name: str) -> Path:
    """Return the path of a file, written if it does not exist."""
    path = CACHE / f"{name}.nd2"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        write(part, FILES[name])
        part.rename(path)
    return path


def _picture(rng: np.random.Generator, channels: int, height: int, width: int, samples: int) -> NDArray[np.uint16]:
    """Round bright spots on a dark ground, with the noise of a camera."""
    y, x = np.ogrid[:height, :width]
    light = 20.0 * (1 + np.sin(y / 90) * np.sin(x / 70)) ** 4
    noise = rng.poisson(np.minimum(light, 1000), (channels, samples, height, width))
    return (100 + noise).transpose(0, 2, 3, 1).astype("<u2")


def write(path: Path, file: BenchFile) -> None:
    """Write a file, one frame at a time."""
    if file.sparse:
        build_sparse(path, count=file.frames, height=file.height, width=file.width)
        return
    spec, layout = file.spec, file.spec.layout
    rng = np.random.default_rng(0)
    count = min(_DISTINCT, file.frames)
    frames = [layout.encode(_picture(rng, *layout.shape)) for _ in range(count)]
    if file.zlib:
        frames = [deflate_zlib(frame, 1) for frame in frames]
    times = 100.0 * np.arange(file.frames)
    tree = experiment_tree(spec)
    head = [] if tree is None else [(b"ImageMetadataLV!", clx_lite.encode({"SLxExperiment": tree}))]
    picture = clx_lite.encode({"SLxPictureMetadata": picture_tree(spec)})
    attributes = clx_lite.encode({"SLxImageAttributes": attributes_tree(spec)})
    with path.open("wb") as handle:
        position = handle.write(chunks.encode_signature())
        entries: list[tuple[bytes, int, int]] = [(chunks.FILE_SIGNATURE, 0, 64)]

        def put(name: bytes, data: bytes, pixels: bytes = b"") -> None:
            nonlocal position
            entries.append((name, position, len(data) + len(pixels)))
            chunk = chunks.encode_chunk(name, data, len(pixels)) + pixels
            size = chunks.page_up(len(chunk))
            handle.write(chunk.ljust(size, b"\0"))
            position += size

        for name, data in [*head, (b"ImageMetadataSeqLV|0!", picture)]:
            put(name, data)
        first = position
        for k in range(1 if file.listed else file.frames):
            put(chunks.frame_name(k), times[k].tobytes(), frames[k % count])
        rest = None
        if file.listed:
            index, step = np.arange(1, file.frames), position - first
            places = (first + step * index).astype(np.uint64)
            rest = index, places, np.full(len(index), entries[-1][2], np.uint64)
            position += step * len(index)
            handle.seek(position)
        put(b"CustomData|AcqTimesCache!", times.tobytes())
        put(b"ImageAttributesLV!", attributes)
        handle.write(chunks.encode_map(entries, position, rest))
