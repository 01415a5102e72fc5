"""Legacy (JPEG 2000) files as a user sees them, on files that the tests write."""

from __future__ import annotations

import io
import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import xarray as xr

import nd2
from nd2._core.format import jp2
from nd2._core.io import open_source
from nd2._core.io.local import LocalSource
from nd2._core.open import open_reader
from nd2._core.readers.legacy import LegacyReader
from nd2.structures import StagePosition
from tests import boxes
from tests.legacy_builder import LegacySpec, build

if TYPE_CHECKING:
    from pathlib import Path

imagecodecs = pytest.importorskip("imagecodecs")

KINDS: dict[str, dict[str, Any]] = {
    "one frame": {},
    "8 bit": {"bits": 8},
    "12 bit": {"bits": 12},
    "three channels": {"channels": 3},
    "color": {"samples": 3, "bits": 8},
    "color, 16 bit, T": {"samples": 3, "loops": [("T", 3)]},
    "T": {"loops": [("T", 4)]},
    "T P Z": {"loops": [("T", 2), ("P", 3), ("Z", 2)], "channels": 3, "bits": 8},
    "Z T": {"loops": [("Z", 3), ("T", 2)], "channels": 2},
    "siblings": {"loops": [("T", 2), ("P", 2)], "siblings": True},
    "loop of one": {"loops": [("T", 1), ("Z", 3)]},
    "no map": {"loops": [("T", 3)], "channels": 2, "box_map": False},
    "no image header": {"loops": [("T", 2)], "image_header": False},
    "color, no image header": {"samples": 3, "image_header": False},
    "no text": {"loops": [("Z", 2)], "text_info": False},
    "no experiment": {"loops": [("T", 2), ("P", 3)], "experiment": False},
    "unlisted boxes between": {"loops": [("T", 3)], "channels": 2, "between": boxes.encode_box(b"free", b"x" * 30)},
    "fewer frames than loops": {"loops": [("T", 4)], "extra": -1, "channels": 2},
    "more frames than loops": {"loops": [("T", 3)], "extra": 2},
}


@pytest.fixture(params=KINDS, ids=str)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, LegacySpec]:
    path = tmp_path / "legacy.nd2"
    return path, build(path, **KINDS[request.param])


def test_pixels_and_shape(made: tuple[Path, LegacySpec]) -> None:
    path, spec = made
    with nd2.ND2File(path) as file:
        assert (file.version, file.is_legacy) == ((1, 0), True)
        sizes = {**dict(spec.loops), "C": spec.channels, "Y": spec.height, "X": spec.width, "S": spec.samples}
        assert dict(file.sizes) == {name: size for name, size in sizes.items() if size > 1}
        assert file.dtype == ("u1" if spec.bits == 8 else "u2")
        assert file.is_rgb is (spec.samples == 3)
        np.testing.assert_array_equal(file.asarray(), spec.array)
        for index, frame in enumerate(spec.frames):
            np.testing.assert_array_equal(file.read_frame(index), frame.squeeze())
        with pytest.raises(IndexError):
            file.read_frame(max(spec.frame_count, len(file.loop_indices)))


def test_every_view_gives_the_same_pixels(made: tuple[Path, LegacySpec]) -> None:
    path, spec = made
    with nd2.ND2File(path) as file:
        lazy = file.to_dask()
        labeled = file.to_xarray(delayed=False)
        copy = pickle.loads(pickle.dumps(file))
    np.testing.assert_array_equal(np.asarray(lazy), spec.array)
    np.testing.assert_array_equal(labeled.values, spec.array)
    with copy:
        np.testing.assert_array_equal(copy.asarray(), spec.array)


def test_attributes(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)], channels=2, bits=12)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        attributes = file.attributes
    assert attributes.bitsPerComponentInMemory == 16
    assert attributes.bitsPerComponentSignificant == 12
    assert (attributes.componentCount, attributes.channelCount) == (2, 2)
    assert (attributes.heightPx, attributes.widthPx, attributes.widthBytes) == (12, 16, 64)
    assert (attributes.sequenceCount, attributes.compressionLevel) == (2, 7)


