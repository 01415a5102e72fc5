"""The engine when another distribution owns the package `nd2`, and errors for missing names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nd2
from nd2._core.neighbor import NAMES, REPAIR
from tests.builder import build

SOURCE = Path(nd2.__file__).parents[1]
THEIRS = "def __getattr__(name):\n    if name == 'lazy':\n        return 1\n    raise AttributeError(name)\n"


@pytest.fixture(params=["theirs", "removed"])
def packages(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a folder of packages as pip leaves them after both distributions came or went."""
    (tmp_path / "nd2").mkdir()
    (tmp_path / "nd2" / "_core").symlink_to(SOURCE / "nd2" / "_core")
    (tmp_path / "xarray_nd2").symlink_to(SOURCE / "xarray_nd2")
    if request.param == "theirs":
        (tmp_path / "nd2" / "__init__.py").write_text(THEIRS)
        (tmp_path / "nd2" / "structures.py").write_text("class Color: ...\n")
    return tmp_path


ALONE = """
import importlib.machinery, os, sys

class Here:
    # the environment of the tests has the package as a whole, as a link or in site-packages
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("nd2", "xarray_nd2"):
            return importlib.machinery.PathFinder.find_spec(name, [os.getcwd()])

sys.meta_path.insert(0, Here)
"""


def run(packages: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE + code],
        env=os.environ | {"PYTHONPATH": str(packages)},
        cwd=packages,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_import_is_silent(packages: Path) -> None:
    assert run(packages, "import xarray_nd2, nd2; print(xarray_nd2.__version__ and 'ok')") == "ok\n"


def test_the_engine_works(packages: Path) -> None:
    build(packages / "a.nd2", loops=[("T", 3)])
    code = """
import pickle, xarray_nd2.backend as backend
dataset = backend.ND2BackendEntrypoint().open_dataset("a.nd2")
assert dict(dataset.image.sizes) == {"T": 3, "Y": 6, "X": 8}
print(pickle.loads(pickle.dumps(dataset)).image.sizes["T"])
"""
    assert run(packages, code) == "3\n"


def test_missing_names_are_explained(packages: Path) -> None:
    code = """
import nd2, xarray_nd2.backend
for name in ("imwrite", "never"):
    try:
        getattr(nd2, name)
    except AttributeError as error:
        print(error)
"""
    explained, plain = run(packages, code).splitlines()
    assert explained.startswith("module 'nd2' has no attribute 'imwrite': another distribution")
    assert explained.endswith(REPAIR)
    assert REPAIR not in plain


def test_names_of_theirs_stay(tmp_path: Path) -> None:
    (tmp_path / "nd2").mkdir()
    (tmp_path / "nd2" / "_core").symlink_to(SOURCE / "nd2" / "_core")
    (tmp_path / "nd2" / "__init__.py").write_text(THEIRS)
    assert run(tmp_path, "import nd2._core; print(nd2.lazy, hasattr(nd2, 'imwrite'))") == "1 False\n"


def test_the_names_are_those_of_the_package() -> None:
    modules = {"errors", "index", "jobs", "tiff"}
    assert {*nd2.__all__, *modules} - {"__version__"} == NAMES
