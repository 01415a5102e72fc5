"""The files that a lazy array reads: a new file must not replace them while it is computed."""

from __future__ import annotations

import io
import os
import pickle
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

_MAX_PATH = 4096


def input_paths(array: Any) -> set[str]:
    """Return every text in an array's object that may be the path or URL of a file that it reads.

    Dask graphs, functions and their closures, xarray's wrappers, memory maps and open files are searched.
    """
    walk = _Walk()
    try:
        walk.dump(array)
    except Exception as error:
        raise ValueError(
            f"cannot determine the files that the {type(array).__name__} reads ({error}); write to a path that is free"
        ) from error
    return {path for path in walk.paths if 0 < len(path) <= _MAX_PATH and "\0" not in path}


class _Nowhere(io.RawIOBase):
    """A file that keeps nothing."""

    def write(self, data: Any, /) -> int:
        return len(data)


class _Walk(pickle.Pickler):
    """Goes through an object as pickling does, and notes the texts in it."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), pickle.HIGHEST_PROTOCOL)
        self.paths: set[str] = set()

    def persistent_id(self, obj: Any) -> bool | None:
        """Note the texts; return True for objects that need no search."""
        if isinstance(obj, (str, os.PathLike)):
            self.paths.add(os.fsdecode(os.fspath(obj)))
        elif isinstance(obj, np.ndarray) and not obj.dtype.hasobject:
            base: Any = obj
            while base is not None:
                self.paths.add(str(getattr(base, "filename", None) or ""))
                base = getattr(base, "base", None)
        elif isinstance(obj, io.IOBase):
            self.paths.add(str(getattr(obj, "name", "")))
        elif not isinstance(obj, (type, ModuleType, BuiltinFunctionType)):
            return None
        return True

    def reducer_override(self, obj: Any) -> Any:
        """Take apart functions, and objects that cannot be pickled, such as locks."""
        if isinstance(obj, FunctionType):
            cells = [cell.cell_contents for cell in obj.__closure__ or ()]
            names = [obj.__globals__.get(name) for name in obj.__code__.co_names]
            texts = [value for value in names if isinstance(value, (str, os.PathLike, np.ndarray))]
            return tuple, ([cells, obj.__defaults__, obj.__kwdefaults__, obj.__code__, texts],)
        if isinstance(obj, CodeType):
            return tuple, (obj.co_consts,)
        try:
            reduced = obj.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        except Exception:
            return tuple, (getattr(obj, "__dict__", ()),)
        return (tuple, ()) if isinstance(reduced, str) else reduced
