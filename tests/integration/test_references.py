"""References in every form, of every kind of file: bit for bit what the engine gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

from nd2._core.format import chunks
from tests.builder import Nd2Spec, build
from tests.kinds import KINDS
from tests.references import OLD_PARQUET, V3_ZLIB, assert_same
from tests.samples import each_sample, sample_names
from tests.sparse import build_sparse
from xarray_nd2 import ND2Parser, open_references, to_kerchunk, write_kerchunk
from xarray_nd2.references import layouts

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.filterwarnings(V3_ZLIB), pytest.mark.filterwarnings(OLD_PARQUET)]

NO_CHUNK = {"zlib, odd row stride"}
"""Compressed rows that are padded by part of a pixel: no Zarr chunk holds them."""


def v2_kerchunk(path: Path, folder: Path) -> xr.Dataset:
    write_kerchunk(path, folder / "v2.json")
    return xr.open_dataset(str(folder / "v2.json"), engine="kerchunk", chunks={})


def v2_reference(path: Path, folder: Path) -> xr.Dataset:
    write_kerchunk(path, folder / "v2.json")
    options = {"fo": str(folder / "v2.json")}
    dataset: xr.Dataset = xr.open_zarr("reference://", storage_options=options, consolidated=False)
    return dataset


def v2_parquet(path: Path, folder: Path) -> xr.Dataset:
    write_kerchunk(path, folder / "v2.parq", format="parquet")
    options = {"remote_protocol": "file"}
    return xr.open_dataset(str(folder / "v2.parq"), engine="kerchunk", storage_options=options, chunks={})


def v3_reference(path: Path, folder: Path) -> xr.Dataset:
    write_kerchunk(path, folder / "v3.json", zarr_format=3)
    options = {"fo": str(folder / "v3.json")}
    dataset: xr.Dataset = xr.open_zarr("reference://", storage_options=options, consolidated=False)
    return dataset


def v3_consolidated(path: Path, folder: Path) -> xr.Dataset:
    write_kerchunk(path, folder / "v3.json", zarr_format=3)
    return xr.open_dataset(
        "reference://", engine="zarr", backend_kwargs={"storage_options": {"fo": str(folder / "v3.json")}}
    )


def in_memory(path: Path, folder: Path) -> xr.Dataset:
    return open_references(to_kerchunk(path, zarr_format=3))


def manifests(path: Path, folder: Path) -> xr.Dataset:
    registry = pytest.importorskip("obspec_utils.registry").ObjectStoreRegistry
    store = pytest.importorskip("obstore.store").LocalStore()
    parsed: Any = ND2Parser()(path.as_uri(), registry({"file://": store}))
    dataset: xr.Dataset = xr.open_zarr(parsed, consolidated=False, zarr_format=3)
    return dataset


FORMS: dict[str, Callable[[Path, Path], xr.Dataset]] = {
    form.__name__: form
    for form in (v2_kerchunk, v2_reference, v2_parquet, v3_reference, v3_consolidated, in_memory, manifests)
}

each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def _whole(path: Path) -> bool:
    """Whether no frame is missing."""
    return "frame_present" not in xr.open_dataset(path, engine="nd2").variables


@each_form
@pytest.mark.parametrize("kind", KINDS)
def test_made_files(kind: str, form: Callable[[Path, Path], xr.Dataset], tmp_path: Path) -> None:
    path = tmp_path / "a file.nd2"
    build(path, **KINDS[kind])
    if kind in NO_CHUNK:
        with pytest.raises(ValueError, match=r"padded by part of a pixel.*to_zarr"):
            form(path, tmp_path)
    elif form is v2_parquet and KINDS[kind].get("missing"):
        with pytest.raises(ValueError, match="format='json'"):
            form(path, tmp_path)
        assert os.listdir(tmp_path) == [path.name]
    else:
        dataset = xr.open_dataset(path, engine="nd2")
        assert_same(form(path, tmp_path), dataset)


# One way to read each document that is written; that every way reads it is tested on made files.
@pytest.mark.parametrize("form", [v2_kerchunk, v3_reference, manifests])
@each_sample()
def test_samples(sample: Path, form: Callable[[Path, Path], xr.Dataset], tmp_path: Path) -> None:
    check_sample(sample, form, tmp_path)


@each_sample(sample_names("real"))
def test_samples_in_parquet(sample: Path, tmp_path: Path) -> None:
    check_sample(sample, v2_parquet, tmp_path)


def check_sample(sample: Path, form: Callable[[Path, Path], xr.Dataset], folder: Path) -> None:
    dataset = xr.open_dataset(sample, engine="nd2")
    labels = [name for name in dataset.variables if str(name).startswith("labels_")]
    try:
        virtual = form(sample, folder)
    except ValueError as error:
        no_chunk = "padded by part of a pixel" in str(error)
        assert no_chunk or (form is v2_parquet and not _whole(sample))
        return
    assert_same(virtual, dataset.drop_vars(labels))


def test_a_raw_reference_is_exactly_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2)], width=5)
    refs = to_kerchunk(path, url="s3://bucket/a.nd2")["refs"]
    assert refs["image/1.0.0"][0] == "s3://bucket/a.nd2"
    _, offset, length = refs["image/1.0.0"]
    assert length == 6 * 12
    header = chunks.parse_header(path.read_bytes()[offset - 4096 : offset], offset - 4096)
    assert header.name == b"ImageDataSeq|1!"


def test_missing_frames_have_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 5)], missing=frozenset({0, 3}))
    for zarr_format, start in ((2, "image/"), (3, "image/c.")):
        refs = to_kerchunk(path, zarr_format=zarr_format)["refs"]  # type: ignore[arg-type]
        assert f"{start}1.0.0" in refs
        assert not {f"{start}0.0.0", f"{start}3.0.0"} & set(refs)


def test_rows_padded_by_part_of_a_pixel_are_referenced_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2)], row_bytes=23)
    refs = to_kerchunk(path)["refs"]
    keys = [key for key in refs if key.startswith("image/") and "/." not in key]
    assert len(keys) == 2 * 6
    assert {refs[key][2] for key in keys} == {8 * 2}


@pytest.mark.parametrize(("height", "rows"), [(96, 16), (97, 97)])
def test_huge_frames_are_cut_into_bands_that_divide_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, rows: int
) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 2)], height=height, width=64, channels=2)
    monkeypatch.setattr(layouts, "BAND_BYTES", 20 * 256)
    monkeypatch.setattr(layouts, "_MIN_BAND", 2 * 256)
    for zarr_format in (2, 3):
        refs = to_kerchunk(path, zarr_format=zarr_format)
        dataset = open_references(refs)
        assert dataset.image.variable.chunksizes["Y"][0] == rows
        pixels = dataset.image.transpose("T", "C", "Y", "X")
        np.testing.assert_array_equal(pixels.values, spec.array)


def test_json_and_dictionary_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "100%.nd2"
    build(path, loops=[("T", 3), ("Z", 2)], missing=frozenset({4}))
    for template in (True, False):
        write_kerchunk(path, tmp_path / "refs.json", template=template, overwrite=True)
        text = (tmp_path / "refs.json").read_text()
        written = json.loads(text)
        assert text.count(f'["{path}",') == (0 if template else 5)
        url = written.get("templates", {}).get("u")
        assert (url == str(path)) is template
        refs = {
            key: [str(path), *value[1:]] if isinstance(value, list) else value for key, value in written["refs"].items()
        }
        assert refs == to_kerchunk(path)["refs"]


def test_a_million_references_take_no_memory_each(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build_sparse(path, count=60_000, height=4, width=8)
    script = (
        "import resource, sys; from xarray_nd2 import write_kerchunk\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "write_kerchunk(sys.argv[1], sys.argv[2] + '1', check=False); before = peak()\n"
        "write_kerchunk(sys.argv[1], sys.argv[2], check=False); print(peak() - before)\n"
    )
    dest = tmp_path / "refs.json"
    done = subprocess.run([sys.executable, "-c", script, path, dest], check=True, capture_output=True, text=True)
    # as Python objects, the references alone take some 400 bytes each
    assert int(done.stdout) < 60_000 * 100
    assert dest.read_text().count("{{u}}") == 60_000


def _overwrite(path: Path, index: int, data: bytes, offset: int = 0) -> None:
    """Put bytes into the head of a frame's chunk."""
    raw = path.read_bytes()
    position = raw.index(b"ImageDataSeq|%d!" % index) - 16
    with path.open("r+b") as handle:
        handle.seek(position + offset)
        handle.write(data)


