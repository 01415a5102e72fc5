"""Arrays and groups of a Zarr hierarchy, before any library and any version of the format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray


class Data(Protocol):
    """Data of an array: byte ranges, values in memory, or an image that is read by chunks."""

    def transpose(self, order: Sequence[int], /) -> Self:
        """Return the data with their axes in another order."""


@dataclass(frozen=True, eq=False)
class ByteRanges:
    """Where the chunks of an array are: arrays of the shape of the chunk grid.

    Length 0 means that the chunk is missing. ``files`` are indices into ``urls``; None if there is one file.
    """

    urls: tuple[str, ...]
    offsets: NDArray[np.uint64]
    lengths: NDArray[np.uint64]
    files: NDArray[np.intp] | None = None

    def transpose(self, order: Sequence[int], /) -> ByteRanges:
        """Return the ranges with the axes of the chunk grid in another order."""
        files = None if self.files is None else self.files.transpose(order)
        return replace(self, offsets=self.offsets.transpose(order), lengths=self.lengths.transpose(order), files=files)


_UNKNOWN = ByteRanges((), np.zeros(0, np.uint64), np.zeros(0, np.uint64))


@dataclass(frozen=True, eq=False)
class ZarrArray:
    """An array as Zarr holds it; values in memory are one chunk.

    A chunk may be wider than the array if rows are padded. ``transpose`` is the place on the array's axes of each
    axis of the stored bytes; None if these are in order.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    data: Data = _UNKNOWN
    attrs: dict[str, Any] = field(default_factory=dict)
    codec: Literal["raw", "zlib"] = "raw"
    transpose: tuple[int, ...] | None = None

    @classmethod
    def from_values(cls, dims: Iterable[str], values: Any, attrs: Mapping[str, Any] | None = None) -> ZarrArray:
        """Make the array of values in memory: little-endian, texts of fixed width, one chunk."""
        array = np.asarray(values)
        if array.dtype.kind in "OT":
            array = np.array(array.tolist(), np.str_)
        if array.dtype.itemsize == 0:  # all texts are empty
            array = array.astype("U1")
        array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        return cls(tuple(dims), array.shape, array.shape, array.dtype, array, plain(attrs or {}))

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks on each axis."""
        return tuple(-(-n // max(m, 1)) for n, m in zip(self.shape, self.chunks, strict=True))

    def with_dims(self, dims: tuple[str, ...]) -> ZarrArray:
        """Return the array with its axes in another order, by a transpose codec if one is needed.

        The stored bytes of this array must be in order.
        """
        places = [self.dims.index(dim) for dim in dims]
        order = tuple(dims.index(dim) for dim in self.dims)
        # If only axes of one item change places, the bytes stay as they are.
        longer = [place for place in order if self.chunks[places[place]] > 1]
        return replace(
            self,
            dims=dims,
            shape=tuple(self.shape[i] for i in places),
            chunks=tuple(self.chunks[i] for i in places),
            data=self.data.transpose(places),
            transpose=None if longer == sorted(longer) else order,
        )


@dataclass(frozen=True, eq=False)
class ZarrGroup:
    """A group: its path (empty for the root), its attributes, and its arrays by name."""

    path: str
    attrs: dict[str, Any]
    arrays: Mapping[str, ZarrArray] = field(default_factory=dict)

    @classmethod
    def from_image(
        cls, path: str, attrs: Mapping[str, Any], image: ZarrArray, coords: Mapping[str, ZarrArray], name: str = "image"
    ) -> ZarrGroup:
        """Make the group of an image and its coordinates, which CF names in an attribute."""
        others = " ".join(coord for coord in coords if coord not in image.dims)
        named = {key: value for key, value in image.attrs.items() if key != "coordinates"}
        named |= {"coordinates": others} if others else {}
        return cls(path, plain(attrs), {name: replace(image, attrs=named), **coords})

    @property
    def items(self) -> Iterator[tuple[str, ZarrArray]]:
        """Path and value of each array."""
        prefix = f"{self.path}/" if self.path else ""
        return ((f"{prefix}{name}", array) for name, array in self.arrays.items())


def plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with NumPy's scalars and arrays as Python's numbers and lists."""
    return {
        key: value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value for key, value in attrs.items()
    }
