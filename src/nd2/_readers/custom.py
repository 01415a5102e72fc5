"""The optional chunks of a chunked file: recorded data, events, regions, binary layers, jobs, settings."""

from __future__ import annotations

import json
import warnings
import zlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nd2 import _errors
from nd2._format import clx_lite
from nd2._format.chunks import FILE_SIGNATURE
from nd2._parse import binary as parse_binary
from nd2._parse import custom_description
from nd2._parse import events as parse_events
from nd2._parse import jobs as parse_jobs
from nd2._parse import recorded as parse_recorded
from nd2._parse import rois as parse_rois
from nd2._readers.masks import MaskLayer, mask_layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nd2._format.chunks import ChunkMap
    from nd2._io import ByteSource
    from nd2._readers.stored import StoredChunk
    from nd2.structures import ROI, Attributes, CustomField, ExperimentEvent

EVENTS = [b"ImageEventsLV!", b"ImageEvents!", b"CustomData|ExperimentEventsV1_0!"]
RECORDED = b"CustomDataVar|CustomDataV2_0!"
ROIS = b"CustomData|RoiMetadata_v1!"
RUNS = b"CustomDataVar|BinaryMetadata_v1!"
RASTERS = b"CustomData|BinaryMetadata_v2!"
USER_FORM = b"CustomData|CustomDescriptionV1_0!"
JOB = [
    b"CustomData|JobDefinitionV1_0!",
    b"CustomData|JobDefinitionDescV1_0!",
    b"CustomData|JobRunGUIDV1_0!",
]
_MOST_JSON, _SMALL_JSON = 1 << 28, 1 << 20


