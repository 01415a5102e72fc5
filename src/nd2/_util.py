"""Private names of nd2 0.12.0 that programs import; see `nd2._core.compat`."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, cast

from nd2._core.format.chunks import LEGACY_MAGIC_BYTES as OLD_HEADER_MAGIC
from nd2._core.format.chunks import MAGIC_BYTES as NEW_HEADER_MAGIC
from nd2._core.frames.grid import Layout, loop_counts
from nd2._core.io.open import file_system
from nd2._core.open import is_legacy, is_supported_file, read_magic
from nd2._core.structures import AXIS, VoxelSize
from nd2._core.views.events import TIME as TIME_KEY

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from typing import Any, BinaryIO

    from nd2._core.structures import ExpLoop

# First bytes of files: aicsimageio before 4.14, Chromagnon.
__all__ = ["AXIS", "NEW_HEADER_MAGIC", "OLD_HEADER_MAGIC", "TIME_KEY", "VoxelSize", "is_legacy", "is_supported_file"]


def is_new_format(path: str | os.PathLike[str] | BinaryIO) -> bool:
    """Return whether a file is ND2 and not legacy."""
    return read_magic(path) == NEW_HEADER_MAGIC


def loop_indices(experiment: Sequence[ExpLoop]) -> tuple[dict[str, int], ...]:
    """Return the index on each loop, for each frame (three apps import it)."""
    return Layout(loop_counts(experiment), 1, 1, 1, 1).loop_indices


def open_fsspec_url(
    url: str, storage_options: Mapping[str, Any] | None = None, *, small_file_limit: int = 32 << 20
) -> BinaryIO:
    """Open a URL as a file object; a file of at most `small_file_limit` bytes is read into memory (tests of nd2)."""
    fs, path = file_system(url, storage_options)
    if fs.size(path) <= small_file_limit:
        return BytesIO(fs.cat_file(path))
    return cast("BinaryIO", fs.open(path, "rb"))
