"""Attributes of the dataset: flat, and of types that netCDF and Zarr hold; structures as JSON text."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_nd2.dataset.clock import iso, start_instant
from xarray_nd2.dataset.ome_xml import ome_xml

if TYPE_CHECKING:
    from nd2._core.readers import Reader


def dataset_attrs(reader: Reader) -> dict[str, Any]:
    """Return the attributes of the dataset; what the file does not say is left out."""
    attributes = reader.attributes
    attrs: dict[str, Any] = {
        "source": reader.source.url,
        "format_version": ".".join(map(str, reader.version)),
    }
    start = start_instant(reader)
    if start is not None:
        attrs["acquisition_date"] = iso(start)
    software = reader.text_info.get("appVersion") or reader.software
    optics = _optics(reader)
    known = {
        "software": software or None,
        "objective": getattr(optics, "objectiveName", None),
        "magnification": getattr(optics, "objectiveMagnification", None),
        "numerical_aperture": getattr(optics, "objectiveNumericalAperture", None),
    }
    attrs.update({key: value for key, value in known.items() if value not in (None, "")})
    return {
        **attrs,
        "bit_depth": int(attributes.bitsPerComponentSignificant),
        "voxel_size_um": [float(v) for v in reader.voxel_size],
        "nd2_attributes": to_json(attributes),
        "nd2_experiment": to_json(reader.experiment),
        "nd2_metadata": to_json(reader.metadata),
        "nd2_text_info": to_json(reader.text_info),
        "ome_xml": ome_xml(reader, attrs.get("acquisition_date")),
    }


def _optics(reader: Reader) -> Any:
    channels = getattr(reader.metadata, "channels", None) or []
    return channels[0].microscope if channels else None


def image_attrs(reader: Reader) -> dict[str, Any]:
    """Return the attributes of the image."""
    bits = int(reader.attributes.bitsPerComponentSignificant)
    attrs: dict[str, Any] = {"long_name": "intensity"}
    if np.issubdtype(reader.dtype, np.integer):
        attrs["valid_max"] = (1 << bits) - 1
    return attrs


def to_json(value: Any) -> str:
    """Write structures as JSON text that any parser reads: what is not finite becomes null."""
    return _ENCODER.encode(_plain(value))


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False)


def _plain(item: Any) -> Any:
    kind = type(item)
    if item is None or kind is str or kind is int or kind is bool:
        return item
    if kind is float:
        return item if math.isfinite(item) else None
    if kind is list or kind is tuple:
        return [_plain(part) for part in item]
    names = _field_names(kind)  # type: ignore[arg-type]  # classes are hashable
    if names is not None:
        return {name: _plain(getattr(item, name)) for name in names}
    if isinstance(item, dict):
        return {str(key): _plain(part) for key, part in item.items()}
    if isinstance(item, (np.ndarray, np.generic)):
        return _plain(item.tolist())
    return item.hex() if isinstance(item, bytes) else item


@cache
def _field_names(kind: type) -> tuple[str, ...] | None:
    """Return the fields of a structure; None for what is none."""
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return getattr(kind, "_fields", None)