class CustomChunks:
    """What a chunked file may hold beside image, loops and channels; each part is empty where the file lacks it."""

    source: ByteSource

    if TYPE_CHECKING:
        # what the reader that this is part of gives it

        @cached_property
        def chunk_map(self) -> ChunkMap: ...

        @cached_property
        def attributes(self) -> Attributes: ...

        def chunk(self, name: bytes) -> bytes | None: ...

        def chunk_many(self, names: list[bytes]) -> list[bytes | None]: ...

        def stored(self, name: str) -> StoredChunk | None: ...

        def _extent(self, name: bytes, position: int, size: int) -> int: ...

        def decode(
            self, name: bytes, data: bytes, *, strip_prefix: bool = ...
        ) -> dict[str, Any]: ...

    # ------------------------------------------------------------------------------------- recorded data and events

    @cached_property
    def recorded(self) -> Mapping[str, parse_recorded.RecordedColumn]:
        """Columns of the recorded-data table."""
        data = self.chunk(RECORDED)
        raw = None if data is None else self.decode(RECORDED, data)
        return parse_recorded.parse(raw, lambda name: self.chunk(_column(name)))

    def prefetch_recorded(self) -> None:
        """Take note that all columns are going to be read: a remote file gives them together."""
        others = self.chunk_map.others
        names = [name for name in map(_column, self.recorded) if name in others]
        self.source.prefetch(
            [(others[name][0], self._extent(name, *others[name])) for name in names]
        )

    @cached_property
    def experiment_events(self) -> list[ExperimentEvent]:
        """What happened during the experiment, in stored order."""
        return [
            event
            for name, data in zip(EVENTS, self.chunk_many(EVENTS), strict=True)
            if data
            for event in parse_events.parse(self.decode(name, data))
        ]

    # ------------------------------------------------------------------------------------ regions and binary layers

    @cached_property
    def rois(self) -> dict[int, ROI]:
        """Regions of interest by their identifier."""
        data = self.chunk(ROIS)
        return parse_rois.parse(self.decode(ROIS, data, strip_prefix=True)) if data else {}

    @cached_property
    def mask_layers(self) -> list[MaskLayer]:
        """Binary layers; their masks are read when they are asked for."""
        runs, rasters = self.chunk_many([RUNS, RASTERS])
        infos: list[parse_binary.LayerInfo] = []
        if runs:
            infos += parse_binary.parse_runs(self.decode(RUNS, runs, strip_prefix=True))
        if rasters:
            try:
                infos += parse_binary.parse_rasters(rasters)
            except ValueError as error:
                name = RASTERS.decode()
                raise _errors.corrupt_in(error, path=self.source.url, chunk=name) from error
        if not infos:
            return []
        names = [name for name in self._chunk_names if name.startswith(b"CustomDataSeq|")]
        shape = self.attributes.heightPx, self.attributes.widthPx or 0
        return mask_layers(infos, map(_text, names), shape, self.stored)

    # --------------------------------------------------------------------------------------------- jobs, user's form

    @cached_property
    def jobs(self) -> dict[str, Any] | None:
        """What the file says of the job that acquired it."""
        definition, description, run = self.chunk_many(JOB)
        if definition is None:
            return None
        return parse_jobs.parse(
            self.decode(JOB[0], definition, strip_prefix=True),
            self.decode(JOB[1], description, strip_prefix=True) if description else None,
            run or b"",
        )

    @cached_property
    def custom_metadata(self) -> list[CustomField]:
        """Fields of the form that the user filled in."""
        data = self.chunk(USER_FORM)
        if not data:
            return []
        try:
            return custom_description.parse(clx_lite.decode_items(data))
        except ValueError as error:
            name = USER_FORM.decode()
            raise _errors.corrupt_in(error, path=self.source.url, chunk=name) from error

    # -------------------------------------------------------------------------------------------------- all of them

    @cached_property
    def custom_data(self) -> dict[str, Any]:
        """Settings that the software keeps in XML, by the tag of their chunk."""
        prefix = b"CustomDataVar|"
        names = [name for name in self._chunk_names if name.startswith(prefix)]
        return self._decode_all({name: _text(name.removeprefix(prefix)) for name in names})

    def unstructured_metadata(
        self, *, strip_prefix: bool, include: set[str] | None, exclude: set[str] | None
    ) -> dict[str, Any]:
        """Return the decoded content of metadata chunks, by their name."""
        names = {name: _text(name) for name in self._chunk_names}
        if include is None:
            wanted = {n: key for n, key in names.items() if not n.startswith(b"CustomData")}
        else:
            wanted = {n: key for n, key in names.items() if key in include}
            if missing := sorted(include - set(wanted.values())):
                warnings.warn(
                    f"the file {self.source.url!r} has no metadata called {', '.join(missing)}",
                    stacklevel=3,
                )
        kept = {name: key for name, key in wanted.items() if key not in (exclude or ())}
        return self._decode_all(kept, strip_prefix=strip_prefix)

    @property
    def _chunk_names(self) -> list[bytes]:
        """Names of all chunks but the frames and the file's signature, sorted."""
        return sorted(self.chunk_map.others.keys() - {FILE_SIGNATURE})

    def _decode_all(self, names: dict[bytes, str], *, strip_prefix: bool = True) -> dict[str, Any]:
        """Decode chunks, and return their content under new names; as bytes what cannot be decoded."""
        trees: dict[str, Any] = {}
        for (name, key), data in zip(names.items(), self.chunk_many(list(names)), strict=True):
            if data is not None:
                try:
                    trees[key] = self.decode(name, data, strip_prefix=strip_prefix)
                except ValueError:
                    trees[key] = _json(data)
        return trees


def _column(identifier: str) -> bytes:
    return b"CustomData|%s!" % identifier.encode()


def _text(name: bytes) -> str:
    return name.removesuffix(b"!").decode("utf-8", "replace")


def _json(data: bytes) -> Any:
    """Return what JSON, compressed or not, says; the data themselves if they are none."""
    if data[:1] not in (b"[", b"{", b"\x78"):
        return data
    try:
        most = min(_MOST_JSON, _SMALL_JSON + 32 * len(data))
        plain = zlib.decompressobj().decompress(data, most) if data[:1] == b"\x78" else data
        return json.loads(plain.rstrip(b"\0"))
    except (zlib.error, ValueError):
        return data
