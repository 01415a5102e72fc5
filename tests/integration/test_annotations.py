"""What a file holds beside its pixels: frame metadata, events, regions, binary layers, jobs, settings."""

from __future__ import annotations

import json
import math
import pickle
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

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
from tests.builder import build

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def recorded(columns: Mapping[str, tuple[str, str, Any]]) -> dict[bytes, bytes]:
    """Return the chunks of a recorded-data table: identifier -> title, unit, values."""
    tags, chunks = {}, {}
    for i, (identifier, (title, unit, values)) in enumerate(columns.items()):
        if isinstance(values[0], str):
            kind, data = 1, b"".join(v.encode("utf-16-le").ljust(512, b"\0") for v in values)
        else:
            array = np.asarray(values)
            kind = 3 if array.dtype.kind == "f" else 2
            data = array.astype("<f8" if kind == 3 else "<i4").tobytes()
        size = I32(len(values))
        tags[f"Tag{i}"] = {
            "ID": identifier,
            "Type": I32(kind),
            "Group": I32(1),
            "Size": size,
            "Desc": title,
            "Unit": unit,
        }
        chunks[f"CustomData|{identifier}!".encode()] = data
    table = clx_xml.encode({"CustomTagDescription_v1.0": tags})
    return {b"CustomDataVar|CustomDataV2_0!": table, **chunks}


def events_chunk(*events: dict[str, Any]) -> dict[bytes, bytes]:
    record = {"RLxExperimentRecord": {"uiCount": U32(len(events)), "pEvents": list(events)}}
    return {b"CustomData|ExperimentEventsV1_0!": clx_lite.encode(record)}


# ---------------------------------------------------------------------------------------------------- frame metadata


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


# ------------------------------------------------------------------------------------------------------------ events


