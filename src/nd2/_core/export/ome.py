"""The OME metadata of a file: instrument, images, channels, planes, regions of interest, and all else as annotation."""

from __future__ import annotations

import json
import math
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from nd2._core.export.ome_rois import ome_roi
from nd2._core.structures import ScopeType
from nd2._core.views.channels import channels
from nd2._core.views.clock import start_date
from nd2._core.views.jsonable import jsonable
from nd2._core.views.optics import captures
from nd2._core.views.placement import Placement
from nd2._core.views.recorded import times_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from ome_types import OME, model

    from nd2._core.readers import Reader
    from nd2._core.views.channels import ExportChannel
    from nd2._core.views.optics import Capture

NAMESPACE = "https://github.com/tlambert03/nd2"
"""Namespace of the annotation that holds the undecoded metadata; that of the public package nd2, whose form it has."""

_TYPES = {"float32": "float", "float64": "double"}
# The first of a channel's properties that stands in a table decides.
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
_ILLUMINATION = {
    "fluorescence": "Epifluorescence",
    "brightfield": "Transmitted",
    "multiphoton": "NonLinear",
}
# What XML 1.0 cannot hold.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def ome_metadata(
    reader: Reader, *, include_unstructured: bool = True, tiff_file_name: str | None = None
) -> OME:
    """Return the OME metadata of a file; parameters as those of ``ND2File.ome_metadata``."""
    from ome_types import OME, model

    from nd2._core._version import CREATOR

    placement = Placement.of(reader.layout)
    unstructured = reader.unstructured_metadata(strip_prefix=True, include=None, exclude=None)
    captured = captures(unstructured, reader.layout.channels)
    rois = _rois(reader, placement)
    uuid = None if tiff_file_name is None else f"urn:uuid:{uuid4()}"
    instrument = _instrument(reader, captured)
    document = OME(creator=CREATOR, instruments=[instrument])
    if uuid is not None:
        document.uuid = uuid
    document.rois = [roi for roi, _ in rois]
    for image in range(placement.images):
        pixels = _pixels(reader, placement, image, captured, (uuid, tiff_file_name))
        document.images.append(
            _image(reader, placement, image, pixels, [roi.id for roi, common in rois if common])
        )
    if include_unstructured and unstructured:
        annotation = _annotation(unstructured)
        document.structured_annotations = model.StructuredAnnotations(map_annotations=[annotation])
    return document


def _text(value: str) -> str:
    return _NOT_XML.sub("", value)


# ----------------------------------------------------------------------------------------------------- instrument


def _instrument(reader: Reader, captured: Sequence[Capture]) -> model.Instrument:
    from ome_types import model

    instrument = model.Instrument(id="Instrument:0")
    names = list(dict.fromkeys(c.microscope for c in captured if c.microscope))
    if names:
        instrument.microscope = model.Microscope(manufacturer="Nikon", model=_text(names[0]))
    for number, camera in enumerate(_cameras(captured)):
        detector = model.Detector(id=f"Detector:{number}", model=_text(camera.model))
        if camera.serial:
            detector.serial_number = _text(camera.serial)
        instrument.detectors.append(detector)
    optics = _optics(reader)
    if optics is not None:
        known = {
            "model": _text(optics.objectiveName or "") or None,
            "lens_na": _positive(optics.objectiveNumericalAperture),
            "nominal_magnification": _positive(optics.objectiveMagnification),
        }
        known = {key: value for key, value in known.items() if value is not None}
        instrument.objectives.append(model.Objective(id="Objective:0", **known))  # type: ignore[arg-type]
    return instrument


def _cameras(captured: Sequence[Capture]) -> list[Any]:
    """Return the different cameras, in the order of the channels."""
    return list(dict.fromkeys(c.camera for c in captured if c.camera is not None))


def _optics(reader: Reader) -> Any:
    first = channels(reader)[0] if reader.layout.channels else None
    return None if first is None or first.meta is None else first.meta.microscope


