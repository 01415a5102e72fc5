"""Check what is released: the content of wheel and sdist, and the wheel in a clean environment for each extra.

``python tools/check_release.py dist`` needs git, for the list of files that belong to the project, and uv.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("nd2", "xarray_nd2")
SDIST_FOLDERS = ("src", "tests", "bench", "docs", "examples", "tools")
SDIST_FILES = {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", ".gitignore"}


def main() -> int:
    """Check the one wheel and the one sdist of a folder; return the number of complaints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with one wheel and one sdist")
    parser.add_argument("--extra", action="append", help="only this extra ('' for none)")
    arguments = parser.parse_args()
    (wheel,) = arguments.folder.resolve().glob("*.whl")
    (sdist,) = arguments.folder.resolve().glob("*.tar.gz")
    complaints = [*check_wheel(wheel), *check_sdist(sdist)]
    for complaint in complaints:
        print(complaint)
    if not complaints:
        print(f"content of {wheel.name} and {sdist.name}: ok")
    extras = arguments.extra
    failed = [extra for extra in (extras or ["", *known_extras()]) if not used_in_clean_room(wheel, extra)]
    return len(complaints) + len(failed)


def known_extras() -> list[str]:
    """Return the names of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["optional-dependencies"])


def project_files() -> set[str]:
    """Return the files that git tracks, with forward slashes, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(listed.stdout.split("\0")) - {""}


def check_wheel(wheel: Path) -> list[str]:
    """Return what is missing from a wheel, and what does not belong there."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    known = {
        name.removeprefix("src/")
        for name in project_files()
        if name.startswith(tuple(f"src/{package}/" for package in PACKAGES))
    }
    known |= {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    known |= {f"{info}/licenses/LICENSE"}
    return compare(wheel.name, names, known, [f"{package}/py.typed" for package in PACKAGES])


def check_sdist(sdist: Path) -> list[str]:
    """Return what is missing from an sdist, and what does not belong there."""
    root = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getnames()
    names = {name.removeprefix(f"{root}/") for name in members}
    known = {name for name in project_files() if name.startswith(tuple(f"{f}/" for f in SDIST_FOLDERS))}
    known |= {*SDIST_FILES, "PKG-INFO"}
    return compare(sdist.name, names, known, [f"src/{package}/py.typed" for package in PACKAGES])


def compare(archive: str, names: set[str], known: set[str], typed: list[str]) -> list[str]:
    """Return one line for each file that is missing or stray."""
    missing = (known | set(typed)) - names
    return [
        *(f"{archive}: {name} is missing" for name in sorted(missing)),
        *(f"{archive}: {name} does not belong there" for name in sorted(names - known)),
    ]


def used_in_clean_room(wheel: Path, extra: str) -> bool:
    """Install a wheel with one extra in a separate environment, and use it there; return whether that works."""
    what = f"xarray-nd2[{extra}]" if extra else "xarray-nd2"
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder) / "environment"
        programs = environment / ("Scripts" if os.name == "nt" else "bin")
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
        install = [*uv, "pip", "install", "--quiet", "--python", str(environment)]
        subprocess.run([*install, f"{wheel}[{extra}]" if extra else str(wheel)], check=True)
        room = Path(folder) / "room"
        room.mkdir()
        # `tests` lends its server and its builder of legacy files; `src` is out of reach
        variables = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        variables |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [str(programs / "python"), "-W", "error", str(ROOT / "tools" / "use_extra.py"), extra],
            cwd=room,
            env=variables,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        print(f"{what}: FAILED\n{done.stdout}{done.stderr}")
    else:
        print(f"{what}: {done.stdout.splitlines()[-1]}", flush=True)  # libraries may talk before
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
