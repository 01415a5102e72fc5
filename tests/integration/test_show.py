"""``nd2 show``: pictures and animations by the suffix of the output, in the given size, with names and a scale bar."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

import nd2
from nd2._core.cli import main
from tests.builder import build
from tests.samples import each_sample

if TYPE_CHECKING:
    from pathlib import Path

image = pytest.importorskip("PIL.Image")


@pytest.fixture
def lapse(tmp_path: Path) -> Path:
    """Return a time lapse of stacks, with two channels."""
    path = tmp_path / "lapse.nd2"
    build(path, loops=[("T", 5), ("Z", 3)], channels=2, height=90, width=121)
    return path


def show(*arguments: Any) -> int:
    return main(["show", *map(str, arguments)])


def opened(path: Path) -> Any:
    with image.open(path) as picture:
        picture.load()
        return picture


@pytest.mark.parametrize(
    ("suffix", "form"), [("png", "PNG"), ("jpg", "JPEG"), ("JPEG", "JPEG"), ("tif", "TIFF"), ("tiff", "TIFF")]
)
def test_the_suffix_decides_the_format(lapse: Path, suffix: str, form: str) -> None:
    out = lapse.with_name(f"out.{suffix}")
    assert show(lapse, out, "-n", 0) == 0
    assert opened(out).format == form
    assert opened(out).mode == "RGB"


def test_a_page_of_a_document(lapse: Path) -> None:
    out = lapse.with_name("out.pdf")
    assert show(lapse, "-o", out) == 0
    assert out.read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("name", ["a.bmp", "a.svg", "a.txt", "a.mp4", "a.nonsense"])
def test_other_formats_are_refused(lapse: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(lapse, "-o", lapse.with_name(name)) == 1
    assert "none of the suffixes .png, .jpg, .jpeg, .tif, .tiff, .pdf" in capsys.readouterr().err
    assert not lapse.with_name(name).exists()


@pytest.mark.parametrize("size", [17, 64, 90, 121, 200, 1000])
def test_the_size_asked_for(lapse: Path, size: int) -> None:
    out = lapse.with_name("out.png")
    assert show(lapse, out, "-n", 0, "--size", size) == 0
    assert max(opened(out).size) == size
    assert min(opened(out).size) == round(90 * size / 121)
    with nd2.ND2File(lapse) as file:
        pixels = file.thumbnail([0], size=size).pixels
    assert max(pixels.shape) == size


def test_pixels_of_an_enlarged_and_a_reduced_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    values = np.arange(20, dtype=np.uint8).reshape(4, 5)
    nd2.imwrite(path, values)
    with nd2.ND2File(path) as file:
        once, twice, half = (file.thumbnail(size=size).pixels for size in (5, 10, 3))
    np.testing.assert_array_equal(twice, once.repeat(2, axis=0).repeat(2, axis=1))
    assert half.shape == (2, 3, 3)
    np.testing.assert_array_equal(np.diff(half[..., 0].astype(int).reshape(-1)) > 0, True)


def test_names_and_a_scale_bar(lapse: Path) -> None:
    plain, full = lapse.with_name("plain.png"), lapse.with_name("full.png")
    assert show(lapse, plain, "--plain", "--tiles", 4) == 0
    assert show(lapse, full, "--tiles", 4) == 0
    bare, drawn = (np.asarray(opened(path)).astype(int) for path in (plain, full))
    assert bare.shape == drawn.shape
    changed = (bare != drawn).any(axis=2)
    height, width = changed.shape[0] // 2, changed.shape[1] // 2
    for tile in (changed[y:, x:][:height, :width] for y in (0, height) for x in (0, width)):
        assert tile[: height // 4, : width // 2].any()  # the place of the frame in the loops
        assert tile.mean() < 0.2
    assert changed[height * 3 // 4 : height, width // 2 : width].any()  # the bar, on the first tile
    assert not changed[: height - 1][height * 3 // 4 :, width + 2 :].any()
    with nd2.ND2File(lapse) as file:
        both = file.thumbnail(tiles=4, size=None, annotated=True).pixels
    np.testing.assert_array_equal(both, drawn)


def test_without_pillow(lapse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = lapse.with_name("out.png")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert show(lapse, out) == 0
    assert "Pillow is needed for scale bar and names: pip install" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert show(lapse, lapse.with_name("out.jpg")) == 1
    assert "Pillow is needed to draw: pip install" in capsys.readouterr().err
    assert not lapse.with_name("out.jpg").exists()


def test_bright_field_is_left_out_of_composites(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    values = np.random.default_rng(0).integers(0, 4000, (2, 8, 8)).astype(np.uint16)
    flags: list[list[Any]] = [["fluorescence"], ["brightfield"]]
    optics = [nd2.structures.Microscope(modalityFlags=one) for one in flags]
    nd2.imwrite(path, values, axes="CYX", channels=["GFP", "TD"], microscope=optics)
    with nd2.ND2File(path) as file:
        default, one, both, split = (
            file.thumbnail(channels=channels, split=tiles).pixels
            for channels, tiles in ((None, False), ([0], False), ([0, 1], False), (None, True))
        )
        store = zarr.open_group(file.write_ome_zarr(tmp_path / "a.zarr"), mode="r")
    np.testing.assert_array_equal(default, one)
    assert (both != one).any()
    assert split.shape != one.shape
    channels: Any = store.attrs["ome"]
    assert [one["active"] for one in channels["omero"]["channels"]] == [True, False]


def test_a_white_channel_without_a_wavelength_among_others(tmp_path: Path) -> None:
    """Cameras record transmitted light with the flags of fluorescence."""
    path = tmp_path / "a.nd2"
    color = nd2.structures.Color
    channels = [
        nd2.structures.ChannelMeta("Mono", 0, color(255, 255, 255), None, None),
        nd2.structures.ChannelMeta("GFP", 1, color(0, 255, 0), 510.0, 488.0),
    ]
    values = np.random.default_rng(0).integers(0, 4000, (2, 8, 8)).astype(np.uint16)
    nd2.imwrite(path, values, axes="CYX", channels=channels)
    with nd2.ND2File(path) as file:
        assert file._facts.composite_channels == [1]
        np.testing.assert_array_equal(file.thumbnail().pixels, file.thumbnail(channels=["GFP"]).pixels)


@pytest.mark.parametrize("suffix", ["gif", "apng", "png"])
def test_an_animation(lapse: Path, suffix: str) -> None:
    out = lapse.with_name(f"movie.{suffix}")
    assert show(lapse, out, "--animate", "--fps", 4, "--size", 60) == 0
    with image.open(out) as movie:
        assert movie.n_frames == 5
        assert movie.size == (60, 45)
        assert movie.info["duration"] == 250
        frames = []
        for number in range(movie.n_frames):
            movie.seek(number)
            frames.append(np.asarray(movie.convert("RGB")))
    assert len({frame.tobytes() for frame in frames}) == 5
    assert show(lapse, lapse.with_name("z.gif"), "--animate", "--axis", "Z") == 0
    with image.open(lapse.with_name("z.gif")) as movie:
        assert movie.n_frames == 3


def test_a_video(lapse: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    assert show(lapse, "-o", lapse.with_name("movie.mp4"), "--animate", "--fps", 5) == 0
    command = [ffmpeg.get_ffmpeg_exe(), "-i", lapse.with_name("movie.mp4")]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, check=True, capture_output=True)
    assert b"5 fps" in done.stderr
    height, width = 450 // 90 * 90, 605 + 1  # enlarged, and even
    frames = np.frombuffer(done.stdout, np.uint8).reshape(5, height, width, 3)
    assert frames.any(axis=(1, 2, 3)).all()
    assert not list(lapse.parent.glob("*.part"))


def test_a_video_that_cannot_be_encoded(
    lapse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    program = lapse.with_name("ffmpeg")
    program.write_text("#!/bin/sh\necho the disk is full >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "get_ffmpeg_exe", lambda: str(program))
    assert show(lapse, lapse.with_name("movie.mp4"), "--animate") == 1
    assert "ffmpeg failed: the disk is full" in capsys.readouterr().err
    assert sorted(path.name for path in lapse.parent.iterdir()) == ["ffmpeg", "lapse.nd2"]


def test_a_video_without_the_extra(
    lapse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert show(lapse, lapse.with_name("movie.mp4"), "--animate") == 1
    assert "imageio-ffmpeg is needed to write MP4: pip install" in capsys.readouterr().err
    assert [path.name for path in lapse.parent.iterdir()] == ["lapse.nd2"]


def test_what_cannot_be_animated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "one.nd2")
    build(tmp_path / "more.nd2", loops=[("T", 3)])
    out = tmp_path / "x.gif"
    assert show(tmp_path / "one.nd2", out, "--animate") == 1
    assert "nothing to animate: neither time points nor planes" in capsys.readouterr().err
    assert show(tmp_path / "more.nd2", out, "--animate", "--axis", "Z") == 1
    assert "no loop 'Z'" in capsys.readouterr().err
    assert show(tmp_path / "more.nd2", tmp_path / "x.jpg", "--animate") == 1
    assert "none of the suffixes .mp4, .gif, .apng, .png" in capsys.readouterr().err
    assert show(tmp_path / "more.nd2", out, "--animate", "--fps", 0) == 1
    assert not out.exists()


def test_several_files(lapse: Path) -> None:
    build(lapse.with_name("other.nd2"))
    assert show(lapse.parent / "*.nd2", "--out-dir", lapse.parent / "out") == 0
    assert sorted(path.name for path in (lapse.parent / "out").iterdir()) == ["lapse.png", "other.png"]


@each_sample()
def test_pictures_of_samples(sample: Path, tmp_path: Path) -> None:
    with nd2.ND2File(sample) as file:
        if not file._reader.frame_count or min(file._reader.frames.pixels.shape) < 1:
            pytest.skip("there is nothing to show")
    assert show(sample, tmp_path / "a.png") == 0
    assert max(opened(tmp_path / "a.png").size) <= 1024
