"""An index of ND2 files: one row for each, with what matters most of its metadata.

``python -m nd2._core.catalog FOLDER``, or ``nd2 index FOLDER``, prints it as a table, CSV or JSON.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast, get_type_hints

from nd2._core import errors
from nd2._core.io import open_source
from nd2._core.io.open import file_system
from nd2._core.io.urls import file_name, is_url, local_path
from nd2._core.open import open_reader
from nd2._core.views.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from nd2._core.readers import Reader

Condition: TypeAlias = "Callable[[Mapping[str, Any]], bool]"

__all__ = ["Record", "index_file", "index_files"]

_WORKERS = 8


class Record(TypedDict):
    """One row of an index, a dict.

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
    version: str
    kb: float
    acquired: str
    experiment: str
    dtype: str
    shape: list[int]
    axes: str
    binary: bool
    rois: bool
    software_name: str
    software_version: str
    grabber: str
    error: str


_TYPES = get_type_hints(Record)
COLUMNS = list(_TYPES)


def index_file(
    path: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> Record:
    """Return the row of one file; where it cannot be read, the row says why.

    Parameters
    ----------
    path : str, os.PathLike
        Path or URL of the file.
    storage_options : Mapping, optional
        Options for the file system of a URL.
    """
    text = str(path) if is_url(path) else os.path.abspath(local_path(path))
    record = cast("Record", {name: kind() for name, kind in _TYPES.items()})
    record["path"], record["name"] = text, file_name(text)
    try:
        with closing(open_source(path, storage_options)) as source:
            record["kb"] = round(source.size / 1000, 2)
            reader = open_reader(source)
            record["version"] = ".".join(map(str, reader.version))
            _describe(reader, record)
    except Exception as error:  # a bad file is one row among many, whatever is wrong with it
        record["error"] = f"{type(error).__name__}: {errors.one_line(error)}"
    return record


def _describe(reader: Reader, record: Record) -> None:
    program = reader.custom_data.get("AppInfo_V1_0")
    program = program if isinstance(program, dict) else {}
    sizes = reader.layout.sizes
    date = Facts(reader).start_date
    record["acquired"] = "" if date is None else f"{date:%Y-%m-%d %H:%M:%S}"
    record["experiment"] = ";".join(f"{loop.type}:{loop.count}" for loop in reader.experiment)
    record["dtype"] = reader.dtype.name
    record["shape"] = list(sizes.values())
    record["axes"] = "".join(sizes)
    record["binary"] = bool(reader.binary_layers)
    record["rois"] = bool(reader.rois)
    record["software_name"] = str(program.get("SWNameString", ""))
    record["software_version"] = str(program.get("VersionString", ""))
    record["grabber"] = str(program.get("GrabberString", ""))


def index_files(
    paths: Iterable[str | os.PathLike[str]],
    recurse: bool = False,
    glob: str = "*.nd2",
    *,
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
        Dicts, in the order of the paths, files of a folder sorted by name. A file that cannot be read has a row that says why.
    """
    files = [
        file for path in paths for file in _gathered(path, recurse, glob, storage_options or {})
    ]
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="nd2-index") as executor:
        return list(
            executor.map(lambda file: index_file(file, storage_options=storage_options), files)
        )


def _gathered(
    path: str | os.PathLike[str], recurse: bool, glob: str, storage_options: Mapping[str, Any]
) -> Iterator[str]:
    """Return the files that a path stands for: itself, or those in the folder."""
    if not is_url(path):
        folder = Path(local_path(path))
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of the command."""
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="ND2 files, and folders of them")
    add("--recurse", "-r", action="store_true", help="search folders within folders")
    add("--glob-pattern", "-g", default="*.nd2", help="names of files to take (%(default)s)")
    add(
        "--sort-by",
        "-s",
        metavar="COLUMN",
        help="column to sort by; with a hyphen behind it (kb-) in descending order",
    )
    add("--format", "-f", choices=["table", "csv", "json"], default="table", help="(%(default)s)")
    add("--include", "-i", metavar="COLUMNS", help="only these, with commas between")
    add("--exclude", "-e", metavar="COLUMNS", help="all but these")
    add("--no-header", action="store_true", help="leave out the line of names")
    add(
        "--filter",
        "-F",
        action="append",
        default=[],
        metavar="CONDITION",
        help="only rows for which it is true, such as \"acquired > '2020' and kb < 500\", \"'Z' in axes\", "
        '"shape[0] > 9" or "error"; may be given several times',
    )


def run(options: argparse.Namespace, storage_options: Mapping[str, Any] | None = None) -> int:
    """Print a catalog; return 1 if a file could not be read, else 0."""
    import pandas as pd

    names = _selection(options.include, options.exclude)
    conditions = [parse_condition(text, COLUMNS) for text in options.filter]
    key = options.sort_by
    if key is not None and key.removesuffix("-") not in COLUMNS:
        raise errors.no_such("column", key.removesuffix("-"), COLUMNS)
    records = index_files(
        options.paths,
        recurse=options.recurse,
        glob=options.glob_pattern,
        storage_options=storage_options,
    )
    rows = [row for row in records if all(_holds(c, row) for c in conditions)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    if key is not None:
        table = table.sort_values(
            key.removesuffix("-"), ascending=not key.endswith("-"), kind="stable"
        )
    if not options.include and not table["error"].any():
        names = [name for name in names if name != "error"]
    print_table(table[names], options.format, header=not options.no_header)
    return int(any(record["error"] for record in records))


def _selection(include: str | None, exclude: str | None) -> list[str]:
    names = [name.strip() for name in include.split(",")] if include else list(COLUMNS)
    without = {name.strip() for name in exclude.split(",")} if exclude else set()
    for name in (*names, *without):
        if name not in COLUMNS:
            raise errors.no_such("column", name, COLUMNS)
    return [name for name in names if name not in without]


def print_table(table: pd.DataFrame, form: str, *, header: bool) -> None:
    """Print a table as text, CSV or JSON."""
    if form == "json":
        print(json.dumps(table.to_dict("records"), indent=2))
    elif form == "csv":
        table.to_csv(sys.stdout, index=False, header=header, lineterminator="\n")
    elif len(table) or header:
        cells = table.map(_cell)
        left: Any = {
            name: f"{{:<{cells[name].str.len().max()}}}".format for name in cells if len(cells)
        }
        text = cells.to_string(index=False, header=header, justify="left", formatters=left)
        print("\n".join(line.rstrip() for line in text.splitlines()))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return " x ".join(map(str, value)) if isinstance(value, list) else str(value)


_MAX_CONDITION = 2000
_NODES = (
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.cmpop, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.Subscript, ast.Call,
)  # fmt: skip


def parse_condition(text: str, columns: Collection[str]) -> Condition:
    """Return a condition such as ``kb > 500 and axes == 'TCYX'`` as a function of a row.

    Comparisons, ``and``, ``or``, ``not``, ``in``, sums and products of numbers, ``len()`` and items (``shape[0]``) of
    columns and constants are allowed. No name, attribute or call leads anywhere else.
    """
    if len(text) > _MAX_CONDITION:
        raise ValueError(f"the filter is longer than {_MAX_CONDITION} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        for node in ast.walk(tree.body):
            _check_node(node, text, columns)
        code = compile(ast.fix_missing_locations(_Arithmetic().visit(tree)), "<filter>", "eval")
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"filter {text!r} cannot be understood: {error}") from None

    def holds(row: Mapping[str, Any]) -> bool:
        try:
            return bool(eval(code, {"__builtins__": {}, "len": len, "_number": _number}, dict(row)))
        except (TypeError, IndexError, KeyError, ZeroDivisionError) as error:
            raise ValueError(f"filter {text!r} does not fit: {error}") from None

    return holds


def _check_node(node: ast.AST, text: str, columns: Collection[str]) -> None:
    """Refuse whatever is not allowed in a condition."""
    is_len = isinstance(node, ast.Call) and ast.unparse(node.func) == "len" and len(node.args) == 1
    if isinstance(node, ast.Name) and node.id not in columns and node.id != "len":
        raise ValueError(f"filter {text!r}: {errors.no_such('column', node.id, columns)}")
    if not isinstance(node, _NODES) or (isinstance(node, ast.Call) and not is_len):
        raise ValueError(
            f"filter {text!r}: {type(node).__name__} is not allowed; conditions compare the columns "
            f"{', '.join(columns)}"
        )


class _Arithmetic(ast.NodeTransformer):
    """Lets sums and products take numbers only: text times a number may fill the memory."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.BinOp:
        """Check both operands."""
        left, right = (
            ast.Call(ast.Name("_number", ast.Load()), [self.visit(part)], [])
            for part in (node.left, node.right)
        )
        return ast.BinOp(left, node.op, right)


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def _holds(condition: Condition, row: Mapping[str, Any]) -> bool:
    try:
        return condition(row)
    except ValueError:
        if row["error"]:  # what is not known of a bad file cannot be compared
            return False
        raise


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