@pytest.mark.parametrize(
    ("data", "offset", "message"),
    [
        (b"\0\0\0\0", 0, "no chunk starts here"),
        (b"ImageDataSeq|1!", 16, "another chunk is here"),
        ((4073).to_bytes(4, "little"), 4, "does not start where its chunk says"),
        ((20).to_bytes(8, "little"), 8, "shorter than its pixels"),
    ],
)
def test_every_reference_is_checked(tmp_path: Path, data: bytes, offset: int, message: str) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 12)])
    _overwrite(path, 11, data, offset)
    with pytest.raises(ValueError, match=rf"{message}.*a\.nd2.*frame 11"):
        to_kerchunk(path)
    assert "image/11.0.0" in to_kerchunk(path, check=False)["refs"]


def test_coordinates_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 20)])
    dataset = open_references(to_kerchunk(path, inline_coords=False))
    assert not dataset.coords
    dataset = open_references(to_kerchunk(path, inline_coords=100))
    assert "T" in dataset.coords
    assert "stage_x" not in dataset.coords
    assert "stage_x" in dataset.attrs["coordinates_left_out"]


def test_axes_of_one_item_can_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    dims = {2: ("T", "P", "Z", "Y", "X", "C"), 3: ("T", "P", "Z", "C", "Y", "X")}
    for zarr_format, expected in dims.items():
        refs = to_kerchunk(path, zarr_format=zarr_format, squeeze=False)  # type: ignore[arg-type]
        assert open_references(refs).image.dims == expected
    whole = xr.open_dataset(path, engine="nd2", squeeze=False)
    assert_same(open_references(to_kerchunk(path, squeeze=False)), whole)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_group_for_each_position(tmp_path: Path, zarr_format: Any) -> None:
    path, dest = tmp_path / "a.nd2", str(tmp_path / "refs.json")
    build(path, loops=[("T", 2), ("P", 3)], channels=2)
    write_kerchunk(path, dest, zarr_format=zarr_format, layout="positions")
    options = {"fo": dest}
    tree = xr.open_datatree("reference://", engine="zarr", storage_options=options, zarr_format=zarr_format)
    assert set(tree.children) == {"P0", "P1", "P2"}
    for i in range(3):
        # The times of a position are its own.
        expected = xr.open_dataset(path, engine="nd2", position=i)
        assert_same(tree[f"P{i}"].to_dataset(), expected)
        assert_same(open_references(dest, group=f"P{i}"), expected)
    with pytest.raises(ValueError, match="layout='flat'"):
        write_kerchunk(path, tmp_path / "refs.parq", format="parquet", layout="positions")


