"""Trees of what a file may hold beside its pixels: regions of interest, events, custom data."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nd2._core.chunks.fields import LIST_KEY
from nd2._core.format import clx_xml
from nd2._core.format.clx_lite import I32, U32, Items

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nd2._core.structures import ROI, AnimParam, ExperimentEvent, RoiInfo
    from nd2._core.write.trees import Tree


# --- regions of interest -------------------------------------------------------------------------------------------


def rois(values: Sequence[ROI]) -> Tree:
    """Return the tree of regions of interest; all of them global, whatever their scope says."""
    return {
        "RoiMetadata_v1": {
            "m_vectGlobal_Size": U32(len(values)),
            **{f"m_vectGlobal_{i}": _roi(roi) for i, roi in enumerate(values)},
        }
    }


def _roi(roi: ROI) -> Tree:
    return {
        "m_uiId": U32(roi.id),
        "m_sGUID": roi.guid,
        "m_sInfo": _info(roi.info),
        "m_vectAnimParams_Size": U32(len(roi.animParams)),
        **{f"m_vectAnimParams_{k}": _anim(anim) for k, anim in enumerate(roi.animParams)},
    }


def _info(info: RoiInfo) -> Tree:
    return {
        "m_uiShapeType": U32(info.shapeType),
        "m_uiInterpType": U32(info.interpType),
        "m_uiCookie": U32(info.cookie),
        "m_uiColor": U32(info.color),
        "m_sLabel": info.label,
        "m_uiStimulationGroup": U32(info.stimulationGroup),
        "m_uiScope": U32(info.scope),
        "m_uiAppData": U32(info.appData),
        "m_bMultiFrame": bool(info.multiFrame),
        "m_bLocked": bool(info.locked),
        "m_uiCompCount": U32(info.compCount),
        "m_uiBpc": U32(info.bpc),
        "m_bAutodetected": bool(info.autodetected),
        "m_bGradientStimulation": bool(info.gradientStimulation),
        "m_uiGradientStimulationBitDepth": U32(info.gradientStimulationBitDepth),
        "m_dGradientStimulationLo": float(info.gradientStimulationLo),
        "m_dGradientStimulationHi": float(info.gradientStimulationHi),
    }


def _anim(anim: AnimParam) -> Tree:
    box, extruded = anim.boxShape, anim.extrudedShape
    return {
        "m_dTimeMs": float(anim.timeMs),
        "m_bEnabled": bool(anim.enabled),
        "m_dCenterX": float(anim.centerX),
        "m_dCenterY": float(anim.centerY),
        "m_dCenterZ": float(anim.centerZ),
        "m_dRotationZ": float(anim.rotationZ),
        "m_sBoxShape": {
            "m_dSizeX": float(box.sizeX),
            "m_dSizeY": float(box.sizeY),
            "m_dSizeZ": float(box.sizeZ),
        },
        "m_sExtrudedShape": {
            "m_dSizeZ": float(extruded.sizeZ),
            "m_vectBasePoints_Size": U32(len(extruded.basePoints)),
            **{
                f"m_vectBasePoints_{j}": {"m_dX": float(point[0]), "m_dY": float(point[1])}
                for j, point in enumerate(extruded.basePoints)
            },
        },
    }


# --- events --------------------------------------------------------------------------------------------------------


def events(values: Iterable[ExperimentEvent]) -> Tree:
    """Return the tree of what happened during the experiment."""
    items = [_event(event) for event in values]
    return {"RLxExperimentRecord": {"uiCount": U32(len(items)), "pEvents": items}}


def _event(event: ExperimentEvent) -> Tree:
    tree: Tree = {
        "T": float(event.time),
        "T2": float(event.time2),
        "M": U32(event.meaning),
        "D": event.description,
        "A": event.data,
        "I": U32(event.id),
    }
    if event.stimulation is not None:
        tree["S"] = {
            "T": U32(event.stimulation.type),
            "L": U32(event.stimulation.loop_index),
            "P": U32(event.stimulation.position),
            "D": event.stimulation.description,
        }
    return tree


# --- custom data ---------------------------------------------------------------------------------------------------


def custom(tree: Mapping[str, Any]) -> Items:
    """Return a tree of custom data as it is stored: what ``ND2File.custom_data`` gives is read back from it.

    Names lose their type prefix when they are read; here they get one where they cannot do without. List items that
    were left out when they were read, because they are empty or zero, are put back as such.
    """
    items = Items()
    place = 0
    for name, value in tree.items():
        if value is None:
            continue
        if LIST_KEY.fullmatch(name):
            # The key is the place among all children.
            while place < int(name[1:]):
                items.append(("", I32(0)))
                place += 1
            items.append(("", _custom_value(value)))
        else:
            items.append((_stored_name(name), _custom_value(value)))
        place += 1
    return items


def _stored_name(name: str) -> str:
    """Return a name that is allowed, and that is ``name`` once its prefix is gone."""
    if clx_xml.NAME.fullmatch(name) and clx_xml.without_prefix(name) == name:
        return name
    return f"m_{name}"


def _custom_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return custom(value)
    if isinstance(value, (bytes, bytearray)):
        return b64decode(value)
    if isinstance(value, (list, tuple)):
        return [_custom_value(item) for item in value]
    return value
