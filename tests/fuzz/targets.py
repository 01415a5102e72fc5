"""Targets of the fuzzers: everything that reads untrusted bytes.

A target may raise the errors that the package documents. Anything else is a finding: another error, a crash, more than
ten seconds, more memory than 64 MB and four times the input.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2
from nd2._core.format import chunks, clx_lite, clx_xml, jp2
from nd2._core.io import open_source
from nd2._core.open import open_reader
from nd2._core.readers import scan
from nd2._core.views.facts import Facts
from xarray_nd2.dataset.build import dataset_model
from xarray_nd2.references.formats import FORMATS
from xarray_nd2.references.kerchunk import to_dict
from xarray_nd2.references.layouts import LayoutName, LayoutOptions, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOCUMENTED = (OSError, ValueError, NotImplementedError, IndexError, ImportError)
MEMORY = 64 << 20
SECONDS = 10
_MAX_FRAMES = 24
_MAX_PIXELS = 4 << 20


class Hang(Exception):
    """An input took too long."""


def _try(call: Callable[[], Any]) -> Any:
    """Return what a call returns; None if it raises a documented error."""
    try:
        return call()
    except DOCUMENTED:
        return None


def _everything(file: nd2.ND2File) -> None:
    """Read everything in a file; each part may fail alone."""
    for name in (
        "version",
        "attributes",
        "experiment",
        "metadata",
        "text_info",
        "sizes",
        "dtype",
        "is_rgb",
        "loop_indices",
        "rois",
        "custom_metadata",
        "custom_data",
        "rescued",
    ):
        _try(lambda name=name: getattr(file, name))  # type: ignore[misc]
    repr(file)
    _try(file.voxel_size)
    _try(file.jobs)
    _try(file.unstructured_metadata)
    for orient in ("records", "list"):
        _try(lambda orient=orient: file.events(orient=orient))  # type: ignore[misc]
    layers = _try(lambda: file.binary_data)
    for layer in layers or []:
        _try(lambda layer=layer: layer[0])  # type: ignore[misc]
    _pixels(file)


def _pixels(file: nd2.ND2File) -> None:
    count = _try(lambda: file._reader.frame_count) or 0
    for frame in [*range(min(count, _MAX_FRAMES)), count - 1, count, -1]:
        _try(lambda frame=frame: file.frame_metadata(frame))  # type: ignore[misc]
        _try(lambda frame=frame: file.read_frame(frame))  # type: ignore[misc]
    if (_try(lambda: file.nbytes) or _MAX_PIXELS) < _MAX_PIXELS:
        _try(file.asarray)


def read_file(data: bytes) -> None:
    """Open, all metadata, all frames."""
    with nd2.ND2File(io.BytesIO(data)) as file:
        _everything(file)


def validate(data: bytes) -> None:
    """The same, with every chunk looked for."""
    with nd2.ND2File(io.BytesIO(data), validate_frames=True, search_window=4) as file:
        _pixels(file)


def rescue(data: bytes) -> None:
    """The same, for the chunks that a scan finds."""
    with nd2.ND2File(io.BytesIO(data), rescue=True) as file:
        _everything(file)


def rescue_frames(data: bytes) -> None:
    """The frames that a scan finds."""
    for frame in nd2.rescue_nd2(io.BytesIO(data), verbose=False):
        frame.sum()
    for frame in nd2.rescue_nd2(io.BytesIO(data), (6, 8), max_iters=4, verbose=False):
        frame.sum()


def references(data: bytes) -> None:
    """The dataset and the references to its bytes."""
    source = open_source(io.BytesIO(data))
    reader = open_reader(source)
    _try(lambda: dataset_model(Facts(reader)))
    kinds: list[tuple[LayoutName, int]] = [("flat", 2), ("positions", 3), ("ome-zarr", 3)]
    for layout, zarr_format in kinds:
        form = FORMATS[zarr_format]
        options = LayoutOptions("file:///a.nd2", layout)
        to_dict(describe(reader, options, stored_order=form.stored_order), form)


def metadata_lite(data: bytes) -> None:
    """Binary metadata."""
    _try(lambda: clx_lite.decode(data))
    _try(lambda: clx_lite.decode(data, strip_prefix=True))
    clx_lite.decode_items(data)


def metadata_xml(data: bytes) -> None:
    """XML metadata."""
    _try(lambda: clx_xml.decode(data))
    _try(lambda: clx_xml.decode(data, strip_prefix=True))
    clx_xml.decode_items(data)


def chunk_map(data: bytes) -> None:
    """Chunk map, heads, signature."""
    _try(lambda: chunks.parse_version(data))
    _try(lambda: chunks.parse_header(data, 0))
    chunks.parse_map(data, 0)


def boxes(data: bytes) -> None:
    """Boxes of legacy files."""
    _try(lambda: jp2.parse_map(data, len(data)))
    _try(lambda: jp2.parse_image_header(data))
    source = open_source(io.BytesIO(data))
    jp2.walk(source.read, len(data))


def scan_only(data: bytes) -> None:
    """The scan for chunks."""
    source = open_source(io.BytesIO(data))
    found = scan.collect(scan.scan_chunks(source), len(data))
    ends = found.data_offset + found.chunk_map.frame_size
    assert (ends <= np.uint64(len(data))).all()


FILES: dict[str, Callable[[bytes], None]] = {
    "file": read_file,
    "rescue": rescue,
    "references": references,
    "frames": rescue_frames,
    "validate": validate,
}
DECODERS: dict[str, Callable[[bytes], None]] = {
    "lite": metadata_lite,
    "xml": metadata_xml,
    "map": chunk_map,
    "boxes": boxes,
    "scan": scan_only,
}
TARGETS = FILES | DECODERS


def run(target: str, data: bytes) -> None:
    """Run a target on an input; raise an error that is not documented."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _try(lambda: TARGETS[target](data))


def check(target: str, data: bytes) -> None:
    """Run a target on an input, in bounds of time and memory; raise what is a finding."""
    with _bounded(len(data)):
        run(target, data)


def prepare() -> None:
    """Load what is loaded once, so that it does not count as the memory of the first input."""
    from tests.fuzz.seeds import seeds

    for target, data in seeds():
        run(target, data)


@contextmanager
def _bounded(nbytes: int) -> Iterator[None]:
    """Limit time, and the address space to its present size plus the memory that an input may take."""
    previous = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        if sys.platform == "linux":
            import resource

            limits = resource.getrlimit(resource.RLIMIT_AS)
            now = _address_space()
            resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY + 4 * nbytes, limits[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limits)
        else:
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _address_space() -> int:
    with open("/proc/self/statm", "rb") as handle:
        return int(handle.read().split()[0]) * os.sysconf("SC_PAGESIZE")


def _too_long(number: int, frame: Any) -> None:
    raise Hang(f"more than {SECONDS} seconds")
