"""Sphinx configuration. The build also writes example files, makes the figures from them, and runs the notebook."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from inventory import write_inventories  # noqa: E402  # found by the line above

project = "xarray-nd2"
author = "xarray-nd2 developers"
copyright = "2026, xarray-nd2 developers"
release = version = installed_version("xarray-nd2")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_argparse_cli",
    "sphinx_copybutton",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_build", "jupyter_execute", "README.md"]
default_role = "py:obj"

html_theme = "furo"
html_title = f"xarray-nd2 {release}"
html_logo = html_favicon = "logo.svg"
html_static_path = ["_static", "style.css"]  # the build writes the folder
html_css_files = ["style.css"]
html_theme_options = {
    "source_repository": "https://github.com/xarray-nd2/xarray-nd2",
    "source_branch": "main",
    "source_directory": "docs/",
}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Every build executes the notebook, in a temporary folder.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

autodoc_typehints = "none"  # the NumPy docstrings have the types
autodoc_member_order = "bysource"
autosummary_generate = False  # the pages list their objects
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {
    "DataArray": "xarray.DataArray",
    "Dataset": "xarray.Dataset",
    "DataTree": "xarray.DataTree",
    "ndarray": "numpy.ndarray",
    "DataFrame": "pandas.DataFrame",
    "Figure": "matplotlib.figure.Figure",
    "ND2File": "nd2.ND2File",
}
copybutton_exclude = ".linenos, .gp, .go"

intersphinx_mapping: dict[str, tuple[str, Any]] = dict(write_inventories(HERE / "_static" / "inventories"))
if os.environ.get("READTHEDOCS"):
    intersphinx_mapping = {name: (address, (None, local)) for name, (address, local) in intersphinx_mapping.items()}


class Themes(SphinxTransform):
    """Shows each figure in two forms, one on light and one on dark pages."""

    default_priority: ClassVar[int] = 10

    def apply(self, **_: Any) -> None:
        """Put the dark form after each figure, and mark both for Furo."""
        for image in list(self.document.findall(nodes.image)):
            path = Path(image["uri"])
            dark = path.with_name(f"{path.stem}-dark{path.suffix}")
            if path.parts[:2] == ("_static", "figures") and (HERE / dark).exists():
                other = image.deepcopy()
                other["uri"] = dark.as_posix()
                for node, theme in ((image, "only-light"), (other, "only-dark")):
                    node["classes"] = [*node.get("classes", ()), theme, "figure"]
                image.parent.insert(image.parent.index(image) + 1, other)


def setup(app: Sphinx) -> None:
    """Make the figures and the notebook's page before Sphinx reads the pages."""
    from figures import build_figures

    build_figures(HERE / "_static" / "figures")
    shutil.copy(HERE.parent / "examples" / "tour.ipynb", HERE / "tour.ipynb")
    app.add_transform(Themes)
