"""References as Parquet: a folder of small tables, of which a reader loads those that it needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core import errors

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from xarray_nd2.references.model import References

RECORD_SIZE = 100_000
"""References of one table."""


def check_parquet(references: References) -> None:
    """Refuse what does not read back from Parquet as it was written.

    Raises
    ------
    ImportError
        If fastparquet is not installed.
    ValueError
        For format 3, groups, and missing frames.
    """
    try:
        import fastparquet  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise errors.missing_package(
            "fastparquet", "virtual", "for references in Parquet"
        ) from error
    if references.zarr_format != 2:
        raise ValueError("references in Parquet are of Zarr format 2 only; use format='json'")
    if any(key.count("/") > 1 for key in references.metadata):
        raise ValueError("groups do not read back from Parquet; use layout='flat' or format='json'")
    if not all(table.references.complete for table in references.tables):
        raise ValueError(
            "frames are missing from the file, and a missing reference does not read back from Parquet; "
            "use format='json'"
        )


def write_parquet(references: References, folder: Path) -> None:
    """Write references in the form that fsspec's lazy reference mapper reads.

    Parameters
    ----------
    references : References
        Checked with `check_parquet`.
    folder : Path
        A folder that exists.
    """
    for key, data in references.values.items():
        raw = np.array([data], dtype=object)
        path = np.array([None], dtype=object)
        nothing = np.zeros(1, np.int64)
        _write(folder, key.split("/")[0], 0, path, nothing, nothing, raw)
    for table in references.tables:
        field = table.prefix.rstrip("/")
        offsets = table.references.offsets.reshape(-1).astype(np.int64)
        lengths = table.references.lengths.reshape(-1).astype(np.int64)
        for record, start in enumerate(range(0, len(offsets), RECORD_SIZE)):
            part = slice(start, start + RECORD_SIZE)
            count = len(offsets[part])
            _write(
                folder,
                field,
                record,
                _repeated(references.url, count),
                offsets[part],
                lengths[part],
            )
    head = {"metadata": references.metadata, "record_size": RECORD_SIZE}
    (folder / ".zmetadata").write_text(json.dumps(head), encoding="utf-8")


def _repeated(text: str, count: int) -> pd.Categorical[str]:
    import pandas as pd

    return pd.Categorical.from_codes(np.zeros(count, np.int8), pd.Index([text]))


def _write(
    folder: Path,
    field: str,
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
    (folder / field).mkdir(exist_ok=True)
    write(
        str(folder / field / f"refs.{record}.parq"),
        pd.DataFrame(columns, copy=False),
        compression="ZSTD",
        write_index=False,
        stats=False,
        object_encoding={"raw": "bytes", "path": "utf8"},
        has_nulls=[name for name in ("path", "raw") if name in columns],
    )