@pytest.mark.parametrize("samples", [1, 3])
def test_part_of_the_image(tmp_path: Path, samples: int) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 3), ("Z", 2)], channels=3, samples=samples)
    whole = spec.array
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        lazy = file.to_dask()
        for key in (
            (slice(None, None, -1), 1, slice(1, 3), slice(2, 9, 3)),
            (0, slice(None), 2, 5, 7),
            (slice(1, 2), 0, [2, 0], slice(None), slice(3, None)),
        ):
            np.testing.assert_array_equal(np.asarray(lazy[key]), whole[key])
        one = file.asarray(out=np.empty_like(whole))
    np.testing.assert_array_equal(one, whole)


def test_metadata_cannot_be_written_back(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2")
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.raises(NotImplementedError, match=r"legacy file.*a\.nd2"):
        file.writer(tmp_path / "b.nd2")


def test_only_the_channel_asked_for_is_read(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", channels=4, height=64, width=64)
    asked: list[tuple[int, int]] = []

    class Spy(LocalSource):
        def read_into(self, targets: Any) -> None:
            asked.extend((offset, len(buffer)) for offset, buffer in targets)
            super().read_into(targets)

    source = Spy(str(tmp_path / "a.nd2"))
    frames = open_reader(source).frames
    offsets, lengths = frames.table.locations(np.arange(4))
    frames.read(np.array([0]), (range(2, 3), *map(range, frames.pixels.shape[1:])))
    source.close()
    assert asked == [(offsets[2], lengths[2])]


def test_threads(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 8)], channels=2)
    frames, wrong = spec.frames, []
    with nd2.ND2File(tmp_path / "a.nd2") as file:

        def work(start: int) -> None:
            for i in range(8):
                index = (start + i) % 8
                if not np.array_equal(file.read_frame(index), frames[index].squeeze()):
                    wrong.append(index)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_remote_and_file_objects(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 3), ("Z", 2)], channels=2)
    content = (tmp_path / "a.nd2").read_bytes()
    fsspec.filesystem("memory").pipe_file("/legacy/a.nd2", content)
    with nd2.ND2File("memory://legacy/a.nd2") as file:
        np.testing.assert_array_equal(file.asarray(), spec.array)
        assert file.text_info["description"].startswith("Metadata:")
    with nd2.ND2File(io.BytesIO(content)) as file:
        np.testing.assert_array_equal(file.asarray(), spec.array)


def test_positions_read_alone(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 2), ("P", 3)])
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        np.testing.assert_array_equal(file.asarray(position=2), spec.array[:, 2:])


def test_without_imagecodecs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2)])
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert dict(file.sizes) == {"T": 2, "Y": 12, "X": 16}
        assert file.voxel_size().x == 0.25
        assert file.to_dask().shape == (2, 12, 16)
        with pytest.raises(ImportError, match=r"xarray-nd2\[legacy\]"):
            file.read_frame(0)
        with pytest.raises(ImportError, match="imagecodecs"):
            file.asarray()


def test_loops(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 2), ("P", 3), ("Z", 4)])
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        time, positions, stack = file.experiment
    assert (time.type, time.count, time.nestingLevel) == ("TimeLoop", 2, 0)
    assert isinstance(time, nd2.structures.TimeLoop)
    assert (time.parameters.periodMs, time.parameters.durationMs) == (100, 200)
    assert time.parameters.periodDiff == nd2.structures.PeriodDiff(101, 102, 99)
    assert isinstance(positions, nd2.structures.XYPosLoop)
    assert positions.parameters.isSettingZ is True
    assert [p.stagePositionUm for p in positions.parameters.points] == [(0, 0, 0), (100, -50, 3), (200, -100, 6)]
    assert [p.pfsOffset for p in positions.parameters.points] == [0, 1, 2]
    assert isinstance(stack, nd2.structures.ZStackLoop)
    assert (stack.parameters.homeIndex, stack.parameters.stepUm) == (1, 0.5)
    assert (stack.parameters.bottomToTop, stack.parameters.deviceName) == (True, "Ti ZDrive")


