"""References as Parquet: a folder of small tables, of which a reader loads what it needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors
from xarray_nd2.references import v2
from xarray_nd2.references.arrays import ByteRanges

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from xarray_nd2.references.arrays import ZarrGroup

RECORD_SIZE = 100_000
"""Number of references per table."""


def check_parquet(groups: Sequence[ZarrGroup], zarr_format: int) -> None:
    """Refuse what does not read back from Parquet as it was written."""
    try:
        import fastparquet  # noqa: F401  # only whether it is installed
    except ImportError as error:
        raise errors.missing_package("fastparquet", "virtual", "for references in Parquet") from error
    if zarr_format != 2:
        raise ValueError("references in Parquet are of Zarr format 2 only; use format='json'")
    if len(groups) > 1:
        raise ValueError("groups do not read back from Parquet; use layout='flat' or format='json'")
    data = (array.data for _, array in groups[0].items)
    if not all(ranges.complete for ranges in data if isinstance(ranges, ByteRanges)):
        raise ValueError(
            "frames are missing from the file, and a missing reference does not read back from "
            "Parquet; use format='json'"
        )


def write_parquet(groups: Sequence[ZarrGroup], folder: Path) -> None:
    """Write references, checked with `check_parquet`, into a folder as fsspec's lazy mapper reads them."""
    for group in groups:
        for path, array in group.items:
            if isinstance(array.data, ByteRanges):
                _write_ranges(folder / path, array.data)
            else:
                raw = np.array([v2.encode(np.asarray(array.data))], dtype=object)
                nothing = np.zeros(1, np.int64)
                _write(folder / path, 0, np.array([None], dtype=object), nothing, nothing, raw)
    metadata = v2.documents(groups)[".zmetadata"]["metadata"]
    head = {"metadata": metadata, "record_size": RECORD_SIZE}
    (folder / ".zmetadata").write_text(json.dumps(head), encoding="utf-8")


def _write_ranges(folder: Path, ranges: ByteRanges) -> None:
    import pandas as pd

    offsets = ranges.offsets.reshape(-1).astype(np.int64)
    lengths = ranges.lengths.reshape(-1).astype(np.int64)
    files = np.zeros(len(offsets), np.intp) if ranges.files is None else ranges.files.reshape(-1)
    urls = pd.Index(ranges.urls)
    for record, start in enumerate(range(0, len(offsets), RECORD_SIZE)):
        part = slice(start, start + RECORD_SIZE)
        paths = pd.Categorical.from_codes(files[part].astype(np.int32), urls)
        paths = paths.remove_unused_categories()
        _write(folder, record, paths, offsets[part], lengths[part])


def _write(
    folder: Path,
    record: int,
    path: NDArray[Any] | pd.Categorical[str],
    offset: NDArray[np.int64],
    size: NDArray[np.int64],
    raw: NDArray[Any] | None = None,
) -> None:
    import pandas as pd
    from fastparquet import write

    columns: dict[str, Any] = {"path": path, "offset": offset, "size": size}
    if raw is not None:
        columns["raw"] = raw
    folder.mkdir(exist_ok=True)
    write(
        str(folder / f"refs.{record}.parq"),
        pd.DataFrame(columns, copy=False),
        compression="ZSTD",
        write_index=False,
        stats=False,
        object_encoding={"raw": "bytes", "path": "utf8"},
        has_nulls=[name for name in ("path", "raw") if name in columns],
    )
