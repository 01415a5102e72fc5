"""Inventories of other projects' documentation, for links that work without the network.

Sphinx's intersphinx reads inventories. A hosting service downloads the complete ones; elsewhere these few names,
which our docstrings use, are enough, so that the documentation builds offline and in the same way every time.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Terms and labels to which numpydoc links types.
TERMS = {
    "python": (
        "sequence std:term -1 glossary.html#term-sequence sequence\n"
        "iterable std:term -1 glossary.html#term-iterable iterable\n"
        "bltin-boolean-values std:label -1 library/stdtypes.html#boolean-type-bool bool\n"
    ),
    "numpy": "array_like std:term -1 glossary.html#term-array_like array_like\n",
}

# Project -> (address of its documentation, pages of its objects: ``{}`` is the name, and the kinds and names).
PROJECTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "xarray": (
        "https://docs.xarray.dev/en/stable/",
        "generated/{}.html",
        {
            "class": "xarray.Dataset xarray.DataArray xarray.DataTree xarray.Variable",
            "function": "xarray.open_dataset xarray.open_datatree xarray.open_groups xarray.open_mfdataset "
            "xarray.open_zarr xarray.set_options xarray.concat",
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/",
        "reference/generated/{}.html",
        {"class": "numpy.ndarray numpy.dtype", "function": "numpy.fromfile"},
    ),
    "dask": ("https://docs.dask.org/en/stable/", "generated/{}.html", {"class": "dask.array.Array"}),
    "pandas": ("https://pandas.pydata.org/docs/", "reference/api/{}.html", {"class": "pandas.DataFrame"}),
    "matplotlib": ("https://matplotlib.org/stable/", "api/_as_gen/{}.html", {"class": "matplotlib.figure.Figure"}),
    "python": (
        "https://docs.python.org/3/",
        "library/{}",
        {
            "class": "dict:stdtypes.html list:stdtypes.html tuple:stdtypes.html str:stdtypes.html "
            "bytes:stdtypes.html int:functions.html float:functions.html bool:functions.html "
            "slice:functions.html datetime.datetime:datetime.html os.PathLike:os.html pathlib.Path:pathlib.html",
            "exception": "ValueError:exceptions.html OSError:exceptions.html KeyError:exceptions.html "
            "IndexError:exceptions.html ImportError:exceptions.html TypeError:exceptions.html "
            "NotImplementedError:exceptions.html FileNotFoundError:exceptions.html "
            "FileExistsError:exceptions.html UserWarning:exceptions.html",
        },
    ),
}


def write_inventories(folder: Path) -> dict[str, tuple[str, str]]:
    """Write an inventory per project; return the mapping that intersphinx takes."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for project, (address, page, names) in PROJECTS.items():
        rows = [TERMS.get(project, "")]
        for kind, listed in names.items():
            for entry in listed.split():
                name, _, place = entry.partition(":")
                rows.append(f"{name} py:{kind} 1 {page.format(place or name)}#{name} -\n")
        head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version:\n"
        head += "# The remainder of this file is compressed using zlib.\n"
        path = folder / f"{project}.inv"
        path.write_bytes(head.encode() + zlib.compress("".join(rows).encode()))
        mapping[project] = (address, str(path))
    return mapping
