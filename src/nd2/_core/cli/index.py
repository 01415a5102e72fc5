"""The command ``index``: a catalog of files as a table, CSV, JSON or Parquet; conditions that select its rows."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.cli.command import Command, arguments, flag, format_option, shows_progress, terminal_width, value

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import TypeAlias

    import pandas as pd

    from nd2._core.catalog import Record

    Condition: TypeAlias = Callable[[Mapping[str, Any]], bool]

_MAX_CONDITION = 2000
_NODES = (
    ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.Compare, ast.cmpop, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.Subscript, ast.Call,
)  # fmt: skip


def parse_condition(text: str, columns: Collection[str]) -> Condition:
    """Return a condition such as ``kb > 500 and axes == 'TCYX'`` as a function of a row.

    Comparisons, ``and``, ``or``, ``not``, ``in``, sums and products of numbers, ``len()`` and items (``shape[0]``) of
    columns and constants are allowed. Other names, attributes and calls are refused.
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

    def condition(row: Mapping[str, Any]) -> bool:
        try:
            return bool(eval(code, {"__builtins__": {}, "len": len, "_number": _number}, dict(row)))
        except (TypeError, IndexError, KeyError, ZeroDivisionError) as error:
            if row.get("error"):  # a bad file has no values to compare
                return False
            raise ValueError(f"filter {text!r} does not fit: {error}") from None

    return condition


def _check_node(node: ast.AST, text: str, columns: Collection[str]) -> None:
    """Raise an error for anything that a condition must not contain."""
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
        name = ast.Name("_number", ast.Load())
        left, right = (ast.Call(name, [self.visit(part)], []) for part in (node.left, node.right))
        return ast.BinOp(left, node.op, right)


def _number(value: Any) -> Any:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def run(options: argparse.Namespace) -> int:
    """Print or write a catalog; return the exit status, 1 if a file could not be read."""
    import pandas as pd

    from nd2._core.batch import cluster
    from nd2._core.catalog import COLUMNS, FORMATS, encode, index_files, read_table
    from nd2._core.io.destination import guess_format, resolve

    storage_options = options.storage_options
    names = column_names(options.include, options.exclude)
    make_table = selection(options.filter, options.sort_by)
    output = options.output or options.update
    selects = options.include or options.exclude or options.filter or options.errors
    if (selects or options.no_header) and options.update and output == options.update:
        raise ValueError(
            "a table that is updated keeps its header and all rows and columns; write another one with --output"
        )
    form = options.format or (guess_format(output, FORMATS) if output else "table")
    if output is None and form == "parquet":
        raise ValueError("Parquet is not text; give an output file with --output")
    dest = None
    if output is not None:
        replaces = options.overwrite or output == options.update
        dest = resolve(output, FORMATS.get(form, "CSV"), overwrite=replaces, storage_options=storage_options)
    earlier = None
    if options.update:
        try:
            earlier = read_table(options.update, storage_options)
        except FileNotFoundError:
            earlier = pd.DataFrame(columns=COLUMNS)
    with cluster(options.dask) as client:
        records = index_files(
            options.paths,
            recurse=options.recurse,
            glob=options.glob_pattern,
            storage_options=storage_options,
            update=earlier,
            client=client,
            progress=shows_progress(options.quiet),
        )
    table = make_table([row for row in records if row["error"] or not options.errors])
    if dest is None and not options.include and not table["error"].any():
        names = [name for name in names if name != "error"]
    if dest is None:
        print_table(table[names], form, header=not options.no_header, chosen=bool(options.include))
    else:
        dest.write(encode(table[names], form, header=not options.no_header))
        print(output if earlier is None else f"{output}: {_changes(earlier, table)}")
    return int(any(record["error"] for record in records))


def _changes(earlier: pd.DataFrame, table: pd.DataFrame) -> str:
    """Say how a table differs from the earlier one."""
    before, now = (
        dict(zip(frame["path"], zip(frame["file_size"], frame["file_version"], strict=True), strict=True))
        for frame in (earlier, table)
    )
    new = len(now.keys() - before.keys())
    changed = sum(now[path] != before[path] for path in now.keys() & before.keys())
    gone = len(before.keys() - now.keys())
    return f"{errors.plural(len(now), 'file')}, {new} new, {changed} changed, {gone} removed"


