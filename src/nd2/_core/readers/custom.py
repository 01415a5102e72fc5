"""The optional chunks of a chunked file: recorded data, events, regions, binary layers, jobs, settings."""

from __future__ import annotations

import json
import warnings
import zlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.chunks import (
    binary_layers,
    events,
    form,
    jobs,
    recorded_data,
    regions,
    settings,
)
from nd2._core.format import clx_lite
from nd2._core.format.chunks import FILE_SIGNATURE, SEQUENCE_PREFIX, display_name
from nd2._core.readers.chunked import ChunkedReader
from nd2._core.readers.masks import MaskLayer, mask_layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nd2._core.structures import ROI, Attributes, CustomField, ExperimentEvent

_MAX_JSON, _SMALL_JSON = 1 << 28, 1 << 20


class CustomChunks(ChunkedReader):
    """What a chunked file may hold beside image, loops and channels; each part is empty where the file lacks it."""

    if TYPE_CHECKING:
        # what the reader that this is part of gives it

        @cached_property
        def attributes(self) -> Attributes: ...

    # ------------------------------------------------------------------------------------- recorded data and events

    @cached_property
    def recorded(self) -> Mapping[str, recorded_data.RecordedColumn]:
        """Columns of the recorded-data table."""
        data = self.chunk(recorded_data.NAME)
        raw = None if data is None else self.decode(recorded_data.NAME, data)
        return recorded_data.decode(raw, lambda name: self.chunk(recorded_data.column_name(name)))

    def prefetch_recorded(self) -> None:
        """Take note that all columns are going to be read: a remote file gives them together."""
        columns = map(recorded_data.column_name, self.recorded)
        self.source.prefetch(list(self._spans(columns).values()))

    @cached_property
    def experiment_events(self) -> list[ExperimentEvent]:
        """What happened during the experiment, in stored order."""
        return [
            event
            for name, data in zip(events.NAMES, self.chunk_many(events.NAMES), strict=True)
            if data
            for event in events.decode(self.decode(name, data))
        ]

    # ------------------------------------------------------------------------------------ regions and binary layers

    @cached_property
    def rois(self) -> dict[int, ROI]:
        """Regions of interest by their identifier."""
        data = self.chunk(regions.NAME)
        return regions.decode(self.decode(regions.NAME, data, strip_prefix=True)) if data else {}

    @cached_property
    def mask_layers(self) -> list[MaskLayer]:
        """Binary layers; their masks are read when they are asked for."""
        runs, rasters = self.chunk_many([binary_layers.RUNS_NAME, binary_layers.RASTERS_NAME])
        infos: list[binary_layers.LayerInfo] = []
        if runs:
            infos += binary_layers.decode_runs(
                self.decode(binary_layers.RUNS_NAME, runs, strip_prefix=True)
            )
        if rasters:
            try:
                infos += binary_layers.decode_rasters(rasters)
            except ValueError as error:
                raise errors.corrupt_in(
                    error, path=self.source.url, chunk=binary_layers.RASTERS_NAME
                ) from error
        if not infos:
            return []
        of_frames = [name for name in self._chunk_names if name.startswith(SEQUENCE_PREFIX)]
        shape = self.attributes.heightPx, self.attributes.widthPx or 0
        return mask_layers(infos, map(display_name, of_frames), shape, self.stored)

    # --------------------------------------------------------------------------------------------- jobs, user's form

    @cached_property
    def jobs(self) -> dict[str, Any] | None:
        """What the file says of the job that acquired it."""
        definition, description, run = self.chunk_many(jobs.NAMES)
        if definition is None:
            return None
        return jobs.decode(
            self.decode(jobs.NAMES[0], definition, strip_prefix=True),
            self.decode(jobs.NAMES[1], description, strip_prefix=True) if description else None,
            run or b"",
        )

    @cached_property
    def custom_metadata(self) -> list[CustomField]:
        """Fields of the form that the user filled in."""
        data = self.chunk(form.NAME)
        if not data:
            return []
        try:
            return form.decode(clx_lite.decode_items(data))
        except ValueError as error:
            raise errors.corrupt_in(error, path=self.source.url, chunk=form.NAME) from error

    # -------------------------------------------------------------------------------------------------- all of them

    @cached_property
    def custom_data(self) -> dict[str, Any]:
        """Settings that the software keeps in XML, by the tag of their chunk."""
        prefix = settings.PREFIX
        names = [name for name in self._chunk_names if name.startswith(prefix)]
        return self._decode_all({name: display_name(name.removeprefix(prefix)) for name in names})

    def unstructured_metadata(
        self, *, strip_prefix: bool, include: set[str] | None, exclude: set[str] | None
    ) -> dict[str, Any]:
        """Return the decoded content of metadata chunks, by their name."""
        known = {name: display_name(name) for name in self._chunk_names}
        if include is None:
            wanted = {n: key for n, key in known.items() if not n.startswith(b"CustomData")}
        else:
            wanted = {n: key for n, key in known.items() if key in include}
            if missing := sorted(include - set(wanted.values())):
                near = errors.hint(missing[0], known.values()) if len(missing) == 1 else ""
                warnings.warn(
                    f"the file {self.source.url!r} has no metadata called {', '.join(missing)}{near}",
                    stacklevel=3,
                )
        kept = {name: key for name, key in wanted.items() if key not in (exclude or ())}
        return self._decode_all(kept, strip_prefix=strip_prefix)

    @property
    def _chunk_names(self) -> list[bytes]:
        """Names of all chunks but the frames and the file's signature, sorted."""
        return sorted(self.chunk_map.others.keys() - {FILE_SIGNATURE})

    def _decode_all(self, wanted: dict[bytes, str], *, strip_prefix: bool = True) -> dict[str, Any]:
        """Decode chunks, and return their content under new names; as bytes what cannot be decoded."""
        trees: dict[str, Any] = {}
        for (name, key), data in zip(wanted.items(), self.chunk_many(list(wanted)), strict=True):
            if data is not None:
                try:
                    trees[key] = self.decode(name, data, strip_prefix=strip_prefix)
                except ValueError:
                    trees[key] = _json(data)
        return trees


def _json(data: bytes) -> Any:
    """Return what JSON, compressed or not, says; the data themselves if they are none."""
    if data[:1] not in (b"[", b"{", b"\x78"):
        return data
    try:
        most = min(_MAX_JSON, _SMALL_JSON + 32 * len(data))
        plain = zlib.decompressobj().decompress(data, most) if data[:1] == b"\x78" else data
        return json.loads(plain.rstrip(b"\0"))
    except (zlib.error, ValueError):
        return data
