"""``ND2Writer`` as a user sees it: frames in, files out, and nothing left of what went wrong."""

from __future__ import annotations

import errno
import math
import os
import resource
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import nd2
from nd2.structures import (
    ROI,
    AnimParam,
    BoxShape,
    ChannelMeta,
    Color,
    EventMeaning,
    ExperimentEvent,
    ExtrudedShape,
    InterpType,
    Microscope,
    Position,
    RoiInfo,
    RoiShapeType,
    StagePosition,
    StimulationEvent,
    StimulationType,
    XYPoint,
)
from tests.handles import no_handle_is_left

if TYPE_CHECKING:
    from pathlib import Path

YX = {"Y": 6, "X": 9}


def pixels(*shape: int, dtype: str = "u2") -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 250, shape).astype(dtype)


def nothing_but(folder: Path, *names: str) -> bool:
    return sorted(p.name for p in folder.iterdir()) == sorted(names)


@settings(max_examples=60)
@given(data=st.data())
def test_what_is_written_is_read(data: st.DataObject, tmp_path: Path) -> None:
    """Sizes, dtype, order of writing, compression, missing frames, threads."""
    loops = data.draw(st.permutations("TPZ"), "loops")[: data.draw(st.integers(0, 3))]
    sizes = {name: data.draw(st.integers(1, 4), name) for name in loops}
    frame = {"C": st.integers(1, 4), "Y": st.integers(1, 9), "X": st.integers(1, 9)}
    sizes |= {name: data.draw(size, name) for name, size in frame.items()}
    samples = data.draw(st.sampled_from([1, 3]), "S")
    dtype = data.draw(st.sampled_from(["u1", "<u2", ">u2", "<f4"]), "dtype")
    sizes |= {"S": samples} if samples == 3 else {}
    count = int(np.prod([sizes[name] for name in loops], dtype=int))
    order = data.draw(st.permutations(range(count)), "order")
    written = order[: data.draw(st.integers(1, count), "written")]
    options: dict[str, Any] = {
        "compression": data.draw(st.sampled_from([None, "zlib"]), "compression"),
        "version": data.draw(st.sampled_from([(3, 0), (2, 1)]), "version"),
        "in_place": data.draw(st.booleans(), "in_place"),
        "overwrite": True,
    }
    shape = [sizes.get(axis, 1) for axis in "CYXS"]
    frames = np.random.default_rng(0).integers(0, 250, (count, *shape)).astype(dtype)
    path = tmp_path / "a.nd2"
    if options["in_place"]:  # replaces no ND2 file
        path.unlink(missing_ok=True)
    with nd2.ND2Writer(path, sizes, dtype, samples="BGR", **options) as writer:
        for index in written:
            writer.write_frame(index, frames[index])
    frames[list(set(range(count)) - set(written))] = 0
    with nd2.ND2File(path) as file:
        expected = {name: size for name, size in sizes.items() if size > 1}
        if sizes["C"] * samples == 3 * sizes["C"]:
            assert dict(file.sizes) == expected
        shape = [sizes[name] for name in loops] + shape
        np.testing.assert_array_equal(file.asarray(), frames.reshape(shape).squeeze())
        assert file.version == options["version"]
    assert nothing_but(tmp_path, "a.nd2")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_many_threads(tmp_path: Path, compression: Any) -> None:
    frames = pixels(60, 3, 20, 30)
    sizes = {"T": 60, "C": 3, "Y": 20, "X": 30}
    with nd2.ND2Writer(tmp_path / "a.nd2", sizes, "u2", compression=compression) as writer:

        def work(first: int) -> None:
            for index in range(first, 60, 4):
                writer.write_frame(index, frames[index], time=float(index), columns={"N": index})

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        np.testing.assert_array_equal(file.asarray(), frames)
        events = file.events(orient="list")
        assert list(events["N"]) == list(range(60))
        assert list(events["Time [s]"]) == [index / 1000 for index in range(60)]


