"""The examples run unchanged in an empty folder, and write the files that they announce."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib as mpl
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
MADE = {
    "demo.py": ["cells.nd2", "cells.json", "cells-focus.nd2", "cells.png"],
    "project_positions.py": ["projections.ome.tif"],
    "wells_over_time.py": ["wells.csv"],
    "virtual_zarr_s3.py": ["timelapse.json"],
    "index_folder.py": ["archive/timelapse_b.nd2"],
    "segment_labels.py": ["nuclei-segmented.nd2"],
    "tour.ipynb": ["projection.nd2", "projection.ome.tif", "projection.zarr", "means.csv"],
}
# Warnings are errors in the kernel, except those of the kernel's own packages.
STRICT = """
import warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="IPython|ipykernel|jupyter_client|tornado|traitlets|zmq")
"""


def test_all_examples_are_run_and_described() -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    names = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert names == set(MADE)
    assert [name for name in sorted(names) if name not in page] == []


@pytest.mark.parametrize("name", [name for name in MADE if name.endswith(".py")])
def test_a_script_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    for _ in range(2):  # the second run reads the file that exists, and replaces the results
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert [made for made in MADE[name] if not (tmp_path / "demo-output" / made).exists()] == []


def test_importing_a_script_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in EXAMPLES.glob("*.py"):
        runpy.run_path(str(path))
    assert list(tmp_path.iterdir()) == []


# what Jupyter warns of in this process is its own affair
@pytest.mark.filterwarnings("default")
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    import nbformat

    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    strict = nbformat.v4.new_code_cell(STRICT)  # type: ignore[no-untyped-call]
    notebook.cells.insert(0, strict)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    made = tmp_path / "demo-output"
    assert [name for name in MADE["tour.ipynb"] if not (made / name).exists()] == []
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2


def test_the_notebook_is_kept_without_outputs() -> None:
    import nbformat

    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs or cell.execution_count for cell in code if cell.outputs] == []