def test_channels_and_calibration(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", channels=2, loops=[("Z", 3)])
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        metadata, voxel = file.metadata, file.voxel_size()
    assert isinstance(metadata, nd2.structures.Metadata)
    assert metadata.channels is not None
    assert [c.channel.name for c in metadata.channels] == ["Config 0", "Config 1"]
    assert metadata.channels[0].channel.color == (0, 255, 0, 1.0)
    microscope = metadata.channels[0].microscope
    assert (microscope.objectiveName, microscope.objectiveMagnification) == ("Plan Apo 20x", 20)
    assert (microscope.objectiveNumericalAperture, microscope.pinholeDiameterUm) == (0.75, 30)
    assert voxel == (0.25, 0.25, 0.5)


def test_frame_metadata_and_times(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)])
    source = open_source(tmp_path / "a.nd2")
    reader = open_reader(source)
    assert isinstance(reader, LegacyReader)
    assert reader.frame_metadata(2)["TimeMSec"] == 205.5
    assert reader.frame_metadata(2)["Objective"] == "Plan Apo 20x"
    assert reader.frame_times is not None
    assert reader.frame_times.tolist() == [5.5, 105.5, 205.5]
    assert reader.stage_positions.tolist() == [[0, 0, 1.5], [10, -20, 1.5], [20, -40, 1.5]]
    with pytest.raises(IndexError, match="frame index 3"):
        reader.frame_metadata(3)
    source.close()


def test_stage_of_frames_that_the_file_does_not_hold_is_not_known(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 3)], extra=-1)
    source = open_source(tmp_path / "a.nd2")
    stage = open_reader(source).stage_positions
    source.close()
    assert stage.shape == (3, 3)
    assert np.isnan(stage[2]).all()
    assert stage[1].tolist() == [10, -20, 1.5]


def test_description_counts_where_loops_say_more_than_was_recorded(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("P", 5)], extra=-2, described=[("P", 3)])
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert dict(file.sizes) == {"P": 3, "Y": 12, "X": 16}
        np.testing.assert_array_equal(file.asarray(), spec.frames.squeeze())


def test_loops_count_where_the_description_is_stale(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 3)], described=[("T", 120)])
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        np.testing.assert_array_equal(file.asarray(), spec.array)


def test_positions_without_experiment_are_where_the_stage_was(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("P", 2), ("Z", 3)], experiment=False)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        positions, stack = file.experiment
    assert isinstance(positions, nd2.structures.XYPosLoop)
    assert [p.stagePositionUm for p in positions.parameters.points] == [
        StagePosition(0, 0, 1.5),
        StagePosition(30, -60, 1.5),
    ]
    assert isinstance(stack, nd2.structures.ZStackLoop)
    assert stack.parameters.stepUm == 0.5


def test_frames_of_which_nothing_tells_the_loops_are_a_time_series(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("Z", 3)], experiment=False, text_info=False)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        assert dict(file.sizes) == {"T": 3, "Y": 12, "X": 16}


def test_engine(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 2), ("Z", 3)], channels=2)
    with xr.open_dataset(tmp_path / "a.nd2", engine="nd2") as dataset:
        image = dataset["image"]
        assert image.dims == ("T", "Z", "C", "Y", "X")
        np.testing.assert_array_equal(image.values, spec.array)
        assert dataset["C"].values.tolist() == ["Config 0", "Config 1"]
        assert dataset["Z"].values.tolist() == [-0.5, 0, 0.5]
        np.testing.assert_allclose(dataset["T"].values, [0.0055, 0.3055])
        assert dataset["X"].values[1] == 0.25
        np.testing.assert_array_equal(image.isel(C=1, Y=slice(3, 5)).values, spec.array[:, :, 1, 3:5])


def damaged(path: Path, change: dict[int, bytes] | None = None, cut: int | None = None) -> Path:
    content = bytearray(path.read_bytes()[:cut])
    for offset, data in (change or {}).items():
        content[offset : offset + len(data)] = data
    path.write_bytes(content)
    return path


