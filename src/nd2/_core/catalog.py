"""A catalog of ND2 files: one row per file, with the most important metadata; tables in files and on terminals."""

from __future__ import annotations

import ast
import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, cast, get_type_hints

from nd2._core import errors
from nd2._core.export.pipeline import bar, file_batches
from nd2._core.io import open_source
from nd2._core.io.destination import guess_format
from nd2._core.io.listing import ListedFile, list_files, stat_url
from nd2._core.io.open import file_system
from nd2._core.io.urls import file_name, is_url, local_path, redact
from nd2._core.open import open_reader
from nd2._core.views.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from nd2._core.readers import Reader

__all__ = ["Record", "index_file", "index_files"]

_LOCAL_THREADS = 8
_BATCH = 32
"""Files on disks that are read before the next decision about threads."""
_REMOTE_THREADS = 16
"""Threads for URLs. A file is opened by two requests at once, so these are 32 requests at once."""
_CONTENT_ERRORS = {kind.__name__ for kind in (errors.NotND2Error, errors.CorruptFileError, errors.UnsupportedFileError)}
FORMATS = {"csv": "CSV", "json": "JSON", "parquet": "Parquet"}
"""Format of the destination for each form of a table."""

_PRIORITY = (
    "name", "error", "axes", "shape", "dtype", "acquired", "kb", "experiment", "software_version",
    "software_name", "grabber", "version", "binary", "rois", "path", "file_size", "file_version",
)  # fmt: skip
"""Columns by their priority on a terminal."""
_MIN_WIDTH, _USUAL_WIDTH = 8, 24
_GAP = "  "


