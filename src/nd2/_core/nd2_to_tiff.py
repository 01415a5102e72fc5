"""Writing ND2 files as TIFF without opening them first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core.file import ND2File

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ome_types import OME

__all__ = ["nd2_to_tiff"]


def nd2_to_tiff(
    source: str | os.PathLike[str] | ND2File,
    dest: str | os.PathLike[str],
    *,
    include_unstructured_metadata: bool = True,
    progress: bool = False,
    on_frame: Callable[[int, int, dict[str, int]], None] | None = None,
    modify_ome: Callable[[OME], None] | None = None,
) -> None:
    """Write an ND2 file as TIFF.

    Parameters
    ----------
    source : str, os.PathLike, ND2File
        Path or URL of an ND2 file, or an open one, which stays open.
    dest : str, os.PathLike
        The TIFF file; with ``.ome.`` in its name, an OME-TIFF.
    include_unstructured_metadata, progress, on_frame, modify_ome
        As those of ``ND2File.write_tiff``.

    Raises
    ------
    OSError
        If ``source`` cannot be opened, or is not ND2.
    ImportError
        If tifffile is not installed.
    ValueError
        If the file is damaged; ``dest`` stays as it was.
    """
    if isinstance(source, ND2File):
        file, ours = source, False
    else:
        file, ours = ND2File(source), True
    try:
        file.write_tiff(
            dest,
            include_unstructured_metadata=include_unstructured_metadata,
            progress=progress,
            on_frame=on_frame,
            modify_ome=modify_ome,
        )
    finally:
        if ours:
            file.close()
