"""Tiny legacy (JPEG 2000) ND2 files, written by hand from what is known of the format.

Needs imagecodecs for the codestreams. The dialect of the XML is the one that nd2 0.12.0 reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import numpy as np

from nd2._core.format import jp2
from tests import boxes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PERIOD = 100.0
STEP = 0.5
CALIBRATION = 0.25


@dataclass(frozen=True)
class LegacySpec:
    """Content of a made file.

    Attributes
    ----------
    loops : sequence of (str, int)
        Letter (``T``, ``P``, ``Z``) and count, outermost first.
    channels, samples, height, width
        Shape of a frame; ``samples=3`` for color.
    bits : int
        Bits of a component.
    extra : int
        Frames beyond the loops; negative for frames that the loops have and the file does not.
    siblings : bool
        Whether loops are siblings in a box ``AIMD``, as in old files, or nested in ``AIM1``.
    described : sequence of (str, int), optional
        Loops as in the description, by default ``loops``; empty for no description.
    experiment, box_map, image_header, text_info : bool
        Whether the file has these.
    between : bytes
        Bytes before each codestream, which are on no map.
    """

    loops: Sequence[tuple[str, int]] = ()
    channels: int = 1
    samples: int = 1
    height: int = 12
    width: int = 16
    bits: int = 16
    extra: int = 0
    siblings: bool = False
    described: Sequence[tuple[str, int]] | None = None
    experiment: bool = True
    box_map: bool = True
    image_header: bool = True
    text_info: bool = True
    between: bytes = b""

    @property
    def frame_count(self) -> int:
        return math.prod(count for _, count in self.loops) + self.extra

    @property
    def frames(self) -> NDArray[Any]:
        """Pixels of all frames, shape (n, C, Y, X, S)."""
        shape = (self.frame_count, self.channels, self.height, self.width, self.samples)
        rng = np.random.default_rng(self.frame_count)
        dtype = "u1" if self.bits <= 8 else "u2"
        return rng.integers(0, 1 << self.bits, shape).astype(dtype)

    @property
    def array(self) -> NDArray[Any]:
        """The image as ``asarray`` gives it: loops, C, Y, X, S, without the axes of size 1; what is missing is zero."""
        frames = self.frames
        whole = np.zeros((math.prod(count for _, count in self.loops), *frames.shape[1:]), frames.dtype)
        whole[: len(frames)] = frames[: len(whole)]
        return whole.reshape(*(count for _, count in self.loops), *frames.shape[1:]).squeeze()


def build(path: Path, spec: LegacySpec | None = None, **options: Any) -> LegacySpec:
    """Write a file, and return what is in it."""
    from imagecodecs import jpeg2k_encode

    spec = spec or LegacySpec(**options)
    out = bytearray(jp2.SIGNATURE)
    entries = [(b"jP  ", b"", 0)]

    def add(kind: bytes, tag: bytes, box: bytes) -> None:
        entries.append((kind, tag, len(out)))
        out.extend(box)

    add(b"ftyp", b"", boxes.encode_box(b"ftyp", b"jp2 \0\0\0\0jp2 "))
    if spec.image_header:
        size = jp2.ImageSize(spec.height, spec.width, spec.samples, spec.bits)
        add(b"jp2h", b"", boxes.encode_image_header(size))
    for frame in spec.frames:
        for plane in frame:
            image = plane if spec.samples > 1 else plane[..., 0]
            stream = jpeg2k_encode(image, codecformat="j2k", level=0, bitspersample=spec.bits, mct=False)
            out.extend(spec.between)
            add(b"jp2c", b"LUNK", boxes.encode_box(b"jp2c", bytes(stream)))
    for tag, text in documents(spec):
        add(b"xml ", tag, boxes.encode_box(b"xml ", text.encode()))
    if spec.box_map:
        out.extend(boxes.encode_map(entries))
    path.write_bytes(out)
    return spec


def documents(spec: LegacySpec) -> list[tuple[bytes, str]]:
    """Tag and text of each XML box."""
    found = [(b"VCAL", document("CalibrationSeq", calibration())) for _ in range(spec.frame_count)]
    found += [(b"VIMD", document("MetadataSeq", picture(spec, i))) for i in range(spec.frame_count)]
    found.append((b"ACAL", f'<Calibration Calibration_11="{CALIBRATION}"/>'))
    advanced = {"AdvancedImageAttributes": {"uiSignificantBits": spec.bits}}
    found.append((b"ARTT", document("variant", advanced)))
    if spec.experiment:
        nodes = [_NODES[letter](count) for letter, count in spec.loops]
        nodes = nodes or [{"eType": 6, "uLoopPars": {"uiCount": spec.channels}}]
        if spec.siblings:
            siblings = {f"LoopNo{i:02}": node for i, node in enumerate(nodes)}
            found.append((b"AIMD", document("Metadata", siblings)))
        else:
            for outer, inner in zip(reversed(nodes[:-1]), reversed(nodes[1:]), strict=True):
                outer["ppNextLevelEx"] = inner
            root = {"vMetadata": nodes[0], "vUnknownData": {}}
            found.append((b"AIM1", document("Metadata_V1.2", root)))
    if spec.text_info:
        found.append((b"TINF", text_info(spec)))
    return found


def calibration() -> dict[str, Any]:
    return {"dCalibration": CALIBRATION, "dAspect": 1.0, "sObjective": "Plan Apo 20x"}


def picture(spec: LegacySpec, frame: int) -> dict[str, Any]:
    """Picture metadata of one frame."""
    planes = {
        f"a{c}": {"uiCompCount": spec.samples, "sOpticalConfigName": f"Config {c}", "uiColor": 0x00FF00 >> c}
        for c in range(spec.channels)
    }
    return {
        "dTimeMSec": PERIOD * frame + 5.5,
        "dTimeAbsolute": 2454000.5,
        "dXPos": 10.0 * frame,
        "dYPos": -20.0 * frame,
        "dZPos": 1.5,
        "sPicturePlanes": {"uiCount": spec.channels, "uiCompCount": spec.channels * spec.samples, "sPlane": planes},
        "dCalibration": CALIBRATION,
        "bCalibrated": True,
        "wsObjectiveName": "Plan Apo 20x",
        "dObjectiveMag": 20.0,
        "dObjectiveNA": 0.75,
        "dRefractIndex1": 1.0,
        "dProjectiveMag": 1.0,
        "dPinholeRadius": 15.0,
    }


def text_info(spec: LegacySpec) -> str:
    described = spec.loops if spec.described is None else spec.described
    names = {"T": "T", "P": "XY", "Z": "Z"}
    items = ["taken by hand"]
    if described or spec.loops:
        line = " x ".join(f"{names[letter]}({count})" for letter, count in described)
        items.append(f"Metadata:\r\nDimensions: {line}\r\nZ Stack Loop: 3\r\n- Step: {STEP} µm")
    else:
        items.append("Metadata:\r\nCamera Name: made")
    parts = "".join(f"<TextInfoItem Index={quoteattr(str(i))} Text={quoteattr(item)}/>" for i, item in enumerate(items))
    return f"<TextInfo>{parts}</TextInfo>"


def _time(count: int) -> dict[str, Any]:
    period = {
        "uiCount": count,
        "dStart": 0.0,
        "dPeriod": PERIOD,
        "dDuration": PERIOD * count,
        "dAvgPeriodDiff": PERIOD + 1,
        "dMaxPeriodDiff": PERIOD + 2,
        "dMinPeriodDiff": PERIOD - 1,
    }
    pars = {"uiCount": count, "uiPeriodCount": 1, "pPeriod": {"_00000": period}}
    return {"eType": 8, "uLoopPars": pars}


def _positions(count: int) -> dict[str, Any]:
    def column(step: float) -> dict[str, float]:
        # stored in reverse: the last point first
        return {f"_{i:05}": step * (count - 1 - i) for i in range(count)}

    columns = {"dPosX": column(100.0), "dPosY": column(-50.0), "dPosZ": column(3.0), "dPFSOffset": column(1.0)}
    return {"eType": 2, "uLoopPars": {"uiCount": count, "bUseZ": True, **columns}}


def _stack(count: int) -> dict[str, Any]:
    pars = {
        "uiCount": count,
        "dZLow": -STEP,
        "dZHigh": STEP * (count - 2),
        "dZHome": 0.0,
        "dZStep": STEP,
        "wsZDevice": "Ti ZDrive",
    }
    return {"eType": 4, "uLoopPars": pars}


_NODES = {"T": _time, "P": _positions, "Z": _stack}


def document(root: str, content: Mapping[str, Any]) -> str:
    """Write a document whose root holds one unnamed level."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}>{element("no_name", content)}</{root}>'


def element(name: str, value: Any) -> str:
    """Write a value as one element; the items of a list as elements of the same name."""
    if isinstance(value, Mapping):
        inner = "".join(element(key, item) for key, item in value.items())
        return f'<{name} runtype="CLxListVariant">{inner}</{name}>'
    if isinstance(value, list):
        return "".join(element(name, item) for item in value)
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f'<{name} runtype="{kinds[type(value)]}" value={quoteattr(text)}/>'
