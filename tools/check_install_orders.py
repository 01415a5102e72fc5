"""Install the wheel and PyPI's nd2, which share the import name nd2, in every order; see what still works after each.

``python tools/check_install_orders.py dist`` needs uv and the package index. Whichever of the two wrote ``nd2/__init__.py``
last, and where it is missing, these must work: the engine of xarray, references, and the command.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

THEIRS = "nd2==0.12.0"
NAMES = {"ours": "xarray-nd2", "theirs": "nd2"}
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
    (wheel,) = parser.parse_args().folder.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory() as folder:
        return sum(not works(order, wheel, Path(folder)) for order in ORDERS)


def works(order: str, wheel: Path, folder: Path) -> bool:
    """Carry out an order in an environment of its own; print and return whether all works afterwards."""
    place = folder / f"order{ORDERS.index(order)}"
    environment, room = place / "environment", place / "room"
    room.mkdir(parents=True)
    python = environment / BIN / "python"
    uv = [sys.executable, "-m", "uv"]
    quiet(*uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(environment))
    # What both depend on comes first, in one step, so that pip only moves the two packages.
    quiet(*uv, "pip", "install", "--python", str(python), str(wheel), THEIRS)
    quiet(*uv, "pip", "uninstall", "--python", str(python), *NAMES.values())
    sources = {"ours": str(wheel), "theirs": THEIRS}
    for step in order.split(", "):
        verb, _, what = step.partition(" ")
        if verb == "install":
            quiet(str(python), "-m", "pip", "install", *(sources[name] for name in what.split("+")))
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
    said = f"FAILED\n{done.stdout}{done.stderr}" if done.returncode else done.stdout.strip()
    print(f"{order}: {said}", flush=True)
    return done.returncode == 0


def quiet(*command: str, cwd: Path | None = None) -> None:
    """Run a command; show what it says where it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=clean_variables(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def clean_variables() -> dict[str, str]:
    """Return the environment variables without those that lead to other packages."""
    hidden = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
    return {name: value for name, value in os.environ.items() if name not in hidden}


if __name__ == "__main__":
    sys.exit(main())