def selection(filters: Iterable[str], sort_by: str | None) -> Callable[[Iterable[Record]], pd.DataFrame]:
    """Return a function that makes a table of the rows to print, in their order; the options are checked before."""
    import pandas as pd

    from nd2._core.catalog import COLUMNS

    conditions = [parse_condition(text, COLUMNS) for text in filters]
    key = sort_by.removesuffix("-") if sort_by else None
    if key is not None and key not in COLUMNS:
        raise errors.no_such("column", key, COLUMNS)

    def make_table(records: Iterable[Record]) -> pd.DataFrame:
        rows = [row for row in records if all(holds(row) for holds in conditions)]
        table = pd.DataFrame(rows, columns=COLUMNS)
        return table if key is None else table.sort_values(key, ascending=key == sort_by, kind="stable")

    return make_table


def column_names(include: str | None, exclude: str | None) -> list[str]:
    """Return the columns that ``--include`` and ``--exclude`` select."""
    from nd2._core.catalog import COLUMNS

    names = [name.strip() for name in include.split(",")] if include else COLUMNS
    without = {name.strip() for name in exclude.split(",")} if exclude else set()
    for name in (*names, *without):
        if name not in COLUMNS:
            raise errors.no_such("column", name, COLUMNS)
    return [name for name in names if name not in without]


def print_table(table: pd.DataFrame, form: str, *, header: bool, chosen: bool) -> None:
    """Print a table as CSV, JSON, or text that fits the terminal."""
    from nd2._core.catalog import encode, format_table

    if form != "table":
        sys.stdout.write(encode(table, form, header=header).decode())
        return
    text, left_out = format_table(table, terminal_width() or 0, header=header, chosen=chosen)
    if text:
        print(text)
    if left_out:
        sys.stderr.write(f"nd2 index: no room for {', '.join(left_out)}; --include, --format and --output show them\n")


def _index(options: argparse.Namespace) -> int:
    try:
        return run(options)
    except ValueError as error:  # bad files are rows: only an option can be wrong
        print(f"nd2 index: {errors.one_line(error)}", file=sys.stderr)
        return 2


INDEX = Command(
    "list files in a table, CSV, JSON or Parquet",
    "nd2 index data --recurse --sort-by kb-\n"
    "nd2 index data -F \"acquired > '2020' and kb < 500\" -i name,axes,shape\n"
    "nd2 index 'day?/*.nd2' -o catalog.csv\n"
    "nd2 index s3://bucket/plates --recurse --update catalog.parquet",
    arguments(
        value("paths", "PATH", "ND2 files, patterns, folders and buckets", nargs="+"),
        flag("--recurse -r", "search folders within folders"),
        value("--glob-pattern -g", "PATTERN", "names of files in folders (%(default)s)", default="*.nd2"),
        value("--sort-by -s", "COLUMN", "column to sort by; a hyphen after the name (kb-) sorts in descending order"),
        format_option(["table", "csv", "json", "parquet"], "table"),
        value("--output -o", "PATH", "file to write; by default the standard output"),
        value(
            "--update -u",
            "TABLE",
            "table of an earlier run (Parquet, CSV or JSON): read only files that are new or "
            "changed, and write the whole table to --output, by default to TABLE itself, which is created if missing",
        ),
        value("--include -i", "COLUMNS", "columns to print, separated by commas"),
        value("--exclude -e", "COLUMNS", "columns to leave out"),
        flag("--no-header", "print no header"),
        flag("--errors", "print only files that cannot be read"),
        value(
            "--filter -F",
            "CONDITION",
            "print only rows for which it is true, such as \"acquired > '2020' and kb < 500\", \"'Z' in axes\", "
            '"shape[0] > 9" or "error"; repeatable',
            action="append",
            default=[],
        ),
        "--dask",
        "--overwrite",
        "--quiet",
    ),
    _index,
)
