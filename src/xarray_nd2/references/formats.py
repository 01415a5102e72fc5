"""The versions of Zarr in which references are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from xarray_nd2.references import v2, v3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from xarray_nd2.references.arrays import ZarrArray, ZarrGroup


class ZarrFormat(Protocol):
    """Interface of the modules `v2` and `v3`."""

    STORED_ORDER: bool

    def documents(self, groups: Sequence[ZarrGroup]) -> dict[str, Any]:
        """Return the documents of groups by their keys, consolidated metadata included."""

    def chunk_prefix(self, path: str) -> str:
        """Return what precedes the indices of a chunk in its key."""

    def only_chunk(self, path: str, ndim: int) -> str:
        """Return the key of the only chunk of an array."""

    def encode(self, values: NDArray[Any]) -> bytes:
        """Return values as the bytes of a chunk."""

    def decode(self, array: ZarrArray, chunk: bytes) -> NDArray[Any]:
        """Return the values of an array from its only chunk."""

    def root_attrs(self, refs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of the root."""

    def group_paths(self, refs: Mapping[str, Any]) -> list[str]:
        """Return the paths of all groups but the root."""

    def arrays(self, refs: Mapping[str, Any]) -> dict[str, ZarrArray]:
        """Return the arrays of references by their paths, without data."""


FORMATS: dict[int, ZarrFormat] = {2: v2, 3: v3}


def zarr_format(refs: Mapping[str, Any]) -> int:
    """Return the version of Zarr in which references are written."""
    return 3 if "zarr.json" in refs else 2