def _positive(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and value > 0 else None


# --------------------------------------------------------------------------------------------------------- images


def _image(
    reader: Reader, placement: Placement, image: int, pixels: model.Pixels, rois: Sequence[str]
) -> model.Image:
    from ome_types import model

    found = model.Image(
        id=f"Image:{image}", name=_image_name(reader, placement, image), pixels=pixels
    )
    date = start_date(reader)
    if date is not None:
        found.acquisition_date = date
    description = _text(reader.text_info.get("description", ""))
    if description:
        found.description = description
    found.instrument_ref = model.InstrumentRef(id="Instrument:0")
    optics = _optics(reader)
    if optics is not None:
        found.objective_settings = model.ObjectiveSettings(id="Objective:0")
        if _positive(optics.immersionRefractiveIndex):
            found.objective_settings.refractive_index = optics.immersionRefractiveIndex
    found.roi_refs = [model.ROIRef(id=roi) for roi in rois]
    return found


def _image_name(reader: Reader, placement: Placement, image: int) -> str:
    names = [
        point.name
        for loop in reader.experiment
        if loop.type == "XYPosLoop"
        for point in loop.parameters.points
    ]
    if len(names) == placement.images and names[image]:
        return _text(names[image] or "")
    stem = _text(PurePath(reader.source.url).stem)
    return stem if placement.images == 1 else f"{stem} (Series {image})"


def dimension_order(reader: Reader, placement: Placement) -> str:
    """Return how T, Z and C of an image are nested, as OME writes it, the fastest axis first."""
    from ome_types.model import Pixels_DimensionOrder

    if reader.layout.samples > 1:
        return f"XYC{placement.nesting[::-1]}"
    counts = {"T": placement.times, "Z": placement.planes}
    slow = [axis for axis in placement.nesting if counts[axis] > 1]
    start = "XY" + ("C" if reader.layout.channels > 1 else "") + "".join(reversed(slow))
    return next(order.value for order in Pixels_DimensionOrder if order.value.startswith(start))


def _pixels(
    reader: Reader,
    placement: Placement,
    image: int,
    captured: Sequence[Capture],
    tiff: tuple[str | None, str | None],
) -> model.Pixels:
    from ome_types import model

    layout, voxel = reader.layout, reader.voxel_size
    mine = placement.of_image(image)
    pixels = model.Pixels(
        id=f"Pixels:{image}",
        dimension_order=model.Pixels_DimensionOrder(dimension_order(reader, placement)),
        type=model.PixelType(_TYPES.get(reader.dtype.name, reader.dtype.name)),
        significant_bits=reader.attributes.bitsPerComponentSignificant,
        size_x=layout.width,
        size_y=layout.height,
        size_z=placement.planes,
        size_c=layout.channels * layout.samples,
        size_t=placement.times,
    )
    for axis in ("x", "y", "z"):
        size = _positive(getattr(voxel, axis))
        if size is not None and (axis != "z" or placement.planes > 1):
            setattr(pixels, f"physical_size_{axis}", size)
            setattr(pixels, f"physical_size_{axis}_unit", model.UnitsLength.MICROMETER)
    pixels.channels = [
        _channel(reader, image, number, channel, captured)
        for number, channel in enumerate(channels(reader))
    ]
    uuid, file_name = tiff
    if file_name is None:
        pixels.metadata_only = model.MetadataOnly()
    else:
        pixels.tiff_data_blocks = _tiff_data(reader, placement, image, uuid or "", file_name)
    pixels.planes = _planes(reader, mine, captured)
    return pixels


def _channel(
    reader: Reader,
    image: int,
    number: int,
    channel: ExportChannel,
    captured: Sequence[Capture],
) -> model.Channel:
    from ome_types import model

    found = model.Channel(
        id=f"Channel:{image}:{number}",
        name=_text(channel.name),
        samples_per_pixel=reader.layout.samples,
    )
    camera = captured[number].camera
    if camera is not None:
        detector = _cameras(captured).index(camera)
        found.detector_settings = model.DetectorSettings(id=f"Detector:{detector}")
    meta = channel.meta
    if meta is None:
        return found
    flags: Any = set(meta.microscope.modalityFlags)
    for attribute, table, kind in (
        ("acquisition_mode", _ACQUISITION, model.Channel_AcquisitionMode),
        ("contrast_method", _CONTRAST, model.Channel_ContrastMethod),
        ("illumination_type", _ILLUMINATION, model.Channel_IlluminationType),
    ):
        value = next((name for flag, name in table.items() if flag in flags), None)
        if value is not None:
            setattr(found, attribute, kind(value))
    pinhole = _positive(meta.microscope.pinholeDiameterUm)
    if pinhole is not None:
        found.pinhole_size, found.pinhole_size_unit = pinhole, model.UnitsLength.MICROMETER
    if reader.layout.samples == 1:
        found.color = model.Color(channel.rgb)
        for name in ("emission", "excitation"):
            length = _positive(getattr(meta.channel, f"{name}LambdaNm"))
            if length is not None:
                setattr(found, f"{name}_wavelength", length)
                setattr(found, f"{name}_wavelength_unit", model.UnitsLength.NANOMETER)
    return found


# --------------------------------------------------------------------------------------------------------- planes


def _rounded(values: NDArray[np.float64]) -> list[float | None]:
    """Return values as a document holds them: six decimals, None where there is none."""
    return [
        value if finite else None
        for value, finite in zip(
            np.round(values, 6).tolist(), np.isfinite(values).tolist(), strict=True
        )
    ]


def _planes(reader: Reader, placement: Placement, captured: Sequence[Capture]) -> list[model.Plane]:
    from ome_types import model

    start = times_ms(reader, np.zeros(1, np.intp))
    # The recorded clock need not start with the experiment: OME's time does.
    delta = _rounded(times_ms(reader, placement.index) - start)
    stage = reader.stage_positions[placement.index]
    x, y, z = (_rounded(stage[:, axis]) for axis in range(3))
    time, plane = placement.time.tolist(), placement.plane.tolist()
    planes = []
    for k in range(len(placement.index)):
        common: dict[str, Any] = {"the_t": time[k], "the_z": plane[k]}
        if delta[k] is not None:
            common |= {"delta_t": delta[k], "delta_t_unit": model.UnitsTime.MILLISECOND}
        for name, column in (("x", x), ("y", y), ("z", z)):
            if column[k] is not None:
                common[f"position_{name}"] = column[k]
                common[f"position_{name}_unit"] = model.UnitsLength.MICROMETER
        for number, capture in enumerate(captured):
            exposure: dict[str, Any] = {}
            if capture.exposure_ms is not None:
                exposure = {
                    "exposure_time": capture.exposure_ms,
                    "exposure_time_unit": model.UnitsTime.MILLISECOND,
                }
            planes.append(model.Plane(the_c=number, **common, **exposure))
    return planes


def _tiff_data(
    reader: Reader, placement: Placement, image: int, uuid: str, file_name: str
) -> list[model.TiffData]:
    """Return which directory of the TIFF file holds which plane; directories count on from image to image."""
    from ome_types import model

    mine = placement.of_image(image)
    count = reader.layout.channels
    first = int((placement.image < image).sum()) * count
    slots = mine.slots(placement.nesting).tolist()
    where = model.TiffData.UUID(value=uuid, file_name=file_name)
    return [
        model.TiffData(
            first_c=number,
            first_t=time,
            first_z=plane,
            ifd=first + slot * count + number,
            plane_count=1,
            uuid=where,
        )
        for slot, time, plane in zip(slots, mine.time.tolist(), mine.plane.tolist(), strict=True)
        for number in range(count)
    ]


# ----------------------------------------------------------------------------------------------------- everything


def _rois(reader: Reader, placement: Placement) -> list[tuple[model.ROI, bool]]:
    """Return the regions of interest, and whether each belongs to every image."""
    layout = reader.layout
    known = times_ms(reader, placement.index)

    def time_point(time: float) -> int | None:
        if not np.isfinite(known).all():
            return None
        later = np.flatnonzero(known - known[0] >= time)
        return int(placement.time[later[0]]) if len(later) else placement.times - 1

    return [
        (
            ome_roi(roi, number, layout.width, layout.height, _text, time_point),
            placement.images == 1 or roi.info.scope != ScopeType.MPoint,
        )
        for number, roi in enumerate(reader.rois.values())
        if any(step.enabled for step in roi.animParams)
    ]


def _annotation(unstructured: Mapping[str, Any]) -> model.MapAnnotation:
    from ome_types import model

    return model.MapAnnotation(
        id="Annotation:0",
        namespace=NAMESPACE,
        description=(
            "Metadata of the ND2 file as it is stored: each key is the name of a chunk, "
            "each value its content as JSON."
        ),
        value=model.Map(
            ms=[
                model.Map.M(k=_text(name), value=json.dumps(jsonable(content)))
                for name, content in unstructured.items()
            ]
        ),
    )
