"""The destinations of outputs: one policy for local and remote files and folders.

An output is written to ``NAME.part`` next to its destination and renamed when it is complete. Until
then the destination does not change, even after an error. No output replaces its own source. Only
the ND2 writers replace ND2 files. A folder is replaced only if it is empty, or if it is a store of
the same kind and contains no ND2 file.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import posixpath
import re
import stat
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nd2._core import errors
from nd2._core.io.faults import http_status
from nd2._core.io.open import file_system, is_local
from nd2._core.io.part import PART, Part
from nd2._core.io.source import is_magic
from nd2._core.io.urls import is_url, local_path, redact
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_Key = TypeVar("_Key")

SUFFIXES: dict[str, tuple[str, ...]] = {
    "ND2": (".nd2",),
    "TIFF": (".tif", ".tiff", ".btf", ".tf2", ".tf8"),
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "PDF": (".pdf",),
    "MP4": (".mp4",),
    "GIF": (".gif",),
    "APNG": (".apng", ".png"),
    "CSV": (".csv", ".tsv", ".txt"),
    "JSON": (".json",),
    "Parquet": (".parquet", ".parq", ".pq"),
    "sidecar index": (".index",),
    "OME-Zarr": (".zarr",),
    "Parquet references": (".parq", ".parquet", ".pq"),
}
"""The formats that are written, and their usual suffixes."""
_KNOWN_SUFFIXES = {
    *chain.from_iterable(SUFFIXES.values()),
    ".bmp", ".webp", ".svg", ".avi", ".mov", ".npy",
    ".npz", ".h5", ".hdf5", ".nc", ".zip", ".gz", ".tar", ".xml", ".html", ".xlsx", ".czi", ".lif",
    ".oib", ".oif", ".lsm", ".ims", ".jp2", ".dcm", ".py", ".ipynb", ".docx",
}  # fmt: skip
_ZARR_KEY = re.compile(r"(^|/)(c|\d+(\.\d+)*|zarr\.json|\.z(array|attrs|group|metadata)|refs\.\d+\.parq)$")
"""Chunks and documents of Zarr. They are not opened to check for ND2: there may be a million."""
_PAGE = 4096
_MARK = b"This folder is not complete; xarray-nd2 is writing it.\n"
"""Content of the object ``.part`` in a remote folder."""
_ROOTS = ("zarr.json", ".zmetadata")
"""Documents that make a folder a store. They are written last."""
_DISK_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


@record
class Destination:
    """The destination of one output; `resolve` makes and checks it."""

    name: str
    path: str
    form: str
    overwrite: bool
    sources: tuple[str, ...] = ()
    fs: Any = None
    url: str = ""

    def check(self) -> None:
        """Raise an error if the destination must not be replaced."""
        if self.fs is not None:
            self.fs.invalidate_cache()
        if not self._exists():
            return
        if not self._is_folder():
            self._check_file()
        elif self.form in _FOLDERS:
            self._check_folder()
        else:
            message = "is a folder; name a file in it, or write into it with --out-dir"
            raise IsADirectoryError(errno.EISDIR, message, self.name)

    def check_in_place(self) -> None:
        """Refuse an ND2 file, whose content would be lost before the new one is complete."""
        if self._exists() and self._is_nd2(""):
            raise errors.irreplaceable(self.name, "it is an ND2 file, and in_place=True would destroy it at once")

    def _check_file(self) -> None:
        if self.fs is None and not stat.S_ISREG(os.stat(self.path).st_mode):
            raise errors.irreplaceable(self.name, "it is not a regular file")
        if any(self._is_same(source) for source in self.sources):
            raise errors.irreplaceable(self.name, "it is the file that is read")
        if self.form != "ND2" and self._is_nd2(""):
            raise errors.irreplaceable(self.name, "it is an ND2 file")
        if self.form in _FOLDERS:
            raise errors.irreplaceable(self.name, f"it is not {self.form}")
        if not self.overwrite:
            raise errors.exists(self.name)

    def _check_folder(self) -> None:
        if any(self._is_same(source) for source in self.sources):
            raise errors.irreplaceable(self.name, "it is the folder that is read")
        inner = next((source for source in self.sources if self._contains(source)), None)
        if inner is not None:
            raise errors.irreplaceable(self.name, f"it contains the file that is read, {inner!r}")
        is_ours = self.fs is not None and self._read(PART) == _MARK
        names = os.listdir(self.path) if self.fs is None else self.fs.ls(self.path, detail=False)
        if names and not is_ours and not _FOLDERS[self.form](self._read):
            raise errors.irreplaceable(self.name, f"the folder is not empty and is not {self.form}")
        if not self.overwrite:
            raise errors.exists(self.name)
        self._check_nd2(self._files())

    def _check_nd2(self, names: Iterable[str]) -> None:
        """Raise an error if one of the files of the folder is an ND2 file."""
        if (nd2 := next(filter(self._is_nd2, names), None)) is not None:
            raise errors.irreplaceable(self.name, f"it contains the ND2 file {nd2!r}")

    def _exists(self) -> bool:
        return os.path.lexists(self.path) if self.fs is None else bool(self.fs.exists(self.path))

    def _is_folder(self) -> bool:
        return os.path.isdir(self.path) if self.fs is None else bool(self.fs.isdir(self.path))

    def _files(self) -> Iterator[str]:
        """Yield the relative path of each file in the folder and its subfolders."""
        if self.fs is None:
            for folder, _, names in os.walk(self.path):
                yield from (os.path.relpath(os.path.join(folder, n), self.path) for n in names)
        else:
            yield from (n[len(self.path) :].lstrip("/") for n in self.fs.find(self.path))

    def _read(self, name: str, nbytes: int | None = None) -> bytes:
        """Read the start of a file in the folder, or of the destination (``""``)."""
        place = f"{self.path}/{name}" if name else self.path
        try:
            if self.fs is not None and nbytes is None:
                return bytes(self.fs.cat_file(place))
            if self.fs is not None:  # a range of an empty object is an error in some stores
                with self.fs.open(place, "rb", block_size=_PAGE) as handle:
                    return bytes(handle.read(nbytes))
            if not stat.S_ISREG(os.stat(place).st_mode):
                return b""
            with open(place, "rb") as handle:
                return handle.read(-1 if nbytes is None else nbytes)
        except FileNotFoundError:
            return b""

    def _is_nd2(self, name: str) -> bool:
        """Return whether a file is ND2, by its name or its first bytes."""
        if (name or self.path).lower().endswith(".nd2"):
            return True
        return not _ZARR_KEY.search(name) and is_magic(self._read(name, 4))

    def _is_same(self, source: str) -> bool:
        """Return whether a source and the destination are the same file."""
        if self.fs is not None:
            # Stores of Zarr keep paths without the protocol.
            return _normal(source) == _normal(self.name) or source == self.path != ""
        try:
            return not is_url(path := local_path(source)) and os.path.samefile(path, self.path)
        except (OSError, ValueError):
            return False

    def _contains(self, source: str) -> bool:
        if self.fs is not None:
            inside = _normal(source).startswith(_normal(self.name) + "/")
            return inside or (self.path != "" and source.startswith(f"{self.path}/"))
        path = local_path(source)
        parents = () if is_url(path) else Path(os.path.realpath(path)).parents
        return any(self._is_same(str(parent)) for parent in parents)

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Yield a path to write to. The file replaces the destination at the end of the block.

        A remote file is written to a local temporary file and then uploaded.
        """
        if self.fs is None:
            with self._part() as place:
                yield place
            return
        with tempfile.TemporaryDirectory() as folder:
            # Object stores derive the content type from the name.
            place = Path(folder, posixpath.basename(self.path))
            yield place
            with explained(self.name):
                self.check()
                self.fs.put_file(str(place), self.path)

    def write(self, data: bytes) -> None:
        """Write a file."""
        with self.file() as place:
            place.write_bytes(data)

    @contextmanager
    def folder(self) -> Iterator[str]:
        """Yield an empty folder that replaces the destination at the end of the block.

        Object stores cannot replace a folder in one step. A new folder is written in place.
        A folder that replaces another one is written next to it and copied when it is complete. An
        object ``.part`` marks an incomplete folder. Write the root document last: without it, no
        reader opens the folder.
        """
        if self.fs is None:
            with self._part() as place:
                yield str(place)
            return
        suffix = ""
        with explained(self.name):
            if self._exists():
                suffixes = (f"{PART}{number if number > 1 else ''}" for number in itertools.count(1))
                suffix = next(s for s in suffixes if not self.fs.exists(self.path + s))
            # Fails before anything is removed if the user has no permission to write.
            self.fs.makedirs(self.path, exist_ok=True)
            self.fs.pipe_file(f"{self.path}/{PART}", _MARK)
        try:
            yield self.url.rstrip("/") + suffix if suffix else self.url
            with explained(self.name):
                if suffix:
                    self.check()
        except BaseException:
            with suppress(Exception):  # the first error is the one to report
                if suffix:
                    self.fs.rm_file(f"{self.path}/{PART}")
                replace(self, path=self.path + suffix).discard()
            raise
        with explained(self.name):
            if suffix:
                self._move(self.path + suffix)
            self.fs.rm_file(f"{self.path}/{PART}")

    @contextmanager
    def local_folder(self) -> Iterator[Path]:
        """Yield a local folder that is uploaded at the end of the block; see `folder`."""
        if self.fs is None:
            with self._part() as place:
                yield place
            return
        with tempfile.TemporaryDirectory() as temporary:
            content = Path(temporary, "content")
            content.mkdir()
            yield content
            roots = [Path(temporary, name) for name in _ROOTS if (content / name).exists()]
            for root in roots:
                (content / root.name).rename(root)
            with self.folder() as url, explained(self.name):
                target = self.path + url[len(self.url.rstrip("/")) :].rstrip("/")
                self.fs.put(f"{content}{os.sep}", f"{target}/", recursive=True)
                for root in roots:
                    self.fs.put_file(str(root), f"{target}/{root.name}")

    def discard(self) -> None:
        """Remove the files of a remote folder that is not complete, unless others put an ND2 file there."""
        files = list(self._files())
        self._check_nd2(files)
        if files:
            self.fs.rm([f"{self.path}/{name}" for name in files])
        _remove_empty(self.fs, self.path)

    def _move(self, stage: str) -> None:
        """Replace the folder by a complete one, which stays where it is if that fails.

        Exactly the files that were listed and checked are removed: other programs may add some.
        """
        try:
            self.fs.invalidate_cache()
            mark = f"{self.path}/{PART}"  # until the end: it permits to write again after a crash
            old = [name for name in self.fs.find(self.path) if name != mark]
            self._check_nd2(name[len(self.path) :].lstrip("/") for name in old)
            if old:
                self.fs.rm(old)
            files = sorted(self.fs.find(stage), key=lambda name: name in [f"{stage}/{r}" for r in _ROOTS])
            for batch in (files[:-1], files[-1:]):
                self.fs.copy(batch, [self.path + name[len(stage) :] for name in batch])
        except BaseException as error:
            error.add_note(f"{self.name!r} is not complete; the new folder is {self.name + stage[len(self.path) :]!r}")
            raise
        if files:
            self.fs.rm(files)
        _remove_empty(self.fs, stage)

    def part(self) -> Part:
        """Return the local file or folder that will replace the destination."""
        return Part(Path(self.path), self.form in _FOLDERS, lambda place: replace(self, path=os.fspath(place)).check())

    @contextmanager
    def _part(self) -> Iterator[Path]:
        part = self.part()
        try:
            with explained(self.name, part):
                if (handle := part.create()) >= 0:
                    os.close(handle)
                yield part.place
                part.commit()
        finally:
            part.discard()


