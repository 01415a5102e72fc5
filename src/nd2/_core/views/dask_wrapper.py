"""The dask array of an image as a ``ResourceBackedDaskArray``, the type that programs know from nd2 0.12.0.

Needs the package ``resource-backed-dask-array``; `nd2._core.views.dask` does without it.
"""

from __future__ import annotations

from typing import Any

from resource_backed_dask_array import ResourceBackedDaskArray

from nd2._core.views.dask import ImageArray, restore


class AlwaysOpen:
    """A resource that is never closed: the blocks of an array open the file themselves."""

    closed = False

    def __enter__(self) -> AlwaysOpen:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class WrappedImageArray(ImageArray, ResourceBackedDaskArray):  # type: ignore[misc]
    """An `ImageArray` that is a ``ResourceBackedDaskArray``, as are its parts and the results of its methods."""

    wrapped = True

    def __new__(cls, *args: Any, **options: Any) -> WrappedImageArray:
        options.setdefault("_context", AlwaysOpen())
        array: WrappedImageArray = super().__new__(cls, *args, **options)  # type: ignore[no-untyped-call]
        return array

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, (self.dask, self.name, self.chunks, self._meta)
