"""How an ``ND2File`` shows itself: as text, as a table in a notebook, and as a picture on request."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

import nd2
from nd2._core.frames.read import Frames
from nd2._core.io.urls import file_name
from tests.builder import build
from tests.samples import each_sample, sample_names
from tests.servers import range_server

if TYPE_CHECKING:
    from pathlib import Path


class Cells(HTMLParser):
    """Rows of the tables of a document, and whether its tags match."""

    VOID = frozenset({"br", "img", "hr"})

    def __init__(self, document: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self.used: set[str] = set()
        self.feed(document)
        self.close()
        assert not self.tags

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.used.add(tag)
        if tag not in self.VOID:
            self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.rows and self.tags and "tr" in self.tags:
            self.rows[-1][-1] += data


def rows(file: nd2.ND2File) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in Cells(file._repr_html_()).rows if row}


@pytest.fixture
def no_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("pixels are read")

    monkeypatch.setattr(Frames, "read", read)


@each_sample()
@pytest.mark.usefixtures("no_pixels")
def test_every_sample_shows_itself(sample: Path) -> None:
    with nd2.ND2File(sample) as file:
        text, table = repr(file), rows(file)
        assert re.fullmatch(rf"<ND2File at 0x[0-9a-f]+: {sample.name!r} {file.dtype}: \{{.*\}}>", text)
        for axis, size in file.sizes.items():
            assert repr(axis) in text
            assert table[axis][0] == str(size)
        assert table["path"] == [str(sample)]
        assert table["type"][0].startswith(str(file.dtype))


@each_sample(sample_names(damaged=True))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_samples_show_themselves(sample: Path) -> None:
    try:
        file = nd2.ND2File(sample)
    except (OSError, ValueError):
        return  # what does not open has nothing to show
    with file:
        assert sample.name in repr(file)
        assert sample.name in file._repr_html_()


def test_steps_units_and_names(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 2), ("P", 3), ("Z", 4)], channels=2, channel_names=["DAPI", "GFP"])
    with nd2.ND2File(path) as file:
        table = rows(file)
        document = file._repr_html_()
        period = file.experiment[0].parameters.periodDiff.avg  # type: ignore[union-attr]
    assert table["T"] == ["2", f"{period / 1000:.4g} s", "time"]
    assert table["Z"][1].endswith(" µm")
    assert table["P"] == ["3", "", "positions: A1, A2, A3"]
    assert table["Y"][1:] == ["0.325 µm", "height"]
    assert table["DAPI"]
    assert table["GFP"]
    assert "background:#00FF00" in document
    assert "background:#FF0000" in document


def test_text_of_the_file_is_not_markup(tmp_path: Path) -> None:
    path = tmp_path / "<b onclick=x>&amp;.nd2"
    build(path, loops=[("P", 2)], channels=2, channel_names=["<script>alert(1)</script>", '"><img src=x>'])
    with nd2.ND2File(path) as file:
        document = file._repr_html_()
        table = rows(file)
        file.close()
        closed = file._repr_html_()
    assert Cells(document).used == {"div", "strong", "table", "tr", "th", "td", "span"}
    assert "<script>alert(1)</script>" in table
    assert table["path"] == [str(path)]
    assert Cells(closed).used == {"pre"}


def test_long_lists_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, loops=[("P", 40)], channels=30, channel_names=[f"c{i}" for i in range(30)])
    with nd2.ND2File(path) as file:
        table = rows(file)
    assert table["P"][2].endswith("A12 and 28 more")
    assert "c11" in table
    assert "c12" not in table
    assert "and 18 more" in table


def test_closed_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    file = nd2.ND2File(path)
    file.close()
    path.unlink()
    assert repr(file).endswith(": 'a.nd2' (closed)>")
    assert "(closed)" in file._repr_html_()
    with pytest.raises(ValueError, match="closed"):
        file.thumbnail()


def test_file_object_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path)
    with nd2.ND2File(io.BytesIO(path.read_bytes())) as file:
        assert ": '' uint16" in repr(file)
        assert "path" not in rows(file)


def test_file_that_failed_to_open() -> None:
    assert re.fullmatch(r"<ND2File at 0x\w+ \(AttributeError\)>", repr(nd2.ND2File.__new__(nd2.ND2File)))


def test_damaged_metadata_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    build(path, overrides={"uiHeight": -5})
    with nd2.ND2File(path) as file:
        assert repr(file).endswith("'a.nd2' (CorruptFileError)>")
        assert "CorruptFileError" in file._repr_html_()


@pytest.mark.usefixtures("no_pixels")
def test_remote_file_is_shown_without_its_pixels(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2", loops=[("T", 4)], height=700, width=800)  # 1.1 MB a frame
    with range_server(tmp_path) as server, nd2.ND2File(f"{server.url('a.nd2')}?token=x") as file:
        assert "'a.nd2'" in repr(file)
        document = file._repr_html_()
        assert "token" not in document
        assert server.sent < 700 * 800 * 2  # less than a frame
        before = server.sent
        assert file._repr_html_() == document
        assert server.sent == before


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("a.nd2", "a.nd2"),
        ("folder/a.nd2", "a.nd2"),
        ("s3://bucket/folder/a.nd2", "a.nd2"),
        ("https://host/a%20b.nd2?x=1#y", "a%20b.nd2"),
        ("simplecache::s3://bucket/a.nd2", "a.nd2"),
        ("zip://a.nd2::s3://bucket/files.zip", "a.nd2"),
        ("", ""),
    ],
)
def test_name_of_a_url(url: str, name: str) -> None:
    assert file_name(url) == name
