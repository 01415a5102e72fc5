"""A file as the keys of a Zarr hierarchy: OME-Zarr 0.5 with levels and labels, whose tiles are computed on request."""

from __future__ import annotations

import json
import re
from dataclasses import field, replace
from http import HTTPStatus
from threading import BoundedSemaphore, RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.export import zarr_documents
from nd2._core.export.zarr_documents import ImageAxes
from nd2._core.io.urls import file_name, file_stem
from nd2._core.open import open_reader
from nd2._core.values import cached_property, record
from nd2._core.views.facts import Facts
from nd2._core.views.picture import channel_limits
from nd2._core.views.pyramid import TILE, Pyramid
from xarray_nd2.dataset.build import dataset_model
from xarray_nd2.dataset.coords import FrameValues
from xarray_nd2.references.formats import V3, ZarrArray, ZarrGroup
from xarray_nd2.references.layouts import ome_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.frames.array import FrameArray
    from nd2._core.readers import Reader
    from nd2._core.readers.layer_chunks import LayerChunks
    from nd2._core.views.pyramid import LevelArray

OWN = "_"
"""Folder of keys that are not part of the OME-Zarr."""
POSITIONS = f"{OWN}/positions"
"""Group of all positions on an axis ``p``, for the viewer only: OME-Zarr does not define such an axis."""

_LARGE = 2048
"""Planes up to this size come in at most four tiles: many small ones take longer to read as a whole."""
_MAX_READERS = 8
"""Tiles that are computed at once, for any number of clients: each needs memory for rows of a frame."""
_MASK_BYTES = 64 << 20
"""Memory for the masks of each binary layer; at least one mask is kept."""
_CHUNK = re.compile(r"c(\.\d{1,12})+")


@record
class Answer:
    """An answer; a ``stream`` stays open, without content, until one side closes the connection."""

    kind: str  # media type; empty if there is no content
    data: bytes | memoryview
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: bool = False


@record
class Labels:
    """A binary layer that is served."""

    name: str  # of its group
    title: str  # for people
    layer: LayerChunks
    masks: Pyramid


@record
class Tiles:
    """A level whose tiles are computed when they are read; ``dims`` are its axes in the array's order."""

    level: LevelArray
    dims: tuple[str, ...]

    def transpose(self, order: Sequence[int], /) -> Tiles:
        """Return the same level with its axes in another order."""
        return replace(self, dims=tuple(self.dims[i] for i in order))


