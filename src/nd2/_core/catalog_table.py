"""Tables of a catalog: read and written as Parquet, CSV or JSON, and as text that fits a terminal."""

from __future__ import annotations

import ast
import io
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.io.destination import guess_format
from nd2._core.io.open import file_system
from nd2._core.io.urls import is_url, local_path

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

FORMATS = {"csv": "CSV", "json": "JSON", "parquet": "Parquet"}
"""Format of the destination for each form of a table."""

_PRIORITY = (
    "name", "error", "axes", "shape", "dtype", "acquired", "kb", "experiment", "software_version",
    "software_name", "grabber", "version", "binary", "rois", "path", "file_size", "file_version",
)  # fmt: skip
"""Columns by their priority on a terminal."""
_MIN_WIDTH, _USUAL_WIDTH = 8, 24
_GAP = "  "


def read_table(path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Read a table that `encode` made; its format follows from the suffix."""
    import pandas as pd

    if is_url(path):
        fs, place = file_system(path, storage_options)
        data = bytes(fs.cat_file(place))
    else:
        with open(local_path(path), "rb") as handle:
            data = handle.read()
    form = guess_format(str(path), FORMATS)
    try:
        if form == "json":
            table = pd.DataFrame(json.loads(data))
        elif form == "parquet":
            with _parquet_engine():
                table = pd.read_parquet(io.BytesIO(data))
        else:
            table = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
            for name, kind in (("file_size", int), ("kb", float)):
                if name in table:
                    table[name] = table[name].astype(kind)
            for name in ("binary", "rois"):
                if name in table:
                    table[name] = table[name] == "True"
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(f"{str(path)!r} is not a table in {FORMATS[form]}: {error}") from error
    if "shape" in table:
        table["shape"] = [parse_shape(value) for value in table["shape"]]
    return table


def parse_shape(value: Any) -> list[int]:
    """Return a shape that CSV, or some writers of Parquet, hold as text."""
    if isinstance(value, bytes):
        value = value.decode()
    return [int(n) for n in (ast.literal_eval(value) if isinstance(value, str) else value)]


def encode(table: pd.DataFrame, form: str, *, header: bool = True) -> bytes:
    """Return a table as Parquet, CSV or JSON."""
    if form == "json":
        return json.dumps(table.to_dict("records"), indent=2).encode() + b"\n"
    if form == "csv":
        return table.to_csv(index=False, header=header, lineterminator="\n").encode()
    with _parquet_engine():
        data = table.to_parquet(index=False)
    return bytes(data)


@contextmanager
def _parquet_engine() -> Iterator[None]:
    """Name the extra if pandas finds no package for Parquet."""
    try:
        yield
    except ImportError as error:
        raise errors.missing_package("fastparquet", "virtual", "for Parquet") from error


def format_table(
    table: pd.DataFrame, width: int, *, header: bool = True, chosen: bool = False
) -> tuple[str, list[str]]:
    """Return a table as text, and the names of columns that were left out.

    The width is in characters, 0 for no limit. If the user has chosen the columns, none is left out: cells are cut.
    """
    cells = {str(name): [_cell(value) for value in column] for name, column in table.items()}
    natural = {name: max([len(name) if header else 0, *map(len, column)]) for name, column in cells.items()}
    widths = natural if chosen or not width else _choose_columns(natural, width)
    left_out = [name for name in natural if name not in widths]
    widths = {name: n for name, n in natural.items() if name in widths}
    if width:
        widths = _shrink(widths, width - len(_GAP) * (len(widths) - 1))
    rows = [tuple(widths)] if header else []
    rows += zip(*(cells[name] for name in widths), strict=True)
    return "\n".join(_line(row, list(widths.values())) for row in rows), left_out


def _choose_columns(natural: Mapping[str, int], width: int) -> dict[str, int]:
    """Return the columns that fit, those of a catalog by their priority, others in their order."""
    chosen: dict[str, int] = {}
    total = -len(_GAP)
    for name in sorted(natural, key=(*_PRIORITY, *natural).index):
        need = min(natural[name], _USUAL_WIDTH) + len(_GAP)
        if total + need <= width or not chosen:
            chosen[name] = natural[name]
            total += need
    return chosen


def _shrink(widths: Mapping[str, int], total: int) -> dict[str, int]:
    """Return widths of at most this sum if the minimum width allows it; the widest columns shrink first."""
    limits = range(max(widths.values()), _MIN_WIDTH, -1)
    limit = next((n for n in limits if sum(min(w, n) for w in widths.values()) <= total), _MIN_WIDTH)
    return {name: min(width, limit) for name, width in widths.items()}


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cut = (text if len(text) <= n else f"{text[: n - 1]}…" for text, n in zip(row, widths, strict=True))
    return _GAP.join(text.ljust(n) for text, n in zip(cut, widths, strict=True)).rstrip()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)
