"""Arrays and groups of a Zarr hierarchy, and the versions of Zarr in which references to them are written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias

import numpy as np

from nd2._core.export import zarr_documents
from nd2._core.views.jsonable import plain

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
        """Return the array, whose bytes are in order, with its axes in another order, by a codec if necessary."""
        places = [self.dims.index(dim) for dim in dims]
        order = tuple(dims.index(dim) for dim in self.dims)
        # Bytes keep their order if only axes of one item change places.
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
        cls, path: str, attrs: Mapping[str, Any], image: ZarrArray, coords: Mapping[str, ZarrArray]
    ) -> ZarrGroup:
        """Make the group of an image and its coordinates, which CF names in an attribute."""
        others = " ".join(coord for coord in coords if coord not in image.dims)
        named = {key: value for key, value in image.attrs.items() if key != "coordinates"}
        named |= {"coordinates": others} if others else {}
        return cls(path, plain(attrs), {"image": replace(image, attrs=named), **coords})

    @property
    def items(self) -> Iterator[tuple[str, ZarrArray]]:
        """Path and value of each array."""
        prefix = f"{self.path}/" if self.path else ""
        return ((f"{prefix}{name}", array) for name, array in self.arrays.items())


class _ZarrV2:
    """Zarr format 2, which every reader of kerchunk knows."""

    stored_order = True
    """Whether axes must be in stored order: kerchunk's readers do not support the transpose codec."""

    def documents(self, groups: Sequence[ZarrGroup]) -> dict[str, Any]:
        """Return the documents of groups, the root first, by their keys, consolidated metadata included."""
        metadata: dict[str, Any] = {}
        for group in groups:
            prefix = f"{group.path}/" if group.path else ""
            metadata[f"{prefix}.zgroup"] = {"zarr_format": 2}
            metadata[f"{prefix}.zattrs"] = group.attrs
            for path, array in group.items:
                metadata[f"{path}/.zarray"] = self.array_document(array)
                metadata[f"{path}/.zattrs"] = {**array.attrs, "_ARRAY_DIMENSIONS": list(array.dims)}
        return {**metadata, ".zmetadata": {"metadata": metadata, "zarr_consolidated_format": 1}}

    def array_document(self, array: ZarrArray) -> dict[str, Any]:
        """Return the document of an array."""
        return {
            "zarr_format": 2,
            "shape": list(array.shape),
            "chunks": [max(n, 1) for n in array.chunks],
            "dtype": array.dtype.str,
            # The level has no effect on reading.
            "compressor": {"id": "zlib", "level": 1} if array.codec == "zlib" else None,
            # A fill value makes xarray mask: uint16 would read back as float.
            "fill_value": None,
            "filters": None,
            "order": "C",
            "dimension_separator": ".",
        }

    def chunk_key(self, path: str, indices: Sequence[str]) -> str:
        """Return the key of a chunk."""
        return f"{path}/{'.'.join(indices or ['0'])}"

    def encode(self, values: NDArray[Any]) -> bytes:
        """Return values as the bytes of a chunk."""
        return values.tobytes()

    def decode(self, array: ZarrArray, chunk: bytes) -> NDArray[Any]:
        """Return the values of an array from its only chunk."""
        return np.frombuffer(chunk, array.dtype).reshape(array.shape)

    def root_attrs(self, refs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of the root."""
        return _parse(refs.get(".zattrs", "{}"))

    def group_paths(self, refs: Mapping[str, Any]) -> list[str]:
        """Return the paths of all groups but the root."""
        return [key.removesuffix("/.zgroup") for key in refs if key.endswith("/.zgroup")]

    def arrays(self, refs: Mapping[str, Any]) -> dict[str, ZarrArray]:
        """Return the arrays of references by their paths, without data."""
        arrays = {}
        for path, document in _members(refs, ".zarray").items():
            attrs = _parse(refs[f"{path}/.zattrs"])
            compressor = document["compressor"]
            arrays[path] = ZarrArray(
                tuple(attrs.pop("_ARRAY_DIMENSIONS")),
                tuple(document["shape"]),
                tuple(document["chunks"]),
                np.dtype(document["dtype"]),
                attrs=attrs,
                codec="raw" if compressor is None else compressor["id"],
            )
        return arrays


class _ZarrV3:
    """Zarr format 3, with the same methods."""

    stored_order = False

    def documents(self, groups: Sequence[ZarrGroup]) -> dict[str, Any]:
        root, *others = groups
        nodes = {path: self.array_document(array) for path, array in root.items}
        for group in others:
            nodes[group.path] = zarr_documents.group_document(group.attrs)
            nodes |= {path: self.array_document(array) for path, array in group.items}
        document = zarr_documents.group_document(root.attrs, nodes)
        return {"zarr.json": document, **{f"{path}/zarr.json": node for path, node in nodes.items()}}

    def array_document(self, array: ZarrArray) -> dict[str, Any]:
        codecs: list[dict[str, Any]] = []
        if array.transpose is not None:
            codecs.append({"name": "transpose", "configuration": {"order": list(array.transpose)}})
        text = array.dtype.kind == "U"
        codecs.append({"name": "vlen-utf8"} if text else zarr_documents.bytes_codec(array.dtype))
        if array.codec == "zlib":  # the level has no effect on reading
            codecs.append({"name": "numcodecs.zlib", "configuration": {"level": 1}})
        return zarr_documents.array_document(
            shape=array.shape, chunks=array.chunks, dtype=array.dtype, codecs=codecs, dims=array.dims, attrs=array.attrs
        )

    def chunk_key(self, path: str, indices: Sequence[str]) -> str:
        return f"{path}/{'.'.join(['c', *indices])}"

    def encode(self, values: NDArray[Any]) -> bytes:
        if values.dtype.kind != "U":
            return V2.encode(values)
        from numcodecs.vlen import VLenUTF8

        return bytes(VLenUTF8().encode(values.astype(object)))

    def decode(self, array: ZarrArray, chunk: bytes) -> NDArray[Any]:
        if array.dtype.kind != "U":
            return V2.decode(array, chunk)
        from numcodecs.vlen import VLenUTF8

        return np.array(VLenUTF8().decode(chunk).tolist(), np.str_).reshape(array.shape)

    def root_attrs(self, refs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(_parse(refs["zarr.json"]).get("attributes", {}))

    def group_paths(self, refs: Mapping[str, Any]) -> list[str]:
        return [path for path, node in _members(refs, "zarr.json").items() if node.get("node_type") == "group"]

    def arrays(self, refs: Mapping[str, Any]) -> dict[str, ZarrArray]:
        arrays = {}
        for path, node in _members(refs, "zarr.json").items():
            if node.get("node_type") == "array":
                codecs = {codec["name"]: codec.get("configuration", {}) for codec in node["codecs"]}
                order = codecs.get("transpose", {}).get("order")
                kind = node["data_type"]
                arrays[path] = ZarrArray(
                    tuple(node["dimension_names"]),
                    tuple(node["shape"]),
                    tuple(node["chunk_grid"]["configuration"]["chunk_shape"]),
                    np.dtype(np.str_) if kind == "string" else np.dtype(kind).newbyteorder("<"),
                    attrs=node["attributes"],
                    codec="zlib" if "numcodecs.zlib" in codecs else "raw",
                    transpose=None if order is None else tuple(order),
                )
        return arrays


V2, V3 = _ZarrV2(), _ZarrV3()
ZarrFormat: TypeAlias = _ZarrV2 | _ZarrV3
FORMATS: dict[int, ZarrFormat] = {2: V2, 3: V3}


def _members(refs: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Return the documents of one name below the root by the paths of their folders."""
    suffix = f"/{name}"
    return {key.removesuffix(suffix): _parse(refs[key]) for key in refs if key.endswith(suffix)}


def _parse(text: Any) -> dict[str, Any]:
    """Read a document, which references contain as JSON text or as an object."""
    document: dict[str, Any] = json.loads(text) if isinstance(text, (str, bytes)) else text
    return document
