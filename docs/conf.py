"""Sphinx configuration. The build also writes example files, and makes the figures from them."""

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
html_static_path = ["_static", "style.css"]  # the build writes the folder
html_css_files = ["style.css"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the NumPy docstrings have the types
autosummary_generate = False  # numpydoc enables it, but the pages list their objects
numpydoc_show_class_members = False


def setup(app: object) -> None:
    """Make the figures before Sphinx reads the pages."""
    from figures import build_figures

    build_figures(HERE / "_static" / "figures")
