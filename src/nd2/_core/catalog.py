"""An index of ND2 files: one row for each, with what matters most of its metadata.

``python -m nd2._core.catalog FOLDER``, or ``nd2 index FOLDER``, prints it as a table, CSV or JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from nd2._core import errors
from nd2._core.filter import Filter
from nd2._core.io import open_source
from nd2._core.io.open import file_system
from nd2._core.io.urls import is_url
from nd2._core.open import open_reader
from nd2._core.views.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nd2._core.readers import Reader

__all__ = ["Record", "index_file", "index_files"]

_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Record:
    """One row of an index.

    Attributes
    ----------
    path, name : str
        Path (or URL) and name of the file.
    version : str
        Format version, such as ``"3.0"``.
    kb : float
        Size in kilobytes (1000 bytes).
    acquired : str
        Date and time (UTC) of the first frame, empty if it is not known.
    experiment : str
        Loops and their counts, such as ``"TimeLoop:3;ZStackLoop:10"``.
    dtype : str
        Type of a sample.
    shape : list of int
        Size of each axis.
    axes : str
        Letters of the axes.
    binary, rois : bool
        Whether the file holds binary layers, and regions of interest.
    software_name, software_version, grabber : str
        What acquired it.
    error : str
        Why the file could not be read; the other columns hold what could be found out.
    """

    path: str
    name: str
    version: str = ""
    kb: float = 0.0
    acquired: str = ""
    experiment: str = ""
    dtype: str = ""
    shape: list[int] = field(default_factory=list)
    axes: str = ""
    binary: bool = False
    rois: bool = False
    software_name: str = ""
    software_version: str = ""
    grabber: str = ""
    error: str = ""


COLUMNS = [column.name for column in fields(Record)]


def index_file(
    path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None
) -> Record:
    """Return the row of one file; where it cannot be read, the row says why.

    Parameters
    ----------
    path : str, os.PathLike
        Path or URL of the file.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    """
    text = str(path) if is_url(path) else os.path.abspath(path)
    name = text.rstrip("/").replace(os.sep, "/").rpartition("/")[2]
    found: dict[str, Any] = {}
    try:
        with closing(open_source(path, storage_options)) as source:
            found["kb"] = round(source.size / 1000, 2)
            reader = open_reader(source)
            found["version"] = ".".join(map(str, reader.version))
            found |= _described(reader)
    except Exception as error:  # a bad file is one row among many, whatever is wrong with it
        found["error"] = f"{type(error).__name__}: {error}"
    return Record(text, name, **found)


def _described(reader: Reader) -> dict[str, Any]:
    program = reader.custom_data.get("AppInfo_V1_0", {})
    sizes = reader.layout.sizes
    date = Facts(reader).start_date
    return {
        "acquired": "" if date is None else f"{date:%Y-%m-%d %H:%M:%S}",
        "experiment": ";".join(f"{loop.type}:{loop.count}" for loop in reader.experiment),
        "dtype": reader.dtype.name,
        "shape": list(sizes.values()),
        "axes": "".join(sizes),
        "binary": bool(reader.binary_layers),
        "rois": bool(reader.rois),
        "software_name": str(program.get("SWNameString", "")),
        "software_version": str(program.get("VersionString", "")),
        "grabber": str(program.get("GrabberString", "")),
    }


def index_files(
    paths: Iterable[str | os.PathLike[str]],
    *,
    recurse: bool = False,
    glob: str = "*.nd2",
    storage_options: Mapping[str, Any] | None = None,
) -> list[Record]:
    """Return the rows of files, several read at a time.

    Parameters
    ----------
    paths : iterable of str or os.PathLike
        Files and folders, local ones or URLs.
    recurse : bool
        Whether folders within folders are searched.
    glob : str
        Pattern of the names of files to take from folders.
    storage_options : Mapping, optional
        Options for the file systems of URLs.

    Returns
    -------
    list of Record
        In the order of the paths, files of a folder sorted by name. A file that cannot be read has a row that says why.
    """
    files = [
        file for path in paths for file in _gathered(path, recurse, glob, storage_options or {})
    ]
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="nd2-index") as executor:
        return list(executor.map(lambda file: index_file(file, storage_options), files))


def _gathered(
    path: str | os.PathLike[str], recurse: bool, glob: str, storage_options: Mapping[str, Any]
) -> Iterator[str]:
    """Return the files that a path stands for: itself, or those in the folder."""
    if not is_url(path):
        folder = Path(path)
        if not folder.is_dir():
            yield str(path)
            return
        found = folder.rglob(glob) if recurse else folder.glob(glob)
        yield from sorted(str(file) for file in found if file.is_file())
        return
    fs, root = file_system(str(path), storage_options)
    if not fs.isdir(root):
        yield str(path)
        return
    names = fs.find(root, maxdepth=None if recurse else 1)
    yield from (
        fs.unstrip_protocol(name)
        for name in sorted(names)
        if fnmatch(name.rpartition("/")[2], glob)
    )


# ------------------------------------------------------------------------------------------------------ the command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of the command."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="ND2 files, and folders of them")
    parser.add_argument(
        "--recurse", "-r", action="store_true", help="search folders within folders"
    )
    parser.add_argument(
        "--glob-pattern", "-g", default="*.nd2", help="names of files to take (%(default)s)"
    )
    parser.add_argument(
        "--sort-by",
        "-s",
        metavar="COLUMN",
        help="column to sort by; with a hyphen behind it (kb-) the largest first",
    )
    parser.add_argument(
        "--format", "-f", choices=["table", "csv", "json"], default="table", help="(%(default)s)"
    )
    parser.add_argument(
        "--include", "-i", metavar="COLUMNS", help="only these, with commas between"
    )
    parser.add_argument("--exclude", "-e", metavar="COLUMNS", help="all but these")
    parser.add_argument("--no-header", action="store_true", help="leave out the line of names")
    parser.add_argument(
        "--filter",
        "-F",
        action="append",
        default=[],
        metavar="CONDITION",
        help="only rows that fulfil it, such as \"acquired > '2020' and kb < 500\"; may be given several times",
    )


def run(options: argparse.Namespace, storage_options: Mapping[str, Any] | None = None) -> int:
    """Print an index; return 1 if a file could not be read, else 0.

    Raises
    ------
    ValueError
        If an option names no column, or a filter is none.
    """
    chosen = _chosen(options.include, options.exclude)
    filters = [Filter(text, COLUMNS) for text in options.filter]
    key = options.sort_by
    if key is not None and key.removesuffix("-") not in COLUMNS:
        raise errors.no_such("column", key.removesuffix("-"), COLUMNS)
    records = index_files(
        options.paths,
        recurse=options.recurse,
        glob=options.glob_pattern,
        storage_options=storage_options,
    )
    failed = any(record.error for record in records)
    rows = [row for row in map(asdict, records) if _fulfils(row, filters)]
    if key is not None:
        rows.sort(key=lambda row: row[key.removesuffix("-")], reverse=key.endswith("-"))
    # The column of errors is there when there are any, or when it is asked for.
    if not options.include and not any(row["error"] for row in rows):
        chosen = [name for name in chosen if name != "error"]
    rows = [{name: row[name] for name in chosen} for row in rows]
    _WRITERS[options.format](rows, chosen, not options.no_header, sys.stdout)
    return int(failed)


def _chosen(include: str | None, exclude: str | None) -> list[str]:
    names = [name.strip() for name in include.split(",")] if include else list(COLUMNS)
    without = {name.strip() for name in exclude.split(",")} if exclude else set()
    for name in (*names, *without):
        if name not in COLUMNS:
            raise errors.no_such("column", name, COLUMNS)
    return [name for name in names if name not in without]


def _fulfils(row: Mapping[str, Any], filters: Sequence[Filter]) -> bool:
    try:
        return all(fulfilled(row) for fulfilled in filters)
    except ValueError:
        if row["error"]:  # what is not known of a bad file cannot be compared
            return False
        raise


def _write_json(rows: list[dict[str, Any]], names: Sequence[str], header: bool, to: TextIO) -> None:
    json.dump(rows, to, indent=2)
    to.write("\n")


def _write_csv(rows: list[dict[str, Any]], names: Sequence[str], header: bool, to: TextIO) -> None:
    writer = csv.DictWriter(to, names, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)


def _write_table(
    rows: list[dict[str, Any]], names: Sequence[str], header: bool, to: TextIO
) -> None:
    cells = [[_cell(row[name]) for name in names] for row in rows]
    if header:
        cells = [list(names), *cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        to.write(text.rstrip() + "\n")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list):
        return " x ".join(map(str, value))
    return str(value)


_WRITERS = {"table": _write_table, "csv": _write_csv, "json": _write_json}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 if a file could not be read, 2 for wrong options."""
    parser = argparse.ArgumentParser(
        prog="nd2 index",
        description=f"Print what matters most of ND2 files. Columns: {', '.join(COLUMNS)}.",
    )
    add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        return run(options)
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
