"""Planning of remote reads: which ranges become one request, and copying a stream of bytes into buffers."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from nd2._core import errors
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Sequence

_PARALLEL = 8
_LEAST = 8 << 20


@record
class Tuning:
    """Settings of remote reads, in fsspec's configuration under ``"nd2"``.

    ``fsspec.config.conf["nd2"] = {"max_gap": 0}``, a file in ``~/.config/fsspec``, or the environment variable
    ``FSSPEC_ND2_MAX_GAP=0``. The values travel with pickled sources.

    Attributes
    ----------
    max_gap : int
        Ranges at most this many bytes apart are read with one request; the bytes between them are discarded.
        About the bandwidth times the latency of a connection, divided by the number of requests in flight.
    max_request : int
        Maximum bytes of one request; longer ranges are read with several parallel requests.
    """

    max_gap: int = 64 << 10
    max_request: int = 32 << 20

    @classmethod
    def current(cls) -> Tuning:
        """Return the settings that fsspec's configuration has now."""
        from fsspec.config import conf

        found = conf.get("nd2", {})
        values = {name: int(found[name]) for name in cls.__match_args__ if name in found}
        if any(value < (name == "max_request") for name, value in values.items()):
            raise ValueError(f"fsspec's configuration for nd2 is out of range: {values}")
        return cls(**values)


@record
class Request:
    """One range to request, and the buffers for parts of it.

    Attributes
    ----------
    pieces : list of (int, memoryview)
        Offset in the file and buffer (1-D, of bytes) of each part, sorted, without overlap.
    """

    start: int
    stop: int
    pieces: list[tuple[int, memoryview]]


def plan(targets: Sequence[tuple[int, memoryview]], tuning: Tuning) -> list[Request]:
    """Merge near ranges and cut long ones.

    Parameters
    ----------
    targets : sequence of (int, memoryview)
        Offset and buffer (1-D, of bytes) of each range, in any order.
    """
    total = sum(len(view) for _, view in targets)
    # Large reads are spread over several connections, small ones are not worth cutting.
    block = min(max(total // _PARALLEL, _LEAST), tuning.max_request)
    requests: list[Request] = []
    start = stop = -1
    pieces: list[tuple[int, memoryview]] = []
    for offset, view in _cut(sorted(targets, key=itemgetter(0)), block):
        end = offset + len(view)
        if pieces and 0 <= offset - stop <= tuning.max_gap and end - start <= block:
            pieces.append((offset, view))
        else:
            if pieces:
                requests.append(Request(start, stop, pieces))
            start, pieces = offset, [(offset, view)]
        stop = end
    if pieces:
        requests.append(Request(start, stop, pieces))
    return requests


def _cut(targets: Sequence[tuple[int, memoryview]], block: int) -> Sequence[tuple[int, memoryview]]:
    """Cut buffers that are longer than a block into equal parts."""
    if all(len(view) <= block for _, view in targets):
        return [(offset, view) for offset, view in targets if len(view)]
    parts: list[tuple[int, memoryview]] = []
    for offset, view in targets:
        step = -(-len(view) // (-(-len(view) // block) or 1)) or 1
        parts.extend((offset + k, view[k : k + step]) for k in range(0, len(view), step))
    return parts


class Scatter:
    """Copies the bytes of one response into the buffers of the request, as they arrive."""

    def __init__(self, request: Request, url: str) -> None:
        self._request, self._url = request, url
        self._position = request.start
        self._next = 0

    def feed(self, chunk: bytes) -> None:
        """Copy the next bytes."""
        start = self._position
        end = start + len(chunk)
        if end > self._request.stop:
            raise self._wrong(end - self._request.start, "at least ")
        source, pieces = memoryview(chunk), self._request.pieces
        while self._next < len(pieces):
            offset, view = pieces[self._next]
            stop = offset + len(view)
            first, last = max(offset, start), min(stop, end)
            if first < last:
                view[first - offset : last - offset] = source[first - start : last - start]
            if stop > end:
                break
            self._next += 1
        self._position = end

    def finish(self) -> None:
        """Check that all bytes have arrived."""
        if self._position != self._request.stop:
            raise self._wrong(self._position - self._request.start, "")

    def _wrong(self, got: int, about: str) -> OSError:
        return errors.source(
            f"asked for {self._request.stop - self._request.start} bytes, got {about}{got}; "
            "does the server serve byte ranges, and did the file change?",
            path=self._url,
            offset=self._request.start,
        )