class Record(TypedDict):
    """One row of a catalog, a dict.

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
        Whether the file has binary layers, and regions of interest.
    software_name, software_version, grabber : str
        Acquisition software, its version, and the camera's interface.
    file_size : int
        Size in bytes.
    file_version : str
        ETag, or modification time (of a local file in nanoseconds); empty if unknown.
    error : str
        Why the file could not be read; the other columns contain what could be read.
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
    file_size: int
    file_version: str
    error: str


_TYPES = get_type_hints(Record)
COLUMNS = list(_TYPES)


def index_file(path: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None) -> Record:
    """Return the row of one file, as `index_files` does; if the file cannot be read, the row contains the error."""
    record = _new_row(path)
    try:
        with closing(open_source(path, storage_options)) as source:
            _, record["file_size"], record["file_version"] = source.identity
            record["kb"] = round(source.size / 1000, 2)
            reader = open_reader(source)
            record["version"] = ".".join(map(str, reader.version))
            _describe(reader, record)
    except Exception as error:  # a bad file is one row among many, whatever is wrong with it
        _add_error(record, error)
    return record


def _new_row(path: str | os.PathLike[str], error: Exception | None = None) -> Record:
    """Return a row that has only the path of its file, and the error if the file cannot be read."""
    text = path if is_url(path) else os.path.abspath(local_path(path))
    row = cast("Record", {name: kind() for name, kind in _TYPES.items()})
    row["path"], row["name"] = redact(text), file_name(text)
    if error is not None:
        _add_error(row, error)
    return row


def _add_error(row: Record, error: Exception) -> None:
    row["error"] = f"{type(error).__name__}: {errors.one_line(error)}"


def _describe(reader: Reader, record: Record) -> None:
    program = reader.custom_data.get("AppInfo_V1_0")
    program = program if isinstance(program, dict) else {}
    sizes = reader.layout.sizes
    date = Facts(reader).start
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
    update: str | os.PathLike[str] | pd.DataFrame | Iterable[Record] | None = None,
    client: Any = None,
    progress: bool = False,
) -> list[Record]:
    """Return the rows of files, several read at a time.

    A remote file is opened by two small reads. At most 32 requests are made at once.

    Parameters
    ----------
    paths : iterable of str or os.PathLike
        Files, folders and patterns such as ``"day1/*.nd2"``, local ones or URLs.
    recurse : bool
        Whether folders within folders are searched.
    glob : str
        Pattern of the names of files to take from folders.
    storage_options : Mapping, optional
        Options for the file systems of URLs.
    update : str, os.PathLike, pandas.DataFrame or iterable of Record, optional
        Rows of an earlier run, or the Parquet, CSV or JSON file that ``nd2 index`` wrote. Rows of files
        whose size and version (ETag or modification time) are the same are taken from it, those of damaged
        files included. Only new and changed files are read, and those that could not be reached before.
    client : distributed.Client, optional
        Cluster whose workers read the files. They must reach the files by the same paths.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    list of Record
        Dicts, in the order of the paths, files of a folder sorted by name. A file that cannot be read has a row that
        says why. Only files that exist now have rows, also with ``update``.

    Raises
    ------
    OSError
        If ``update`` cannot be read; with ``update``, also if a path does not exist or cannot be listed.
    ValueError
        If ``update`` is not a catalog.

    Examples
    --------
    >>> rows = index_files(["s3://bucket/plates"], recurse=True)  # doctest: +SKIP
    >>> rows = index_files(["s3://bucket/plates"], recurse=True, update=rows)  # doctest: +SKIP
    """
    earlier = {} if update is None else _earlier_rows(update, storage_options)
    entries = list(_list_entries(paths, recurse, glob, storage_options, strict=update is not None))
    files = [entry for entry in entries if isinstance(entry, ListedFile)]
    rows = _unchanged(files, earlier, storage_options) if earlier else {}
    missing = [path for path in dict.fromkeys(file.path for file in files) if path not in rows]
    read = _read_in_threads if client is None else partial(_read_on_cluster, client=client)
    with bar(progress, len(missing), "file") as advance:
        for path, row in zip(missing, read(missing, storage_options), strict=True):
            rows[path] = row
            advance(1)
    return [rows[entry.path] if isinstance(entry, ListedFile) else entry for entry in entries]


def _list_entries(
    paths: Iterable[str | os.PathLike[str]],
    recurse: bool,
    glob: str,
    storage_options: Mapping[str, Any] | None,
    *,
    strict: bool,
) -> Iterator[ListedFile | Record]:
    """Yield the files of paths; for a path that cannot be listed, a row with the error.

    With ``strict`` the error is raised: an unreachable server must not empty a table.
    """
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        try:
            for file in list_files(path, recurse=recurse, name_pattern=glob, storage_options=storage_options):
                if strict and not file.version and not is_url(file.path):
                    os.stat(file.path)  # raises the error that the listing met
                yield file
        except OSError as error:
            if strict:
                raise
            yield _new_row(path, error)


def _earlier_rows(
    update: str | os.PathLike[str] | pd.DataFrame | Iterable[Record], storage_options: Mapping[str, Any] | None
) -> dict[str, Record]:
    """Return the rows of an earlier run by their paths."""
    if isinstance(update, (str, os.PathLike)):
        update = read_table(update, storage_options)
    records: Any = update
    if hasattr(records, "to_dict"):
        if len(records.columns):  # JSON without rows has no columns
            _check_columns(records.columns)
        records = records.to_dict("records")
    rows = {}
    for record in records:
        _check_columns(record)
        row = {name: _convert(record.get(name, kind()), kind) for name, kind in _TYPES.items()}
        rows[row["path"]] = cast("Record", row)
    return rows


def _check_columns(columns: Container[str]) -> None:
    """Refuse a table that is not a catalog: the new one may replace its file."""
    if any(name not in columns for name in ("path", "file_size", "file_version")):
        raise ValueError("the table to update is not a catalog with the columns of this version")


def _convert(value: Any, kind: type[Any]) -> Any:
    """Return a value as the type of its column; a missing one becomes an empty one."""
    if kind == _TYPES["shape"]:
        return parse_shape(value)
    missing = value is None or value != value
    return kind() if missing else kind(value)


def _unchanged(
    files: Sequence[ListedFile], earlier: Mapping[str, Record], storage_options: Mapping[str, Any] | None
) -> dict[str, Record]:
    """Return the earlier rows that are still valid, by the paths of their files."""
    rows = {}
    for file in files:
        row = earlier.get(redact(file.path))
        if row and row["file_version"] and row["error"].partition(":")[0] in {"", *_CONTENT_ERRORS}:
            rows[file.path] = row
    vague = [file.path for file in files if file.path in rows and not file.version]
    with ThreadPoolExecutor(2 * _REMOTE_THREADS, thread_name_prefix="nd2-index") as executor:
        exact = dict(zip(vague, executor.map(partial(stat_url, storage_options=storage_options), vague), strict=True))
    for file in files:
        now, row = exact.get(file.path, file), rows.get(file.path)
        if row and (now.size, now.version) != (row["file_size"], row["file_version"]):
            del rows[file.path]
    return rows


def _read_in_threads(files: Sequence[str], storage_options: Mapping[str, Any] | None) -> Iterator[Record]:
    """Yield the rows of files; several are read at a time if reading is mostly waiting.

    Threads that read from a fast disk contend for the interpreter, which doubles their processor time.
    The last batch decides about the next one.
    """
    read = partial(index_file, storage_options=storage_options)
    remote, waits = any(map(is_url, files)), False
    with ThreadPoolExecutor(_REMOTE_THREADS if remote else _LOCAL_THREADS, thread_name_prefix="nd2-index") as executor:
        if remote:
            yield from executor.map(read, files)
            return
        for start in range(0, len(files), _BATCH):
            clock, processor = time.perf_counter(), time.process_time()
            rows = list((executor.map if waits else map)(read, files[start : start + _BATCH]))
            waits = 2 * (time.process_time() - processor) < time.perf_counter() - clock
            yield from rows


def _read_batch(files: Sequence[str], storage_options: Mapping[str, Any] | None) -> list[Record]:
    """Return the rows of the files of one task on a cluster."""
    return list(_read_in_threads(files, storage_options))


def _read_on_cluster(files: Sequence[str], storage_options: Mapping[str, Any] | None, client: Any) -> Iterator[Record]:
    """Yield the rows of files that the workers of a cluster read."""
    batches = file_batches(client, files)
    futures = client.map(_read_batch, batches, storage_options=storage_options, pure=False)
    for batch, future in zip(batches, futures, strict=True):
        error = future.exception()  # such as workers that were killed repeatedly
        if error is None:
            yield from future.result()
            continue
        yield from (_new_row(file, error) for file in batch)


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
            with errors.requirement("fastparquet", "virtual", "for Parquet"):
                _check_parquet(data)
                table = pd.read_parquet(io.BytesIO(data))
        else:
            table = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
            for name in _TYPES.keys() & set(table):
                if _TYPES[name] is bool:
                    table[name] = table[name] == "True"
                elif _TYPES[name] in (int, float):
                    table[name] = table[name].astype(_TYPES[name])
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(f"{str(path)!r} is not a table in {FORMATS[form]}: {error}") from error
    if "shape" in table:
        table["shape"] = [parse_shape(value) for value in table["shape"]]
    return table


def _check_parquet(data: bytes) -> None:
    """Refuse a file that is not Parquet, or is cut off: fastparquet would read beyond its end and may crash."""
    footer = int.from_bytes(data[-8:-4], "little")
    if not data[:4] == data[-4:] == b"PAR1" or footer > len(data) - 12:
        raise ValueError("it does not begin and end like one; it may be cut off")


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
    with errors.requirement("fastparquet", "virtual", "for Parquet"):
        data = table.to_parquet(index=False)
    return bytes(data)


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
