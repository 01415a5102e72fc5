"""Configuration of the documentation; building it also makes its figures, from files that it writes itself."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "xarray-nd2"
author = "xarray-nd2 developers"
copyright = "2026, xarray-nd2 developers"
release = version = installed_version("xarray-nd2")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "README.md"]

html_theme = "furo"
html_title = "xarray-nd2"
html_static_path = ["_static", "style.css"]  # the folder is written by the build
html_css_files = ["style.css"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the NumPy docstrings say the types
autosummary_generate = False  # numpydoc brings it; the pages list their objects themselves
numpydoc_show_class_members = False


def setup(app: object) -> None:
    """Make the figures before the pages are read."""
    from figures import build_figures

    build_figures(HERE / "_static" / "figures")