def test_the_caller_may_use_its_memory_again(tmp_path: Path) -> None:
    frame, frames = np.empty((20, 30), "u2"), pixels(30, 20, 30)
    with nd2.ND2Writer(tmp_path / "a.nd2", {"T": 30, "Y": 20, "X": 30}, "u2", compression="zlib") as writer:
        for index in range(30):
            frame[:] = frames[index]
            writer.write_frame(index, frame)
            frame[:] = 0
    np.testing.assert_array_equal(nd2.imread(tmp_path / "a.nd2"), frames)


def test_places_by_index_by_loops_and_by_name(tmp_path: Path) -> None:
    frames = pixels(2, 3, 6, 9)
    with nd2.ND2Writer(tmp_path / "a.nd2", {"T": 2, "Z": 3, **YX}, "u2") as writer:
        assert writer.sizes == {"T": 2, "Z": 3, "C": 1, **YX}
        assert writer.frame_count == 6
        for place in np.ndindex(2, 3):
            t, z = place
            ways: list[Any] = [3 * t + z, place, {"T": t, "Z": z}]
            writer.write_frame(ways[(t + z) % 3], frames[place])
        wrong: list[Any] = [-1, 6, (0, 3), (2, 0), (0,), {"T": 0}, {"Q": 0}, {"T": 0, "Z": -1}]
        for index in wrong:
            with pytest.raises(IndexError):
                writer.write_frame(index, frames[0, 0])
    np.testing.assert_array_equal(nd2.imread(tmp_path / "a.nd2"), frames)


def test_color_is_stored_blue_green_red(tmp_path: Path) -> None:
    red = np.zeros((6, 9, 3), "u1")
    red[..., 0] = 200
    with nd2.ND2Writer(tmp_path / "a.nd2", {**YX, "S": 3}, "u1") as writer:
        writer.write_frame(0, red)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.to_xarray().sel(S="Red").values.min() == 200
        np.testing.assert_array_equal(file.read_frame(0), red[..., ::-1])


def test_metadata(tmp_path: Path) -> None:
    channels = [
        ChannelMeta("DAPI", 0, Color(0, 0, 255), 461.0, 405.0),
        ChannelMeta("漢 µ", 1, Color(1, 2, 3, 128 / 255), None, 561.0),
    ]
    microscope = Microscope(
        objectiveMagnification=20.0,
        objectiveName="Plan Apo λ 20x",
        objectiveNumericalAperture=0.75,
        zoomMagnification=1.5,
        immersionRefractiveIndex=1.33,
        pinholeDiameterUm=30.0,
        modalityFlags=["fluorescence", "camera"],
    )
    points = [Position(StagePosition(1.0, 2.0, 3.0), 4.0, "A1"), Position(StagePosition(-1.0, 0.0, 0.5), None, None)]
    sizes = {"P": 2, "T": 3, "Z": 4, "C": 2, **YX}
    start = datetime(2024, 2, 29, 12, tzinfo=UTC)
    with nd2.ND2Writer(
        tmp_path / "a.nd2",
        sizes,
        "u2",
        channels=channels,
        microscope=microscope,
        voxel_size=(0.325, 0.325),
        positions=points,
        times=[0.0, 1000.0, 2500.0],
        z=[-2.0, 0.0, 2.0, 4.0],
        start=start,
        significant_bits=12,
        text_info={"description": "a test", "author": "me"},
    ) as writer:
        writer.write_frame(0, pixels(2, 6, 9))
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        positions, times, stack = file.experiment
        assert positions.type == "XYPosLoop"
        assert positions.parameters.points == points
        assert positions.parameters.isSettingZ
        assert times.type == "TimeLoop"
        assert times.parameters.periodMs == 1250.0
        assert times.parameters.durationMs == 2500.0
        assert (times.parameters.periodDiff.min, times.parameters.periodDiff.max) == (1000, 1500)
        assert stack.type == "ZStackLoop"
        assert (stack.parameters.homeIndex, stack.parameters.stepUm) == (1, 2.0)
        assert file.voxel_size() == (0.325, 0.325, 2.0)
        assert file.attributes.bitsPerComponentSignificant == 12
        found = file.metadata.channels  # type: ignore[union-attr]
        assert found is not None
        assert [channel.channel for channel in found] == channels
        assert [channel.microscope for channel in found] == [microscope] * 2
        assert file.text_info == {"description": "a test", "author": "me"}
        first: Any = file.frame_metadata(0)
        assert first.channels[0].time.absoluteJulianDayNumber == 2460370.0
        assert first.channels[0].position.stagePositionUm == (1.0, 2.0, 1.0)
        assert [row["Time [s]"] for row in file.events()][::4] == [0, 1, 2.5, 0, 1, 2.5]


