"""Every error that the package raises about a file: one hierarchy, built in one place.

Each class stands under the standard class that a caller would catch anyway (``OSError`` for what is no ND2 file,
``ValueError`` for what is corrupt, ``NotImplementedError`` for what is not supported), and each message names the
file and the place in it.
"""

from __future__ import annotations

import errno


class ND2Error(Exception):
    """Base of all errors that this package raises about the content of a file."""


class NotND2Error(ND2Error, OSError):
    """The bytes are not those of an ND2 file."""


class CorruptFileError(ND2Error, ValueError):
    """An ND2 file whose content contradicts itself, or which ends too early."""

    bare = ""
    offset: int | None = None


class UnsupportedFileError(ND2Error, NotImplementedError):
    """An ND2 file that uses a feature which this package does not read or write."""


class SourceError(ND2Error, OSError):
    """The bytes could not be had: a short read, a file that changed, a server that does not serve ranges."""


def _place(
    message: str, path: str, chunk: str | bytes, frame: int | None, offset: int | None
) -> str:
    if isinstance(chunk, bytes):
        chunk = chunk.decode("ascii", "replace")
    where = [
        f"file {path!r}" if path else "",
        f"chunk {chunk!r}" if chunk else "",
        "" if frame is None else f"frame {frame}",
        "" if offset is None else f"offset {offset}",
    ]
    place = ", ".join(part for part in where if part)
    return f"{message} ({place})" if place else message


def not_nd2(message: str, *, path: str = "") -> NotND2Error:
    """Build the error for bytes that are no ND2 file."""
    return NotND2Error(_place(message, path, "", None, None))


def corrupt(
    message: str,
    *,
    path: str = "",
    chunk: str | bytes = "",
    frame: int | None = None,
    offset: int | None = None,
) -> CorruptFileError:
    """Build the error for content that is damaged; every part of the place is optional."""
    error = CorruptFileError(_place(message, path, chunk, frame, offset))
    error.bare, error.offset = message, offset
    return error


def corrupt_in(
    error: ValueError,
    *,
    path: str,
    chunk: str | bytes,
    frame: int | None = None,
    offset: int | None = None,
) -> CorruptFileError:
    """Build the error anew where file and chunk are known, from that of a decoder which knew neither."""
    if isinstance(error, CorruptFileError):
        known = error.offset if offset is None else offset
        return corrupt(error.bare, path=path, chunk=chunk, frame=frame, offset=known)
    return corrupt(str(error), path=path, chunk=chunk, frame=frame, offset=offset)


def unsupported(
    message: str, *, path: str = "", chunk: str = "", frame: int | None = None
) -> UnsupportedFileError:
    """Build the error for a feature that is not supported."""
    return UnsupportedFileError(_place(message, path, chunk, frame, None))


def source(message: str, *, path: str = "", offset: int | None = None) -> SourceError:
    """Build the error for bytes that could not be had."""
    return SourceError(_place(message, path, "", None, offset))


def frame_range(frame: int, count: int, *, path: str = "") -> IndexError:
    """Build the error for a frame index that the file does not have."""
    return IndexError(
        _place(f"frame index {frame} is out of range for {count} frames", path, "", None, None)
    )


def position_range(position: int, count: int, *, path: str = "") -> IndexError:
    """Build the error for a position index that the file does not have."""
    return IndexError(
        _place(f"position {position} is out of range for {count} positions", path, "", None, None)
    )


def closed(path: str) -> ValueError:
    """Build the error for reading from a file that was closed."""
    return ValueError(
        _place("I/O operation on a closed file; call open() first", path, "", None, None)
    )


def position_name(position: str, names: list[str | None], *, path: str = "") -> ValueError:
    """Build the error for a position name that the file does not have; it suggests those that are like it."""
    from difflib import get_close_matches

    known = [name for name in names if name]
    near = get_close_matches(position, known, n=3)
    hint = (
        f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; there are {known[:20]}"
    )
    return ValueError(_place(f"no position is named {position!r}{hint}", path, "", None, None))


def missing_package(package: str, extra: str, purpose: str) -> ImportError:
    """Build the error for an optional package that is not installed; it says how to get it."""
    return ImportError(
        f"{package} is needed {purpose}: pip install 'xarray-nd2[{extra}]'", name=package
    )


def exists(path: str) -> FileExistsError:
    """Build the error for a destination that is there already, where nothing may be overwritten."""
    return FileExistsError(
        errno.EEXIST, "exists already; overwrite=True (--overwrite) replaces it", path
    )


def unwritten(error: OSError, what: str, *, path: str) -> OSError:
    """Build the error for bytes that could not be written, with the number of the system's own."""
    reason = error.strerror or str(error)
    return OSError(error.errno, f"{reason}: {what} could not be written", path)


def no_column(name: str, columns: list[str]) -> ValueError:
    """Build the error for a column that a table does not have."""
    return ValueError(f"there is no column {name!r}; there are {', '.join(columns)}")
