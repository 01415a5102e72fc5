"""Attributes of the dataset: flat, and of types that netCDF and Zarr hold; structures as JSON text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nd2._core.export.ome import ome_xml
from nd2._core.views.jsonable import plain

if TYPE_CHECKING:
    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts


def dataset_attrs(reader: Reader, facts: Facts) -> dict[str, Any]:
    """Return the attributes of the dataset, without those that are unknown."""
    optics = facts.optics
    pixel = facts.pixel_size
    attrs: dict[str, Any] = {
        "source": reader.source.url,
        "format_version": ".".join(map(str, reader.version)),
        "acquisition_date": facts.start_text,
        "software": facts.software,
        "objective": optics and optics.objectiveName,
        "magnification": optics and optics.objectiveMagnification,
        "numerical_aperture": optics and optics.objectiveNumericalAperture,
        "bit_depth": facts.significant_bits,
        "voxel_size_um": pixel and [*pixel, facts.z_step or 1.0],
        "nd2_attributes": _to_json(reader.attributes),
        "nd2_experiment": _to_json(reader.experiment),
        "nd2_metadata": _to_json(reader.metadata),
        "nd2_text_info": _to_json(reader.text_info),
        "ome_xml": ome_xml(reader, facts, planes=False),
    }
    needed = {"source", "format_version"}
    return {key: value for key, value in attrs.items() if key in needed or value not in (None, "")}


def image_attrs(facts: Facts) -> dict[str, Any]:
    """Return the attributes of the image."""
    attrs: dict[str, Any] = {"long_name": "intensity"}
    return attrs if facts.max_value is None else {**attrs, "valid_max": facts.max_value}


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False)


def _to_json(value: Any) -> str:
    return _ENCODER.encode(plain(value))