def test_times_and_places_frame_by_frame(tmp_path: Path) -> None:
    with nd2.ND2Writer(tmp_path / "a.nd2", {"T": 4, **YX}, "u2") as writer:
        for index in (3, 0, 1):  # the third never comes
            writer.write_frame(
                index,
                pixels(6, 9),
                time=100.0 * index + 7,
                stage=(index, 2.0 * index, -1.0),
                columns={"Temperature [°C]": 37 + index / 10, "Note": f"n{index}", "Count": index},
            )
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        rows = file.events()
        np.testing.assert_array_equal([row["Time [s]"] for row in rows], [0.007, 0.107, math.nan, 0.307])
        assert rows[3]["X Coord [µm]"] == 3
        assert rows[3]["Y Coord [µm]"] == 6
        assert rows[1]["Temperature [°C]"] == 37.1
        assert [row["Note"] for row in rows] == ["n0", "n1", "", "n3"]
        assert np.isnan(rows[2]["Count"])
        loop = file.experiment[0]
        assert loop.type == "TimeLoop"
        assert loop.parameters.periodDiff.avg == 100.0


def test_positions_without_a_place_are_where_the_stage_stood(tmp_path: Path) -> None:
    sizes = {"T": 2, "P": 3, "Z": 2, **YX}
    places = np.array([[10.0, -1.0], [20.0, -2.0], [30.0, -3.0]])
    with nd2.ND2Writer(tmp_path / "a.nd2", sizes, "u2", positions=["A", "B", "C"], z=[0.0, 2.0]) as writer:
        for t, p, z in np.ndindex(2, 3, 2):
            if (t, p, z) != (0, 1, 0):
                stage = (*places[p] + t, 100.0 + p + 2 * z)
                writer.write_frame((t, p, z), pixels(6, 9), stage=stage)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        loop = file.experiment[1]
        assert loop.type == "XYPosLoop"
        assert [point.name for point in loop.parameters.points] == ["A", "B", "C"]
        expected = [(*place, 100.0 + p) for p, place in enumerate(places.tolist())]
        assert [point.stagePositionUm for point in loop.parameters.points] == expected
        assert loop.parameters.isSettingZ


def test_positions_at_one_height_have_it_from_the_metadata(tmp_path: Path) -> None:
    with nd2.ND2Writer(tmp_path / "a.nd2", {"P": 2, **YX}, "u2", positions=["A", "B"]) as writer:
        for p in range(2):
            writer.write_frame(p, pixels(6, 9), stage=(p + 1.0, 2.0, 50.0))
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        stage = [file.frame_metadata(p).channels[0].position.stagePositionUm for p in range(2)]  # type: ignore[union-attr]
        assert stage == [(1.0, 2.0, 50.0), (2.0, 2.0, 50.0)]


def test_places_that_were_given_stay(tmp_path: Path) -> None:
    with nd2.ND2Writer(tmp_path / "a.nd2", {"P": 2, **YX}, "u2", positions=[(1, 2), (3, 4)]) as writer:
        writer.write_frame(0, pixels(6, 9), stage=(7.0, 8.0, 9.0))
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        points = file.experiment[0].parameters.points  # type: ignore[union-attr]
        assert [point.stagePositionUm[:2] for point in points] == [(1, 2), (3, 4)]