class Store:
    """An open file as a Zarr hierarchy; the axis ``p`` of its ``axes`` is that of the positions."""

    def __init__(self, path: Any, storage_options: Mapping[str, Any] | None) -> None:
        self._lock: RLock = RLock()
        self.reader: Reader = open_reader(path, storage_options=storage_options)
        try:
            self.facts: Facts = Facts(self.reader)
            model = dataset_model(self.facts, labels=False)
            # Clients must not learn the folder of the file.
            attrs = {**model.attrs, "source": file_name(str(model.attrs["source"]))}
            self.image: FrameArray = model.image
            self.name: str = str(attrs["source"])
            self.labels: list[Labels] = [
                Labels(
                    zarr_documents.label_name(i, layer.info.name),
                    layer.info.name,
                    layer,
                    Pyramid(FrameValues(layer, self.image.grid), nearest=True, limit=_MASK_BYTES),
                )
                for i, layer in enumerate(self.reader.binary_layers)
            ]
            self.pyramid: Pyramid = Pyramid(self.image)
            model = replace(model, attrs=attrs)
            groups = ome_groups(self.facts, model, lambda _, position: _level_arrays(self.pyramid, position))
            last = self.image.fix("P", self.positions - 1) if self.positions else self.image
            array = groups[-1].arrays["0"]
            axes = ImageAxes.from_shape("".join(array.dims), array.shape, self.facts, last.grid.steps("T"))
            if self.labels:
                groups += self._describe_labels(axes)
            if self.positions:
                axes = axes.prepend("p", self.positions)
                groups += self._describe_whole(axes)
            self.axes: ImageAxes = axes
            # Tiles are made in the order of the array's axes.
            self._groups: list[ZarrGroup] = [
                replace(group, arrays={name: replace(array, transpose=None) for name, array in group.arrays.items()})
                for group in groups
            ]
            self._readers: BoundedSemaphore = BoundedSemaphore(_MAX_READERS)
        except BaseException:
            self.reader.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.reader.close()

    @property
    def positions(self) -> int:
        """Number of positions that are images of their own; 0 if the file is one image."""
        return self.image.sizes.get("P", 0)

    @property
    def limits(self) -> list[tuple[float, float]]:
        """Range of values to display for each channel, from a sample of a few frames."""
        with self._lock:
            return self._limits

    @cached_property
    def _limits(self) -> list[tuple[float, float]]:
        try:
            return channel_limits(self.reader, self.facts)
        except (OSError, ValueError):  # a damaged frame
            return [self.facts.display_range or (0.0, 1.0)] * len(self.facts.channels)

    @cached_property
    def _arrays(self) -> dict[str, ZarrArray]:
        return {path: array for group in self._groups for path, array in group.items}

    @cached_property
    def _texts(self) -> dict[str, bytes]:
        public = [group for group in self._groups if not group.path.startswith(OWN)]
        own = [group for group in self._groups if group.path.startswith(OWN)]
        for group in public:
            self._set_windows(group)
        documents = V3.documents(public)
        for group in own:
            documents |= {
                f"{group.path}/{key}": document for key, document in V3.documents([replace(group, path="")]).items()
            }
        return {key: json.dumps(document).encode() for key, document in documents.items()}

    def get(self, key: str) -> Answer | None:
        """Return the answer to a request for a key; None for keys that do not exist."""
        with self._lock:  # clients make several requests at once: all of them need the texts, which take a while
            texts = self._texts
        if key in texts:
            return Answer("application/json", texts[key])
        path, _, chunk = key.rpartition("/")
        if path not in self._arrays or not _CHUNK.fullmatch(chunk):
            return None
        array = self._arrays[path]
        index = tuple(map(int, chunk.split(".")[1:]))
        grid = array.grid
        if len(index) != len(grid) or any(i >= n for i, n in zip(index, grid, strict=True)):
            return None
        with self._readers:
            values = np.ascontiguousarray(_read_chunk(array, index))
        return Answer("application/octet-stream", values.data.cast("B"))

    def _describe_labels(self, image: ImageAxes) -> Iterator[ZarrGroup]:
        """Describe the binary layers, for each image with the given axes."""
        axes, names = image.label_axes, [labels.name for labels in self.labels]
        for position in range(self.positions) if self.positions else [None]:
            root = "labels" if position is None else f"{position}/labels"
            yield ZarrGroup(root, {"ome": {"version": zarr_documents.VERSION, "labels": names}})
            for labels in self.labels:
                mark = {"image-label": zarr_documents.image_label(labels.layer.info.color)}
                yield _image_group(f"{root}/{labels.name}", axes, labels.name, labels.masks, position, **mark)

    def _describe_whole(self, axes: ImageAxes) -> Iterator[ZarrGroup]:
        """Describe all positions as one image, and each binary layer as one, with an axis ``p`` in front."""
        yield _image_group(POSITIONS, axes, file_stem(self.name), self.pyramid)
        for labels in self.labels:
            path = f"{POSITIONS}/labels/{labels.name}"
            yield _image_group(path, axes.label_axes, labels.name, labels.masks)

    def _set_windows(self, group: ZarrGroup) -> None:
        """Set the display range of each channel of an image group; the samples of a channel share it."""
        channels = group.attrs.get("ome", {}).get("omero", {}).get("channels", [])
        for i, channel in enumerate(channels):
            low, high = self.limits[i * len(self.limits) // len(channels)]
            channel["window"] = {**channel["window"], "start": low, "end": high}


def _image_group(
    path: str, axes: ImageAxes, name: str, pyramid: Pyramid, position: int | None = None, **more: Any
) -> ZarrGroup:
    """Describe the levels of an image, or of one position of it, as a group with the given axes."""
    arrays = {}
    for number, array in enumerate(_level_arrays(pyramid, position)):
        names = {"c" if dim == "S" else dim.lower(): dim for dim in array.dims}
        moved = array.with_dims(tuple(names[axis] for axis in axes.names))
        arrays[str(number)] = replace(moved, dims=tuple(axes.names))
    multiscales = zarr_documents.multiscales(axes, name, pyramid.levels)
    block = {"version": zarr_documents.VERSION, "multiscales": multiscales, **more}
    return ZarrGroup(path, {"ome": block}, arrays)


def _level_arrays(pyramid: Pyramid, position: int | None) -> Iterator[ZarrArray]:
    """Describe the levels of an image, or of one position of it."""
    sides = dict(zip(pyramid.dims, pyramid.planes.shape, strict=True))
    tile = TILE if max(sides["Y"], sides["X"]) > _LARGE else _LARGE // 2
    for number in range(pyramid.levels):
        level = pyramid.level(number)
        if position is not None:
            level = level.narrow(tuple(position if dim == "P" else slice(None) for dim in level.dims))
        wanted = {"Y": tile, "X": tile, "S": 3}
        chunks = tuple(max(min(size, wanted.get(dim, 1)), 1) for dim, size in zip(level.dims, level.shape, strict=True))
        yield ZarrArray(level.dims, level.shape, chunks, level.dtype, Tiles(level, level.dims))


def _read_chunk(array: ZarrArray, index: Iterable[int]) -> NDArray[Any]:
    """Read one chunk; past the last row and column of the image it is zero."""
    assert isinstance(array.data, Tiles)
    level, dims = array.data.level, array.data.dims
    places = zip(dims, index, array.chunks, array.shape, strict=True)
    key = {dim: slice(i * n, min((i + 1) * n, size)) for dim, i, n, size in places}
    part = level.read(tuple(key[dim] for dim in level.dims)).transpose([level.dims.index(dim) for dim in dims])
    if part.shape == array.chunks:
        return part
    whole = np.zeros(array.chunks, part.dtype)
    whole[tuple(map(slice, part.shape))] = part
    return whole
