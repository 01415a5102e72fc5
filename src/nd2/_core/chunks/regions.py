"""Regions of interest: ``RoiMetadata_v1``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nd2._core import region_types as r
from nd2._core.chunks import fields
from nd2._core.format.clx_lite import U32, Items

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAME = b"CustomData|RoiMetadata_v1!"
_PER_POSITION = "2PerMPoint_"
_NUMBERED = re.compile(r"(.*?)(\d{1,10})")
"""A name that ends in a number, which is at most that of 32 bits."""

_INFO = (
    ("m_uiShapeType", "shapeType", U32),
    ("m_uiInterpType", "interpType", U32),
    ("m_uiCookie", "cookie", U32),
    ("m_uiColor", "color", U32),
    ("m_sLabel", "label", str),
    ("m_uiStimulationGroup", "stimulationGroup", U32),
    ("m_uiScope", "scope", U32),
    ("m_uiAppData", "appData", U32),
    ("m_bMultiFrame", "multiFrame", bool),
    ("m_bLocked", "locked", bool),
    ("m_uiCompCount", "compCount", U32),
    ("m_uiBpc", "bpc", U32),
    ("m_bAutodetected", "autodetected", bool),
    ("m_bGradientStimulation", "gradientStimulation", bool),
    ("m_uiGradientStimulationBitDepth", "gradientStimulationBitDepth", U32),
    ("m_dGradientStimulationLo", "gradientStimulationLo", float),
    ("m_dGradientStimulationHi", "gradientStimulationHi", float),
)
_ANIMATION = (
    ("m_dTimeMs", "timeMs", float),
    ("m_bEnabled", "enabled", bool),
    ("m_dCenterX", "centerX", float),
    ("m_dCenterY", "centerY", float),
    ("m_dCenterZ", "centerZ", float),
    ("m_dRotationZ", "rotationZ", float),
)
_BOX = (("m_dSizeX", "sizeX", float), ("m_dSizeY", "sizeY", float), ("m_dSizeZ", "sizeZ", float))
_INFO_DEFAULTS = vars(r.RoiInfo(r.RoiShapeType.Any, r.InterpType.AnyROI))
_BARE_INFO, _BARE_ANIMATION, _BARE_BOX = map(fields.bare, (_INFO, _ANIMATION, _BOX))


def decode(raw: fields.Tree) -> dict[int, r.ROI]:
    """Return the regions by their identifier: the global ones, then those of each position.

    Coordinates stay as stored: normalized, with the center of the image at (0, 0); unverified on
    real files. Names of the tree have no type prefix.
    """
    tree = fields.root(raw, "RoiMetadata_v1")
    regions = [_region(item, None) for _, item in _numbered(tree, "Global_")]
    for position, items in _numbered(tree, _PER_POSITION):
        regions += [_region(item, position) for _, item in _numbered(items, "")]
    return {region.id: region for region in regions}


def _numbered(tree: fields.Tree, prefix: str) -> Iterator[tuple[int, fields.Tree]]:
    """Yield number and level of each name that is the prefix and a number, in numeric order."""
    matches = filter(None, map(_NUMBERED.fullmatch, tree))
    for number, key in sorted((int(m[2]), m[0]) for m in matches if m[1] == prefix):
        if below := fields.level(tree, key):
            yield number, below


def _region(stored: fields.Tree, position: int | None) -> r.ROI:
    info = fields.read(fields.level(stored, "Info"), _BARE_INFO, _INFO_DEFAULTS)
    info["shapeType"] = fields.member(r.RoiShapeType, info["shapeType"])
    info["interpType"] = fields.member(r.InterpType, info["interpType"])
    info["scope"] = fields.member(r.ScopeType, info["scope"])
    return r.ROI(
        id=fields.integer(stored, "Id"),
        info=r.RoiInfo(**info),
        guid=fields.text(stored, "GUID"),
        animParams=[_animation(item) for _, item in _numbered(stored, "AnimParams_")],
        position=position,
    )


def _animation(stored: fields.Tree) -> r.AnimParam:
    extruded = fields.level(stored, "ExtrudedShape")
    return r.AnimParam(
        **fields.read(stored, _BARE_ANIMATION, {"enabled": True}),
        boxShape=r.BoxShape(**fields.read(fields.level(stored, "BoxShape"), _BARE_BOX)),
        extrudedShape=r.ExtrudedShape(
            fields.real(extruded, "SizeZ"), [_point(item) for _, item in _numbered(extruded, "BasePoints_")]
        ),
    )


def _point(stored: fields.Tree) -> r.XYPoint:
    """Return a point: the first two numbers, because bare names lose their only letter."""
    values: list[Any] = []
    for value in stored.values():
        values += value if isinstance(value, list) else [value]
    numbers = [float(value) for value in values if isinstance(value, (int, float))]
    return r.XYPoint(*numbers[:2])


def encode(regions: Sequence[r.ROI]) -> dict[str, Any]:
    """Return the tree of regions of interest: the global ones, then those of each position."""
    positions = sorted({region.position for region in regions if region.position is not None})
    tree = _vector("m_vectGlobal", [_tree(one) for one in regions if one.position is None])
    for position in positions:
        own = [_tree(region) for region in regions if region.position == position]
        items = {str(i): region for i, region in enumerate(own)}
        tree[f"m_vect{_PER_POSITION}{position}"] = {"uiSize": U32(len(own)), **items}
    return {"RoiMetadata_v1": tree}


def pick_positions(stored: Items, numbers: Mapping[int, int]) -> Items:
    """Return a stored tree with new numbers of positions, without regions of other positions."""
    items = Items()
    for name, value in stored:
        match = _NUMBERED.fullmatch(name)
        if match and match[1].endswith(_PER_POSITION):
            if (number := numbers.get(int(match[2]))) is None:
                continue
            name = f"{match[1]}{number}"
        if isinstance(value, Items):
            value = pick_positions(value, numbers)
        if value is not None:  # XML metadata may hold invalid numbers
            items.append((name, value))
    return items


def _vector(name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {f"{name}_Size": U32(len(items)), **{f"{name}_{i}": v for i, v in enumerate(items)}}


def _tree(region: r.ROI) -> dict[str, Any]:
    return {
        "m_uiId": U32(region.id),
        "m_sGUID": region.guid,
        "m_sInfo": fields.write(region.info, _INFO),
        **_vector("m_vectAnimParams", [_animation_tree(item) for item in region.animParams]),
    }


def _animation_tree(animation: r.AnimParam) -> dict[str, Any]:
    extruded = animation.extrudedShape
    points = [{"m_dX": float(x), "m_dY": float(y)} for x, y, *_ in extruded.basePoints]
    return {
        **fields.write(animation, _ANIMATION),
        "m_sBoxShape": fields.write(animation.boxShape, _BOX),
        "m_sExtrudedShape": {"m_dSizeZ": float(extruded.sizeZ), **_vector("m_vectBasePoints", points)},
    }
