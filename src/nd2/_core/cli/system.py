"""The commands about the program itself: ``versions`` and ``completion``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from nd2._core import errors
from nd2._core.cli.command import Command, arguments, flag, value

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATHS = {"file", "files", "paths", "dest", "output", "out_dir"}
"""Arguments that are paths."""
_MAIN = ("numpy", "xarray", "dask", "zarr")
"""Packages that ``nd2 --version`` names."""


def version_line() -> str:
    """Return the version of this package, and those of Python and the packages that matter most."""
    from platform import python_version

    from nd2._core._version import API_VERSION, __version__

    parts = [f"Python {python_version()}"]
    parts += [f"{name} {_version(name) or 'missing'}" for name in _MAIN]
    return f"xarray-nd2 {__version__} (API of nd2 {API_VERSION}), {', '.join(parts)}"


def _version(name: str) -> str | None:
    """Return the version of an installed distribution."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _requirements() -> dict[str, str]:
    """Return the distributions that this one requires, each with the extra that requires it, which may be empty."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        lines = requires("xarray-nd2") or []
    except PackageNotFoundError:  # run from a source tree that was not installed
        return {}
    found: dict[str, str] = {}
    for line in lines:
        name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([^'\"]+)['\"]", line)
        if name.lower() != "xarray-nd2":
            found.setdefault(name, extra.group(1) if extra else "")
    return found


def _describe() -> Iterator[tuple[str, str]]:
    import locale
    import platform
    from pathlib import Path

    from nd2._core._version import API_VERSION, __version__

    yield "xarray-nd2", f"{__version__} (API of nd2 {API_VERSION})"
    yield "installed in", str(Path(__file__).parents[3])
    other = _version("nd2")
    if other is not None:
        from nd2._core.neighbor import REPAIR

        yield "conflict", f"nd2 {other} is installed over xarray-nd2; repair it by: {REPAIR}"
    yield "Python", f"{platform.python_version()} ({sys.executable})"
    yield "system", platform.platform()
    yield "encoding", f"{sys.stdout.encoding}, {locale.getlocale()[0] or 'C'} locale"
    for name, extra in _requirements().items():
        yield name, _version(name) or (f"not installed (extra {extra})" if extra else "not installed")


def _versions(options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(dict(_describe()), indent=2))
        return
    for name, text in _describe():
        print(f"{name + ':':<18}{text}")


def _completion(options: argparse.Namespace) -> None:
    with errors.requirement("shtab", "cli", "for shell completion"):
        import shtab
    from nd2._core.cli import full_parser

    parser = full_parser()
    for action in _actions(parser):
        if action.dest in _PATHS:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # the attribute that shtab reads
    print(shtab.complete(parser, options.shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of all commands."""
    for action in parser._actions:  # noqa: SLF001  # argparse has no other way to them
        parsers: Any = action.choices if action.nargs == argparse.PARSER else {}
        for sub in parsers.values():
            yield from _actions(sub)
        yield action


VERSIONS = Command(
    "print the versions of this package and of its dependencies, for bug reports",
    "nd2 versions\nnd2 versions --json",
    arguments(flag("--json", "print JSON")),
    _versions,
    opens_files=False,
)

COMPLETION = Command(
    "print a script that completes commands, options and file names in a shell",
    'eval "$(nd2 completion bash)"\n'
    "nd2 completion zsh > ~/.zfunc/_nd2\n"
    "nd2 completion fish > ~/.config/fish/completions/nd2.fish",
    arguments(value("shell", None, "the shell", choices=("bash", "zsh", "fish", "tcsh", "powershell"))),
    _completion,
    opens_files=False,
)
