"""Content of the engine's dataset: coordinates, attributes, labels, options; on files that the tests write."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import ome_types
import pytest
import xarray as xr

import nd2
from nd2._core.readers.modern import ModernReader
from tests.builder import build
from tests.rich_file import FRAMES, START, TEMPERATURE, TIMES, masks, pixels, write
from xarray_nd2 import open_references, to_kerchunk
from xarray_nd2.backend import ND2BackendEntrypoint

if TYPE_CHECKING:
    from pathlib import Path


def test_recorded_values_are_coordinates_of_the_frames(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    shape = (3, 2, 2)
    assert dataset.time.dims == dataset.camera_temperature.dims == ("T", "P", "Z")
    np.testing.assert_array_equal(dataset.time, (TIMES / 1000).reshape(shape))
    np.testing.assert_array_equal(dataset.camera_temperature, TEMPERATURE.reshape(shape))
    np.testing.assert_array_equal(dataset.gain, np.arange(FRAMES).reshape(shape))
    assert dataset.note.values[2, 1, 0] == "frame 10"
    assert dataset.camera_temperature.attrs["units"] == "degree_Celsius"
    assert "units" not in dataset.gain.attrs
    assert dataset.time.attrs["source"] == dataset.gain.attrs["source"] == "recorded"


def test_the_time_axis_is_that_of_the_first_frame_of_each_step(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    np.testing.assert_array_equal(dataset["T"], TIMES[::4] / 1000)
    np.testing.assert_array_equal(dataset["T"], dataset.time[:, 0, 0])


def test_stage_positions_of_the_loops_where_none_were_recorded(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    with nd2.ND2File(rich) as file:
        metadata: list[Any] = [file.frame_metadata(i) for i in range(FRAMES)]
    stage = [each.channels[0].position.stagePositionUm for each in metadata]
    for axis, name in enumerate(("stage_x", "stage_y", "stage_z")):
        assert dataset[name].attrs == {"long_name": f"stage {'xyz'[axis]}", "units": "micrometer", "source": "nominal"}
        expected = np.array([position[axis] for position in stage]).reshape(3, 2, 2)
        np.testing.assert_array_equal(dataset[name], expected)


def test_recorded_stage_positions_come_first(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    columns = {"X Coord [µm]": np.arange(FRAMES) * 1.5}
    write(path, columns=columns)
    with nd2.ND2File(path) as file:
        identifier = next(iter(file._reader.recorded_data))
    dataset = xr.open_dataset(path, engine="nd2")
    name = "stage_x" if identifier == "X" else "x_coord"
    np.testing.assert_array_equal(dataset[name].values.reshape(-1), np.arange(FRAMES) * 1.5)
    assert dataset[name].attrs["units"] == "micrometer"


def test_position_names(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    assert dataset.position_name.dims == ("P",)
    assert dataset.position_name.values.tolist() == ["A1", "B2"]
    assert dataset.P.values.tolist() == [0, 1]


def test_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    meta = nd2.structures.ChannelMeta(
        name="FITC",
        index=0,
        color=nd2.structures.Color(7, 255, 0, 1.0),
        emissionLambdaNm=525.0,
        excitationLambdaNm=488.0,
    )
    nd2.imwrite(path, pixels()[0, 0, 0], axes="CYX", channels=[meta, "TD"])
    dataset = xr.open_dataset(path, engine="nd2")
    assert dataset.channel_color.values.tolist()[0] == "#07FF00"
    assert dataset.emission_wavelength.values[0] == 525
    assert math.isnan(dataset.emission_wavelength.values[1])
    assert dataset.excitation_wavelength.attrs["units"] == "nm"
    assert {dataset[name].dims for name in ("modality", "channel_color")} == {("C",)}


def test_names_that_repeat_get_a_suffix_that_no_other_has(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, channels=4, channel_names=["A", "A (2)", "A", "A"])
    names = xr.open_dataset(path, engine="nd2").C.values.tolist()
    assert len(set(names)) == 4
    assert names[:2] == ["A", "A (2)"]


def test_dropped_axes_stay_as_scalars(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 1), ("Z", 3)])
    dataset = xr.open_dataset(path, engine="nd2")
    assert dataset.image.dims == ("Z", "Y", "X")
    assert dataset["T"].dims == dataset.C.dims == ()
    assert dataset.time.dims == ("Z",)
    assert "P" not in dataset.coords


def test_nested_loops_of_one_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2), ("T", 3)])
    dataset = xr.open_dataset(path, engine="nd2")
    assert dataset.image.dims == ("T", "T2", "Y", "X")
    np.testing.assert_allclose(dataset["T"], [0, 0.3])
    np.testing.assert_allclose(dataset.T2, [0, 0.1, 0.2])


def test_times_that_end_early_are_not_known(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 4)], times=[5.0, 15.0])
    dataset = xr.open_dataset(path, engine="nd2")
    np.testing.assert_array_equal(dataset.time, [0.005, 0.015, np.nan, np.nan])
    np.testing.assert_allclose(dataset["T"], [0.005, 0.015, 0.025, 0.035])
    assert dataset["T"].attrs["source"] == "mixed"


def test_missing_frames_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 3), ("Z", 2)], missing=frozenset({1, 4}))
    present = xr.open_dataset(path, engine="nd2").frame_present
    assert present.dims == ("T", "Z")
    assert present.dtype == bool
    assert present.values.reshape(-1).tolist() == [True, False, True, True, False, True]
    build(path, loops=[("T", 3)])
    assert "frame_present" not in xr.open_dataset(path, engine="nd2").coords


def test_labels_are_variables(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    layer = dataset.labels_my_cells
    assert layer.dims == ("T", "P", "Z", "Y", "X")
    assert layer.attrs["long_name"] == "my cells"
    np.testing.assert_array_equal(layer, masks())
    part = dataset.labels_my_cells.isel(T=[2, 0], P=1, Y=slice(None, None, -2), X=[5, 5, 1])
    np.testing.assert_array_equal(part, masks()[[2, 0], 1][:, :, ::-2][..., [5, 5, 1]])
    assert dataset.labels_my_cells.isel(T=slice(0, 0)).values.shape == (0, 2, 2, 6, 8)


def test_attributes_are_flat_and_say_what_the_file_says(rich: Path) -> None:
    attrs = xr.open_dataset(rich, engine="nd2").attrs
    for value in attrs.values():
        if isinstance(value, list):
            assert value
            assert all(type(item) is float for item in value)
        else:
            assert type(value) in (str, int, float)
    assert attrs["source"] == str(rich)
    assert attrs["format_version"] == "3.0"
    assert attrs["acquisition_date"] == "2024-05-01T12:00:00.250Z"
    assert attrs["voxel_size_um"] == [0.5, 0.5, 2.0]
    assert attrs["bit_depth"] == 16
    experiment = json.loads(attrs["nd2_experiment"])
    assert [loop["type"] for loop in experiment] == ["TimeLoop", "XYPosLoop", "ZStackLoop"]
    assert json.loads(attrs["nd2_metadata"])["contents"] == {"channelCount": 2, "frameCount": 12}
    assert json.loads(attrs["nd2_text_info"]) is not None


def test_json_attributes_hold_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("Z", 2)], calibration=math.nan)
    attrs = xr.open_dataset(path, engine="nd2").attrs

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for name in ("nd2_attributes", "nd2_experiment", "nd2_metadata"):
        json.loads(attrs[name], parse_constant=refuse)


@pytest.mark.parametrize("loops", [[], [("T", 2), ("P", 3), ("Z", 4)], [("Z", 2), ("T", 3)]])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_ome_attribute_agrees_with_the_whole_of_the_ome_metadata(
    tmp_path: Path, loops: list[tuple[str, int]], samples: int
) -> None:
    path = tmp_path / "a.nd2"
    channels = 2 if samples == 1 else 1
    build(path, loops=loops, channels=channels, samples=samples)
    short = ome_types.from_xml(xr.open_dataset(path, engine="nd2").attrs["ome_xml"])
    with nd2.ND2File(path) as file:
        whole = file.ome_metadata(include_unstructured=False)
    assert len(short.images) == len(whole.images)
    for mine, theirs in zip(short.images, whole.images, strict=True):
        assert mine.acquisition_date == theirs.acquisition_date
        for name in (
            "size_x", "size_y", "size_z", "size_c", "size_t", "type", "significant_bits",
            "physical_size_x", "physical_size_y", "physical_size_z",
        ):  # fmt: skip
            assert getattr(mine.pixels, name) == getattr(theirs.pixels, name), name
        for one, other in zip(mine.pixels.channels, theirs.pixels.channels, strict=True):
            for name in ("name", "color", "emission_wavelength", "samples_per_pixel"):
                assert getattr(one, name) == getattr(other, name), name


def test_text_that_xml_cannot_hold_is_left_out_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, channel_names=["a\x01<b>&"])
    parsed = ome_types.from_xml(xr.open_dataset(path, engine="nd2").attrs["ome_xml"])
    assert parsed.images[0].pixels.channels[0].name == "a<b>&"


def test_one_position(rich: Path) -> None:
    whole = xr.open_dataset(rich, engine="nd2")
    for position in (1, -1, "B2"):
        one = xr.open_dataset(rich, engine="nd2", position=position)
        assert "P" not in one.dims
        assert one.P.item() == 1
        assert one.position_name.item() == "B2"
        np.testing.assert_array_equal(one.image, whole.image.isel(P=1))
        np.testing.assert_array_equal(one.time, whole.time.isel(P=1))
        np.testing.assert_array_equal(one.labels_my_cells, whole.labels_my_cells.isel(P=1))
        np.testing.assert_array_equal(one["T"], whole.time.isel(P=1, Z=0))
    kept = xr.open_dataset(rich, engine="nd2", position="B2", squeeze=False)
    assert kept.sizes["P"] == 1
    assert kept.P.values.tolist() == [1]
    assert kept.position_name.values.tolist() == ["B2"]
    with pytest.raises(IndexError, match="position 2"):
        xr.open_dataset(rich, engine="nd2", position=2)
    with pytest.raises(ValueError, match="there are 'A1', 'B2'"):
        xr.open_dataset(rich, engine="nd2", position="B3")


def test_the_only_position_of_a_file_without_positions(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 2)])
    np.testing.assert_array_equal(xr.open_dataset(path, engine="nd2", position=0).image.values, spec.array)


def test_absolute_times(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2", time="absolute")
    start = np.datetime64(START.replace(tzinfo=None), "ns")
    since = ((TIMES - TIMES[0]) * 1e6).round().astype("timedelta64[ns]")
    assert dataset.time.dtype == dataset["T"].dtype == np.dtype("datetime64[ns]")
    np.testing.assert_array_equal(dataset.time.values.reshape(-1), start + since)
    np.testing.assert_array_equal(dataset["T"], start + since[::4])
    assert "units" not in dataset["T"].attrs


def test_absolute_times_that_are_not_decoded(rich: Path) -> None:
    decoded = xr.open_dataset(rich, engine="nd2", time="absolute")
    for options in ({"decode_cf": False}, {"decode_times": False}):
        raw = xr.open_dataset(rich, engine="nd2", time="absolute", **options)  # type: ignore[arg-type]
        assert raw["T"].attrs["units"] == "seconds since 2024-05-01 12:00:00.250"
        np.testing.assert_allclose(raw["T"], (TIMES[::4] - TIMES[0]) / 1000)
        xr.testing.assert_equal(xr.decode_cf(raw), decoded)


def test_a_file_that_does_not_say_when_it_was_recorded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nd2", start=None)
    with nd2.ND2File(path) as file:
        assert file._reader.start_julian_day < 1
    with pytest.raises(ValueError, match=r"does not say when.*a\.nd2"):
        xr.open_dataset(path, engine="nd2", time="absolute")
    assert "acquisition_date" not in xr.open_dataset(path, engine="nd2").attrs
    with pytest.raises(ValueError, match="'relative' or 'absolute'"):
        xr.open_dataset(path, engine="nd2", time="local")


@pytest.mark.parametrize(
    "options",
    [
        {"decode_cf": False},
        {"mask_and_scale": True, "decode_times": True, "concat_characters": True},
        {"decode_coords": "all", "decode_timedelta": True},
        {"cache": False},
        {"chunks": {}},
        {"chunks": "auto"},
        {"chunks": {"T": 2, "P": 1}},
        {"chunks": {}, "inline_array": True},
        {"validate_frames": True, "search_window": 10},
        {"rescue": True},
    ],
    ids=str,
)
def test_options_of_xarray_and_of_reading_change_no_value(rich: Path, options: dict[str, Any]) -> None:
    plain = xr.open_dataset(rich, engine="nd2")
    xr.testing.assert_identical(xr.open_dataset(rich, engine="nd2", **options), plain)


def test_the_class_is_an_engine_too(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine=ND2BackendEntrypoint)
    np.testing.assert_array_equal(dataset.image, pixels())


def test_all_frames_on_one_axis(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2", flat_frames=True)
    assert dataset.image.dims == ("U", "C", "Y", "X")
    np.testing.assert_array_equal(dataset.time, TIMES / 1000)


def test_a_damaged_file_is_rescued(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 5)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 8192])
    with pytest.raises(ValueError, match="cut short"):
        xr.open_dataset(path, engine="nd2")
    with pytest.warns(UserWarning, match="rescued"):
        dataset = xr.open_dataset(path, engine="nd2", rescue=True)
    np.testing.assert_array_equal(dataset.image.values.reshape(spec.array.shape), spec.array)


def test_what_is_dropped_is_not_read(rich: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ModernReader) -> None:
        raise AssertionError("the times were read")

    monkeypatch.setattr(ModernReader, "frame_times", property(refuse))
    with pytest.raises(AssertionError, match="times"):
        xr.open_dataset(rich, engine="nd2")
    dropped = ["T", "labels_my_cells", "exposure"]
    dataset = xr.open_dataset(rich, engine="nd2", drop_variables=dropped)
    assert set(dataset.data_vars) == {"image"}
    assert "T" not in dataset.coords
    np.testing.assert_array_equal(dataset.time.values.reshape(-1), TIMES / 1000)


def test_units_are_units_to_pint(rich: Path) -> None:
    pint = pytest.importorskip("pint")
    registry = pint.UnitRegistry()
    dataset = xr.open_dataset(rich, engine="nd2", drop_variables="none")
    units = {name: v.attrs["units"] for name, v in dataset.variables.items() if "units" in v.attrs}
    assert units["X"] == "micrometer"
    assert units["T"] == "s"
    for unit in units.values():
        registry.parse_units(unit)


@pytest.mark.parametrize("time", ["relative", "absolute"])
@pytest.mark.parametrize("form", ["netcdf", "zarr 2", "zarr 3"])
def test_the_whole_dataset_is_written_and_read_back(rich: Path, tmp_path: Path, form: str, time: str) -> None:
    dataset = xr.open_dataset(rich, engine="nd2", time=time)
    path = tmp_path / "copy"
    if form == "netcdf":
        dataset.to_netcdf(path, engine="h5netcdf")
        copy = xr.open_dataset(path, engine="h5netcdf")
    else:
        dataset.to_zarr(path, zarr_format=int(form[-1]), consolidated=form == "zarr 2")
        copy = xr.open_zarr(path, consolidated=form == "zarr 2")
    with copy:
        xr.testing.assert_identical(copy.load(), dataset.load())


def test_attributes_longer_than_64_kilobytes_are_written_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("P", 1000)], height=1, width=1)
    dataset = xr.open_dataset(path, engine="nd2")
    assert min(len(dataset.attrs[name]) for name in ("nd2_experiment", "ome_xml")) > 1 << 16
    dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as copy:
        xr.testing.assert_identical(copy.load(), dataset.load())


def test_chunked_datasets_are_written(rich: Path, tmp_path: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2", chunks={})
    dataset.to_zarr(tmp_path / "a.zarr", consolidated=False)
    copy = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    xr.testing.assert_identical(copy.load(), dataset.load())


def test_axes_say_what_they_are(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    axes = {name: dataset[name].attrs.get("axis") for name in "TPZCYX"}
    assert axes == {"T": "T", "P": None, "Z": "Z", "C": None, "Y": "Y", "X": "X"}
    assert dataset["T"].attrs["standard_name"] == dataset.time.attrs["standard_name"] == "time"
    assert dataset.emission_wavelength.attrs["standard_name"] == "radiation_wavelength"
    names = [dataset[name].attrs["long_name"] for name in ("T", "Z", "Y", "X", "stage_x")]
    assert names == ["time", "Z", "Y", "X", "stage x"]


def test_a_stopped_acquisition_without_delay_has_increasing_times(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    nd2.imwrite(path, np.zeros((5, 4, 4), "u2"), axes="TYX", times=[0, 1311, 2503, np.nan, np.nan])
    times = xr.open_dataset(path, engine="nd2")["T"]
    np.testing.assert_allclose(times[:4], [0, 1.311, 2.503, 3.7545])
    assert times.attrs["source"] == "mixed"


def test_planes_of_an_unknown_distance_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    with nd2.ND2Writer(path, {"Z": 3, "Y": 4, "X": 5}, np.uint16) as writer:
        for plane in range(3):
            writer.write_frame(plane, np.full((4, 5), plane, np.uint16))
    dataset = xr.open_dataset(path, engine="nd2")
    assert dataset.Z.values.tolist() == [0, 1, 2]
    assert dataset.Z.attrs == {"units": "1", "long_name": "plane", "axis": "Z"}
    nd2.imwrite(tmp_path / "b.nd2", dataset)
    again = xr.open_dataset(tmp_path / "b.nd2", engine="nd2")
    xr.testing.assert_identical(again.Z, dataset.Z)
    refs = open_references(to_kerchunk(path))
    assert refs.Z.values.tolist() == [0, 1, 2]
