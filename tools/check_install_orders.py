"""Install the wheel and PyPI's nd2, which share the import name nd2, in every order; see what still works after each.

``python tools/check_install_orders.py dist`` needs uv and the package index. Whichever of the two wrote
``nd2/__init__.py`` last, and if it is missing, these must work: the engine of xarray, references, and the command.
With ``packaging/nd2``, a distribution nd2 without files, ``import nd2`` must stay this package where programs that
require nd2 are installed and upgraded, and ``pip check`` must be content.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

THEIRS = "nd2==0.12.0"
NAMES = {"ours": "xarray-nd2", "theirs": "nd2", "empty": "nd2", "bioio": "bioio-nd2"}
ROOT = Path(__file__).resolve().parents[1]
ORDERS = [
    "install ours",
    "install ours, install theirs",
    "install theirs, install ours",
    "install ours+theirs",
    "install theirs+ours",
    "install ours, install theirs, uninstall theirs",
    "install theirs, install ours, uninstall theirs",
    "install ours+theirs, uninstall theirs",
    "install ours, install theirs, uninstall ours, install ours",
    "install ours, install theirs, uninstall theirs, install theirs",
]
EMPTY_ORDERS = [
    "install ours+empty",
    "install ours, install empty, upgrade ours",
    "install empty+ours+bioio",
    "install ours+empty, install bioio, upgrade bioio",
    "install ours+empty, upgrade theirs-unpinned",
    "install ours, install theirs, uninstall theirs, reinstall ours+empty",
    "install bioio, uninstall theirs, reinstall ours+empty, upgrade bioio",
]
"""Orders with the distribution of ``packaging/nd2``, after which ``import nd2`` is this package."""
BIN = "Scripts" if os.name == "nt" else "bin"

WRITE = """
import numpy as np, nd2
pixels = np.arange(3 * 2 * 40 * 48, dtype="u2").reshape(3, 2, 40, 48)
np.save("small.npy", pixels)
nd2.imwrite("small.nd2", pixels, axes="TCYX", channels=["DAPI", "GFP"])
"""
USE = """
import subprocess, sys
from pathlib import Path
import numpy as np, xarray as xr
folder, program = Path(sys.argv[1]), sys.argv[2]
pixels = np.load(folder / "small.npy")
for options in ({}, {"chunks": {}}):
    with xr.open_dataset(folder / "small.nd2", engine="nd2", **options) as dataset:
        np.testing.assert_array_equal(dataset.image, pixels)
assert list(xr.open_datatree(folder / "small.nd2", engine="nd2").children)
import xarray_nd2
xarray_nd2.write_kerchunk(folder / "small.nd2", "small.json")
with xr.open_dataset("small.json", engine="kerchunk") as dataset:
    np.testing.assert_array_equal(dataset.image.transpose("T", "C", "Y", "X"), pixels)
def run(*arguments):
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
assert "T 3 x C 2 x Y 40 x X 48" in run("info", folder / "small.nd2")
run("refs", folder / "small.nd2", "again.json")
run("zarr", folder / "small.nd2", "small.zarr")
assert Path("again.json").stat().st_size == Path("small.json").stat().st_size
assert Path("small.zarr", "zarr.json").is_file()
import nd2
print("nd2/__init__.py of", getattr(nd2, "__file__", None) and
      ("this package" if hasattr(nd2, "ND2Writer") else "the other package"))
"""


def main() -> int:
    """Try every order; return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds the wheel")
    parser.add_argument("-k", default="", help="only orders that hold this text")
    options = parser.parse_args()
    (wheel,) = options.folder.resolve().glob("*.whl")
    orders = [order for order in (*ORDERS, *EMPTY_ORDERS) if options.k in order]
    with tempfile.TemporaryDirectory() as folder:
        empty = build_empty(Path(folder))
        return sum(not works(order, wheel, empty, Path(folder)) for order in orders)


def build_empty(folder: Path) -> Path:
    """Build the distribution nd2 that has no files."""
    source = str(ROOT / "packaging" / "nd2")
    quiet(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "-o", str(folder), source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def works(order: str, wheel: Path, empty: Path, folder: Path) -> bool:
    """Carry out an order in a separate environment; print and return whether everything works afterwards."""
    place = Path(tempfile.mkdtemp(dir=folder))
    environment, room = place / "environment", place / "room"
    room.mkdir(parents=True)
    python = environment / BIN / "python"
    uv = [sys.executable, "-m", "uv"]
    quiet(*uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(environment))
    # Common dependencies come first, in one step, so that pip then only moves the two packages.
    programs = [NAMES["bioio"]] if "bioio" in order else []
    quiet(*uv, "pip", "install", "--python", str(python), str(wheel), THEIRS, *programs)
    quiet(*uv, "pip", "uninstall", "--python", str(python), NAMES["ours"], "nd2", *programs)
    sources = {"ours": str(wheel), "theirs": THEIRS, "theirs-unpinned": "nd2", "empty": str(empty)}
    for step in order.split(", "):
        verb, _, what = step.partition(" ")
        options = {"install": [], "upgrade": ["--upgrade"], "reinstall": ["--force-reinstall", "--no-deps"]}
        if verb in options:
            wanted = [sources.get(name, NAMES.get(name, name)) for name in what.split("+")]
            quiet(str(python), "-m", "pip", "install", *options[verb], *wanted)
        else:
            quiet(str(python), "-m", "pip", "uninstall", "--yes", NAMES[what])
    if not (folder / "small.nd2").exists():
        quiet(str(python), "-c", WRITE, cwd=folder)
    program = environment / BIN / "nd2"
    done = subprocess.run(
        [str(python), "-c", USE, str(folder), str(program)],
        cwd=room,
        env=clean_variables(),
        capture_output=True,
        text=True,
    )
    good, output = done.returncode == 0, done.stdout.strip()
    if "empty" in order:
        check = subprocess.run(
            [str(python), "-m", "pip", "check"], env=clean_variables(), capture_output=True, text=True
        )
        good = good and check.returncode == 0 and output.endswith("this package")
        output += f"; pip check: {check.stdout.strip()}"
    print(f"{order}: {output}" if good else f"{order}: FAILED\n{output}{done.stderr}", flush=True)
    return good


def quiet(*command: str, cwd: Path | None = None) -> None:
    """Run a command; print its output if it fails."""
    done = subprocess.run(command, cwd=cwd, env=clean_variables(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def clean_variables() -> dict[str, str]:
    """Return the environment variables without those that lead to other packages."""
    hidden = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    return {name: value for name, value in os.environ.items() if name not in hidden}


if __name__ == "__main__":
    sys.exit(main())
