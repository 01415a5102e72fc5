"""Metadata trees of attributes, loops, calibration and text, from the public value types: what the parsers read back.

The keys, their types and their order are those of real files; what a file must hold for other readers to take it was
found by trying them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nd2._core.chunks.attributes import COMPRESSION, UNCOMPRESSED
from nd2._core.chunks.texts import TEXT_ITEMS
from nd2._core.format import clx_lite, clx_xml
from nd2._core.format.clx_lite import I32, U32
from nd2._core.structures import (
    CustomLoop,
    LoopType,
    NETimeLoop,
    TimeLoop,
    XYPosLoop,
    ZStackLoop,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nd2._core.structures import Attributes, ExpLoop, TextInfo, TimeLoopParams

Tree = dict[str, Any]

_COMPRESSION: dict[str, int] = {name: code for code, name in COMPRESSION.items()}
_UNSIGNED, _REAL = 1, 2
_REQUIREDTEXT_ITEMS = 14


def chunk(stem: bytes, suffix: bytes, tree: Tree, version: tuple[int, int]) -> tuple[bytes, bytes]:
    """Return name and data of a metadata chunk, in the form of a file's version.

    Parameters
    ----------
    stem, suffix : bytes
        Parts of the name: ``b"ImageMetadataSeq"``, ``b"|0"``.
    tree : dict
        One of the trees of this package, with its root level; version 2 has none.
    version : tuple of int
        Format version.
    """
    if version >= (3, 0):
        return stem + b"LV" + suffix + b"!", clx_lite.encode(tree)
    (content,) = tree.values()
    return stem + suffix + b"!", clx_xml.encode({"no_name": content})


def attributes(value: Attributes) -> Tree:
    """Return the tree of the image attributes; all fields, because some readers refuse files that lack one."""
    width, height = value.widthPx or 0, value.heightPx
    return {
        "SLxImageAttributes": {
            "uiWidth": U32(width),
            "uiWidthBytes": U32(value.widthBytes or 0),
            "uiHeight": U32(height),
            "uiComp": U32(value.componentCount),
            "uiBpcInMemory": I32(value.bitsPerComponentInMemory),
            "uiBpcSignificant": I32(value.bitsPerComponentSignificant),
            "uiSequenceCount": U32(value.sequenceCount),
            "uiTileWidth": U32(value.tileWidthPx or width),
            "uiTileHeight": U32(value.tileHeightPx or height),
            "eCompression": I32(_COMPRESSION.get(value.compressionType or "", UNCOMPRESSED)),
            "dCompressionParam": float(value.compressionLevel or 0.0),
            "ePixelType": I32(_REAL if value.pixelDataType == "float" else _UNSIGNED),
            "uiVirtualComponents": U32(value.componentCount),
        }
    }


def text_info(value: TextInfo) -> Tree:
    """Return the tree of the text items."""
    items = {f"TextInfoItem_{i}": str(value.get(key, "")) for i, key in enumerate(TEXT_ITEMS)}
    last = f"TextInfoItem_{_REQUIREDTEXT_ITEMS}"
    if not items[last]:  # older files end before it
        del items[last]
    return {"SLxImageTextInfo": items}


def calibration(pixel: float, objective: str | None) -> Tree:
    """Return the tree of the calibration, which some readers take the pixel size from."""
    return {
        "SLxCalibration": {
            "dCalibration": pixel,
            "dAspect": 1.0,
            "bValid": pixel > 0,
            "sObjective": objective or "",
        }
    }


# --- loops ---------------------------------------------------------------------------------------------------------


def experiment(loops: Sequence[ExpLoop]) -> Tree | None:
    """Return the tree of nested loops; None where there are none."""
    node: Tree | None = None
    for loop in reversed(loops):
        node = _level(loop, node)
    return None if node is None else {"SLxExperiment": node}


def _level(loop: ExpLoop, below: Tree | None) -> Tree:
    texts = ("wsApplicationDesc", "wsUserDesc", "aMeasProbesBase64", "wsCameraName")
    commands = (
        "wsCommandBeforeLoop",
        "wsCommandBeforeCapture",
        "wsCommandAfterCapture",
        "wsCommandAfterLoop",
    )
    switches = (
        "bControlShutter",
        "bControlLight",
        "bUsePFS",
        "bUseHWSequencer",
        "bUseTiRecipe",
        "bUseIntenzityCorrection",
        "bUseTriggeredAcquisition",
        "bKeepObject",
    )
    node: Tree = {
        "eType": U32(LoopType[loop.type]),
        **dict.fromkeys(texts, ""),
        "uLoopPars": _parameters(loop),
        **dict.fromkeys(commands, ""),
        **dict.fromkeys(switches, False),
        "vectStimulationConfigurationsSize": I32(0),
        "uiRepeatCount": U32(1),
        "uiNextLevelCount": U32(below is not None),
    }
    if below is not None:
        node["ppNextLevelEx"] = [below]
    return node


def _parameters(loop: ExpLoop) -> Tree:
    match loop:
        case TimeLoop():
            return {"uiCount": U32(loop.count), **_time(loop.parameters)}
        case NETimeLoop():
            periods = loop.parameters.periods
            return {
                "uiCount": U32(loop.count),
                "uiPeriodCount": U32(len(periods)),
                "pPeriod": [{"uiCount": U32(p.count), **_time(p)} for p in periods],
                "pPeriodValid": bytes([1] * len(periods)),
            }
        case XYPosLoop():
            return _positions(loop)
        case ZStackLoop():
            return _stack(loop)
        case CustomLoop():
            return {"uiCount": U32(loop.count)}
    raise TypeError(f"{type(loop).__name__} is no loop of an experiment")


def _time(value: TimeLoopParams) -> Tree:
    return {
        "dStart": float(value.startMs),
        "dPeriod": float(value.periodMs),
        "dDuration": float(value.durationMs),
        "dMinPeriodDiff": float(value.periodDiff.min),
        "dMaxPeriodDiff": float(value.periodDiff.max),
        "dAvgPeriodDiff": float(value.periodDiff.avg),
        "wsPhaseName": "",
        "uiLoopType": U32(0),
        "uiGroup": U32(0),
        "uiStimulationCount": U32(0),
        "wsInterfaceName": "",
        "uiTreatment": U32(0),
        "dIncubationDuration": -1.0,
    }


def _positions(loop: XYPosLoop) -> Tree:
    points = [
        {
            "dPosX": float(point.stagePositionUm[0]),
            "dPosY": float(point.stagePositionUm[1]),
            "dPosZ": float(point.stagePositionUm[2]),
            "dPFSOffset": -1.0 if point.pfsOffset is None else float(point.pfsOffset),
            "dPosName": point.name or "",
        }
        for point in loop.parameters.points
    ]
    switches = (
        "bRelativeXY",
        "bRedefineAfterPFS",
        "bRedefineAfterAutoFocus",
        "bKeepPFSOn",
        "bSplitMultipoints",
        "bUseAFPlane",
        "bZEnabled",
    )
    return {
        "uiCount": U32(len(points)),
        "bUseZ": bool(loop.parameters.isSettingZ),
        **dict.fromkeys(switches, False),
        "dReferenceX": 0.0,
        "dReferenceY": 0.0,
        "sZDevice": "",
        "Points": points,
    }


# Stacks of an asymmetric range around the home plane, upwards and downwards: of all types, the one in which the stored
# positions give the index of the home plane, whichever it is.
_UPWARDS, _DOWNWARDS = 3, 7


def _stack(loop: ZStackLoop) -> Tree:
    value = loop.parameters
    step, last = float(value.stepUm), max(loop.count - 1, 0)
    # A step that is not positive leaves the ratio of two ranges to tell the index, cut to a whole number.
    slack = 0.5 if step < 0 and value.homeIndex < last else 0.0
    before = abs(step) * (value.homeIndex + slack)
    low, high = 0.0, abs(step) * last
    return {
        "uiCount": U32(loop.count),
        "dZLow": low,
        "dZHigh": high,
        "dZHome": low + before if value.bottomToTop else high - before,
        "dZStep": step,
        "dReferencePosition": 0.0,
        "bAbsolute": False,
        "bTriggeredPiezo": False,
        "bZInverted": False,
        "bTIRF": False,
        "dTIRFPosition": 0.0,
        "dTIRFPFSOffset": -1.0,
        "iType": I32(_UPWARDS if value.bottomToTop else _DOWNWARDS),
        **({} if value.deviceName is None else {"wsZDevice": value.deviceName}),
        "wsCommandBeforeCapture": "",
        "wsCommandAfterCapture": "",
    }
