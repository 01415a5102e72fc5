"""The accessor ``.nd2`` of datasets: its file, events, positions, pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem

import nd2
from nd2._core.views.channels import is_bright_field
from tests.builder import build
from tests.handles import no_handle_is_left
from tests.rich_file import FRAMES, pixels, write

if TYPE_CHECKING:
    from pathlib import Path


def test_the_file_behind_a_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nd2")
    dataset = xr.open_dataset(path, engine="nd2")
    for part in (dataset, dataset.isel(T=1)):
        with part.nd2.file() as file:
            assert isinstance(file, nd2.ND2File)
            assert file.path == str(path)
    assert no_handle_is_left(path)
    with pytest.raises(ValueError, match="does not say which file"):
        xr.Dataset({"image": ("X", [1])}).nd2.file()


def test_events_as_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nd2")
    events = xr.open_dataset(path, engine="nd2").nd2.events
    assert len(events) == FRAMES + 1
    assert events["Gain"].dropna().tolist() == list(range(FRAMES))
    assert events["Events"].dropna().tolist() == ["Command Executed"]
    assert no_handle_is_left(path)


def test_selecting_a_position_by_name(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    np.testing.assert_array_equal(dataset.nd2.sel_position("B2").image, pixels()[:, 1])
    one = xr.open_dataset(rich, engine="nd2", position="A1")
    assert one.nd2.sel_position("A1").identical(one)
    with pytest.raises(ValueError, match="no position 'C3'; there are 'A1', 'B2'"):
        dataset.nd2.sel_position("C3")


def test_names_of_positions_as_labels(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    for named in (dataset.nd2.index_positions(), dataset.image.nd2.index_positions().to_dataset()):
        np.testing.assert_array_equal(named.image.sel(P="B2"), pixels()[:, 1])
        np.testing.assert_array_equal(named.image.sel(P=["B2", "A1"]), pixels()[:, ::-1])
        assert "position_name" not in named.coords
    with pytest.raises(ValueError, match="no axis of positions with names"):
        dataset.isel(P=0).nd2.index_positions()


class _Locked(MemoryFileSystem):  # type: ignore[misc]
    """Opens files only with a key."""

    protocol = "locked"

    def __init__(self, key: str = "", **options: Any) -> None:
        if key != "open":
            raise PermissionError("no key")
        super().__init__(**options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("locked://", "memory://")))


def test_events_of_a_file_that_needs_options(tmp_path: Path) -> None:
    fsspec.register_implementation("locked", _Locked, clobber=True)
    path = write(tmp_path / "a.nd2")
    options = {"key": "open"}
    fsspec.filesystem("locked", **options).pipe("/events.nd2", path.read_bytes())
    dataset = xr.open_dataset("locked://events.nd2", engine="nd2", storage_options=options)
    with pytest.raises(OSError, match="no key"):
        dataset.nd2.read_events()
    events = dataset.nd2.read_events(storage_options=options)
    pd.testing.assert_frame_equal(events, xr.open_dataset(path, engine="nd2").nd2.events)


def test_bright_field_stays_out_of_composites(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    image = np.random.default_rng(0).integers(0, 4000, (3, 8, 8)).astype(np.uint16)
    flags: tuple[list[Any], ...] = (
        ["fluorescence", "camera"],
        ["brightfield", "camera"],
        ["brightfield", "phaseContrast"],
    )
    optics = [nd2.structures.Microscope(modalityFlags=one) for one in flags]
    nd2.imwrite(path, image, axes="CYX", channels=["GFP", "TD", "Ph"], microscope=optics)
    dataset = xr.open_dataset(path, engine="nd2")
    pictures = dataset.nd2
    np.testing.assert_array_equal(pictures.rgb(), pictures.rgb("GFP"))
    assert (pictures.rgb([0, 1, 2]) != pictures.rgb()).any()
    only = dataset.isel(C=[1, 2]).nd2
    np.testing.assert_array_equal(only.rgb(), only.rgb([0, 1]))
    assert [axes.get_title() for axes in pictures.plot().axes] == ["GFP", "TD", "Ph", "composite"]
    np.testing.assert_array_equal(dataset.image.nd2.rgb(), pictures.rgb())
    with nd2.ND2File(path) as file:
        assert [is_bright_field(channel.modality) for channel in file._facts.channels] == [False, True, True]


def test_a_composite_in_the_channels_colors(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 100
    image = np.stack([ramp, ramp[::-1]])
    colors = [(255, 0, 0), (0, 0, 255)]
    channels = [
        nd2.structures.ChannelMeta(
            name=f"c{i}", index=i, color=nd2.structures.Color(*rgb, 1.0), emissionLambdaNm=None, excitationLambdaNm=None
        )
        for i, rgb in enumerate(colors)
    ]
    nd2.imwrite(path, image, axes="CYX", channels=channels)
    picture = xr.open_dataset(path, engine="nd2").nd2.rgb()
    assert picture.dims == ("Y", "X", "S")
    assert picture.dtype == np.uint8
    assert picture.S.values.tolist() == ["R", "G", "B"]
    red, green, blue = (picture.sel(S=s).values.astype(int) for s in "RGB")
    assert red[0, 0] == 0
    assert red[-1, -1] == 255
    assert (np.diff(red.reshape(-1)) >= 0).all()
    assert not green.any()
    np.testing.assert_array_equal(blue, red[::-1])


def test_a_picture_in_color_is_red_green_blue(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    spec = build(path, samples=3, dtype="u1", loops=[("T", 2)])
    picture = xr.open_dataset(path, engine="nd2").nd2.rgb(T=1)
    np.testing.assert_array_equal(picture, spec.array[1][..., ::-1])


def test_pictures_take_the_middle_of_stacks(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2), ("Z", 5)])
    dataset = xr.open_dataset(path, engine="nd2")
    np.testing.assert_array_equal(dataset.nd2.rgb(), dataset.nd2.rgb(T=0, Z=2))
    assert (dataset.nd2.rgb() != dataset.nd2.rgb(T=1, Z=4)).any()
    with pytest.raises(ValueError, match="no frame axis 'C'; there are 'T', 'Z'"):
        dataset.nd2.rgb(C=0)


@pytest.mark.parametrize(("calibration", "bar"), [(0.325, True), (0.0, False)])
def test_figures(tmp_path: Path, calibration: float, bar: bool) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "a.nd2"
    build(path, channels=2, channel_names=["DAPI", "GFP"], calibration=calibration, width=90)
    dataset = xr.open_dataset(path, engine="nd2")
    figure = dataset.nd2.plot()
    assert [axes.get_title() for axes in figure.axes] == ["DAPI", "GFP", "composite"]
    texts = [text.get_text() for text in figure.axes[-1].texts]
    assert texts == (["5 µm"] if bar else [])
    small = dataset.nd2.thumbnail(120)
    buffer = io.BytesIO()
    small.savefig(buffer, format="png")
    assert buffer.getvalue()[16:20] == (120).to_bytes(4, "big")


def test_a_summary_for_people(rich: Path) -> None:
    dataset = xr.open_dataset(rich, engine="nd2")
    assert repr(dataset.nd2) == (
        "<nd2: T 3 x P 2 x Z 2 x C 2 x Y 6 x X 8 (uint16)\n"
        "  T: 1 s\n"
        "  P: A1, B2\n"
        "  Z: 2 µm\n"
        "  Y: 0.5 µm\n"
        "  X: 0.5 µm\n"
        "  channel: DAPI, #0000FF, fluorescence\n"
        "  channel: GFP, #00FF00, fluorescence>"
    )
    for html in (dataset.nd2._repr_html_(), dataset.image.nd2._repr_html_()):
        for part in ("DAPI", "background:#00FF00", "0.5 µm", "A1, B2", "fluorescence"):
            assert part in html
    assert "rich.nd2" in dataset.nd2._repr_html_()
    assert "values with dtype" in repr(dataset.image.variable)  # not read
    assert repr(dataset[["T"]].nd2) == "<nd2: no image>"
    assert dataset[["T"]].nd2._repr_html_() == "&lt;nd2: no image&gt;"
    assert repr(xr.DataArray(np.zeros((2, 3)), dims=("Y", "X")).nd2) == "<nd2: Y 2 x X 3 (float64)>"


def test_text_of_a_file_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    image = np.zeros((2, 8, 8), np.uint16)
    nd2.imwrite(path, image, axes="CYX", channels=["<script>x</script>", "b"])
    dataset = xr.open_dataset(path, engine="nd2")
    dataset = dataset.assign_coords(channel_color=("C", ['"><script>', "#FFFFFF"]))
    assert "<script" not in dataset.nd2._repr_html_()


def test_notebooks_show_pictures_without_pyplot(rich: Path) -> None:
    """matplotlib's own figures are shown as text until pyplot is imported."""
    pytest.importorskip("matplotlib")
    pictures = xr.open_dataset(rich, engine="nd2").nd2
    for figure in (pictures.thumbnail(64), pictures.plot(), pictures.plate()):
        image = pytest.importorskip("PIL.Image").open(io.BytesIO(figure._repr_png_()))
        size = figure.get_size_inches() * figure.dpi
        np.testing.assert_allclose(image.size, size, atol=1)
    assert max(pictures.thumbnail(64).get_size_inches() * 100) == 64