def test_ome_zarr(tmp_path: Path) -> None:
    yaozarrs = pytest.importorskip("yaozarrs")
    import zarr

    path, dest = tmp_path / "a.nd2", tmp_path / "refs.json"
    spec = build(path, loops=[("Z", 3), ("T", 2)], channels=2)
    write_kerchunk(path, dest, zarr_format=3, layout="ome-zarr")
    group = zarr.open_group("reference://", storage_options={"fo": str(dest)}, mode="r")
    array = group["0"]
    assert isinstance(array, zarr.Array)
    assert array.metadata.dimension_names == ("t", "c", "z", "y", "x")  # type: ignore[union-attr]
    np.testing.assert_array_equal(array[:], spec.array.transpose(1, 2, 0, 3, 4))
    ome: Any = dict(group.attrs)["ome"]
    yaozarrs.validate_ome_object({"ome": ome})
    scale: Any = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    np.testing.assert_allclose(scale, [100.0, 1.0, 2.0, 0.325, 0.325])


def test_what_ome_zarr_has_no_axis_for(tmp_path: Path) -> None:
    for options in ({"loops": [("U", 3)]}, {"samples": 3, "channels": 2, "dtype": "u1"}):
        path = tmp_path / "a.nd2"
        build(path, Nd2Spec(**options))
        with pytest.raises(ValueError, match=r"OME-Zarr.*layout='flat'"):
            to_kerchunk(path, zarr_format=3, layout="ome-zarr")


