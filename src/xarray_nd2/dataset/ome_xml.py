"""The attribute ``ome_xml``: what the image is, in the form of OME, cheap enough to be written at every opening.

The whole of the OME metadata, with a plane for each frame, is ``ND2File.ome_metadata``; making it takes the import of
its library and time for each frame. What varies from frame to frame stands in the dataset as coordinates anyway.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_nd2.dataset.axis_coords import is_calibrated, unique_channel_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nd2._core.readers import Reader

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_TYPES = {"float32": "float"}
# What XML 1.0 cannot hold.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    | {sign: f"&#{ord(sign):02};" for sign in "\t\n\r"}
)


def ome_xml(reader: Reader, start: str | None) -> str:
    """Write instrument, images (one for each position), pixels and channels as OME-XML, without planes.

    Parameters
    ----------
    reader : Reader
        The file.
    start : str, optional
        The instant of the first frame as ISO 8601.
    """
    layout = reader.layout
    channels = getattr(reader.metadata, "channels", None) or []
    optics = channels[0].microscope if channels else None
    parts: list[str] = []
    if optics is not None and optics.objectiveName:
        objective = {
            "ID": "Objective:0",
            "Model": optics.objectiveName,
            "NominalMagnification": _positive(optics.objectiveMagnification),
            "LensNA": _positive(optics.objectiveNumericalAperture),
        }
        parts.append(_tag("Instrument", {"ID": "Instrument:0"}, _tag("Objective", objective)))
    date = "" if start is None else _tag("AcquisitionDate", {}, start)
    names = [
        point.name for loop in reader.experiment if loop.type == "XYPosLoop"
        for point in loop.parameters.points
    ]  # fmt: skip
    size, known = _pixels(reader), _channels(reader)
    for index in range(dict(layout.loops).get("P", 1)):
        inside = [
            _tag("Channel", {"ID": f"Channel:{index}:{number}", **channel})
            for number, channel in enumerate(known)
        ]
        pixels = _tag(
            "Pixels", {"ID": f"Pixels:{index}", **size}, *inside, _tag("MetadataOnly", {})
        )
        name = names[index] if index < len(names) else None
        parts.append(_tag("Image", {"ID": f"Image:{index}", "Name": name}, date, pixels))
    return _tag("OME", {"xmlns": _NAMESPACE}, *parts)


def _pixels(reader: Reader) -> dict[str, Any]:
    """Return the attributes of the pixels of one position."""
    layout, voxel = reader.layout, reader.voxel_size
    loops = [name[0] for name, _ in layout.loops]
    nested = dict.fromkeys("ZT", 1)
    for name, count in layout.loops:
        if name[0] in nested:
            nested[name[0]] *= count
    outside = "ZT" in "".join(letter for letter in loops if letter in "ZT")
    sizes = {
        "PhysicalSizeX": voxel.x if is_calibrated(reader) else None,
        "PhysicalSizeY": voxel.y if is_calibrated(reader) else None,
        "PhysicalSizeZ": _positive(voxel.z) if "Z" in loops else None,
    }
    return {
        # Channels share a frame; of stacks and times, the inner loop runs faster.
        "DimensionOrder": "XYCTZ" if outside else "XYCZT",
        "Type": _TYPES.get(reader.dtype.name, reader.dtype.name),
        "SignificantBits": reader.attributes.bitsPerComponentSignificant,
        "SizeX": layout.width,
        "SizeY": layout.height,
        "SizeZ": nested["Z"],
        "SizeC": layout.channels * layout.samples,
        "SizeT": nested["T"],
        **{name: size for name, size in sizes.items() if size},
    }


def _channels(reader: Reader) -> list[dict[str, Any]]:
    known = getattr(reader.metadata, "channels", None) or []
    samples = {"SamplesPerPixel": reader.layout.samples}
    channels: list[dict[str, Any]] = [
        {"Name": name, **samples} for name in unique_channel_names(reader)
    ]
    if reader.layout.samples > 1:  # in its own colours: neither one colour nor one wavelength
        return channels
    for attributes, channel in zip(channels, known, strict=False):
        color = channel.channel.color
        rgba = np.array([color.r << 24 | color.g << 16 | color.b << 8 | 255], np.uint32)
        attributes |= {
            "Name": channel.channel.name or attributes["Name"],
            "Color": int(rgba.view(np.int32)[0]),
            "EmissionWavelength": _positive(channel.channel.emissionLambdaNm),
            "ExcitationWavelength": _positive(channel.channel.excitationLambdaNm),
        }
    return channels


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _tag(tag: str, attributes: Mapping[str, Any], *inside: str) -> str:
    """Write an element; attributes that are None or empty are left out."""
    texts = [
        f' {name}="{_escaped(value)}"'
        for name, value in attributes.items()
        if value is not None and value != ""
    ]
    content = "".join(inside)
    end = f">{content}</{tag}>" if content else " />"
    return f"<{tag}{''.join(texts)}{end}"


def _escaped(value: Any) -> str:
    text = str(value)
    return text if text.isalnum() else _NOT_XML.sub("", text).translate(_ESCAPES)
