"""The OME-XML of a file: instrument, images, channels, planes, regions of interest, and all else as annotation.

One builder serves the engine's attribute ``ome_xml`` (without planes), the exports, and ``ND2File.ome_metadata``. The
library ome-types, whose import takes long, is needed for the last of them only.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from xml.etree import ElementTree

import numpy as np

from nd2._core._version import CREATOR
from nd2._core.io.urls import file_stem
from nd2._core.region_types import InterpType, ScopeType
from nd2._core.values import cached_property, record
from nd2._core.views.channels import positive, stored_rgb
from nd2._core.views.jsonable import plain
from nd2._core.views.placement import Placement, image_counts, nesting
from nd2._core.views.regions import outline, region_kind, region_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

    from nd2._core.chunks.optics import Camera
    from nd2._core.frames.grid import Layout
    from nd2._core.readers import Reader
    from nd2._core.region_types import ROI
    from nd2._core.views.channels import ChannelFacts
    from nd2._core.views.facts import Facts
    from nd2._core.views.regions import Outline

NAMESPACE = "https://github.com/tlambert03/nd2"
"""Namespace of the annotation that holds the undecoded metadata; that of the public package nd2, whose form it has."""

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_TYPES = {"float32": "float", "float64": "double"}
_ORDERS = ("XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC")
_BINNING = {(1, 1): "1x1", (2, 2): "2x2", (4, 4): "4x4", (8, 8): "8x8"}
# The first of a channel's flags that the table contains decides.
_ACQUISITION = {
    "laserScanConfocal": "LaserScanningConfocalMicroscopy",
    "spinningDiskConfocal": "SpinningDiskConfocal",
    "sweptFieldConfocalPinhole": "SweptFieldConfocal",
    "sweptFieldConfocalSlit": "SlitScanConfocal",
    "brightfield": "BrightField",
    "SIM": "StructuredIllumination",
    "TIRF": "TotalInternalReflection",
    "multiphoton": "MultiPhotonMicroscopy",
    "fluorescence": "WideField",
}
_CONTRAST = {
    "fluorescence": "Fluorescence",
    "phaseContrast": "Phase",
    "diContrast": "DIC",
    "brightfield": "Brightfield",
}
_ILLUMINATION = {"fluorescence": "Epifluorescence", "brightfield": "Transmitted", "multiphoton": "NonLinear"}
# What XML 1.0 cannot hold is left out.
_NOT_XML = dict.fromkeys([*range(9), 11, 12, *range(14, 32), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF])
_IN_TEXT = {**_NOT_XML, ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
_IN_ATTRIBUTE = {**_IN_TEXT, ord('"'): "&quot;", ord("\r"): "&#13;", ord("\n"): "&#10;", ord("\t"): "&#09;"}
_SPECIAL = re.compile('[&<>"\0-\x1f\ud800-\udfff\ufffe\uffff]')


def ome_xml(
    reader: Reader,
    facts: Facts,
    *,
    planes: bool = True,
    include_unstructured: bool = False,
    tiff_file_name: str | None = None,
    position: int | None = None,
) -> str:
    """Return the OME-XML of a file, or of one position."""
    builder = _Builder(reader, facts, tiff_file_name, position)
    return builder.document(planes, include_unstructured)


def dimension_order(layout: Layout) -> str:
    """Return how T, Z and C of an image are nested, as OME writes it, the fastest axis first."""
    nested = nesting(layout)
    if layout.samples > 1:
        return f"XYC{nested[::-1]}"
    counts = image_counts(layout)
    slow = [axis for axis in nested if counts[axis] > 1]
    start = "XY" + ("C" if layout.channels > 1 else "") + "".join(reversed(slow))
    return next(order for order in _ORDERS if order.startswith(start))


def _serialize(element: Element, parts: list[str]) -> None:
    """Append the text of an element, as ``ElementTree.tostring`` writes it, without what XML cannot hold.

    That function looks for namespaces, which takes a tenth of the time to open a dataset.
    """
    tag, text = element.tag, element.text
    parts.append(f"<{tag}")
    for name, value in element.items():
        if _SPECIAL.search(value):
            value = value.translate(_IN_ATTRIBUTE)
        parts.append(f' {name}="{value}"')
    if not text and not len(element):
        parts.append(" />")
        return
    parts.append(f">{text.translate(_IN_TEXT)}" if text else ">")
    for child in element:
        _serialize(child, parts)
    parts.append(f"</{tag}>")


def _add(parent: Element, tag: str, **attributes: Any) -> Element:
    """Add an element; attributes that are None or empty are left out."""
    texts = {
        name: value if isinstance(value, str) else repr(value)
        for name, value in attributes.items()
        if value is not None and value != ""
    }
    return ElementTree.SubElement(parent, tag, texts)


def _measure(name: str, value: float | None, unit: str = "µm") -> dict[str, Any]:
    """Return attributes for a value and its unit; empty if it is unknown."""
    return {} if value is None else {name: float(value), f"{name}Unit": unit}


@record
class _Builder:
    """One document."""

    reader: Reader
    facts: Facts
    tiff_file_name: str | None
    position: int | None

    @cached_property
    def placement(self) -> Placement:
        return Placement.from_layout(self.reader.layout)

    @cached_property
    def images(self) -> int:
        return image_counts(self.reader.layout)["P"]

    @cached_property
    def cameras(self) -> list[Camera]:
        """The different cameras, in the order of the channels."""
        cameras = (channel.capture.camera for channel in self.facts.channels)
        return list(dict.fromkeys(camera for camera in cameras if camera is not None))

    @cached_property
    def uuid(self) -> str:
        return f"urn:uuid:{uuid4()}"

    def document(self, planes: bool, include_unstructured: bool) -> str:
        root = ElementTree.Element(
            "OME",
            {
                "xmlns": _SCHEMA,
                "xmlns:xsi": _XSI,
                "xsi:schemaLocation": f"{_SCHEMA} {_SCHEMA}/ome.xsd",
                "Creator": CREATOR,
            },
        )
        if self.tiff_file_name is not None:
            root.set("UUID", self.uuid)
        self._instrument(root)
        rois = self._regions() if planes else []
        chosen = range(self.images) if self.position is None else [self.position]
        for number, image in enumerate(chosen):
            element = self._image(root, number, image, planes)
            for roi_number, _, images in rois:
                if image in images:
                    _add(element, "ROIRef", ID=f"ROI:{roi_number}")
        if include_unstructured:
            chunks = self.reader.unstructured_metadata(strip_prefix=True, include=None, exclude=None)
            if chunks:
                _annotation(root, chunks)
        for number, roi, _ in rois:
            layout = self.reader.layout
            add_roi(root, roi, number, layout.width, layout.height, self._time_point)
        parts: list[str] = []
        _serialize(root, parts)
        return "".join(parts)

    def _instrument(self, root: Element) -> None:
        instrument = _add(root, "Instrument", ID="Instrument:0")
        names = (channel.capture.microscope for channel in self.facts.channels)
        microscope = next((name for name in names if name), None)
        if microscope:
            _add(instrument, "Microscope", Manufacturer="Nikon", Model=microscope)
        for number, camera in enumerate(self.cameras):
            _add(instrument, "Detector", ID=f"Detector:{number}", Model=camera.model, SerialNumber=camera.serial)
        optics = self.facts.optics
        if optics is not None:
            _add(
                instrument,
                "Objective",
                ID="Objective:0",
                Model=optics.objectiveName,
                LensNA=positive(optics.objectiveNumericalAperture),
                NominalMagnification=positive(optics.objectiveMagnification),
            )

    def _image(self, root: Element, number: int, image: int, planes: bool) -> Element:
        facts = self.facts
        element = _add(root, "Image", ID=f"Image:{number}", Name=self._image_name(image))
        if facts.start_text is not None:
            _add(element, "AcquisitionDate").text = facts.start_text
        description = self.reader.text_info.get("description")
        if description:
            _add(element, "Description").text = description
        _add(element, "InstrumentRef", ID="Instrument:0")
        optics = facts.optics
        if optics is not None:
            _add(
                element,
                "ObjectiveSettings",
                ID="Objective:0",
                RefractiveIndex=positive(optics.immersionRefractiveIndex),
            )
        if planes:
            self._stage_label(element, image)
        self._pixels(element, number, image, planes)
        return element

    def _stage_label(self, parent: Element, image: int) -> None:
        """Add name and place of a position, if the file has positions."""
        if "P" not in self.facts.loops:
            return
        frame = self.placement.index[self.placement.image == image][:1]
        place: dict[str, Any] = {}
        for axis, series in self.facts.stage.items():
            [value] = _rounded(series.values[frame]) if len(frame) else [None]
            place |= _measure(axis.upper(), value)
        name = self.facts.image_names(self.images)[image]
        _add(parent, "StageLabel", Name=name or f"Position {image}", **place)

    def _image_name(self, image: int) -> str:
        name = self.facts.image_names(self.images)[image]
        if name:
            return name
        stem = file_stem(self.reader.source.url) or "image"
        return stem if self.images == 1 else f"{stem} (Series {image})"

    def _pixels(self, parent: Element, number: int, image: int, planes: bool) -> None:
        reader, facts = self.reader, self.facts
        layout = reader.layout
        counts = image_counts(layout)
        x, y = facts.pixel_size or (None, None)
        step = None
        if planes and counts["T"] > 1:
            step = facts.time_step(self.placement.image_part(image).first_frames)
        pixels = _add(
            parent,
            "Pixels",
            ID=f"Pixels:{number}",
            DimensionOrder=dimension_order(layout),
            Type=_TYPES.get(reader.dtype.name, reader.dtype.name),
            SignificantBits=facts.significant_bits,
            SizeX=layout.width,
            SizeY=layout.height,
            SizeZ=counts["Z"],
            SizeC=layout.channels * layout.samples,
            SizeT=counts["T"],
            **_measure("PhysicalSizeX", x),
            **_measure("PhysicalSizeY", y),
            **_measure("PhysicalSizeZ", facts.z_step if counts["Z"] > 1 else None),
            TimeIncrement=None if step is None else step / 1000,
        )
        for index, channel in enumerate(facts.channels):
            self._channel(pixels, f"Channel:{number}:{index}", channel)
        if self.tiff_file_name is None:
            _add(pixels, "MetadataOnly")
        else:
            self._tiff_data(pixels, image)
        if planes:
            self._planes(pixels, self.placement.image_part(image))

    def _channel(self, parent: Element, identifier: str, channel: ChannelFacts) -> None:
        flags = channel.modality
        samples = self.reader.layout.samples
        light: dict[str, Any] = {}
        # Samples of color have neither one color nor one wavelength.
        if channel.meta is not None and samples == 1:
            light = {
                "Color": _color(channel.rgb),
                **_measure("EmissionWavelength", channel.emission_nm, "nm"),
                **_measure("ExcitationWavelength", channel.excitation_nm, "nm"),
            }
        pinhole = None if channel.meta is None else channel.meta.microscope.pinholeDiameterUm
        element = _add(
            parent,
            "Channel",
            ID=identifier,
            Name=channel.name,
            SamplesPerPixel=samples,
            AcquisitionMode=_first(_ACQUISITION, flags),
            ContrastMethod=_first(_CONTRAST, flags),
            IlluminationType=_first(_ILLUMINATION, flags),
            **_measure("PinholeSize", positive(pinhole)),
            **light,
        )
        capture = channel.capture
        if capture.camera is not None:
            _add(
                element,
                "DetectorSettings",
                ID=f"Detector:{self.cameras.index(capture.camera)}",
                Binning=capture.binning and _BINNING.get(capture.binning, "Other"),
                Gain=capture.gain,
                **_measure("ReadOutRate", capture.readout_mhz, "MHz"),
            )

    def _planes(self, parent: Element, mine: Placement) -> None:
        facts, frames = self.facts, mine.index
        # The recorded clock need not start with the experiment: OME's time does.
        columns = [
            ("DeltaT", "ms", _rounded(facts.times(frames) - facts.first_time)),
            *((f"Position{x.upper()}", "µm", _rounded(series.values[frames])) for x, series in facts.stage.items()),
        ]
        exposures = [
            np.broadcast_to(facts.exposure(c).values, facts.reader.frame_count)[frames].tolist()
            for c in range(self.reader.layout.channels)
        ]
        times, planes = mine.time.tolist(), mine.plane.tolist()
        for k in range(len(frames)):
            place: dict[str, str] = {}
            for name, unit, column in columns:
                if (value := column[k]) is not None:
                    place[name], place[f"{name}Unit"] = repr(value), unit
            for channel, exposure in enumerate(exposures):
                # The unit is written even without a value, because programs read it.
                plane = {"TheZ": str(planes[k]), "TheT": str(times[k]), "TheC": str(channel), "ExposureTimeUnit": "ms"}
                if exposure[k] == exposure[k]:  # not NaN
                    plane["ExposureTime"] = repr(exposure[k])
                ElementTree.SubElement(parent, "Plane", plane | place)

    def _tiff_data(self, parent: Element, image: int) -> None:
        """Say which directory of the TIFF file holds which plane; directories count on from image to image."""
        mine = self.placement.image_part(image)
        count = self.reader.layout.channels
        first = 0 if self.position is not None else int((self.placement.image < image).sum()) * count
        slots = mine.slots(self.placement.nesting).tolist()
        for slot, time, plane in zip(slots, mine.time.tolist(), mine.plane.tolist(), strict=True):
            for number in range(count):
                block = _add(
                    parent,
                    "TiffData",
                    IFD=first + slot * count + number,
                    PlaneCount=1,
                    FirstZ=plane,
                    FirstC=number,
                    FirstT=time,
                )
                _add(block, "UUID", FileName=self.tiff_file_name).text = self.uuid

    def _regions(self) -> list[tuple[int, ROI, Sequence[int]]]:
        """Return the number of each region of interest, the region, and the images that it belongs to."""

        def images(roi: ROI) -> Sequence[int]:
            if roi.position is not None:
                return [roi.position]
            # One for a position that the file does not state belongs to no image.
            anywhere = self.images == 1 or roi.info.scope != ScopeType.MPoint
            return range(self.images) if anywhere else ()

        return [
            (number, roi, images(roi))
            for number, roi in enumerate(self.reader.rois.values())
            if any(step.enabled for step in roi.animParams) and (self.position is None or self.position in images(roi))
        ]

    @cached_property
    def _elapsed(self) -> NDArray[np.float64]:
        times = self.facts.times(self.placement.index)
        return times - times[:1]

    def _time_point(self, time: float) -> int | None:
        """Return the time point of a time in milliseconds since the first frame; None if unknown."""
        if not np.isfinite(self._elapsed).all():
            return None
        later = np.flatnonzero(self._elapsed >= time)
        return int(self.placement.time[later[0]]) if len(later) else self.placement.times - 1


def _first(table: Mapping[str, str], flags: Sequence[str]) -> str | None:
    return next((name for flag, name in table.items() if flag in flags), None)


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    """Return values with six decimals; None if they are not finite."""
    rounded, finite = np.round(values, 6).tolist(), np.isfinite(values).tolist()
    return [value if known else None for value, known in zip(rounded, finite, strict=True)]


def _annotation(root: Element, chunks: Mapping[str, Any]) -> None:
    annotations = _add(root, "StructuredAnnotations")
    annotation = _add(annotations, "MapAnnotation", ID="Annotation:0", Namespace=NAMESPACE)
    _add(
        annotation, "Description"
    ).text = (
        "Metadata of the ND2 file as it is stored: each key is the name of a chunk, each value its content as JSON."
    )
    value = _add(annotation, "Value")
    for name, content in chunks.items():
        _add(value, "M", K=name).text = json.dumps(plain(content))


def add_roi(
    root: Element, roi: ROI, index: int, width: int, height: int, time_point: Callable[[float], int | None]
) -> None:
    """Add a region of interest to a document, in pixels; ``time_point`` takes a time in milliseconds."""
    kind = region_kind(roi.info)
    element = _add(root, "ROI", ID=f"ROI:{index}", Name=roi.info.label)
    union = _add(element, "Union")
    steps = region_steps(roi)
    for number, step in enumerate(steps):
        placed = outline(kind, step, width, height)
        name, place = _shape(placed)
        shape = _add(
            union,
            name,
            ID=f"Shape:{index}:{number}",
            StrokeColor=_color(stored_rgb(roi.info.color)),
            Locked=str(bool(roi.info.locked)).lower(),
            Text=roi.info.label,
            TheT=time_point(step.timeMs) if len(steps) > 1 else None,
            **place,
        )
        if placed.angle:
            _add(shape, "Transform", **_rotation(placed.angle, *placed.center))
    code = roi.info.interpType
    purpose = InterpType(code).name if code in set(InterpType) else f"kind {code}"
    _add(element, "Description").text = f"{purpose}, {kind.name}"


def _color(rgb: Sequence[int]) -> int:
    """Return a color as OME writes it: RGBA in a signed integer."""
    red, green, blue = rgb
    value = red << 24 | green << 16 | blue << 8 | 255
    return value - (1 << 32) if value >> 31 else value


def _shape(outline: Outline) -> tuple[str, dict[str, Any]]:
    """Return the name of the element of a shape, and its coordinates."""
    (x, y), (width, height) = outline.center, outline.size
    listed = " ".join(f"{px:.6g},{py:.6g}" for px, py in outline.points)
    match outline.shape:
        case "line":
            (x1, y1), (x2, y2) = outline.points
            return "Line", {"X1": x1, "Y1": y1, "X2": x2, "Y2": y2}
        case "path":
            return "Polyline", {"Points": listed}
        case "polygon":
            return "Polygon", {"Points": listed}
        case "ellipse":
            return "Ellipse", {"X": x, "Y": y, "RadiusX": width / 2, "RadiusY": height / 2}
        case "rectangle":
            return "Rectangle", {"X": x - width / 2, "Y": y - height / 2, "Width": width, "Height": height}
        case "point":
            return "Point", {"X": x, "Y": y}


def _rotation(angle: float, x: float, y: float) -> dict[str, float]:
    """Return the matrix that turns by an angle in radians about a point."""
    cos, sin = math.cos(angle), math.sin(angle)
    across, down = x - cos * x + sin * y, y - sin * x - cos * y
    return {"A00": cos, "A10": sin, "A01": -sin, "A11": cos, "A02": across, "A12": down}
