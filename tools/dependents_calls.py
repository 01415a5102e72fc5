"""Call the ND2 readers of one program on files, and write down what they return.

Runs inside an environment of `tools/dependents.py`, which holds the program and one of the packages
`nd2`:

    python dependents_calls.py PROGRAM OUT.json FILE...
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from xml.etree import ElementTree

import numpy as np

Calls = Iterator[tuple[str, Callable[[], Any]]]
"""Name of a call, and the call."""


def _bioio(path: str) -> Calls:
    import bioio_nd2
    from bioio import BioImage

    image = BioImage(path, reader=bioio_nd2.Reader)
    yield "scenes", lambda: image.scenes
    for scene in range(len(image.scenes)):
        image.set_scene(scene)
        at = f"[{scene}]"
        yield f"dims{at}", lambda: (image.dims.order, image.dims.shape)
        yield (f"native dims{at}", lambda: sorted(zip(image.reader.dims.order, image.reader.dims.shape, strict=True)))
        for name in (
            "dtype",
            "channel_names",
            "physical_pixel_sizes",
            "scale",
            "time_interval",
            "dimension_properties",
            "standard_metadata",
            "xarray_data",
            "xarray_dask_data",
            "metadata",
        ):
            yield f"{name}{at}", lambda name=name: getattr(image, name)  # type: ignore[misc]
        yield f"ome_metadata{at}", lambda: image.ome_metadata
        yield f"acquisition_times{at}", lambda: image.reader.acquisition_times
        yield f"get_image_data{at}", lambda: image.get_image_data("CZYX", T=0)
        yield f"get_image_dask_data{at}", lambda: image.get_image_dask_data("YX", T=0, C=0, Z=0)


def _cellpose(path: str) -> Calls:
    from cellpose import io

    for name in ("imread", "imread_2D", "imread_3D"):
        yield name, lambda name=name: getattr(io, name)(path)  # type: ignore[misc]


def _ndevio(path: str) -> Calls:
    from ndevio import nImage
    from ndevio._napari_reader import napari_get_reader

    yield (
        "layers",
        lambda: [(np.asarray(layer[0]), *layer[1:]) for layer in napari_get_reader(path, open_all_scenes=True)(path)],
    )
    yield "reference_xarray", lambda: nImage(path).reference_xarray


def _large_image(path: str) -> Calls:
    import large_image_source_nd2

    source = large_image_source_nd2.open(path)
    yield "metadata", source.getMetadata
    yield "internal metadata", source.getInternalMetadata
    for frame in range(min(source.frames, 4)):
        yield (
            f"tile[{frame}]",
            lambda frame=frame: source.getTile(  # type: ignore[misc]
                0, 0, source.levels - 1, numpyAllowed="always", frame=frame
            ),
        )
    yield "region", lambda: source.getRegion(format="numpy")[0]


def _arcadia(path: str) -> Calls:
    from arcadia_microscopy_tools import nikon

    yield "load_nd2", lambda: nikon.load_nd2(path)
    yield "parse_nd2", lambda: nikon.parse_nd2(path)


def _deeptile(path: str) -> Calls:
    import deeptile

    for lazy in (False, True):
        loaded = deeptile.load(path, dask=lazy)
        yield f"load dask={lazy}", lambda loaded=loaded: vars(loaded.profile)  # type: ignore[misc]
        tiles = [
            lambda loaded=loaded: loaded.get_tiles(overlap=(0, 0)),
            lambda loaded=loaded: loaded.get_tiles(tile_size=(64, 64), overlap=(0, 0)),
        ]
        for number, get in enumerate(tiles):
            yield f"tiles {number} dask={lazy}", get


def _nellie(path: str) -> Calls:
    from nellie.im_info.verifier import FileInfo

    info = FileInfo(path)
    yield "find_metadata", lambda: (info.find_metadata(), info.axes, info.shape, info.metadata)
    yield "load_metadata", lambda: (info.load_metadata(), info.dim_res, info.axes, info.good_axes)
    yield "read_file", lambda: info.read_file()


PROGRAMS: dict[str, Callable[[str], Calls]] = {
    "arcadia-microscopy-tools": _arcadia,
    "bioio-nd2": _bioio,
    "cellpose": _cellpose,
    "deeptile": _deeptile,
    "large-image-source-nd2": _large_image,
    "ndevio": _ndevio,
    "nellie": _nellie,
}
UNUSED = {"cellpose": ("torch", "torchvision", "segment_anything", "fastremap", "fill_voids")}
"""Heavy packages that a program imports, and that its reader does not use."""


class _Unused(types.ModuleType):
    """A package that is not installed, whose names can be imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("is_"):  # nothing is a tensor
            return lambda *_: False
        return MagicMock(name=f"{self.__name__}.{name}")