def resolve(
    dest: Any,
    form: str,
    *,
    overwrite: bool = False,
    sources: Sequence[str] = (),
    storage_options: Mapping[str, Any] | None = None,
    local: bool = False,
) -> Destination:
    """Return the destination of an output, after checking it."""
    fs, path, url = getattr(dest, "fs", None), getattr(dest, "path", None), ""
    if fs is not None and isinstance(path, str):
        url = str(fs.unstrip_protocol(path))
    else:
        fs, path = None, local_path(dest)
        if is_url(path):
            url = path
    name = redact(url) or os.fsdecode(os.fspath(dest))
    _check_suffix(name, form)
    if url and local and not is_local(fs):
        raise ValueError(f"{form} is written to local paths only, not to {name!r}")
    with explained(name):
        if url and fs is None:
            fs, path = file_system(url, storage_options)
        if is_local(fs):
            fs, url = None, ""
        place = os.path.realpath(path) if fs is None else path.rstrip("/")
        found = Destination(name, place, form, overwrite, tuple(filter(None, sources)), fs, url)
        found.check()
    return found


@contextmanager
def explained(name: str, part: Part | None = None) -> Iterator[None]:
    """Name the destination in errors as the user does, without secrets of URLs."""
    try:
        yield
    except (errors.ND2Error, NotImplementedError, ImportError, MemoryError):
        raise
    except OSError as error:
        hidden, path = os.fspath(part.place) if part else "", error.filename
        if hidden and isinstance(path, (str, bytes, os.PathLike)):
            text = os.fsdecode(path)
            if text == hidden:
                raise errors.unwritable(error, name, os.path.dirname(name) or os.curdir) from error
            if text.startswith(hidden):
                rest = text[len(hidden) :]
                raise OSError(error.errno, error.strerror, name + rest) from error
        elif part and path is None and error.errno in _DISK_FULL:
            raise OSError(error.errno, error.strerror, name) from error
        remote = part is None and is_url(name) and name not in str(error)
        if remote or ("://" in str(error) and path != name):
            raise _without_secrets(error, name) from None
        raise
    except Exception as error:
        if part is None and not isinstance(error, ValueError):
            raise _without_secrets(error, name) from None
        raise