@pytest.mark.parametrize("version", [(3, 0), (2, 1)])
def test_exposure_of_channels(tmp_path: Path, version: tuple[int, int]) -> None:
    with nd2.ND2Writer(
        tmp_path / "a.nd2", {"C": 3, **YX}, "u2", exposure=[20.0, None, 1000.0], version=version
    ) as writer:
        writer.write_frame(0, pixels(3, 6, 9))
    with xr.open_dataset(tmp_path / "a.nd2", engine="nd2") as ds:
        np.testing.assert_array_equal(ds.channel_exposure, [20.0, np.nan, 1000.0])


def test_an_unknown_option_suggests_a_known_one(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'voxelsize'.*'voxel_size'"):
        nd2.ND2Writer(tmp_path / "a.nd2", YX, voxelsize=(1.0, 1.0))  # type: ignore[call-arg]
    assert nothing_but(tmp_path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_without_frames_is_refused(tmp_path: Path, compression: Any) -> None:
    writer = nd2.ND2Writer(tmp_path / "a.nd2", {"T": 3, **YX}, compression=compression)
    with pytest.raises(ValueError, match="no frame was written"):
        writer.close()
    assert nothing_but(tmp_path)


def test_a_long_title_is_refused_before_its_frame_is_written(tmp_path: Path) -> None:
    title = "a" * 255
    with nd2.ND2Writer(tmp_path / "a.nd2", {"T": 2, **YX}, "u2") as writer:
        with pytest.raises(ValueError, match="more than 255 bytes"):
            writer.write_frame(0, pixels(6, 9), columns={title + "a": 1})
        for index in range(2):
            writer.write_frame(index, pixels(6, 9), columns={title: index, f"{title[:-1]}b": 5})
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        rows = file.events()
        assert [row[title] for row in rows] == [0, 1]
        assert [row[f"{title[:-1]}b"] for row in rows] == [5, 5]


def test_regions_events_layers_custom_data(tmp_path: Path) -> None:
    region = ROI(
        id=7,
        info=RoiInfo(RoiShapeType.Polygon, InterpType.StandardROI, label="cell", color=0x00FF00),
        guid="{1-2}",
        animParams=[
            AnimParam(
                timeMs=5.0,
                centerX=0.25,
                rotationZ=1.5,
                boxShape=BoxShape(0.1, 0.2, 0.3),
                extrudedShape=ExtrudedShape(0.5, [XYPoint(0.1, 0.2), XYPoint(-0.3, 0.4)]),
            ),
            AnimParam(timeMs=10.0, enabled=False, extrudedShape=ExtrudedShape(0.0, [])),
        ],
    )
    events = [
        ExperimentEvent(1, 40.0, 41.0, EventMeaning.Command, "pump on", "Pump(1);"),
        ExperimentEvent(
            2,
            90.0,
            stimulation=StimulationEvent(StimulationType.Manual, 1, 2, "laser"),
            meaning=EventMeaning.Stimulation,
        ),
    ]
    cells = np.zeros((3, 6, 9), "u2")
    cells[0, 1:4, 2:5] = 1
    cells[0, 2, 3] = 2
    cells[2, :, 8] = 70
    custom = {
        "Mine_V1_0": {
            "Name": "x & <y>",
            "List": {"i0000000000": 1, "i0000000002": 2.5},
            "00": {"Flag": True, "Data": b"AAEC"},
        }
    }
    with nd2.ND2Writer(
        tmp_path / "a.nd2",
        {"T": 3, **YX},
        "u2",
        rois=[region],
        events=events,
        labels={"cells": cells, "nuclei": cells > 1},
        custom=custom,
        columns={"Voltage [V]": [1.5, 2.5, 3.5]},
    ) as writer:
        for index in range(3):
            writer.write_frame(index, pixels(6, 9), time=50.0 * index)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.rois == {7: region}
        rows = file.events()
        assert [row["Time [s]"] for row in rows] == [0.0, 0.04, 0.05, 0.09, 0.1]
        assert rows[1]["Events"] == "pump on"
        assert "laser" in rows[3]["Events"]
        assert [row.get("Voltage [V]") for row in rows] == [1.5, None, 2.5, None, 3.5]
        layers = file.binary_data
        assert layers is not None
        assert [layer.name for layer in layers] == ["cells", "nuclei"]
        found = layers.asarray()
        assert found is not None
        np.testing.assert_array_equal(found[0], cells)
        np.testing.assert_array_equal(found[1], cells > 1)
        assert file.custom_data["Mine_V1_0"] == custom["Mine_V1_0"]


@settings(max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 1000),
    most=st.sampled_from([0, 1, 3, 70_000]),
)
def test_masks(shape: tuple[int, int], seed: int, most: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, most + 1, shape) * (rng.random(shape) < 0.6)
    sizes = dict(zip("YX", shape, strict=True))
    with nd2.ND2Writer(tmp_path / "a.nd2", sizes, "u1", labels={"m": mask}, overwrite=True) as writer:
        writer.write_frame(0, np.zeros(shape, "u1"))
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.binary_data is not None
        np.testing.assert_array_equal(file.binary_data[0][0], mask)


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        ("i2", "np.uint16 or np.float32"),
        ("u4", "np.float32"),
        ("f8", "np.float32"),
        ("?", "np.uint8"),
        ("c8", "np.float32"),
    ],
)
def test_types_that_files_do_not_hold(tmp_path: Path, dtype: str, advice: str) -> None:
    with pytest.raises(TypeError, match=f"uint8, uint16 and float32.*astype.*{advice}"):
        nd2.ND2Writer(tmp_path / "a.nd2", YX, dtype)
    assert nothing_but(tmp_path)


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ({"Y": 6}, {}, "lack Y and X"),
        ({**YX, "Q": 2}, {}, "'Q' is not one of"),
        ({**YX, "T": 0}, {}, "size 0"),
        ({**YX, "S": 4}, {}, "4 samples"),
        (None, {}, "give sizes"),
        (None, {"shape": (6, 9), "axes": "Y"}, "do not name"),
        (None, {"shape": (6, 9), "axes": "YY"}, "do not name"),
        (YX, {"channels": ["a", "b"]}, "2 channels for an axis C of 1"),
        (YX, {"voxel_size": (0.1, 0.2)}, "square pixels"),
        (YX, {"voxel_size": (-1.0, -1.0)}, "positive"),
        (YX, {"compression": "lzw"}, "'lzw'"),
        (YX, {"samples": "GBR"}, "'GBR'"),
        (YX, {"version": (4, 0)}, r"version \(4, 0\)"),
        (YX, {"significant_bits": 17}, "17 significant bits"),
        (YX, {"significant_bits": 8}, "8 significant bits in samples of uint16.*9 to 16"),
        (YX, {"dtype": "f4", "significant_bits": 12}, "12 significant bits.*float32.*32 to 32"),
        (YX, {"dtype": "u1", "significant_bits": 9}, "9 significant bits.*uint8.*1 to 8"),
        (YX, {"text_info": {"descripton": "x"}}, "no text 'descripton'.*'description'"),
        (YX, {"columns": {"µ" * 128: [1]}}, "more than 255 bytes"),
        (YX, {"custom": {"a" * 241: {}}}, "longer than 240 bytes"),
        (YX, {"exposure": [1.0, 2.0]}, "2 exposures for an axis C of 1"),
        (YX, {"z": [1.0]}, "no axis 'Z'"),
        (YX, {"positions": ["a"]}, "no axis 'P'"),
        (YX, {"times": [1.0, 2.0]}, "times have shape"),
        ({**YX, "T": 3}, {"times": [1.0, 2.0]}, "times have shape"),
        ({**YX, "P": 3}, {"positions": ["a"]}, "1 position for an axis P of 3"),
        ({**YX, "Z": 3}, {"z": [1.0]}, "z has shape"),
        (YX, {"columns": {"a": [1, 2]}}, "column 'a' has shape"),
        (YX, {"labels": {"a": np.zeros((2, 2), int)}}, "labels 'a' have shape"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, sizes: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nd2.ND2Writer(tmp_path / "a.nd2", sizes, **options)
    assert nothing_but(tmp_path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_broken_frame_does_not_break_the_file(tmp_path: Path, compression: Any) -> None:
    frames = pixels(3, 6, 9)
    with nd2.ND2Writer(tmp_path / "a.nd2", {"T": 3, **YX}, "u2", compression=compression) as writer:
        writer.write_frame(0, frames[0])
        with pytest.raises(ValueError, match=r"frame 1 has shape \(6, 8\); expected \(1, 6, 9, 1\)"):
            writer.write_frame(1, frames[1, :, :8])
        with pytest.raises(ValueError, match=r"frame 1 is float64, the file uint16.*a\.nd2"):
            writer.write_frame(1, frames[1].astype(float))
        with pytest.raises(ValueError, match="time of frame 1 is nan"):
            writer.write_frame(1, frames[1], time=float("nan"))
        with pytest.raises(ValueError, match="stage of frame 1"):
            writer.write_frame(1, frames[1], stage=(1.0,))
        with pytest.raises(ValueError, match="frame 0 was written before"):
            writer.write_frame(0, frames[0])
        writer.write_frame(1, frames[1])
        writer.write_frame(2, frames[2])
    np.testing.assert_array_equal(nd2.imread(tmp_path / "a.nd2"), frames)
    with pytest.raises(ValueError, match="closed file"):
        writer.write_frame(2, frames[2])


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    before = tmp_path / "a.nd2"
    before.write_bytes(b"what was there")

    def stopped() -> None:
        with nd2.ND2Writer(before, {"T": 3, **YX}, "u2", compression="zlib", overwrite=True) as writer:
            writer.write_frame(0, pixels(6, 9))
            assert (tmp_path / "a.nd2.part").exists()
            raise KeyError("stopped")

    with pytest.raises(KeyError):
        stopped()
    assert nothing_but(tmp_path, "a.nd2")
    assert before.read_bytes() == b"what was there"


def test_an_unfinished_file_does_not_look_finished(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    writer = nd2.ND2Writer(path, {"T": 3, **YX}, "u2", in_place=True)
    writer.write_frame(0, pixels(6, 9))
    with nd2.ND2File(path) as file, pytest.raises(ValueError, match="did not finish"):
        file.sizes  # noqa: B018
    writer.abandon()
    assert writer.closed
    with nd2.ND2File(path) as file, pytest.raises(ValueError, match="did not finish"):
        file.sizes  # noqa: B018


def test_what_an_earlier_crash_left_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.nd2.part").write_bytes(b"frames of yesterday")
    with nd2.ND2Writer(tmp_path / "a.nd2", YX, "u2") as writer:
        writer.write_frame(0, pixels(6, 9))
    assert (tmp_path / "a.nd2.part").read_bytes() == b"frames of yesterday"
    assert nothing_but(tmp_path, "a.nd2", "a.nd2.part")


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        nd2.ND2Writer(tmp_path / "none" / "a.nd2", YX, "u2")
    with pytest.raises(IsADirectoryError):
        nd2.ND2Writer(tmp_path, YX, "u2")


FILL = """
import errno, resource, signal, sys
import numpy as np
import nd2
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
frame = np.random.default_rng(0).integers(0, 999, (100, 100)).astype("u2")
try:
    with nd2.ND2Writer(sys.argv[1], {"T": 100, "Y": 100, "X": 100}, "u2", compression=sys.argv[2] or None) as writer:
        for index in range(100):
            writer.write_frame(index, frame)
except OSError as error:
    print(errno.errorcode[error.errno], "|", error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit for files here")
@pytest.mark.parametrize("compression", ["", "zlib"])
def test_no_more_room(tmp_path: Path, compression: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL, tmp_path / "a.nd2", compression], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("EFBIG | ")
    assert "ImageDataSeq|" in done.stdout
    assert "while writing" in done.stdout
    assert "a.nd2" in done.stdout
    assert nothing_but(tmp_path)


def test_a_full_disk_when_the_file_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = nd2.ND2Writer(tmp_path / "a.nd2", {"T": 2, **YX}, "u2")
    writer.write_frame(0, pixels(6, 9))

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OSError, match=r"No space left.*while writing.*a\.nd2") as raised:
        writer.close()
    assert raised.value.errno == errno.ENOSPC
    assert nothing_but(tmp_path)


def test_writes_that_are_cut_short_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwritev

    def some(fd: int, parts: Any, position: int) -> int:
        data = b"".join(parts)
        return whole(fd, [data[: max(len(data) * 2 // 3, 1)]], position)

    frames = pixels(3, 2, 6, 9)
    monkeypatch.setattr(os, "pwritev", some)
    with nd2.ND2Writer(tmp_path / "a.nd2", {"T": 3, "C": 2, **YX}, "u2") as writer:
        for index in range(3):
            writer.write_frame(index, frames[index])
    np.testing.assert_array_equal(nd2.imread(tmp_path / "a.nd2"), frames)


KILLED = """
import sys
import numpy as np
import nd2
path, compression, in_place = sys.argv[1:4]
writer = nd2.ND2Writer(
    path, {"T": 20_000, "C": 2, "Y": 33, "X": 45}, "u2", compression=compression or None, in_place=bool(in_place)
)
for index in range(20_000):
    writer.write_frame(index, np.full((2, 33, 45), index % 60_000, "u2"), time=10.0 * index)
    print(index, flush=True)
"""


@pytest.mark.parametrize("compression", ["", "zlib"])
@pytest.mark.parametrize("in_place", ["", "yes"])
def test_rescue_finds_what_was_written_before_a_kill(tmp_path: Path, compression: str, in_place: str) -> None:
    path = tmp_path / "a.nd2"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, path, compression, in_place], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 200:
            break
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().split()
    child.stdout.close()
    child.wait()
    last = int(rest[-1]) if rest else 200
    part = path if in_place else tmp_path / "a.nd2.part"
    assert part.exists()
    with nd2.ND2File(part) as file, pytest.raises(ValueError, match="did not finish"):
        file.sizes  # noqa: B018
    with pytest.warns(UserWarning, match="frames are whole"):
        nd2.rescue_file(part, tmp_path / "whole.nd2")
    with nd2.ND2File(tmp_path / "whole.nd2") as file:
        assert dict(file.sizes)["C"] == 2
        # Compression works behind: the last few frames were still on their way.
        sure = last + 1 if not compression else last - 16
        for index in range(sure):
            frame = file.read_frame(index)
            assert frame.shape == (2, 33, 45)
            assert frame.min() == frame.max() == index


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    code = """
import resource, sys
import numpy as np
import nd2
frame = np.random.default_rng(0).integers(0, 999, (3, 512, 512)).astype("u2")
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
sizes = {"T": 100, "C": 3, "Y": 512, "X": 512}
with nd2.ND2Writer(sys.argv[1], sizes, "u2", compression=sys.argv[2] or None, overwrite=True) as writer:
    for index in range(100):
        writer.write_frame(index, frame)
        if index == 5:
            before = peak()
print(peak() - before)
"""
    for compression in ("", "zlib"):
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "a.nd2", compression], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) < 40  # of 150 MB


def test_a_writer_that_is_forgotten_closes_its_handle(tmp_path: Path) -> None:
    writer = nd2.ND2Writer(tmp_path / "a.nd2", YX, "u2")
    writer.abandon()
    writer.abandon()
    writer.close()
    assert no_handle_is_left(tmp_path)


def test_a_misspelled_loop_suggests_the_right_one(tmp_path: Path) -> None:
    with (
        pytest.raises(IndexError, match="no loop 't'; did you mean 'T'"),
        nd2.ND2Writer(tmp_path / "a.nd2", {"T": 2, "Y": 2, "X": 2}, "u2") as writer,
    ):
        writer.write_frame({"t": 0}, np.zeros((2, 2), "u2"))