class _Finder:
    """Find modules of packages that are not installed."""

    def __init__(self, packages: tuple[str, ...]) -> None:
        self.packages = packages

    def find_spec(self, name: str, *_: object) -> Any:
        from importlib.machinery import ModuleSpec

        is_unused = name.partition(".")[0] in self.packages
        return ModuleSpec(name, self, is_package=True) if is_unused else None  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> types.ModuleType:
        module = _Unused(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def describe(value: Any) -> Any:
    """Return a value as JSON: arrays by shape, type and digest, objects by their fields."""
    if isinstance(value, str):
        return re.sub(r" at 0x\w+", "", value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float | np.generic):
        return describe(value.item()) if isinstance(value, np.generic) else repr(value)
    if type(value).__module__.startswith("xarray."):
        return _labelled(value)
    if isinstance(value, bytes | bytearray):
        return f"bytes {hashlib.sha1(value).hexdigest()}"
    if hasattr(value, "__array__") and hasattr(value, "dtype"):
        array = np.ascontiguousarray(value)
        if array.dtype == object:
            items = json.dumps([describe(item) for item in array.ravel()])
            return f"objects {np.shape(value)} {hashlib.sha1(items.encode()).hexdigest()}"
        digest = hashlib.sha1(array.tobytes()).hexdigest()
        return f"array {np.shape(value)} {array.dtype} {digest}"
    return _container(value)


def _labelled(value: Any) -> Any:
    coords = {str(name): describe(item.values) for name, item in sorted(value.coords.items())}
    attrs = {str(name): describe(item) for name, item in value.attrs.items()}
    return {
        "dims": dict(zip(map(str, value.dims), value.shape, strict=True)),
        "coords": coords,
        "attrs": attrs,
        "data": describe(value.values),
    }


def _container(value: Any) -> Any:
    if isinstance(value, Mapping | types.MappingProxyType):
        return {str(key): describe(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):
        return describe(value._asdict())
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if dataclasses.is_dataclass(value):
        return {item.name: describe(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if hasattr(value, "to_xml"):
        return _element(ElementTree.fromstring(value.to_xml()))
    return describe(repr(value))


def _element(element: ElementTree.Element) -> dict[str, Any]:
    """Return the attributes, the text and the children of an element, by their names."""
    out: dict[str, Any] = dict(element.attrib)
    if text := (element.text or "").strip():
        out["text"] = text
    for child in element:
        out.setdefault(child.tag.rpartition("}")[2], []).append(_element(child))
    return out


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return describe(call())
    except Exception as error:
        return {"error": type(error).__name__, "message": str(error)[:300]}


def main(program: str, out: str, *files: str) -> None:
    """Call the readers of `program` on `files`."""
    sys.meta_path.append(_Finder(UNUSED.get(program, ())))
    warnings.simplefilter("ignore")
    results: dict[str, dict[str, Any]] = {}
    for file in files:
        found = results[Path(file).stem] = {}
        try:
            for name, call in PROGRAMS[program](file):
                found[name] = _outcome(call)
        except Exception as error:
            found["open"] = {"error": type(error).__name__, "message": str(error)[:300]}
    Path(out).write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
