"""Binary layers as variables: numbers of objects, decoded on access."""

from __future__ import annotations

import re
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from nd2._core.views.colors import stored_hex
from xarray_nd2.dataset.lazy import FrameValues
from xarray_nd2.dataset.model import VariableModel

if TYPE_CHECKING:
    from collections.abc import Collection

    from nd2._core.frames.array import FrameArray
    from nd2._core.readers import Reader


def label_layers(reader: Reader, image: FrameArray, dropped: Collection[str] = ()) -> dict[str, VariableModel]:
    """Return the binary layers of a file as variables ``labels_<name>``."""
    found: dict[str, VariableModel] = {}
    for layer in reader.binary_layers:
        info = layer.info
        plain = "labels_" + (re.sub(r"\W+", "_", info.name).strip("_") or "layer")
        name = next(n for n in chain([plain], (f"{plain}_{i}" for i in count(2))) if n not in found)
        attrs: dict[str, Any] = {"long_name": info.name or name, "nd2_file_tag": info.file_tag}
        if info.comp_name:
            attrs["channel"] = info.comp_name
        if info.color is not None:
            attrs["color"] = stored_hex(info.color)
        labels = FrameValues(layer, image.grid)
        found[name] = VariableModel(labels.dims, labels, attrs)
    return {name: variable for name, variable in found.items() if name not in dropped}
