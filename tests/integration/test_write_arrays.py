"""Arrays with labels as files, parts of files as files, files that say what others say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr

import nd2
from nd2._core.chunks import regions
from nd2._core.chunks.binary_layers import RUNS_NAME
from nd2._core.open import open_reader
from nd2._core.views.facts import Facts
from nd2.structures import ROI, InterpType, Metadata, NETimeLoop, RoiInfo, RoiShapeType, TimeLoop, XYPosLoop, ZStackLoop
from tests.builder import build
from tests.samples import each_sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def pixels(*shape: int, dtype: str = "u2") -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 250, shape).astype(dtype)


def test_plain_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    array = pixels(3, 2, 6, 9)
    nd2.imwrite(path, array, axes="TCYX")
    np.testing.assert_array_equal(nd2.imread(path), array)
    nd2.imwrite(path, array[0, 0], overwrite=True)
    np.testing.assert_array_equal(nd2.imread(path), array[0, 0])
    # the axes of a frame may stand anywhere
    nd2.imwrite(path, array, axes=["C", "T", "Y", "X"], compression="zlib", overwrite=True)
    with nd2.ND2File(path) as file:
        assert dict(file.sizes) == {"T": 2, "C": 3, "Y": 6, "X": 9}
        np.testing.assert_array_equal(file.asarray(), array.swapaxes(0, 1))


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((3, 4, 5), None, "needs axes"),
        ((3, 4, 5), "YX", "name 2 dimensions, but the array has 3"),
        ((3, 4, 5), "YYX", "axis 'Y' occurs twice"),
        ((3, 4, 5), "QYX", "'Q' is not one of"),
        ((3, 4, 4), "YXS", "4 samples"),
    ],
)
def test_axes_that_are_wrong(tmp_path: Path, shape: tuple[int, ...], axes: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nd2.imwrite(tmp_path / "a.nd2", np.zeros(shape, "u2"), axes=axes)
    assert not list(tmp_path.iterdir())


def test_integers_that_readers_would_take_for_others(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not int16: convert with"):
        nd2.imwrite(tmp_path / "a.nd2", np.zeros((4, 4), "i2"))
    assert not list(tmp_path.iterdir())


def test_labelled_arrays(tmp_path: Path) -> None:
    array = xr.DataArray(
        pixels(2, 3, 2, 6, 9),
        dims=("t", "z", "c", "y", "x"),
        coords={
            "t": ("t", [0.0, 2.5], {"units": "s"}),
            "z": ("z", [-1000.0, 0.0, 1000.0], {"units": "nm"}),
            "c": ["DAPI", "GFP"],
            "y": ("y", 0.2 * np.arange(6), {"units": "micrometer"}),
            "x": ("x", 0.2 * np.arange(9), {"units": "µm"}),
            "temperature": ("t", [36.5, 37.0], {"units": "degree_Celsius", "long_name": "Temp"}),
        },
    )
    nd2.imwrite(tmp_path / "a.nd2", array)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert dict(file.sizes) == {"T": 2, "Z": 3, "C": 2, "Y": 6, "X": 9}
        np.testing.assert_array_equal(file.asarray(), array.values)
        assert file.voxel_size() == (0.2, 0.2, 1.0)
        times, stack = file.experiment
        assert isinstance(times, TimeLoop)
        assert times.parameters.periodMs == 2500.0
        assert isinstance(stack, ZStackLoop)
        assert stack.parameters.homeIndex == 1
        assert [row["Temp [°C]"] for row in file.events()] == [36.5] * 3 + [37.0] * 3
        assert list(file.to_xarray().C.values) == ["DAPI", "GFP"]


def test_moments_on_the_time_axis(tmp_path: Path) -> None:
    moments = np.array(["2024-02-29T12:00", "2024-02-29T12:01"], "M8[ns]")
    array = xr.DataArray(pixels(2, 6, 9), dims=tuple("TYX"), coords={"T": moments})
    nd2.imwrite(tmp_path / "a.nd2", array)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        first: Any = file.frame_metadata(0)
        assert first.channels[0].time.absoluteJulianDayNumber == 2460370.0
        assert file.events()[1]["Time [s]"] == 60.0


@pytest.mark.parametrize(("attrs", "milliseconds"), [({}, 500.0), ({"units": "ms"}, 0.5), ({"units": "min"}, 30_000.0)])
def test_times_are_seconds_unless_units_say_otherwise(
    tmp_path: Path, attrs: dict[str, str], milliseconds: float
) -> None:
    coords = {"T": ("T", [0.0, 0.5], attrs)}
    nd2.imwrite(tmp_path / "a.nd2", xr.DataArray(pixels(2, 6, 9), dims=tuple("TYX"), coords=coords))
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.experiment[0].parameters.periodMs == milliseconds  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("times", "source", "expected"),
    [
        ([], "nominal", [0.0, 0.5, 1.0]),
        ([70.0], "mixed", [0.07, 0.57, 1.07]),
        ([0.0, 800.0], "mixed", [0.0, 0.8, 1.6]),
        ([0.0, 800.0, 1500.0], "recorded", [0.0, 0.8, 1.5]),
    ],
)
def test_a_copy_does_not_call_planned_times_recorded(
    tmp_path: Path, times: list[float], source: str, expected: list[float]
) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)], times=times)
    nd2.imwrite(tmp_path / "b.nd2", xr.open_dataset(tmp_path / "a.nd2", engine="nd2"))
    for name in "ab":
        with xr.open_dataset(tmp_path / f"{name}.nd2", engine="nd2") as ds:
            np.testing.assert_allclose(ds["T"], expected)
            assert ds["T"].attrs["source"] == source
            assert ("time" in ds.coords) == bool(times)


@pytest.mark.parametrize("steps", [slice(0, 4), slice(1, 5), slice(0, None, 2), slice(1, None, 3)])
@pytest.mark.parametrize("times", [[], [np.nan, np.nan, 1000.0, 1600.0, 2000.0]])
def test_the_period_of_a_part_without_some_times(tmp_path: Path, times: list[float], steps: slice) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 5)], times=times)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        whole: Any = file.experiment[0].parameters
        file.write_nd2(tmp_path / "b.nd2", T=steps)
    with nd2.ND2File(tmp_path / "b.nd2") as part:
        periods: Any = part.experiment[0].parameters
        step = steps.step or 1
        assert periods.periodMs == whole.periodMs * step
        assert periods.periodDiff.avg == whole.periodDiff.avg * step
        assert periods.periodDiff.max == whole.periodDiff.max * step


def test_the_planned_period_of_a_new_file(tmp_path: Path) -> None:
    nd2.imwrite(tmp_path / "a.nd2", pixels(3, 6, 9), axes="TYX", period=250.0)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.experiment[0].parameters.periodMs == 250.0  # type: ignore[union-attr]
    with xr.open_dataset(tmp_path / "a.nd2", engine="nd2") as ds:
        assert (ds["T"].values.tolist(), ds["T"].attrs["source"]) == ([0.0, 0.25, 0.5], "nominal")
    for axes, period, message in (("ZYX", 1.0, "no axis 'T'"), ("TYX", -1.0, "period -1")):
        with pytest.raises(ValueError, match=message):
            nd2.imwrite(tmp_path / "b.nd2", pixels(3, 6, 9), axes=axes, period=period)


@each_sample()
def test_a_copy_keeps_what_the_dataset_knows(sample: Path, tmp_path: Path) -> None:
    with xr.open_dataset(sample, engine="nd2") as ds:
        nd2.imwrite(tmp_path / "b.nd2", ds)
        with xr.open_dataset(tmp_path / "b.nd2", engine="nd2") as again:
            for key in (
                "acquisition_date",
                "software",
                "objective",
                "magnification",
                "numerical_aperture",
                "bit_depth",
                "voxel_size_um",
            ):
                assert again.attrs.get(key) == ds.attrs.get(key), key
            np.testing.assert_array_equal(again.C, ds.C)
            for key in (
                "channel_exposure",
                "channel_color",
                "emission_wavelength",
                "excitation_wavelength",
                "stage_x",
                "stage_y",
                "stage_z",
            ):
                assert (key in again.coords) == (key in ds.coords), key
                if key in ds.coords:
                    xr.testing.assert_allclose(again[key].variable, ds[key].variable, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "bits"), [("u2", 12), ("u1", 8), ("f4", 32)])
def test_the_bit_depth_of_another_type_is_dropped(tmp_path: Path, dtype: str, bits: int) -> None:
    image = xr.DataArray(pixels(6, 9), dims=tuple("YX"), attrs={"bit_depth": 12})
    nd2.imwrite(tmp_path / "a.nd2", image.astype(dtype, keep_attrs=True))
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.attributes.bitsPerComponentSignificant == bits


def test_the_start_of_some_times_is_that_of_the_first(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 4)])
    with xr.open_dataset(tmp_path / "a.nd2", engine="nd2", time="absolute") as ds:
        nd2.imwrite(tmp_path / "b.nd2", ds.isel(T=slice(2, 4)))
        with xr.open_dataset(tmp_path / "b.nd2", engine="nd2", time="absolute") as part:
            np.testing.assert_array_equal(part["T"], ds["T"][2:])


def test_custom_data_of_the_call_joins_the_software_of_the_dataset(tmp_path: Path) -> None:
    image = xr.DataArray(pixels(6, 9), dims=tuple("YX"), attrs={"software": "NIS-Elements AR 5.42 (Build 1)"})
    nd2.imwrite(tmp_path / "a.nd2", image, custom={"Mine": {"Answer": 42}})
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.custom_data["Mine"] == {"Answer": 42}
        assert file.custom_data["AppInfo_V1_0"] == {
            "SWNameString": "NIS-Elements AR",
            "VersionString": "5.42 (Build 1)",
        }


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        ({"X": ("X", [0.0, 1.0, 2.0], {"units": "furlong"})}, "'furlong'"),
        ({"X": ("X", [0.0, 0.5, 1.0]), "Y": ("Y", [0.0, 0.7, 1.4])}, "square pixels"),
        ({"S": ["cyan", "magenta", "yellow"]}, "expected R, G and B"),
    ],
)
def test_labels_that_no_file_can_say(tmp_path: Path, coords: dict[str, Any], message: str) -> None:
    array = xr.DataArray(np.zeros((3, 3, 3), "u1"), dims=tuple("YXS"), coords=coords)
    with pytest.raises(ValueError, match=message):
        nd2.imwrite(tmp_path / "a.nd2", array)
    assert not list(tmp_path.iterdir())


def test_color(tmp_path: Path) -> None:
    path, rgb = tmp_path / "a.nd2", pixels(6, 9, 3, dtype="u1")
    for array in (
        rgb,
        xr.DataArray(rgb, dims=tuple("YXS")),
        xr.DataArray(rgb, dims=tuple("YXS"), coords={"S": list("RGB")}),
        xr.DataArray(rgb[..., ::-1], dims=tuple("YXS"), coords={"S": ["Blue", "Green", "Red"]}),
        xr.DataArray(rgb[..., [1, 0, 2]], dims=tuple("YXS"), coords={"S": list("GRB")}),
    ):
        nd2.imwrite(path, array, axes="YXS", overwrite=True)
        np.testing.assert_array_equal(nd2.imread(path)[..., ::-1], rgb)
    nd2.imwrite(path, nd2.imread(path), axes="YXS", samples="BGR", overwrite=True)
    np.testing.assert_array_equal(nd2.imread(path)[..., ::-1], rgb)


@pytest.mark.parametrize("chunks", [(1, 1, 2, 6, 9), (2, 3, 1, 4, 5), (3, 4, 2, 6, 9)])
def test_dask_arrays(tmp_path: Path, chunks: tuple[int, ...]) -> None:
    import dask.array as da

    array = pixels(3, 4, 2, 6, 9)
    nd2.imwrite(tmp_path / "a.nd2", da.from_array(array, chunks=chunks), axes="TZCYX")  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(nd2.imread(tmp_path / "a.nd2"), array)


@pytest.mark.parametrize("chunks", [None, {}, "auto"])
def test_datasets_of_the_engine(tmp_path: Path, chunks: Any) -> None:
    build(
        tmp_path / "a.nd2",
        loops=[("T", 3), ("P", 2), ("Z", 4)],
        channels=2,
        channel_names=["DAPI", "GFP"],
        missing=frozenset({5}),
    )
    with xr.open_dataset(tmp_path / "a.nd2", engine="nd2", chunks=chunks) as dataset:
        nd2.imwrite(tmp_path / "b.nd2", dataset)
        with xr.open_dataset(tmp_path / "b.nd2", engine="nd2") as again:
            xr.testing.assert_allclose(again.drop_vars(["channel_color"]), dataset.drop_vars(["channel_color"]))
            assert again.channel_color.values.tolist() == dataset.channel_color.values.tolist()
            assert not again.frame_present[0, 1, 1]


def test_arrays_of_to_xarray(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3), ("Z", 4)], channels=2)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        array = file.to_xarray()
        nd2.imwrite(tmp_path / "b.nd2", array)
        with nd2.ND2File(tmp_path / "b.nd2") as again:
            assert again.to_xarray().equals(array)
            assert again.metadata == file.metadata
            assert again.text_info == file.text_info
        nd2.imwrite(tmp_path / "c.nd2", array.isel(C=[1], T=0))
    with nd2.ND2File(tmp_path / "c.nd2") as part:
        metadata: Any = part.metadata
        assert [channel.channel.name for channel in metadata.channels] == ["Channel 1"]
        np.testing.assert_array_equal(part.asarray(), array.values[0, :, 1])


def test_a_dataset_of_several_images(tmp_path: Path) -> None:
    array = xr.DataArray(pixels(6, 9), dims=tuple("YX"))
    with pytest.raises(ValueError, match="choose one"):
        nd2.imwrite(tmp_path / "a.nd2", xr.Dataset({"a": array, "b": array}))
    nd2.imwrite(tmp_path / "a.nd2", xr.Dataset({"a": array}))
    np.testing.assert_array_equal(nd2.imread(tmp_path / "a.nd2"), array)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "whole.nd2"
    array = pixels(6, 3, 5, 2, 7, 9)
    with nd2.ND2Writer(
        path,
        dict(zip("TPZCYX", array.shape, strict=True)),
        "u2",
        compression="zlib",
        positions=[(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)],
        voxel_size=(0.3, 0.3, 0.5),
        stage=(7.0, 8.0, 100.0),
        labels={"cells": array[:, :, :, 0] % 3},
        custom={"Mine": {"Value": 1}},
    ) as writer:
        for number, place in enumerate(np.ndindex(6, 3, 5)):
            if number != 19:
                writer.write_frame(place, array[place], time=100.0 * number, columns={"N": number})
    return path


PICKS: list[tuple[dict[str, Any], tuple[Any, Any, Any]]] = [
    ({}, (slice(None), slice(None), slice(None))),
    ({"T": slice(1, 5)}, (slice(1, 5), slice(None), slice(None))),
    ({"T": slice(None, None, 2)}, (slice(None, None, 2), slice(None), slice(None))),
    ({"position": 1}, (slice(None), [1], slice(None))),
    ({"P": [0, 2], "Z": 3}, (slice(None), [0, 2], [3])),
    ({"T": -1, "Z": slice(1, 4)}, ([5], slice(None), slice(1, 4))),
    ({"Z": [0, 2, 4]}, (slice(None), slice(None), slice(None, None, 2))),
    ({"Z": slice(0, 2)}, (slice(None), slice(None), slice(0, 2))),
]


@pytest.mark.parametrize(("picks", "key"), PICKS)
def test_a_part_says_of_its_frames_what_the_whole_says(
    whole: Path, tmp_path: Path, picks: dict[str, Any], key: tuple[Any, ...]
) -> None:
    with nd2.ND2File(whole) as file:
        file.write_nd2(tmp_path / "part.nd2", **picks)
        expected = file.asarray()
        for axis, pick in enumerate(key):
            expected = expected[(slice(None),) * axis + (pick,)]
        numbers = np.arange(6 * 3 * 5).reshape(6, 3, 5)
        for axis, pick in enumerate(key):
            numbers = numbers[(slice(None),) * axis + (pick,)]
        with nd2.ND2File(tmp_path / "part.nd2") as part:
            np.testing.assert_array_equal(part.asarray(), expected.squeeze())
            assert [loop.count for loop in part.experiment] == list(numbers.shape)
            assert part.attributes == file.attributes._replace(sequenceCount=numbers.size)
            before, after = file.events(), part.events()
            for new, old in enumerate(numbers.reshape(-1).tolist()):
                a: Any = file.frame_metadata(old)
                b: Any = part.frame_metadata(new)
                assert b.channels[0].position == a.channels[0].position
                if old != 19:  # a missing frame has no time of its own
                    assert b.channels[0].time.relativeTimeMs == a.channels[0].time.relativeTimeMs
                assert after[new]["N"] == pytest.approx(before[old]["N"], nan_ok=True)
            assert part.custom_data["Mine"] == {"Value": 1}
            layers, of_all = part.binary_data, file.binary_data
            assert layers is not None
            assert of_all is not None
            for new, old in enumerate(numbers.reshape(-1).tolist()):
                np.testing.assert_array_equal(layers[0][new], of_all[0][old])


def test_frames_of_a_part_are_the_stored_bytes(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nd2._core.frames.read

    def decoding(*_: object) -> bytes:
        raise AssertionError("a frame was decoded")

    with monkeypatch.context() as patch, nd2.ND2File(whole) as file:
        patch.setattr(nd2._core.frames.read, "inflate", decoding)
        file.write_nd2(tmp_path / "part.nd2", T=slice(2, 4))
    assert nd2.imread(tmp_path / "part.nd2").shape[0] == 2


def test_a_file_onto_itself(whole: Path) -> None:
    before = whole.read_bytes()
    with nd2.ND2File(whole) as file, pytest.raises(FileExistsError, match="is read"):
        file.write_nd2(whole, T=slice(2, 4), overwrite=True)
    assert whole.read_bytes() == before


@pytest.mark.parametrize(
    ("picks", "error"),
    [
        ({"T": 6}, IndexError),
        ({"T": [0, -7]}, IndexError),
        ({"U": 0}, IndexError),
        ({"position": 3}, IndexError),
        ({"position": "B7"}, ValueError),
        ({"T": slice(4, 4)}, ValueError),
        ({"T": [2, 1]}, ValueError),
        ({"Z": [0, 1, 4]}, ValueError),
    ],
)
def test_parts_that_are_not_there(whole: Path, tmp_path: Path, picks: dict[str, Any], error: type[Exception]) -> None:
    with nd2.ND2File(whole) as file, pytest.raises(error):
        file.write_nd2(tmp_path / "part.nd2", **picks)
    assert [p.name for p in tmp_path.iterdir()] == ["whole.nd2"]


def test_phases_and_xml(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("N", 6), ("P", 2)], version=(2, 1), channels=2)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.write_nd2(tmp_path / "b.nd2", T=slice(2, 5), P=1)
        expected = file.asarray()[2:5, 1]
    with nd2.ND2File(tmp_path / "b.nd2") as part:
        assert part.version == (2, 1)
        np.testing.assert_array_equal(part.asarray(), expected)
        phases, points = part.experiment
        assert isinstance(phases, NETimeLoop)
        assert [period.count for period in phases.parameters.periods] == [1, 2]
        assert isinstance(points, XYPosLoop)
        assert points.parameters.points[0].name == "A2"


def test_frames_without_a_time_are_stamped_with_the_planned_one(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("N", 4)], times=[])
    with nd2.ND2File(tmp_path / "a.nd2") as file, file.writer(tmp_path / "b.nd2") as writer:
        for index, frame in enumerate(file.asarray()):
            writer.write_frame(index, frame)
    with open_reader(tmp_path / "b.nd2") as reader:
        planned = Facts(reader).step_times(np.arange(4))
        offsets, _ = reader.frames.table.locations(np.arange(4))
        stamps = [np.frombuffer(reader.source.read(offset - 8, 8))[0] for offset in offsets.tolist()]
    assert (stamps, planned.source) == ([0.0, 500.0, 2000.0, 2500.0], "nominal")
    assert planned.values.tolist() == stamps


@pytest.mark.parametrize(
    ("picks", "expected"),
    [
        ({"P": [0, 2]}, {1: None, 2: 0, 4: 1}),
        ({"position": 2}, {1: None, 4: 0}),
        ({"T": 0}, {1: None, 2: 0, 3: 1, 4: 2}),
    ],
)
def test_regions_of_a_part(tmp_path: Path, picks: dict[str, Any], expected: dict[int, int | None]) -> None:
    info = RoiInfo(RoiShapeType.Point, InterpType.StandardROI)
    rois = [ROI(1, info, ""), *(ROI(i + 2, info, "", position=i) for i in range(3))]
    with nd2.ND2Writer(tmp_path / "a.nd2", {"T": 2, "P": 3, "Y": 4, "X": 4}, rois=rois) as writer:
        for index in range(6):
            writer.write_frame(index, pixels(4, 4))
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        file.write_nd2(tmp_path / "b.nd2", **picks)
    with nd2.ND2File(tmp_path / "b.nd2") as part:
        assert {number: roi.position for number, roi in part.rois.items()} == expected


def test_numbers_that_no_file_has_are_left_out(tmp_path: Path) -> None:
    tag, digits = "RleZipBinarySequence_1_v1", b"1" * 5000
    layers = b'<variant><BinaryMetadata_v1 runtype="CLxListVariant"><no_name runtype="CLxListVariant">'
    layers += b'<Name runtype="CLxStringW" value="cells"/>'
    layers += b'<FileTag runtype="CLxStringW" value="%s"/>' % tag.encode()
    layers += b"</no_name></BinaryMetadata_v1></variant>"
    chunks = {RUNS_NAME: layers, b"CustomDataSeq|%s|%s!" % (tag.encode(), digits): b"x"}
    build(tmp_path / "a.nd2", loops=[("T", 2)], chunks=chunks)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert file.binary_data is not None
        file.write_nd2(tmp_path / "b.nd2", T=0)
    with nd2.ND2File(tmp_path / "b.nd2") as part:
        assert not any(digits in name for name in part._reader.chunk_file.names)


def test_damaged_regions_of_a_part_are_named(tmp_path: Path) -> None:
    chunk = regions.NAME
    build(tmp_path / "a.nd2", loops=[("P", 2)], chunks={chunk: b"\x0b\xff\xff"})
    with (
        nd2.ND2File(tmp_path / "a.nd2") as file,
        pytest.raises(ValueError, match=rf"a\.nd2.*{re.escape(chunk.decode())}"),
    ):
        file.write_nd2(tmp_path / "b.nd2", P=0)


def same(reads: Callable[[nd2.ND2File], object], one: nd2.ND2File, other: nd2.ND2File) -> None:
    assert repr(reads(other)) == repr(reads(one))


@each_sample()
def test_everything_that_is_read_is_written_back(sample: Path, tmp_path: Path) -> None:
    """The identity, for all chunks."""
    with nd2.ND2File(sample) as file:
        with file.writer(tmp_path / "again.nd2") as writer:
            frames = np.arange(writer.frame_count)
            present = file._reader.frames.table.present(len(frames))
            for index in frames[present].tolist():
                writer.write_frame(index, file.read_frame(index))
        with nd2.ND2File(tmp_path / "again.nd2") as again:
            assert again.asarray().tobytes() == file.asarray().tobytes()
            for name in ("attributes", "experiment", "metadata", "text_info", "rois", "version"):
                assert getattr(again, name) == getattr(file, name)
            same(lambda f: f.sizes, file, again)
            same(lambda f: f.events(), file, again)
            same(lambda f: [f.frame_metadata(int(i)) for i in frames[:50]], file, again)
            assert again.custom_data == file.custom_data
            same(lambda f: f.unstructured_metadata(), file, again)
            masks, more = file.binary_data, again.binary_data
            assert (masks is None) == (more is None)
            if masks is not None and more is not None:
                np.testing.assert_array_equal(more.asarray(), masks.asarray())


@each_sample()
def test_a_whole_file_as_a_part_of_itself(sample: Path, tmp_path: Path) -> None:
    with nd2.ND2File(sample) as file:
        file.write_nd2(tmp_path / "again.nd2")
        with nd2.ND2File(tmp_path / "again.nd2") as again:
            assert again.asarray().tobytes() == file.asarray().tobytes()
            for name in ("attributes", "experiment", "metadata", "custom_data", "rois"):
                assert getattr(again, name) == getattr(file, name)
            same(lambda f: f.unstructured_metadata(), file, again)
            same(lambda f: f.events(), file, again)
            assert isinstance(again.metadata, Metadata)
