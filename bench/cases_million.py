"""Benchmarks of a million frames: the engine, and references in every form. nd2 0.12.0 can only open such files."""

from __future__ import annotations

from bench.harness import Case

# Imports that the libraries make for the first file are not counted.
_ENGINE = "import xarray as xr, xarray_nd2.backend; xr.backends.list_engines()"
_REFERENCES = (
    "import fastparquet, kerchunk.df, tempfile, xarray as xr, xarray_nd2.references.virtualizarr; "
    "from xarray_nd2 import ND2Parser, write_kerchunk; from obspec_utils.registry import ObjectStoreRegistry; "
    "from obstore.store import LocalStore; "
    "folder = tempfile.TemporaryDirectory(); out = folder.name + '/out'; xr.backends.list_engines()"
)
_OPEN = "xr.open_dataset(FILE, engine='nd2')"


def _case(title: str, run: str, setup: str, rounds: int = 3) -> Case:
    return Case(f"a million frames: {title}", run, "million", setup, theirs="", rounds=rounds)


def _written(title: str, options: str) -> list[Case]:
    return [
        _case(f"{title}{suffix}", f"write_kerchunk(FILE, out, {options}{check})", _REFERENCES)
        for suffix, check in ((", checked", ""), ("", ", check=False"))
    ]


_STORE = (
    f"{_REFERENCES}; from pathlib import Path; "
    "registry = ObjectStoreRegistry({'file://': LocalStore()}); url = Path(FILE).as_uri()"
)
_PARQUET = f"{_REFERENCES}; write_kerchunk(FILE, out, format='parquet', check=False)"

CASES = [
    _case("engine, open", f"d = {_OPEN}", _ENGINE),
    _case("engine, one frame", "d.image.isel(T=500_000).values", f"{_ENGINE}; d = {_OPEN}"),
    _case("engine, open with chunks='auto'", "d = xr.open_dataset(FILE, engine='nd2', chunks='auto')", _ENGINE),
    *_written("JSON, Zarr 2", "zarr_format=2"),
    *_written("JSON, Zarr 3", "zarr_format=3"),
    *_written("Parquet", "format='parquet'"),
    _case("ManifestStore, checked", "store = ND2Parser()(url, registry)", _STORE),
    _case("ManifestStore", "store = ND2Parser(check=False)(url, registry)", _STORE),
    _case("Parquet, opened", "d = xr.open_dataset(out, engine='kerchunk')", _PARQUET),
]
