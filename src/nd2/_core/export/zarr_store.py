"""Where an OME-Zarr is written: a folder or a URL, and the library that encodes and writes its chunks.

Metadata documents are written here as JSON, the same for both libraries, which only fill the arrays.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nd2._core import errors
from nd2._core.export import zarr_documents as documents
from nd2._core.io.destination import explained
from nd2._core.io.open import file_system
from nd2._core.io.urls import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nd2._core.export.gate import GatedStore

Backend = Literal["auto", "zarr", "tensorstore"]
Write = Callable[[tuple[slice, ...], "NDArray[Any]"], None]
"""Writes a part of an array, made of whole chunks (or shards); several threads may, if they share no chunk."""
_LEFT_BEHIND = re.compile(r"(\.[0-9a-f]{32}\.partial|\.__lock)$")
"""Ends of the names that zarr-python and tensorstore give to a file before it is complete."""


class Target:
    """Where files and arrays are written: a local folder, or with ``storage_options`` a URL that fsspec supports."""

    def __init__(self, place: str, storage_options: Mapping[str, Any] | None) -> None:
        self.place, self.storage_options = place, storage_options
        self._gate: GatedStore | None = None

    def put(self, name: str, data: bytes) -> None:
        """Write a file."""
        if self.storage_options is None:
            path = Path(self.place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            return
        with explained(redact(self.place)):
            fs, root = file_system(self.place, self.storage_options)
            target = f"{root.rstrip('/')}/{name}"
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            fs.pipe_file(target, data)

    def put_metadata(self, path: str, document: Any) -> None:
        """Write the metadata of a group or an array; ``path`` is ``""`` for the root.

        Values that JSON does not have are written as text.
        """
        self.put(f"{path}/zarr.json".lstrip("/"), json.dumps(document, default=str).encode())

    def open_array(self, name: str, backend: Backend, threads: int | None = None) -> Write:
        """Open an array whose metadata exist; ``threads`` limits those that compress, in new processes."""
        if backend == "tensorstore":
            return _open_tensorstore(Path(self.place, name), threads)
        import zarr

        if threads is not None:
            zarr.config.set({"threading.max_workers": threads})

        if self._gate is None:
            from nd2._core.export.gate import GatedStore

            self._gate = GatedStore(self._open())
        array: Any = zarr.open_array(self._gate, path=name, mode="r+", zarr_format=3)
        filled = array.with_config({"write_empty_chunks": True})

        def write(region: tuple[slice, ...], data: NDArray[Any]) -> None:
            # zarr-python omits empty chunks, and needs as long to find them as to compress: 4 ms against 0.07 ms here.
            (array if _any_empty(data, array.chunks) else filled)[region] = data

        return write

    def _open(self) -> Any:
        """Return a store of zarr-python."""
        from zarr.storage import FsspecStore, LocalStore

        if self.storage_options is None:
            return LocalStore(self.place)
        return FsspecStore.from_url(self.place, storage_options=dict(self.storage_options))

    def sweep(self) -> None:
        """Remove incomplete chunks of processes that were killed. Object stores do not have any."""
        if self.storage_options is not None:
            return
        # The export made the folder, and links to other folders are not followed.
        for folder, _, names in os.walk(self.place):
            for name in names:
                if _LEFT_BEHIND.search(name):
                    with suppress(FileNotFoundError):  # a worker that was given up may go on
                        os.unlink(os.path.join(folder, name))

    def shut(self) -> None:
        """Allow no more writes, and wait for those that have started."""
        if self._gate is not None:
            self._gate.shut()


def put_array(
    target: Target,
    path: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    names: str,
) -> None:
    """Write the metadata of an array with the axes ``names``."""
    compression = {
        "cname": "zstd",
        "clevel": 1,
        "blocksize": 0,
        "typesize": dtype.itemsize,
        "shuffle": "shuffle" if dtype.itemsize > 1 else "bitshuffle",
    }
    codecs: list[dict[str, Any]] = [documents.bytes_codec(dtype), {"name": "blosc", "configuration": compression}]
    if shards is not None:
        index = [documents.bytes_codec(np.dtype("<u8")), {"name": "crc32c"}]
        sharding = {"chunk_shape": list(chunks), "codecs": codecs, "index_codecs": index, "index_location": "end"}
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    document = documents.array_document(
        shape=shape, chunks=shards or chunks, dtype=dtype, codecs=codecs, dims=names, separator="/"
    )
    target.put_metadata(path, document)


def _any_empty(data: NDArray[Any], chunks: tuple[int, ...]) -> bool:
    """Return whether a chunk of an array contains only zeros."""
    starts = product(*(range(0, size, step) for size, step in zip(data.shape, chunks, strict=True)))
    return not all(
        np.count_nonzero(data[tuple(slice(i, i + step) for i, step in zip(start, chunks, strict=True))])
        for start in starts
    )


def choose_backend(backend: Backend, *, remote: bool) -> Backend:
    """Return the library to write with."""
    if backend not in ("auto", "zarr", "tensorstore"):
        raise ValueError(f"Unknown writer option {backend!r}: backend is 'auto', 'zarr' or 'tensorstore'")
    if backend == "tensorstore" and remote:
        raise ValueError("backend='tensorstore' writes to local folders only; use 'zarr' for URLs")
    if backend == "zarr" or remote:
        return "zarr"
    needed = errors.requirement("tensorstore", "tensorstore", "for backend='tensorstore'")
    with suppress(ImportError) if backend == "auto" else needed:
        import tensorstore  # noqa: F401  # only whether it is installed

        return "tensorstore"
    return "zarr"


def _open_tensorstore(path: Path, threads: int | None) -> Write:
    import tensorstore

    spec: dict[str, Any] = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
    if threads is not None:
        spec["context"] = {"data_copy_concurrency": {"limit": threads}}
    array = tensorstore.open(spec, open=True).result()

    def write(region: tuple[slice, ...], data: NDArray[Any]) -> None:
        try:
            array[region].write(data, can_reference_source_data_indefinitely=True).result()
        except ValueError as error:  # the text contains the number of the system's error
            code = re.search(r"os_error_code='(\d+)'", str(error))
            if code is None:
                raise
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from error

    return write
