"""The metadata that ``ND2File`` reads: metadata of frames, regions, jobs, forms, unstructured metadata."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import nd2
from nd2._core.format import clx_lite, clx_xml
from nd2._core.format.clx_lite import I32, U32, Items
from nd2.structures import (
    AnimParam,
    BoxShape,
    FrameMetadata,
    InterpType,
    Metadata,
    PFSStatus,
    RoiShapeType,
    ScopeType,
    StagePosition,
    XYPoint,
)
from tests.builder import build, compressed
from tests.optional_chunks import recorded

if TYPE_CHECKING:
    from pathlib import Path


def frame_of(file: nd2.ND2File, index: int) -> FrameMetadata:
    found = file.frame_metadata(index)
    assert isinstance(found, FrameMetadata)
    return found


def test_each_frame_has_its_own_time_place_and_focus(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    chunks = recorded({"PFS_OFFSET": ("PFS Offset", "", [7000 + i for i in range(12)])})
    chunks[b"CustomData|PFS_STATUS!"] = np.array([1, 0, 8] * 4, "<i4").tobytes()
    build(path, loops=[("T", 2), ("P", 2), ("Z", 3)], channels=2, chunks=chunks)
    with nd2.ND2File(path) as file:
        frames = [frame_of(file, i) for i in range(12)]
        assert file.frame_metadata((1, 0, 2)) == frames[8]
        for i in (-1, 12):
            with pytest.raises(IndexError, match=r"12 frames.*a\.nd2"):
                file.frame_metadata(i)
        for wrong in ((0, 0), (2, 0, 0), (0, 0, -1)):
            with pytest.raises(IndexError, match="loop indices"):
                file.frame_metadata(wrong)
    seventh = frames[7].channels[1]
    assert seventh.channel.name == "Channel 1"
    assert seventh.time.relativeTimeMs == 700.0
    assert seventh.time.absoluteJulianDayNumber == pytest.approx(2459486.0 + 0.7 / 86400)
    assert seventh.position.stagePositionUm == StagePosition(0.0, 0.0, 300.0)
    assert seventh.position.pfsOffset == 7007.0
    assert seventh.pfs_status == PFSStatus.IN_RANGE
    assert [f.channels[0].pfs_status for f in frames[:3]] == [1, 0, 8]
    assert [f.channels[0].position.name for f in frames] == (["A1"] * 3 + ["A2"] * 3) * 2
    heights = [f.channels[0].position.stagePositionUm.z for f in frames]
    assert heights == [298.0, 300.0, 302.0] * 4


def test_regions(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"

    def region(number: int, kind: int, **more: Any) -> dict[str, Any]:
        info = {"m_uiShapeType": U32(kind), "m_uiInterpType": U32(4), "m_sLabel": f"r{number}"}
        return {"m_uiId": U32(number), "m_sGUID": f"{{{number}}}", "m_sInfo": info, **more}

    polygon = {
        "m_vectAnimParams_Size": U32(2),
        "m_vectAnimParams_0": {
            "m_dTimeMs": 5.0,
            "m_bEnabled": False,
            "m_dCenterX": 0.25,
            "m_sBoxShape": {"m_dSizeX": 0.5, "m_dSizeY": 0.1, "m_dSizeZ": 0.0},
            "m_sExtrudedShape": {
                "m_dSizeZ": 1.0,
                "m_vectBasePoints_Size": U32(2),
                "m_vectBasePoints_0": {"x": 1.0, "y": 2.0},
                "m_vectBasePoints_1": {"m_dX": 3.0, "m_dY": 4.0},
            },
        },
        "m_vectAnimParams_1": {"m_dTimeMs": 9.0},
    }
    tree = {
        "RoiMetadata_v1": {
            "m_vectGlobal_Size": U32(2),
            "m_vectGlobal_0": region(7, 5, **polygon),
            "m_vectGlobal_1": region(3, 99),
            "m_vect2PerMPoint_Size": U32(1),
            "m_vect2PerMPoint_0": {"m_vectSize": U32(1), "m_vect0": region(11, 9)},
        }
    }
    build(path, chunks={b"CustomData|RoiMetadata_v1!": clx_lite.encode(tree)})
    with nd2.ND2File(path) as file:
        rois = file.rois
    assert list(rois) == [7, 3, 11]
    seven = rois[7]
    assert (seven.id, seven.guid, seven.info.label) == (7, "{7}", "r7")
    assert seven.info.shapeType is RoiShapeType.Polygon
    assert seven.info.interpType is InterpType.StimulationROI
    assert (seven.info.scope, seven.info.color, seven.info.bpc) == (ScopeType.Global, 255, 16)
    first, second = seven.animParams
    assert (first.timeMs, first.enabled, first.centerX) == (5.0, False, 0.25)
    assert first.boxShape == BoxShape(0.5, 0.1, 0.0)
    assert first.extrudedShape.basePoints == [XYPoint(1.0, 2.0), XYPoint(3.0, 4.0)]
    assert second == AnimParam(timeMs=9.0, extrudedShape=second.extrudedShape)
    assert rois[3].info.shapeType == 99
    assert rois[3].animParams == []
    assert rois[11].info.shapeType is RoiShapeType.Circle


def test_a_file_without_annotations(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    empty = clx_lite.encode({"RoiMetadata_v1": {}})
    build(path, chunks={b"CustomData|RoiMetadata_v1!": empty})
    with nd2.ND2File(path) as file:
        assert file.rois == {}
        assert file.binary_data is None
        assert file.jobs() is None
        assert file.custom_metadata == []
        assert file.custom_data == {}


@pytest.mark.parametrize("encrypted", [False, True])
def test_jobs(tmp_path: Path, encrypted: bool) -> None:
    path = tmp_path / "a.nd2"
    task = {"CLxJobTask_LoopTime": {"uiCount": U32(5)}}
    plain = {"Job": {"Tasks": {"TimeLoop": {"wsKey": "k", "baData": clx_lite.encode(task)}}}}
    secret = {"ProtectedJob": {"iEncryptionType": I32(1), "baData": bytes([200, 1, 7])}}
    build(
        path,
        chunks={
            b"CustomData|JobDefinitionV1_0!": clx_lite.encode(secret if encrypted else plain),
            b"CustomData|JobDefinitionDescV1_0!": clx_lite.encode({"ProgramDesc": {"iJobDefType": I32(2)}}),
            b"CustomData|JobRunGUIDV1_0!": "{ab-12}".encode("utf-16-le") + b"\0\0\0\0",
        },
    )
    with nd2.ND2File(path) as file:
        jobs = file.jobs()
    assert jobs is not None
    assert jobs["JobRunGUID"] == "{ab-12}"
    assert jobs["ProgramDesc"] == {"JobDefType": 2}
    if encrypted:
        assert jobs["Job"] is None
        assert jobs["ProtectedJob"] == {"EncryptionType": 1, "Data": [200, 1, 7]}
    else:
        assert jobs["ProtectedJob"] is None
        assert jobs["Job"] is not None
        assert jobs["Job"]["Tasks"]["TimeLoop"]["Data"] == {"CLxJobTask_LoopTime": {"Count": 5}}


def test_the_form_of_the_user_keeps_fields_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"

    def field(kind: int, name: str, **more: Any) -> Items:
        return Items([("eType", I32(kind)), ("sName", name), *more.items()])

    fields = Items(
        [
            ("CLxText", field(3, "Strain", sText="AB1", sDescription="as ordered")),
            ("CLxText", field(3, "Strain", sText="CD2", bMandatory=True)),
            ("CLxNumber", field(2, "Dose", dValue=2.5, sUnit="mM")),
            ("CLxCheck", field(1, "Fixed", iCheck=I32(1))),
            ("CLxSelection", field(4, "Dish", iSelection=I32(1), vLabels=Items([("", "a"), ("", "b")]))),
            ("CLxDate", field(6, "Day", aDate=86_400_000.0)),
            ("CLxText", Items([("CLxItem", field(5, "Long", bEmpty=True)), ("sText", "")])),
            ("CLxNew", field(44, "New", dNew=1.0)),
        ]
    )
    form = Items([("CLxCustomDescription", Items([("sName", "form"), ("vData", fields)]))])
    name = b"CustomData|CustomDescriptionV1_0!"
    build(path, chunks={name: compressed(form)})
    with nd2.ND2File(path) as file:
        found = file.custom_metadata
    assert [(f.name, f.kind, f.value) for f in found[:5]] == [
        ("Strain", "text", "AB1"),
        ("Strain", "text", "CD2"),
        ("Dose", "number", 2.5),
        ("Fixed", "check", True),
        ("Dish", "selection", "b"),
    ]
    assert (found[0].description, found[0].mandatory, found[1].mandatory) == ("as ordered", False, True)
    assert found[2].unit == "mM"
    assert found[5].value.isoformat() == "1970-01-02T00:00:00+00:00"
    assert (found[6].name, found[6].kind, found[6].value) == ("Long", "text", None)
    assert (found[7].kind, found[7].value) == ("unknown", {"eType": 44, "sName": "New", "dNew": 1.0})


def test_unstructured_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    settings = clx_xml.encode({"sCamera": {"dGain": 1.5, "left": I32(3)}})
    chunks = {
        b"CustomDataVar|GrabberV1_0!": settings,
        b"CustomData|GUIDStore!": clx_lite.encode({"GUID": {"sGUID": "x"}}),
        b"CustomData|Frames!": json.dumps([{"well": "A1"}]).encode(),
        b"CustomData|FramesZ!": zlib.compress(json.dumps({"well": "A1"}).encode()),
        b"Broken!": b"\x0b\x05nonsense",
    }
    build(path, loops=[("T", 2)], chunks=chunks)
    usual = ["ImageAttributesLV", "ImageMetadataLV", "ImageMetadataSeqLV|0", "ImageTextInfoLV"]
    with nd2.ND2File(path) as file:
        everything = file.unstructured_metadata()
        assert list(everything) == ["Broken", *usual]
        assert everything["Broken"] == b"\x0b\x05nonsense"
        assert everything["ImageAttributesLV"]["SLxImageAttributes"]["Width"] == 8
        raw = file.unstructured_metadata(strip_prefix=False, include={usual[0]})
        assert list(raw) == usual[:1]
        assert raw[usual[0]]["SLxImageAttributes"]["uiWidth"] == 8
        assert list(file.unstructured_metadata(exclude={"Broken", usual[1]})) == [usual[0], *usual[2:]]
        with pytest.warns(UserWarning, match=r"a\.nd2' has no metadata called Nothing"):
            assert file.unstructured_metadata(include={"Nothing"}) == {}
        named = {"CustomData|GUIDStore", "CustomData|Frames", "CustomData|FramesZ"}
        assert file.unstructured_metadata(include=named) == {
            "CustomData|GUIDStore": {"GUID": {"GUID": "x"}},
            "CustomData|Frames": [{"well": "A1"}],
            "CustomData|FramesZ": {"well": "A1"},
        }
        assert file.custom_data == {"GrabberV1_0": {"Camera": {"Gain": 1.5, "left": 3}}}


@pytest.mark.parametrize(
    "missing", [b"ImageMetadataLV!", b"ImageMetadataSeqLV|0!", b"ImageTextInfoLV!", b"CustomData|AcqTimesCache!"]
)
def test_optional_chunks_may_be_missing(tmp_path: Path, missing: bytes) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 1), ("Z", 1)], channels=2, chunks={missing: None})
    with nd2.ND2File(path) as file:
        np.testing.assert_array_equal(file.asarray(), spec.array)
        assert isinstance(file.metadata, Metadata)
        assert len(file.metadata.channels or []) == 2
        assert len(frame_of(file, 0).channels) == 2
        assert len(file.events()) == 1
        assert file.text_info is not None
        assert file.to_xarray().shape == spec.array.shape


@pytest.mark.parametrize("version", [(2, 0), (2, 1)])
def test_xml_metadata_give_the_same_objects(tmp_path: Path, version: tuple[int, int]) -> None:
    chunks = recorded({"X": ("X Coord", "µm", [float(i) for i in range(20)])})
    options: dict[str, Any] = {"loops": [("N", 5), ("P", 2), ("Z", 2)], "channels": 2}
    build(tmp_path / "3.nd2", **options, chunks=chunks)
    build(tmp_path / "2.nd2", **options, chunks=chunks, version=version)
    with nd2.ND2File(tmp_path / "3.nd2") as three, nd2.ND2File(tmp_path / "2.nd2") as two:
        assert two.version == version
        for name in ("attributes", "metadata", "experiment", "text_info", "sizes", "loop_indices"):
            assert getattr(two, name) == getattr(three, name), name
        assert two.voxel_size() == three.voxel_size()
        assert two.events() == three.events()
        assert [two.frame_metadata(i) for i in range(20)] == [three.frame_metadata(i) for i in range(20)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.nd2"


@pytest.mark.parametrize("times", [[], [5.0]])
def test_frames_without_a_recorded_time_have_metadata(path: Path, times: list[float]) -> None:
    build(path, loops=[("T", 3)], times=times)
    with nd2.ND2File(path) as file:
        frames = [file.frame_metadata(i) for i in range(3)]
    stamps = [f.channels[0].time.relativeTimeMs for f in frames if isinstance(f, FrameMetadata)]
    assert stamps == [*times, 0.0, 0.0, 0.0][:3]


def test_a_file_without_picture_metadata_is_read(path: Path) -> None:
    spec = build(path, loops=[("T", 2)], channels=2, chunks={b"ImageMetadataSeqLV|0!": None})
    with nd2.ND2File(path) as file:
        assert file.sizes == {"T": 2, "C": 2, "Y": 6, "X": 8}
        np.testing.assert_array_equal(file.asarray(), spec.array)
        assert isinstance(file.metadata, Metadata)
        assert [c.channel.name for c in file.metadata.channels or []] == ["Channel_1", "Channel_2"]


def test_a_misspelled_chunk_name_suggests_the_right_one(named: Path) -> None:
    with nd2.ND2File(named) as file, pytest.warns(UserWarning, match="did you mean 'ImageAttri"):
        file.unstructured_metadata(include={"ImageAttributeLV"})