@pytest.fixture
def first_stream(tmp_path: Path) -> tuple[Path, int]:
    """A file, and where its second frame's codestream starts."""
    build(tmp_path / "a.nd2", loops=[("T", 3)])
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        offsets, _ = file._reader.frames.table.locations(np.array([1]))
    return tmp_path / "a.nd2", int(offsets[0])


@pytest.mark.parametrize(
    ("at", "data", "message"),
    [
        (0, b"\0\0", "no JPEG 2000 codestream starts here"),
        (8, (99).to_bytes(4, "big"), "of 12 x 99 pixels of 1 components, the file of 12 x 16"),
        (50, bytes(60), "cannot be decoded|the codestream holds"),
    ],
)
def test_damaged_codestream(first_stream: tuple[Path, int], at: int, data: bytes, message: str) -> None:
    path, offset = first_stream
    with nd2.ND2File(damaged(path, {offset + at: data})) as file:
        assert file.read_frame(0).any()
        with pytest.raises(ValueError, match=message) as caught:
            file.read_frame(1)
    assert "frame 1" in str(caught.value)
    assert "a.nd2" in str(caught.value)


def test_file_that_was_cut_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", loops=[("T", 4)])
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        offsets, lengths = file._reader.frames.table.locations(np.arange(4))
    with nd2.ND2File(damaged(tmp_path / "a.nd2", cut=int(offsets[2] + lengths[2]))) as file:
        assert dict(file.sizes) == {"T": 3, "Y": 12, "X": 16}
        np.testing.assert_array_equal(file.asarray(), spec.frames[:3].squeeze())


def test_damaged_map_names_the_file(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2")
    content = (tmp_path / "a.nd2").read_bytes()
    damaged(tmp_path / "a.nd2", {len(content) - 8: b"\xff" * 8})
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.raises(ValueError, match=r"box map .*a\.nd2.*offset"):
        file.sizes  # noqa: B018


def test_damaged_xml_names_the_box(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2")
    at = (tmp_path / "a.nd2").read_bytes().index(b"<MetadataSeq>")
    damaged(tmp_path / "a.nd2", {at: b"<MetadataSex>"})
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.raises(ValueError, match=r"XML is damaged.*a\.nd2.*'VIMD'"):
        file.metadata  # noqa: B018


def test_file_without_any_box(tmp_path: Path) -> None:
    (tmp_path / "a.nd2").write_bytes(jp2.SIGNATURE)
    with nd2.ND2File(tmp_path / "a.nd2") as file, pytest.raises(ValueError, match=r"no codestream.*a\.nd2"):
        file.sizes  # noqa: B018


def test_color_is_red_green_blue_in_engine_and_xarray(tmp_path: Path) -> None:
    spec = build(tmp_path / "a.nd2", samples=3, bits=8, loops=[("T", 2)])
    with xr.open_dataset(tmp_path / "a.nd2", engine="nd2") as dataset:
        assert dataset["S"].values.tolist() == ["R", "G", "B"]
        assert np.array_equal(dataset["image"].values, spec.array)
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        labeled = file.to_xarray(delayed=False)
    assert labeled["S"].values.tolist() == ["Red", "Green", "Blue"]
    assert np.array_equal(labeled.sel(S="Red"), spec.array[..., 0])


def test_rescue_without_a_box_map_of_use(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, loops=[("T", 3)], channels=2)
    data = bytearray(path.read_bytes())
    data[-8:] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(data)
    with nd2.ND2File(path) as file, pytest.raises(ValueError, match="box map"):
        _ = file.sizes
    with nd2.ND2File(path, rescue=True) as file:
        assert np.array_equal(file.asarray(), spec.array)
    with pytest.raises(NotImplementedError, match="copy of a legacy file"):
        nd2.rescue_file(path, tmp_path / "b.nd2")


def test_no_copies_of_legacy_files(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", LegacySpec())
    with nd2.ND2File(tmp_path / "a.nd2") as file:
        with pytest.raises(NotImplementedError, match="metadata of a legacy file"):
            file.writer(tmp_path / "b.nd2")
        with pytest.raises(NotImplementedError, match="part of a legacy file"):
            file.write_nd2(tmp_path / "b.nd2")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nd2"]
