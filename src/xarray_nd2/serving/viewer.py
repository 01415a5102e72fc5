"""Neuroglancer: the client that its package contains, and the state that shows a file.

The client is served from the same address as the data, so that one port is enough; the package is not imported.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xarray_nd2.serving.store import OWN, POSITIONS, Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xarray_nd2.serving.store import Store

VIEW = "view"
"""Key that leads to the viewer."""
PUBLIC = "https://neuroglancer-demo.appspot.com"
"""Address of the viewer on the web."""

# The client asks for its configuration at ``../../events/TOKEN`` of its own address ``.../v/TOKEN/``.
CLIENT = f"{OWN}/v/file"
_EVENTS = f"{OWN}/events/file"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".wasm": "application/wasm",
}
_SCREEN = 1100, 700
"""Approximate size of the first view in pixels: width, height."""
_ORIENTATION = [-0.35, 0.2, 0.05, 0.91]
"""Quaternion of a view on a stack from above, at an angle."""
_UNITS = {"micrometer": (1e-6, "m"), "millisecond": (1e-3, "s"), None: (1.0, "")}
"""Factor and name of the viewer's unit for each unit of OME-Zarr."""


@cache
def _files() -> dict[str, Path]:
    """Return the files of the client by their names; empty if the package is not installed."""
    spec = find_spec("neuroglancer")
    folders = [] if spec is None else spec.submodule_search_locations or []
    return {
        file.name: file
        for folder in folders
        for file in (Path(folder) / "static" / "client").glob("*")
        if file.suffix in _TYPES
    }


def is_installed() -> bool:
    """Return whether the client is installed."""
    return "index.html" in _files()


def client_answer(key: str) -> Answer | None:
    """Return a file of the client, or the stream of events that it waits for; None for other keys."""
    if key == _EVENTS and is_installed():
        return Answer("text/event-stream", b"", stream=True)
    folder, _, name = key.rpartition("/")
    if key == CLIENT:
        name = "index.html"
    elif folder != CLIENT:
        return None
    file = _files().get(name)
    if file is None:
        return None
    # All names except that of the page contain a hash of the content.
    age = "no-cache" if name == "index.html" else "max-age=86400, immutable"
    return Answer(_TYPES[file.suffix], file.read_bytes(), headers={"Cache-Control": age})


def address(client: str, state: Mapping[str, Any]) -> str:
    """Return the address at which a client shows a state."""
    fragment = quote(json.dumps(state, separators=(",", ":")), safe=",:/()[]{}")
    return f"{client}/#!{fragment}"


def state(store: Store, base: str) -> dict[str, Any]:
    """Return the state that shows a file; ``base`` is the URL of its root for the client.

    Channels are layers in their colors, blended additively. The middle plane of the first time point and position
    fills the screen. A stack is also shown in 3D.
    """
    root = f"{base}{POSITIONS}/" if store.positions else base
    axes = store.axes
    sizes = dict(zip(axes.names, axes.shape, strict=True))
    units = [_UNITS[unit] for unit in axes.units]
    dimensions = {
        name: (step * factor, unit) for name, step, (factor, unit) in zip(axes.names, axes.scale, units, strict=True)
    }
    shown = [name for name in "xyz" if name in sizes]
    others = [name for name in "tp" if name in sizes]
    volume = "z" in sizes
    width, height = _SCREEN
    zoom = max(sizes["x"] * (2 if volume else 1) / width, sizes["y"] / height)
    view: dict[str, Any] = {
        "title": store.name,
        "dimensions": {name: dimensions[name] for name in (*shown, *others)},
        "displayDimensions": shown,
        "position": [_middle(name, sizes[name]) for name in (*shown, *others)],
        "crossSectionScale": zoom,
        "projectionScale": 1.3 * _extent(dimensions, sizes),
        "projectionOrientation": _ORIENTATION,
        "showSlices": False,
        "layers": [*_images(store, root, dimensions), *_labels(store, root)],
        "layout": "xy-3d" if volume else "xy",
        "crossSectionBackgroundColor": "#000000",
        "showAxisLines": False,
        "showDefaultAnnotations": False,
    }
    if others:
        sliders = [{"type": "dimension", "dimension": name} for name in others]
        view["toolPalettes"] = {"Axes": {"side": "bottom", "row": 0, "size": 40 + 50 * len(sliders), "tools": sliders}}
    return view


def _middle(name: str, size: int) -> float:
    """Return the first position on an axis: its middle in space (a pixel's center is its index), otherwise 0."""
    if name in "xy":
        return (size - 1) / 2
    return size // 2 if name == "z" else 0


def _extent(dimensions: Mapping[str, tuple[float, str]], sizes: Mapping[str, int]) -> float:
    """Return the longest side of an image or a stack in widths of a pixel."""
    width, unit = dimensions["x"]
    return max(
        sizes[name] * dimensions[name][0] / width for name in "xyz" if name in sizes and dimensions[name][1] == unit
    )


def _images(store: Store, root: str, dimensions: Mapping[str, tuple[float, str]]) -> Iterator[dict[str, Any]]:
    source = f"zarr3://{root}"
    facts = store.facts
    common = {"type": "image", "source": source, "blend": "additive", "opacity": 1}
    if facts.is_color:
        order = [str(store.reader.frames.pixels.sample_order).index(letter) for letter in "RGB"]
        (low, high), *_ = store.limits
        # With this name, the samples of a pixel are read together.
        together = {"c^" if name == "c" else name: value for name, value in dimensions.items()}
        yield {
            **common,
            "source": {"url": source, "transform": {"outputDimensions": together}},
            "channelDimensions": {"c^": [1, ""]},
            "name": facts.channels[0].name,
            "shader": _color_shader(order, low, high),
        }
        return
    several = len(facts.channels) > 1
    shown = facts.composite_channels
    for index, (channel, limits) in enumerate(zip(facts.channels, store.limits, strict=True)):
        layer = {**common, "name": channel.unique_name}
        if several:
            layer |= {"localDimensions": {"c'": [1, ""]}, "localPosition": [index]}
        layer["shader"] = _shader(f"#{channel.hex}" if several else "#FFFFFF", *limits)
        if index not in shown:
            layer["visible"] = False
        if "z" in dimensions:
            layer["volumeRendering"] = "max"
        yield layer


def _shader(color: str, low: float, high: float) -> str:
    """Return the program that paints a channel, with its controls."""
    return (
        f"#uicontrol invlerp contrast(range=[{low:g}, {high:g}])\n"
        f'#uicontrol vec3 color color(default="{color}")\n'
        "void main() {\n"
        "  float value = contrast();\n"
        "  if (VOLUME_RENDERING) {\n"
        "    emitIntensity(value);\n"
        "    emitRGBA(vec4(color * value, value));\n"
        "  } else {\n"
        "    emitRGB(color * value);\n"
        "  }\n"
        "}\n"
    )


def _color_shader(order: list[int], low: float, high: float) -> str:
    red, green, blue = (f"contrast{i}()" for i in order)
    controls = "".join(
        f"#uicontrol invlerp contrast{i}(range=[{low:g}, {high:g}], channel={i}, clamp=true)\n"
        for i in range(len(order))
    )
    return f"{controls}void main() {{\n  emitRGB(vec3({red}, {green}, {blue}));\n}}\n"


def _labels(store: Store, root: str) -> Iterator[dict[str, Any]]:
    for labels in store.labels:
        yield {
            "type": "segmentation",
            "source": f"zarr3://{root}labels/{labels.name}/",
            "name": labels.title or labels.name,
            "selectedAlpha": 0.4,
            "ignoreNullVisibleSet": True,
        }
