"""Regions of interest: from the ``RoiMetadata_v1`` tree, names without prefix, to `ROI`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from nd2._core.chunks import fields
from nd2._core.structures import (
    ROI,
    AnimParam,
    BoxShape,
    ExtrudedShape,
    InterpType,
    RoiInfo,
    RoiShapeType,
    ScopeType,
    XYPoint,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHAPE_LIKE = {"shapeType": RoiShapeType, "interpType": InterpType, "scope": ScopeType}


def parse(raw: fields.Tree) -> dict[int, ROI]:
    """Return the regions by their identifier: the global ones, then those of each position.

    Parameters
    ----------
    raw : mapping
        The decoded tree, with or without its root level. Coordinates stay as they are stored: normalised, with the
        image's centre at (0, 0), unverified on real files.
    """
    tree = fields.root(raw, "RoiMetadata_v1")
    stored = list(_numbered(tree, "Global_"))
    for position in _numbered(tree, "2PerMPoint_"):
        stored += _numbered(position, "")
    regions = [_region(one) for one in stored]
    return {region.id: region for region in regions}


def _numbered(tree: fields.Tree, prefix: str) -> Iterator[fields.Tree]:
    """Give the levels whose name is the prefix and a number, in the order of the numbers."""
    keys = [key for key in tree if key.startswith(prefix) and key[len(prefix) :].isdecimal()]
    for key in sorted(keys, key=lambda key: int(key[len(prefix) :])):
        if below := fields.level(tree, key):
            yield below


def _region(stored: fields.Tree) -> ROI:
    return ROI(
        id=fields.integer(stored, "Id"),
        info=_info(fields.level(stored, "Info")),
        guid=fields.text(stored, "GUID"),
        animParams=[_anim_param(one) for one in _numbered(stored, "AnimParams_")],
    )


def _stored_name(field: str) -> str:
    return field[0].upper() + field[1:]


def _info(stored: fields.Tree) -> RoiInfo:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(RoiInfo):
        key, default = _stored_name(field.name), field.default
        if field.name in _SHAPE_LIKE:
            kind = _SHAPE_LIKE[field.name]
            code = fields.integer(
                stored, key, 0 if default is dataclasses.MISSING else int(default)
            )
            values[field.name] = fields.member(kind, code)
        elif isinstance(default, bool):
            values[field.name] = bool(stored.get(key, default))
        elif isinstance(default, float):
            values[field.name] = fields.real(stored, key, default)
        elif isinstance(default, int):
            values[field.name] = fields.integer(stored, key, default)
        else:
            values[field.name] = fields.text(stored, key)
    return RoiInfo(**values)


def _anim_param(stored: fields.Tree) -> AnimParam:
    box, extruded = fields.level(stored, "BoxShape"), fields.level(stored, "ExtrudedShape")
    return AnimParam(
        timeMs=fields.real(stored, "TimeMs"),
        enabled=bool(stored.get("Enabled", True)),
        centerX=fields.real(stored, "CenterX"),
        centerY=fields.real(stored, "CenterY"),
        centerZ=fields.real(stored, "CenterZ"),
        rotationZ=fields.real(stored, "RotationZ"),
        boxShape=BoxShape(*(fields.real(box, key) for key in ("SizeX", "SizeY", "SizeZ"))),
        extrudedShape=ExtrudedShape(
            fields.real(extruded, "SizeZ"),
            [_point(one) for one in _numbered(extruded, "BasePoints_")],
        ),
    )


def _point(stored: fields.Tree) -> XYPoint:
    """Return a point: its first two numbers, because names of one small letter do not survive without their prefix."""
    values: list[Any] = []
    for value in stored.values():
        values += value if isinstance(value, list) else [value]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    return XYPoint(*numbers[:2])
