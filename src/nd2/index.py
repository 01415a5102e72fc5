"""Catalog ND2 files: one row per file, with the most important metadata.

``python -m nd2.index FOLDER``, or ``nd2 index FOLDER``, prints the rows as a table, CSV or JSON.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from nd2._core.catalog import Record, index_file, index_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Record", "index_file", "index_files", "main"]


def main(argv: Sequence[str] = ()) -> int:
    """Run the command ``nd2 index``; return its exit status."""
    from nd2._core.cli import main

    return main(["index", *(argv or sys.argv[1:])])


# Private names of nd2 0.12.0 that its own tests use.
def _filter_data(
    data: Iterable[Record],
    sort_by: str | None = None,
    include: str | None = None,
    exclude: str | None = None,
    filters: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Return some rows and columns, sorted by a column (with ``-`` at its end in descending order)."""
    from nd2._core.cli.index import column_names, selection

    table: Any = selection(filters, sort_by)(data)[column_names(include, exclude)]
    return list(table.to_dict("records"))


def _print(data: Iterable[Mapping[str, Any]], form: str, header: bool) -> None:
    import pandas as pd

    from nd2._core.cli.index import print_table

    print_table(pd.DataFrame(list(data)), form, header=header, chosen=False)


def _print_csv(records: Iterable[Mapping[str, Any]], skip_header: bool = False) -> None:
    """Print rows as CSV."""
    _print(records, "csv", not skip_header)


def _print_json(records: Iterable[Mapping[str, Any]]) -> None:
    """Print rows as JSON."""
    _print(records, "json", True)


def _pretty_print_table(data: Iterable[Mapping[str, Any]], sort_column: str | None = None) -> None:
    """Print rows as a table."""
    rows = list(data)
    if sort_column is not None:
        rows.sort(key=lambda row: row[sort_column])
    _print(rows, "table", True)


if __name__ == "__main__":
    raise SystemExit(main())
