"""Print the modules that common operations cross: from a path to bytes, to pixels, to a dataset, to JSON.

``python tools/journeys.py [CHECKOUT]`` runs five operations of a checkout (by default this one) under a profiler. It
prints, for each, the modules of the package in the order of the first call into them, how many of them are on the
longest path from the call to the innermost function, and calls that lead back into a module that waits for this very
call.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("nd2", "xarray_nd2")


class Journey(NamedTuple):
    """Calls of one operation.

    Attributes
    ----------
    crossed : list of str
        Modules of functions that were given the value, or an object made from it, in order of the first call.
    returns : int
        Calls that give it to a module which had it before, after another module had it.
    upward : Counter
        Calls from a module into one that waits for this very call, by both modules.
    modules : list of str
        All modules that were called, also those that only compute something on the way.
    """

    crossed: list[str]
    returns: int
    upward: Counter[tuple[str, str]]
    modules: list[str]


def travel(operation: Callable[[], Any], value: object) -> Journey:
    """Run an operation and follow a value: who gets it as an argument, and who gets what was made from it."""
    modules: dict[str, None] = {}
    visits: list[str] = []
    upward: Counter[tuple[str, str]] = Counter()
    stack: list[tuple[str | None, bool]] = []
    carriers: dict[int, object] = {id(value): value}

    def note(frame: FrameType, event: str, result: Any) -> None:
        if event == "call":
            name = frame.f_globals.get("__name__", "")
            if name.partition(".")[0] not in PACKAGES or is_machinery(frame):
                stack.append((None, False))
                return
            carries = any(id(argument) in carriers or is_value(argument) for argument in given(frame))
            modules.setdefault(name)
            caller = next((one for one, _ in reversed(stack) if one), None)
            if caller not in (None, name) and any(name == one for one, _ in stack):
                upward[str(caller), name] += 1
            stack.append((name, carries))
            if carries:
                visits.append(name)
                if frame.f_code.co_name == "__init__":
                    new = frame.f_locals[frame.f_code.co_varnames[0]]
                    carriers[id(new)] = new
        elif event == "return" and stack:
            _, carries = stack.pop()
            if carries and holds(result):
                carriers[id(result)] = result

    def is_value(argument: object) -> bool:
        if isinstance(argument, str | Path):
            return str(argument) == str(value)
        key = getattr(argument, "tuple", argument)  # indexers of xarray
        return isinstance(key, tuple) and isinstance(value, tuple) and str(key) == str(value)

    sys.setprofile(note)
    try:
        operation()
    finally:
        sys.setprofile(None)
    crossed = list(dict.fromkeys(visits))
    stays = [name for name, before in zip(visits, ["", *visits], strict=False) if name != before]
    return Journey(crossed, len(stays) - len(crossed), upward, list(modules))


def given(frame: FrameType) -> list[object]:
    """Return the arguments of a call, without the object that a method belongs to."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames[:count]
    if names and names[0] in {"self", "cls"}:
        names = names[1:]
    return [frame.f_locals[name] for name in names if name in frame.f_locals]


def holds(result: object) -> bool:
    """Whether a result is followed: an object of the package that is not a plain structure, an index, or pixels."""
    home = type(result).__module__
    ours = home.partition(".")[0] in PACKAGES and not home.endswith("structures")
    return ours or isinstance(result, slice | tuple | memoryview) or home == "numpy"


def is_machinery(frame: FrameType) -> bool:
    """Whether a frame runs the body of a module or of a class, ``__getattr__`` of a module, or a descriptor."""
    return frame.f_code.co_name in {"<module>", "__getattr__", "__get__"} or not (
        frame.f_code.co_flags & 0x2  # CO_NEWLOCALS: functions have it, bodies of classes do not
        and frame.f_code.co_flags & 0x1  # CO_OPTIMIZED
    )


def report() -> None:
    """Make a file and take the five journeys, in a process that imports the checkout's packages."""
    import numpy as np
    import xarray as xr
    from xarray.core.indexing import BasicIndexer

    import nd2
    import xarray_nd2

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nd2"
        first, second = (Path(folder) / f"{number}.json" for number in range(2))
        pixels = np.zeros((3, 2, 4, 2, 32, 48), "u2")
        nd2.imwrite(path, pixels, axes="TPZCYX", channels=["DAPI", "GFP"])

        def opened() -> nd2.ND2File:
            with nd2.ND2File(path) as file:
                assert file.attributes.widthPx == 48
            return file

        opened()
        lazy = xr.open_dataset(path, engine="nd2", cache=False)
        lazy.image[0, 0, 0].load()
        xarray_nd2.write_kerchunk(path, first)
        with nd2.ND2File(path) as file:
            file.read_frame(0)
            array = lazy.image.variable._data  # noqa: SLF001  # what xarray indexes
            while hasattr(array, "array"):
                array = array.array
            key = (1, 0, 2, slice(None), slice(4, 9), slice(None))
            index = 5
            ways: dict[str, tuple[Callable[[], Any], object]] = {
                "path -> bytes": (opened, path),
                "frame index -> pixels": (lambda: file.read_frame(index), index),
                "indexer of the lazy array -> bytes": (lambda: array[BasicIndexer(key)], key),
                "open_dataset -> dataset": (lambda: xr.open_dataset(path, engine="nd2"), path),
                "write_kerchunk -> JSON": (lambda: xarray_nd2.write_kerchunk(path, second), path),
            }
            opening: set[str] = set()
            for name, (operation, value) in ways.items():
                journey = travel(operation, value)
                opening = opening or set(journey.crossed)
                show(name, journey, len(set(journey.crossed) - opening))
        lazy.close()


def show(name: str, journey: Journey, later: int) -> None:
    """Print a journey."""
    print(
        f"{name}: crosses {len(journey.crossed)} modules ({later} behind opening), comes back {journey.returns} times, "
        f"{sum(journey.upward.values())} calls up; {len(journey.modules)} modules are called"
    )
    print(f"    crosses: {', '.join(map(short, journey.crossed))}")
    others = [module for module in journey.modules if module not in journey.crossed]
    print(f"    others: {', '.join(map(short, others))}")
    for (caller, module), count in journey.upward.items():
        print(f"    up: {short(caller)} > {short(module)} ({count})")


def short(module: str) -> str:
    """Shorten the name of a module."""
    return module.removeprefix("nd2._core.").replace("xarray_nd2", "x")


def main() -> int:
    """Start a process that finds the packages of the checkout."""
    checkout = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "JOURNEYS": "1"}
    return subprocess.run([sys.executable, __file__], env=environment).returncode


if __name__ == "__main__":
    if "JOURNEYS" in os.environ:
        report()
    else:
        sys.exit(main())