READER = """
import importlib.util, json, sys, warnings
import numpy as np, xarray as xr

assert importlib.util.find_spec("nd2") is None and importlib.util.find_spec("xarray_nd2") is None
assert "nd2" not in xr.backends.list_engines()
warnings.simplefilter("ignore")
for job in json.load(open(sys.argv[1])):
    refs, options = job["refs"], {"fo": job["refs"]}
    if job["form"] == "parquet":
        options = {"remote_protocol": "file"}
    if job["form"] == "v3":
        dataset = xr.open_zarr("reference://", storage_options=options, consolidated=False)
    elif job["form"] == "reference":
        dataset = xr.open_zarr("reference://", storage_options=options, consolidated=False)
    else:
        storage_options = options if job["form"] == "parquet" else None
        dataset = xr.open_dataset(refs, engine="kerchunk", storage_options=storage_options)
    image = dataset.image
    if "S" in image.dims:
        image = image.sel(S=["R", "G", "B"])
    np.save(job["out"], image.transpose(*job["dims"]).values)
"""


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with everything that this one has, this package excepted; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    target = Path(subprocess.check_output([python, "-c", show], text=True).strip())
    for item in Path(sysconfig.get_path("purelib")).iterdir():
        own = item.name in ("nd2", "xarray_nd2") or item.name.startswith("xarray_nd2-")
        if not own and item.suffix != ".pth" and not (target / item.name).exists():
            try:
                (target / item.name).symlink_to(item)
            except OSError as error:
                pytest.skip(f"the file system makes no links: {error}")
    return python


FOREIGN_KINDS = [
    *("T P Z", "nested T", "color", "two color channels, padded", "float", "8 bit, odd width"),
    *("odd row stride", "zlib", "missing", "missing, zlib", "any order", "one column"),
]
"""Kinds whose documents or chunks differ; that all kinds are read is tested in this process."""


def test_references_are_read_without_this_package(
    bare_python: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    jobs: list[dict[str, Any]] = []
    expected: list[Any] = []
    for number, kind in enumerate(FOREIGN_KINDS):
        options = KINDS[kind]
        path = tmp_path / f"{number}.nd2"
        build(path, **options)
        image = xr.open_dataset(path, engine="nd2").image
        forms = ["kerchunk", "reference", "v3", *([] if options.get("missing") else ["parquet"])]
        for form in forms:
            refs = tmp_path / f"{number}.{form}{'' if form == 'parquet' else '.json'}"
            write_kerchunk(
                path, refs, format="parquet" if form == "parquet" else "json", zarr_format=3 if form == "v3" else 2
            )
            out = tmp_path / f"{len(jobs)}.npy"
            jobs.append({"refs": str(refs), "form": form, "out": str(out), "dims": list(image.dims)})
            expected.append(image)
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    command = [str(bare_python), "-I", "-c", READER, str(tmp_path / "jobs.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for job, image in zip(jobs, expected, strict=True):
        found = np.load(job["out"])
        assert found.dtype == image.dtype, job
        np.testing.assert_array_equal(found, image.values, err_msg=str(job))
