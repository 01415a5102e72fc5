"""The chunk map, as nd2 0.12.0 gives it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from nd2._core.compat import chunk_positions
from nd2._core.format.chunks import FILE_SIGNATURE as ND2_FILE_SIGNATURE
from nd2._core.format.chunks import VERSION_BYTES, parse_version
from nd2._core.io import open_source
from nd2._core.readers.chunk_file import read_map
from nd2._core.readers.scan import scan_chunks
from nd2._core.readers.validation import ValidatedFile

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import BinaryIO

__all__ = ["ND2_FILE_SIGNATURE", "get_chunkmap", "get_version", "iter_chunks"]


def get_version(fh: str | os.PathLike[str] | BinaryIO) -> tuple[int, int]:
    """Return the version of the format of a file."""
    with closing(open_source(fh)) as source:
        return parse_version(source.read_start(VERSION_BYTES), path=source.url)


def get_chunkmap(
    fh: str | os.PathLike[str] | BinaryIO, error_radius: int | None = None
) -> dict[bytes, tuple[int, int]]:
    """Return position and size of each chunk, by its name.

    With `error_radius`, each chunk is searched within this number of bytes from its stated position.
    """
    with closing(open_source(fh)) as source:
        if error_radius is None:
            return chunk_positions(read_map(source))
        return chunk_positions(ValidatedFile(source, error_radius).chunk_map)


def iter_chunks(handle: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Yield name, position of the data and length of the data of each chunk, in file order."""
    with closing(open_source(handle)) as source:
        for chunk in scan_chunks(source):
            yield chunk.header.name.decode("ascii", "replace"), chunk.header.data_offset, chunk.header.data_length