def test_the_table_of_events(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    chunks = recorded(
        {
            "X": ("X Coord", "µm", [0.5, 1.5, 2.5, 3.5]),
            "Z1": ("Drive", "µm", [1.0, 2.0, 3.0, 4.0]),
            "Z2": ("Drive", "µm", [5.0, 6.0, 7.0, 8.0]),
            "PFS_STATUS": ("PFS Status", "", [0, 1, 7, 8]),
            "NOTE": ("Index", "", ["a", "µ", "", "d e"]),
        }
    )
    chunks |= events_chunk({"T": 150.0, "M": U32(9)}, {"T": 100.0, "M": U32(7), "D": "Home"})
    build(path, loops=[("P", 2), ("Z", 2)], chunks=chunks)
    with nd2.ND2File(path) as file:
        rows = file.events()
        columns = file.events(orient="list", null_value=None)
        cells = file.events(orient="dict")
    frame = {
        "Time [s]": 0.0,
        "Index": 0,
        "P Index": 0,
        "Z Index": 0,
        "Position Name": "A1",
        "Z-Series": -2.0,
        "X Coord [µm]": 0.5,
        "Drive [µm]": 1.0,
        "Z2 [µm]": 5.0,
        "PFS Status": 0,
        "NOTE": "a",
    }
    assert rows[0] == frame
    assert [row.get("Index") for row in rows] == [0, 1, None, None, 2, 3]
    assert rows[2] == {"Time [s]": 0.1, "Events": "Home"}
    assert rows[3] == {"Time [s]": 0.15, "Events": "Experiment Paused"}
    assert list(columns) == [*frame, "Events"]
    assert columns["Time [s]"] == [0.0, 0.1, 0.1, 0.15, 0.2, 0.3]
    assert columns["NOTE"] == ["a", "µ", None, None, "", "d e"]
    assert columns["Events"] == [None, None, "Home", "Experiment Paused", None, None]
    assert list(cells["Index"]) == list(range(6))
    assert cells["Index"][4] == 2
    assert math.isnan(cells["Index"][2])
    for table in (rows, columns, cells):
        assert pd.DataFrame(table).shape == (6, 12)


def test_events_without_any_event(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    chunks = recorded({"X": ("X Coord", "µm", [0.5, 1.5, 2.5]), "N": ("Note", "", ["a", "b", "c"])})
    build(path, loops=[("T", 3)], chunks=chunks)
    with nd2.ND2File(path) as file:
        columns = file.events(orient="list")
        assert len(file.events()) == 3
        with pytest.raises(ValueError, match="orient must be"):
            file.events(orient="rows")  # type: ignore[call-overload]
    assert isinstance(columns["X Coord [µm]"], np.ndarray)
    assert columns["Note"] == ["a", "b", "c"]
    assert pd.DataFrame(columns).shape == (3, 5)


def test_a_recorded_column_that_is_short_or_missing_hides_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    chunks: dict[bytes, bytes | None] = {
        **recorded({"X": ("X", "µm", [0.5, 1.5]), "Y": ("Y", "µm", [1.0, 2.0, 3.0])})
    }
    chunks[b"CustomData|Y!"] = None
    build(path, loops=[("T", 3)], chunks=chunks)
    with nd2.ND2File(path) as file:
        assert [len(row) for row in file.events()] == [4, 4, 3]
        columns = file.events(orient="list", null_value=None)
    assert columns["X [µm]"] == [0.5, 1.5, None]
    assert columns["Y [µm]"] == [None, None, None]


def test_many_frames_are_a_matter_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    count = 2000
    build(path, loops=[("T", count)], height=1, width=1, missing=frozenset(range(1, count)))
    with nd2.ND2File(path) as file:
        columns = file.events(orient="list")
    assert columns["Index"] == list(range(count))
    assert columns["Time [s]"][-1] == (count - 1) / 10


# --------------------------------------------------------------------------------------------------------------- ROIs


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


# ------------------------------------------------------------------------------------------------------ binary layers


def runs(mask: np.ndarray[Any, Any], *, version: int = 3) -> bytes:
    """Encode a mask as run lengths, by hand."""
    words: list[int] = []
    labels = [int(label) for label in np.unique(mask) if label]
    for label in labels:
        rows = []
        for y in np.flatnonzero((mask == label).any(axis=1)):
            edges = np.flatnonzero(np.diff(np.r_[0, mask[y] == label, 0]))
            spans = [(int(a), int(b - a)) for a, b in edges.reshape(-1, 2)]
            rows.append([int(y), len(spans), *(n for span in spans for n in span)])
        body = [n for row in rows for n in row]
        words += [
            label,
            0,
            0,
            0,
            0,
            36 + 4 * len(body),
            len(rows),
            0,
            0,
            *([0, 0] * (version == 2)),
        ]
        words += body
    height, width = mask.shape
    block = struct.pack(f"<{7 + len(words)}I", version, width, height, len(labels), 0, 0, 0, *words)
    return struct.pack("<I", len(block)) + zlib.compress(block)


def layer_table(*tags: str) -> bytes:
    pairs = [
        (
            "BinaryItem",
            Items(
                [
                    ("uiBinLayerID", U32(i + 1)),
                    ("uiState", U32(0x80000)),
                    ("uiColor", U32(255)),
                    ("strName", f"layer {i}"),
                    ("strCompName", "Channel 0"),
                    ("uiCompOrder", U32(2)),
                    ("strFileTag", tag),
                    ("uiColorMode", U32(8)),
                ]
            ),
        )
        for i, tag in enumerate(tags)
    ]
    return clx_xml.encode(Items([("BinaryMetadata_v1", Items(pairs))]))


TAG = "RleZipBinarySequence_1_v1"


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("largest", [9, 70_000])
def test_run_length_layers(tmp_path: Path, version: int, largest: int) -> None:
    path = tmp_path / "a.nd2"
    rng = np.random.default_rng(1)
    masks = rng.choice(np.array([0, 0, 1, 5, largest]), (2, 6, 8))
    chunks = {
        b"CustomDataVar|BinaryMetadata_v1!": layer_table(TAG, "none"),
        f"CustomDataSeq|{TAG}|0!".encode(): runs(masks[0], version=version),
        f"CustomDataSeq|{TAG}|1!".encode(): b"\0",
        f"CustomDataSeq|{TAG}|3!".encode(): runs(masks[1], version=version),
    }
    build(path, loops=[("T", 2), ("Z", 2)], chunks=chunks)
    with nd2.ND2File(path) as file:
        layers = file.binary_data
        assert layers is not None
        layer, other = layers
        assert (len(layers), len(layer), layer.coordinate_shape) == (2, 4, (2, 2))
        assert (layer.name, layer.file_tag, layer.comp_name) == ("layer 0", TAG, "Channel 0")
        assert (layer.comp_order, layer.color, layer.color_mode) == (2, 255, 8)
        assert (layer.state, layer.layer_id, layer.frame_shape) == (0x80000, 1, (6, 8))
        assert "layer 0" in repr(layer)
        np.testing.assert_array_equal(layer[0], masks[0])
        np.testing.assert_array_equal(layer.data[-1], masks[1])
        assert layer[1] is layer[2] is None
        assert [mask is None for mask in layer] == [False, True, True, False]
        with pytest.raises(IndexError):
            layer[4]
        stack = layer.asarray()
        assert stack is not None
        assert stack.dtype == ("uint16" if largest == 9 else "uint32")
        np.testing.assert_array_equal(stack.reshape(4, 6, 8)[[0, 3]], masks)
        assert not stack[0, 1].any()
        assert other.asarray() is None
        assert np.asarray(layers).shape == (2, 2, 2, 6, 8)
        copy = pickle.loads(pickle.dumps(layer.data))
    np.testing.assert_array_equal(copy[3], masks[1])
    copy.layer.chunks[3][0, 0].source.close()


def test_raster_layers(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    mask = np.arange(48, dtype="<u4").reshape(6, 8)
    layer = {
        "binWidth": 8,
        "binHeight": 6,
        "binTileWidth": 5,
        "binTileHeight": 4,
        "binCompressionId": "zlib",
        "binBitdepth": 32,
        "binLayerId": 4,
        "binName": "cells",
        "binComp": "Channel 0",
        "binCompOrder": 0,
        "binState": 1,
        "binColor": 7,
        "binColorMode": 0,
    }
    chunks = {b"CustomData|BinaryMetadata_v2!": json.dumps([layer]).encode()}
    padded = np.pad(mask, ((0, 2), (0, 2)))
    for row, column in np.ndindex(2, 2):
        tile = padded[4 * row : 4 * row + 4, 5 * column : 5 * column + 5]
        name = f"CustomDataSeq|TiledRasterBinaryData_4_{row}_{column}|1!"
        chunks[name.encode()] = zlib.compress(np.ascontiguousarray(tile).tobytes())
    del chunks[b"CustomDataSeq|TiledRasterBinaryData_4_1_0|1!"]
    mask[4:, :5] = 0
    build(path, loops=[("T", 2)], chunks=chunks)
    with nd2.ND2File(path) as file:
        assert file.binary_data is not None
        (found,) = file.binary_data
        assert (found.name, found.comp_name, found.layer_id) == ("cells", "Channel 0", 4)
        assert (found.state, found.color) == (1, 7)
        assert found[0] is None
        np.testing.assert_array_equal(found[1], mask)
        np.testing.assert_array_equal(found.asarray(), [np.zeros_like(mask), mask])


@pytest.mark.parametrize("shape", [(4, 5), (9, 11), (3, 20)])
def test_a_raster_of_another_size_than_the_image_is_put_on_it(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    zarr = pytest.importorskip("zarr")
    height, width = shape
    mask = np.arange(1, height * width + 1, dtype="<u4").reshape(shape)
    layer = {"binWidth": width, "binHeight": height, "binLayerId": 4, "binName": "cells"}
    chunks = {
        b"CustomData|BinaryMetadata_v2!": json.dumps([layer]).encode(),
        b"CustomDataSeq|TiledRasterBinaryData_4_0_0|1!": mask.tobytes(),
    }
    build(tmp_path / "a.nd2", loops=[("T", 2)], chunks=chunks)
    expected = np.zeros((2, 6, 8), np.uint32)
    expected[1, :height, :width] = mask[:6, :8]
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.binary_data is not None
        np.testing.assert_array_equal(file.binary_data[0][1], mask)
        file.write_ome_zarr(tmp_path / "a.zarr")
    stored = zarr.open_array(tmp_path / "a.zarr" / "labels" / "label_0_cells" / "0", mode="r")
    np.testing.assert_array_equal(stored[...], expected)
    dataset = xr.open_dataset(tmp_path / "a.nd2", engine="nd2")
    np.testing.assert_array_equal(dataset.labels_cells, expected)


def test_a_mask_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    good = runs(np.eye(6, 8, dtype=int))
    chunks = {
        b"CustomDataVar|BinaryMetadata_v1!": layer_table(TAG),
        f"CustomDataSeq|{TAG}|0!".encode(): good,
        f"CustomDataSeq|{TAG}|1!".encode(): good[:-12] + b"\xff" * 12,
        f"CustomDataSeq|{TAG}|2!".encode(): b"\xff\xff\xff\xff" + good[4:],
    }
    build(path, loops=[("T", 3)], chunks=chunks)
    with nd2.ND2File(path) as file:
        assert file.binary_data is not None
        (layer,) = file.binary_data
        assert layer[0] is not None
        for frame in (1, 2):
            with pytest.raises(ValueError, match=rf"a\.nd2.*{TAG}.{frame}!.*frame {frame}"):
                layer[frame]


@pytest.mark.parametrize(
    "words",
    [[3, 8], [3, 80, 6, 0], [3, 8, 6, 1], [3, 8, 6, 1, 0, 0, 0, 1, *[0] * 5, 1, 0, 0, 9, 0]],
)
def test_a_mask_that_contradicts_itself(tmp_path: Path, words: list[int]) -> None:
    path = tmp_path / "a.nd2"
    block = struct.pack(f"<{len(words)}I", *words)
    data = struct.pack("<I", len(block)) + zlib.compress(block)
    chunks = {
        b"CustomDataVar|BinaryMetadata_v1!": layer_table(TAG),
        f"CustomDataSeq|{TAG}|0!".encode(): data,
    }
    build(path, chunks=chunks)
    with nd2.ND2File(path) as file:
        assert file.binary_data is not None
        with pytest.raises(ValueError, match=r"mask.*a\.nd2"):
            file.binary_data[0][0]


# ------------------------------------------------------------------------------------------------------ jobs, settings


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
            b"CustomData|JobDefinitionDescV1_0!": clx_lite.encode(
                {"ProgramDesc": {"iJobDefType": I32(2)}}
            ),
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
            (
                "CLxSelection",
                field(4, "Dish", iSelection=I32(1), vLabels=Items([("", "a"), ("", "b")])),
            ),
            ("CLxDate", field(6, "Day", aDate=86_400_000.0)),
            ("CLxText", Items([("CLxItem", field(5, "Long", bEmpty=True)), ("sText", "")])),
            ("CLxNew", field(44, "New", dNew=1.0)),
        ]
    )
    form = Items([("CLxCustomDescription", Items([("sName", "form"), ("vData", fields)]))])
    name = b"CustomData|CustomDescriptionV1_0!"
    build(path, chunks={name: clx_lite.encode(form, compress=True)})
    with nd2.ND2File(path) as file:
        found = file.custom_metadata
    assert [(f.name, f.kind, f.value) for f in found[:5]] == [
        ("Strain", "text", "AB1"),
        ("Strain", "text", "CD2"),
        ("Dose", "number", 2.5),
        ("Fixed", "check", True),
        ("Dish", "selection", "b"),
    ]
    assert (found[0].description, found[0].mandatory, found[1].mandatory) == (
        "as ordered",
        False,
        True,
    )
    assert found[2].unit == "mM"
    assert found[5].value.isoformat() == "1970-01-02T00:00:00+00:00"
    assert (found[6].name, found[6].kind, found[6].value) == ("Long", "text", None)
    assert (found[7].kind, found[7].value) == (
        "unknown",
        {"eType": 44, "sName": "New", "dNew": 1.0},
    )


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
        assert list(file.unstructured_metadata(exclude={"Broken", usual[1]})) == [
            usual[0],
            *usual[2:],
        ]
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
    "missing",
    [
        b"ImageMetadataLV!",
        b"ImageMetadataSeqLV|0!",
        b"ImageTextInfoLV!",
        b"CustomData|AcqTimesCache!",
    ],
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
        assert [two.frame_metadata(i) for i in range(20)] == [
            three.frame_metadata(i) for i in range(20)
        ]