def _without_secrets(error: Exception, name: str) -> OSError:
    text = " ".join(str(error).split())
    status, answer = http_status(error)
    reason = type(error).__name__ if "://" in text else f"{type(error).__name__}: {text}"
    if status:
        reason = f"the server answered {status} {answer}".rstrip()
    kind = PermissionError if isinstance(error, PermissionError) else OSError
    number = getattr(error, "errno", None) or errno.EIO
    if number == errno.EPIPE:  # the command would mistake it for the end of its own output
        number = errno.EIO
    plain = kind(number, f"could not be written: {reason}", name)
    for note in getattr(error, "__notes__", ()):
        plain.add_note(note)
    return plain


def guess_format(path: str, formats: Mapping[_Key, str]) -> _Key:
    """Return the key of the format whose suffix a path has; the first key if none matches."""
    suffix = _suffix(path)
    return next((key for key in formats if suffix in SUFFIXES[formats[key]]), next(iter(formats)))


def _suffix(path: str) -> str:
    return posixpath.splitext(path.rstrip("/").lower())[1]


def _check_suffix(name: str, form: str) -> None:
    suffix = _suffix(name)
    if suffix in _KNOWN_SUFFIXES and suffix not in SUFFIXES[form]:
        usual = " or ".join(SUFFIXES[form][:2])
        raise ValueError(f"{name!r} is not a name for {form}, whose suffix is {usual}")


def _normal(url: str) -> str:
    """Return a URL without secrets, ``..`` and trailing slashes, for comparison."""
    scheme, _, path = redact(url).partition("://")
    return f"{scheme}://{posixpath.normpath(path.lstrip('/'))}"


def _remove_empty(fs: Any, path: str) -> None:
    """Remove a remote folder whose files were removed, if it has no others. Object stores have no empty folders."""
    fs.invalidate_cache()
    if not ("/" in path.strip("/") and fs.isdir(path)):
        return
    found = fs.find(path, withdirs=True, detail=True)
    folders = [name for name, info in found.items() if info["type"] == "directory"]
    for folder in [*sorted(folders, key=len, reverse=True), path]:
        with suppress(OSError):
            fs.rmdir(folder)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


_FOLDERS: dict[str, Callable[[Callable[[str], bytes]], bool]] = {
    "OME-Zarr": lambda read: (
        _document(read("zarr.json")).get("node_type") == "group" or "zarr_format" in _document(read(".zgroup"))
    ),
    "Parquet references": lambda read: "record_size" in _document(read(".zmetadata")),
}
"""The formats that are folders, and whether the documents of a folder are of the format."""
