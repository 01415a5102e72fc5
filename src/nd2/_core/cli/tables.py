"""The commands that print what is in files: ``info``, ``index`` and ``events``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from nd2._core import errors
from nd2._core.cli.command import FILE, OVERWRITE, Command, arguments, flag, open_file, value
from nd2._core.io.destination import guess_format, resolve
from nd2._core.open import open_reader

if TYPE_CHECKING:
    import argparse

_FORMS = {"csv": "CSV", "json": "JSON", "parquet": "Parquet"}


def _info(options: argparse.Namespace) -> None:
    from nd2._core.views.facts import Facts
    from nd2._core.views.summary import as_text, summary

    with open_reader(options.file, storage_options=options.storage_options) as reader:
        facts = summary(reader, Facts(reader))
    print(json.dumps(facts, indent=2) if options.json else "\n".join(as_text(facts)))


def _configure_index(parser: argparse.ArgumentParser) -> None:
    from nd2._core.catalog import add_arguments

    add_arguments(parser)


def _index(options: argparse.Namespace) -> int:
    from nd2._core.catalog import run

    try:
        return run(options, options.storage_options)
    except ValueError as error:  # bad files are rows: only an option can be wrong
        print(f"nd2 index: {errors.one_line(error)}", file=sys.stderr)
        return 2


def _events(options: argparse.Namespace) -> None:
    form = options.format or guess_format(options.output or "", _FORMS)
    if form == "parquet" and not options.output:
        raise ValueError("Parquet is not text: say where to write it with --output")
    dest = None
    with open_file(options) as file:
        if options.output:
            dest = resolve(
                options.output, _FORMS[form], overwrite=options.overwrite, sources=[file.path]
            )
        if form == "json":
            from nd2._core.views.jsonable import plain

            data = json.dumps(plain(file.events(orient="records")), indent=1).encode() + b"\n"
        else:
            import pandas as pd

            table = pd.DataFrame(file.events(orient="list"))
            csv = form == "csv"
            data = table.to_csv(index=False).encode() if csv else table.to_parquet(index=False)
    if dest is None:
        sys.stdout.write(data.decode())
    else:
        dest.write(data)


INFO = Command(
    "say what is in a file",
    "nd2 info cells.nd2\n"
    "nd2 info --json cells.nd2\n"
    "nd2 info s3://bucket/cells.nd2 --storage-option anon=true",
    arguments(FILE, flag("--json", "print JSON")),
    _info,
)


INDEX = Command(
    "list files in a table, CSV or JSON",
    "nd2 index data --recurse --sort-by kb-\n"
    "nd2 index data -F \"acquired > '2020' and kb < 500\" -i name,axes,shape\n"
    "nd2 index data --format csv > index.csv",
    _configure_index,
    _index,
)


EVENTS = Command(
    "print what was recorded with each frame",
    "nd2 events cells.nd2\nnd2 events cells.nd2 -o events.parquet",
    arguments(
        FILE,
        value("--output -o", "PATH", "file to write (standard output)"),
        value("--format -f", None, "by default that of the output, else csv", choices=_FORMS),
        OVERWRITE,
    ),
    _events,
)
