"""Picture metadata: channels, optics, volumes; and what is made of a file without them."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nd2._core.chunks import picture_metadata
from nd2._core.format import clx_lite, clx_xml
from nd2.structures import (
    Attributes,
    Channel,
    ChannelMeta,
    Color,
    LoopIndices,
    Metadata,
    Microscope,
    ModalityFlags,
    PeriodDiff,
    TimeLoop,
    TimeLoopParams,
    Volume,
    VoxelSize,
    ZStackLoop,
    ZStackLoopParams,
)

TIME = TimeLoop(5, 0, TimeLoopParams(0.0, 1.0, 5.0, PeriodDiff()))
STACK = ZStackLoop(7, 1, ZStackLoopParams(3, -0.5, True))


def spectrum(*points: tuple[float, float], kind: int = 1) -> dict[str, Any]:
    return {
        "uiCount": len(points),
        "pPoint": {
            f"Point{i}": {"eType": kind, "dWavelength": wavelength, "dTValue": height}
            for i, (wavelength, height) in enumerate(points)
        },
    }


def plane(name: str = "DAPI", **more: Any) -> dict[str, Any]:
    return {"uiCompCount": 1, "sDescription": name, "uiColor": 0x0000FF10, **more}


def attributes(channels: int = 1, components: int | None = None) -> Attributes:
    return Attributes(16, 12, components or channels, 24, "unsigned", 35, 64, 32, channelCount=channels)


def parse(*planes: dict[str, Any], form: str = "sPlaneNew", **more: Any) -> Metadata:
    components = sum(one.get("uiCompCount", 1) for one in planes)
    keyed = {f"a{i}": one for i, one in enumerate(planes)}
    picture_planes = {"uiCount": len(planes), form: keyed, **more.pop("planes", {})}
    raw = clx_lite.decode(clx_lite.encode({"SLxPictureMetadata": {"sPicturePlanes": picture_planes, **more}}))
    assert picture_metadata.plane_count(raw) == len(planes)
    return picture_metadata.decode(raw, attributes=attributes(len(planes), components), experiment=[], text_info={})


def channel(*planes: dict[str, Any], **more: Any) -> Channel:
    channels = parse(*planes, **more).channels
    assert channels is not None
    return channels[-1]


def test_planes_in_stored_order_in_both_forms() -> None:
    planes = [plane(f"c{i}") for i in range(12)]
    for form in ("sPlaneNew", "sPlane"):
        parsed = parse(*planes, form=form)
        assert parsed.channels is not None
        assert [one.channel.name for one in parsed.channels] == [f"c{i}" for i in range(12)]
        assert parsed.contents is not None
        assert (parsed.contents.channelCount, parsed.contents.frameCount) == (12, 35)


def test_the_new_form_counts_where_both_are_stored() -> None:
    assert channel(plane("new"), planes={"sPlane": {"a0": plane("old")}}).channel.name == "new"


def test_metadata_of_version_2() -> None:
    picture = {
        "dCalibration": 0.5,
        "bCalibrated": True,
        "dPinholeRadius": 20.0,
        "sPicturePlanes": {"uiCount": 1, "sPlane": {"a0": plane(eModality=2)}},
    }
    raw = clx_xml.decode(clx_xml.encode(clx_lite.Items([("", picture)])))
    parsed = picture_metadata.decode(raw, attributes=attributes(), experiment=[], text_info={})
    assert parsed.channels is not None
    assert parsed.channels[0].channel.name == "DAPI"
    assert parsed.channels[0].microscope.pinholeDiameterUm == 40.0
    assert parsed.channels[0].microscope.modalityFlags == ["fluorescence", "laserScanConfocal"]
    assert picture_metadata.voxel_size(parsed) == (0.5, 0.5, 1.0)


@pytest.mark.parametrize(
    ("channels", "components", "names"), [(1, 1, ["Mono"]), (1, 3, ["RGB"]), (2, 2, ["Channel_1", "Channel_2"])]
)
def test_a_file_without_picture_metadata(channels: int, components: int, names: list[str]) -> None:
    assert picture_metadata.plane_count(None) is None
    parsed = picture_metadata.decode(
        None, attributes=attributes(channels, components), experiment=[TIME, STACK], text_info={}
    )
    assert parsed.channels is not None
    assert [one.channel.name for one in parsed.channels] == names
    for one in parsed.channels:
        assert one.channel.color == Color(255, 255, 255, 1.0)
        assert one.microscope == Microscope()
        assert one.loops == LoopIndices(TimeLoop=0, ZStackLoop=1)
        assert one.volume.componentCount == components // channels
        assert one.volume.axesCalibrated == (False, False, True)
        assert one.volume.voxelCount == (32, 24, 7)
    assert picture_metadata.voxel_size(parsed) == VoxelSize(1.0, 1.0, 0.5)
    assert picture_metadata.voxel_size(Metadata()) == (1.0, 1.0, 1.0)


def test_planes_that_are_missing_are_named() -> None:
    raw = {"sPicturePlanes": {"uiCount": 3, "sPlaneNew": {"a0": plane()}}}
    assert picture_metadata.plane_count(raw) == 3
    parsed = picture_metadata.decode(raw, attributes=attributes(3), experiment=[], text_info={})
    assert parsed.channels is not None
    assert [one.channel.name for one in parsed.channels] == ["DAPI", "Channel_2", "Channel_3"]


def test_planes_are_counted_where_their_number_is_missing() -> None:
    assert picture_metadata.plane_count({"sPicturePlanes": {"sPlaneNew": {"a0": plane(), "a1": plane()}}}) == 2
    assert picture_metadata.plane_count({}) is None


@pytest.mark.parametrize(
    ("stored", "color"),
    [(0x0000FF10, (16, 255, 0, 1.0)), (0x80030201, (1, 2, 3, 128 / 255)), (0xFF000000, (0, 0, 0, 1.0))],
)
def test_color(stored: int, color: tuple[float, ...]) -> None:
    assert channel(plane(uiColor=clx_lite.U32(stored))).channel.color == color


def test_index_is_the_place_of_the_channel_whatever_its_sample_setting() -> None:
    parsed = parse(plane(), plane(uiSampleIndex=1), plane(uiSampleIndex=1)).channels
    assert parsed is not None
    assert [one.channel.index for one in parsed] == [0, 1, 2]


def wavelengths(*planes: dict[str, Any]) -> tuple[float | None, float | None]:
    meta = channel(*planes).channel
    return meta.excitationLambdaNm, meta.emissionLambdaNm


def test_wavelengths() -> None:
    probe = {
        "m_ExcitationSpectrum": spectrum((350.0, 0.2), (365.0, 1.0), (370.0, 1.0)),
        "m_EmissionSpectrum": spectrum((461.0, 1.0)),
    }
    lasers = spectrum((405.0, 1.0), (488.0, 1.0), kind=4)
    band = spectrum((600.0, 0.0), (650.0, 0.0), kind=2)
    path = {"m_pFilter": {"a0": {"m_ExcitationSpectrum": lasers, "m_EmissionSpectrum": band}, "a1": probe}}
    assert wavelengths(plane(pFluorescentProbe=probe, pFilterPath=path)) == (365.0, 461.0)
    assert wavelengths(plane(pFilterPath=path)) == (405.0, 600.0)
    assert wavelengths(plane(), plane(pFilterPath=path)) == (488.0, 600.0)
    assert wavelengths(plane(), plane(), plane(pFilterPath=path)) == (None, 600.0)
    old = {"m_EmissionSpectrum": {"pPoint": {"Point0": {"eType": 1, "uiWavelength": 525}}}}
    assert wavelengths(plane(pFluorescentProbe=old)) == (None, 525.0)


def test_a_channel_without_a_probe() -> None:
    assert wavelengths(plane()) == (None, None)
    assert wavelengths(plane(pFluorescentProbe={}, pFilterPath={})) == (None, None)


def test_color_planes_have_nominal_wavelengths() -> None:
    assert wavelengths(plane(uiCompCount=3)) == (420.0, 420.0)
    assert wavelengths(*[plane(uiCompCount=3)] * 2) == (515.0, 515.0)
    assert wavelengths(*[plane(uiCompCount=3)] * 4) == (None, None)


@pytest.mark.parametrize(
    ("stored", "flags"),
    [
        ({"uiModalityMask": clx_lite.U64(0x8000201)}, ["fluorescence", "laserScanConfocal", "gaasp"]),
        ({"uiModalityMask": clx_lite.U64(0x2)}, ["brightfield"]),
        ({"uiModalityMask": clx_lite.U64(0x100)}, ["fluorescence"]),
        ({"uiModalityMask": clx_lite.U64(0x100), "uiCompCount": 3}, ["brightfield"]),
        ({"eModality": 7}, ["brightfield", "diContrast"]),
        ({"eModality": 99}, ["fluorescence", "camera"]),
        ({"eModality": 12}, ["fluorescence"]),
    ],
)
def test_modality(stored: dict[str, Any], flags: list[str]) -> None:
    assert channel(plane(**stored)).microscope.modalityFlags == flags


def test_optics() -> None:
    optics = channel(
        plane(),
        plane(dPinholeDiameter=30.0),
        dObjectiveMag=-1.0,
        wsObjectiveName="Plan Apo λ 20x",
        dObjectiveNA=0.75,
        dRefractIndex1=0.0,
        dRefractIndex2=1.515,
        dZoom=1.5,
        dProjectiveMag=-1.0,
    ).microscope
    assert optics == Microscope(20.0, "Plan Apo λ 20x", 0.75, 1.5, 1.515, None, 30.0, ["fluorescence", "camera"])


@pytest.mark.parametrize(
    ("text", "magnification"),
    [("Plan Fluor 10x Ph1 DLL", 10.0), ("Apo 100X Oil", 100.0), ("Flux without a number", None)],
)
def test_magnification_from_the_text(text: str, magnification: float | None) -> None:
    raw = {"sPicturePlanes": {"sPlaneNew": {"a0": plane()}}}
    parsed = picture_metadata.decode(raw, attributes=attributes(), experiment=[], text_info={"optics": text})
    assert parsed.channels is not None
    assert parsed.channels[0].microscope.objectiveMagnification == magnification


def test_volume_of_an_uncalibrated_image() -> None:
    volume = channel(plane(), dCalibration=-1.0, bCalibrated=False, ePictureYAxis=2).volume
    assert volume.axesCalibration == (1.0, 1.0, 1.0)
    assert volume.axesInterpretation == ("distance", "time", "distance")
    assert volume.cameraTransformationMatrix == (1.0, 0.0, 0.0, 1.0)
    assert volume.pixelToStageTransformationMatrix is None


def test_pixels_on_the_stage() -> None:
    device = {"m_iXYUse0": 1, "m_iXOrientation0": -1, "m_iYOrientation0": 1}
    matrix = {"Columns": 2, "Rows": 2, "Data": struct.pack("<4d", 0.0, -1.0, 1.0, 0.0)}
    volume = channel(
        plane(),
        plane(uiSampleIndex=1),
        planes={"sSampleSetting": {"a0": {}, "a1": {"pDeviceSetting": device, "matCameraToStage": matrix}}},
        dCalibration=0.5,
        bCalibrated=True,
        dStgLgCT11=0.0,
        dStgLgCT12=1.0,
        dStgLgCT21=-1.0,
        dStgLgCT22=0.0,
    ).volume
    assert volume.cameraTransformationMatrix == (0.0, -1.0, 1.0, 0.0)
    # The center of 32 x 24 pixels is where the stage is.
    assert volume.pixelToStageTransformationMatrix is not None
    a, b, c, d, e, f = volume.pixelToStageTransformationMatrix
    assert (a * 16 + b * 12 + c, d * 16 + e * 12 + f) == (0.0, 0.0)
    assert (a, b, d, e) == (0.0, -0.5, -0.5, 0.0)


KEYS = st.sampled_from(
    [
        "SLxPictureMetadata",
        "sPicturePlanes",
        "sPlaneNew",
        "sPlane",
        "a0",
        "uiCount",
        "uiCompCount",
        "uiColor",
        "pFluorescentProbe",
        "pFilterPath",
        "m_pFilter",
        "m_EmissionSpectrum",
        "pPoint",
        "sSampleSetting",
        "Data",
        "uiSampleIndex",
        "pDeviceSetting",
        "matCameraToStage",
        "Columns",
        "Rows",
        "dCalibration",
        "bCalibrated",
    ]
)

JUNK = st.recursive(
    st.none() | st.integers(-1, 2**32) | st.floats() | st.text(max_size=3) | st.binary(max_size=32),
    lambda inner: st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=40,
)


@given(st.dictionaries(KEYS, JUNK))
def test_any_tree_gives_the_channels_of_the_attributes(tree: dict[str, Any]) -> None:
    parsed = picture_metadata.decode(tree, attributes=attributes(2), experiment=[], text_info={})
    assert parsed.channels is not None
    assert len(parsed.channels) == 2
    assert min(picture_metadata.voxel_size(parsed)) > 0
    count = picture_metadata.plane_count(tree)
    assert count is None or count != 0


bytes_ = st.integers(0, 255)
positive = st.floats(1e-3, 1e3)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


def matrix(pixel: float, rows: list[float], size: tuple[int, int]) -> tuple[float, ...]:
    """The matrix from pixels to the stage as the parser computes it."""
    x1, x2, y1, y2 = (pixel * value for value in rows)
    width, height = size
    return (x1, x2, -(x1 * width + x2 * height) / 2, y1, y2, -(y1 * width + y2 * height) / 2)


@st.composite
def channels(draw: st.DrawFn) -> list[Channel]:
    pixel = draw(positive)
    calibrated = draw(st.booleans())
    shared: dict[str, Any] = {
        "objectiveMagnification": draw(st.none() | positive),
        "objectiveName": draw(st.none() | st.sampled_from(["Plan Apo", "λ"])),
        "objectiveNumericalAperture": draw(st.none() | positive),
        "zoomMagnification": draw(st.none() | positive),
        "immersionRefractiveIndex": draw(st.none() | positive),
        "projectiveMagnification": draw(st.none() | positive),
    }
    rotation = [draw(st.sampled_from([1.0, -1.0, 0.0, 0.6])) for _ in range(4)]
    on_stage = calibrated and draw(st.booleans())
    flags: st.SearchStrategy[list[ModalityFlags]] = st.sampled_from(
        [["fluorescence"], ["brightfield", "camera"], ["fluorescence", "pmt", "aux"]]
    )
    made: list[Channel] = []
    for i in range(draw(st.integers(1, 4))):
        microscope = Microscope(**shared, pinholeDiameterUm=draw(st.none() | positive), modalityFlags=draw(flags))
        volume = Volume(
            axesCalibrated=(calibrated, calibrated, False),
            axesCalibration=(pixel, pixel, 1.0),
            axesInterpretation=(
                draw(st.sampled_from(["distance", "time"])) if not made else made[0].volume.axesInterpretation[0],
                "distance",
                "distance",
            ),
            bitsPerComponentInMemory=16,
            bitsPerComponentSignificant=12,
            cameraTransformationMatrix=tuple(rotation),  # type: ignore[arg-type]
            componentCount=1,
            componentDataType="unsigned",
            voxelCount=(64, 48, 1),
            componentMaxima=[0.0],
            componentMinima=[0.0],
            pixelToStageTransformationMatrix=matrix(pixel, rotation, (64, 48)) if on_stage else None,  # type: ignore[arg-type]
        )
        meta = ChannelMeta(
            draw(names),
            i,
            draw(st.builds(Color, bytes_, bytes_, bytes_, st.integers(1, 255).map(lambda a: a / 255))),
            draw(st.none() | positive),
            draw(st.none() | positive),
        )
        made.append(Channel(meta, None, microscope, volume))
    return made


@settings(max_examples=100)
@given(made=channels())
def test_what_is_encoded_is_parsed(made: list[Channel]) -> None:
    attributes = Attributes(16, 12, len(made), 48, "unsigned", 7, widthPx=64, channelCount=len(made))
    tree = picture_metadata.encode(made, picture_metadata.FirstFrame(1.0, 2.0, (3.0, 4.0, 5.0)))
    decoded = clx_lite.decode(clx_lite.encode(tree))
    found = picture_metadata.decode(decoded, attributes=attributes, experiment=[], text_info={})
    assert found.channels is not None
    for one, other in zip(found.channels, made, strict=True):
        assert one.channel == other.channel
        assert one.microscope == other.microscope
        a, b = vars(one.volume).copy(), vars(other.volume).copy()
        for key in ("pixelToStageTransformationMatrix", "cameraTransformationMatrix"):
            assert (a[key] is None) == (b[key] is None)
            if a[key] is not None:
                np.testing.assert_allclose(a.pop(key), b.pop(key), rtol=1e-12, atol=1e-12)
        assert a == b
        assert one.loops is None or isinstance(one.loops, LoopIndices)
