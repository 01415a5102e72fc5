"""Every error that the package raises about a file: one hierarchy, built in one place.

`nd2.errors` lists the classes and their bases. Each message names the file and the place in it.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LISTED = 20
"""Maximum number of names that a message lists."""


class ND2Error(Exception):
    """Base of all errors that this package raises about the content of a file."""


class NotND2Error(ND2Error, OSError):
    """The bytes are not those of an ND2 file."""


class CorruptFileError(ND2Error, ValueError):
    """An ND2 file whose content is inconsistent, or which ends too early."""

    bare = ""
    offset: int | None = None


class UnsupportedFileError(ND2Error, NotImplementedError):
    """An ND2 file with a feature that this package does not read or write."""


class SourceError(ND2Error, OSError):
    """The bytes could not be read: a short read, a file that changed, a server that does not serve ranges."""


class UnclosedFileWarning(ResourceWarning, UserWarning):
    """An ``ND2File`` was garbage-collected without having been closed.

    It is a ``UserWarning``, as in nd2 0.12.0, and a ``ResourceWarning``, which Python hides by default: it is shown in
    development mode, in tests, and with ``-W default``.
    """


UNCLOSED = "ND2File file not closed: {!r}; open it in a with statement, or call its method close"


def _place(message: str, path: str, chunk: str | bytes, frame: int | None, offset: int | None) -> str:
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
    """Build the error for bytes that are not an ND2 file."""
    return NotND2Error(_place(message, path, "", None, None))


def corrupt(
    message: str, *, path: str = "", chunk: str | bytes = "", frame: int | None = None, offset: int | None = None
) -> CorruptFileError:
    """Build the error for content that is damaged; every part of the place is optional."""
    error = CorruptFileError(_place(message, path, chunk, frame, offset))
    error.bare, error.offset = message, offset
    return error


def corrupt_in(error: ValueError, *, path: str, chunk: str | bytes, frame: int | None = None) -> CorruptFileError:
    """Rebuild the error of a decoder with the file and the chunk, which the decoder did not know."""
    bare, offset = (error.bare, error.offset) if isinstance(error, CorruptFileError) else (str(error), None)
    return corrupt(bare, path=path, chunk=chunk, frame=frame, offset=offset)


@contextmanager
def within(*, path: str, chunk: str | bytes, frame: int | None = None) -> Iterator[None]:
    """Let the errors of a decoder name the file and the chunk."""
    try:
        yield
    except ValueError as error:
        raise corrupt_in(error, path=path, chunk=chunk, frame=frame) from error


def unsupported(message: str, *, path: str = "") -> UnsupportedFileError:
    """Build the error for a feature that is not supported."""
    return UnsupportedFileError(_place(message, path, "", None, None))


def source(message: str, *, path: str = "", offset: int | None = None) -> SourceError:
    """Build the error for bytes that could not be read."""
    return SourceError(_place(message, path, "", None, offset))


def beyond_end(offset: int, nbytes: int, size: int, *, path: str) -> SourceError:
    """Build the error for a read of bytes that the file does not have."""
    return source(f"{nbytes} bytes were requested beyond the file's end at {size}", path=path, offset=offset)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 frame``, ``3 frames``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def frame_range(frame: int, count: int, *, path: str = "") -> IndexError:
    """Build the error for a frame index that the file does not have."""
    return out_of_range(f"frame index {frame}", count, "frame", path=path)


def out_of_range(what: str, count: int, noun: str, *, path: str = "") -> IndexError:
    """Build the error for an index beyond ``count`` items; ``noun`` names one of them."""
    message = f"{what} is out of range: the file has {plural(count, noun)}"
    return IndexError(_place(message, path, "", None, None))


def not_integer(name: str, value: object, other: str = "") -> TypeError:
    """Build the error for an index of another type; ``other`` names the other allowed types."""
    return TypeError(f"{name} must be an integer{' ' * bool(other)}{other}, not {value!r}")


def closed(path: str) -> ValueError:
    """Build the error for reading from a file that was closed."""
    return ValueError(_place("I/O operation on a closed file; call open() first", path, "", None, None))


def hint(name: str, names: Iterable[str | None]) -> str:
    """Return the end of a message about an unknown name: similar names, otherwise all names."""
    from difflib import get_close_matches

    folded: dict[str, list[str]] = {}
    for known in dict.fromkeys(names):
        if known:
            folded.setdefault(known.casefold(), []).append(known)
    near = get_close_matches(name.casefold(), folded, n=3)
    if near:
        likely = [repr(known) for key in near for known in folded[key]]
        return f"; did you mean {' or '.join(likely)}?"
    every = [repr(known) for same in folded.values() for known in same]
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return f"; there are {', '.join(every[:_LISTED])}{more}" if every else "; there are none"


def no_such(
    what: str, name: str, names: Iterable[str | None], *, path: str = "", kind: type[Exception] = ValueError
) -> Exception:
    """Build the error for a name that does not exist; it suggests names that do."""
    message = f"there is no {what} {name!r}{hint(name, names)}"
    return kind(_place(message, path, "", None, None))


def missing_package(package: str, extra: str, purpose: str) -> ImportError:
    """Build the error for an optional package that is not installed."""
    return ImportError(
        f"{package} is needed {purpose}: pip install {package}, or pip install 'xarray-nd2[{extra}]'", name=package
    )


@contextmanager
def requirement(package: str, extra: str, purpose: str) -> Iterator[None]:
    """Name the extra if imports of an optional package fail."""
    try:
        yield
    except ImportError as error:
        raise missing_package(package, extra, purpose) from error


def one_line(error: Exception) -> str:
    """Return the message of an error in one line: the path first, and no error number."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = str(error.strerror)
        if error.filename is not None:
            # Messages of this package are predicates of the path; those of the system are not.
            text = f"{error.filename!r}{' ' if text[0].islower() else ': '}{text}"
    return " ".join(text.split())


def exists(path: str) -> FileExistsError:
    """Build the error for a destination that exists and must not be overwritten."""
    return FileExistsError(errno.EEXIST, "already exists; pass overwrite=True (--overwrite) to replace it", path)


def irreplaceable(path: str, reason: str) -> FileExistsError:
    """Build the error for a destination that is never replaced."""
    return FileExistsError(errno.EEXIST, f"is not replaced: {reason}; write to another path", path)


def unbound(error: OSError, address: str) -> OSError:
    """Build the error for an address that a server cannot listen on, from the system's error."""
    reason = error.strerror or str(error)
    return OSError(error.errno, f"cannot be listened on: {reason[:1].lower()}{reason[1:]}", address)


def unwritten(error: OSError, what: str, *, path: str) -> OSError:
    """Build the error for bytes that could not be written, from the system's error."""
    reason = error.strerror or str(error)
    return OSError(error.errno, f"{reason} (while writing {what})", path)


def unwritable(error: OSError, path: str, folder: str) -> OSError:
    """Build the error for a destination that cannot be created, from the system's error."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        reason = f"the folder {folder!r} does not exist"
    elif error.errno in (errno.EACCES, errno.EPERM):
        reason = f"no permission to write to the folder {folder!r}"
    elif error.errno == errno.EROFS:
        reason = f"the folder {folder!r} is read-only"
    else:
        return OSError(error.errno, error.strerror, path)
    return OSError(error.errno, f"cannot be written: {reason}", path)
