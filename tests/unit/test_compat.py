"""Names that nd2 0.12.0 has by accident or as private members, and that programs use."""

from __future__ import annotations

import importlib
import io
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest

import nd2
import nd2._util
import nd2.index
import nd2.nd2file
import nd2.readers
import nd2.tiff
import xarray_nd2
from nd2._core.format import clx_lite
from nd2._core.structures import CustomLoop, TimeLoop, TimeLoopParams, ZStackLoop, ZStackLoopParams
from tests import legacy_builder
from tests.builder import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Any]:
    names = ["DAPI", "GFP"]
    build(tmp_path / "a.nd2", loops=[("T", 2), ("P", 3), ("Z", 4)], channels=2, channel_names=names, calibration=0.5)
    with nd2.ND2File(tmp_path / "a.nd2") as opened:
        yield opened


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Any]:
    build(tmp_path / "b.nd2", samples=3, dtype="u1", channel_names=["Brightfield"])
    with nd2.ND2File(tmp_path / "b.nd2") as opened:
        yield opened


def test_shapes(file: Any, single: Any) -> None:
    assert file._coord_info() == [(0, "TimeLoop", 2), (1, "XYPosLoop", 3), (2, "ZStackLoop", 4)]
    assert file._coord_shape == (2, 3, 4)
    assert file._frame_count == 24
    assert file._frame_shape == (2, 6, 8) == file._get_frame(0).shape
    assert file._raw_frame_shape == (6, 8, 2, 1)
    assert single._coord_info() == []
    assert single._coord_shape == ()
    assert single._frame_count == 1
    assert single._frame_shape == (6, 8, 3)
    assert single._raw_frame_shape == (6, 8, 1, 3)


def test_names(file: Any, single: Any) -> None:
    assert file._channel_names == ["DAPI", "GFP"]
    assert file._position_names() == ["A1", "A2", "A3"]
    assert file._position_names(file.experiment[1]) == ["A1", "A2", "A3"]
    assert single._channel_names == ["Brightfield"]
    assert single._position_names() == ["XYPos:0"]


def test_coordinates(file: Any, single: Any) -> None:
    coords = file._expand_coords()
    assert {name: len(values) for name, values in coords.items()} == file.sizes
    np.testing.assert_allclose(coords["X"], np.arange(8) * 0.5)
    assert set(single._expand_coords()) == {"Y", "X", "S"}
    every = single._expand_coords(squeeze=False)
    assert set(every) == {"Y", "X", "C", "P", "S"}
    assert every["P"] == ["XYPos:0"]
    assert every["C"] == ["Brightfield"]


def test_sequence_indices(file: Any, single: Any) -> None:
    assert file._seq_index_from_coords((1, 2, 3)) == 23
    assert file._seq_index_from_coords([(0, 1), (0, 0), (1, 2)]).tolist() == [1, 14]
    with pytest.raises(ValueError, match="invalid entry"):
        file._seq_index_from_coords((0, 0, 4))
    assert single._seq_index_from_coords(()) == single._NO_IDX == -1


def test_frames(file: Any, single: Any) -> None:
    np.testing.assert_array_equal(file._get_frame(7), file.read_frame(7))
    np.testing.assert_array_equal(single._get_frame(single._NO_IDX), single.read_frame(0))
    for wrong in (-1, 24):
        with pytest.raises(IndexError, match=f"frame index {wrong} is out of range"):
            file._get_frame(wrong)


def test_util(tmp_path: Path) -> None:
    util = nd2._util
    assert util.AXIS is nd2.AXIS
    assert util.TIME_KEY == "Time [s]"
    build(tmp_path / "a.nd2")
    assert (tmp_path / "a.nd2").read_bytes()[:4] == util.NEW_HEADER_MAGIC
    assert util.OLD_HEADER_MAGIC == b"\x00\x00\x00\x0c"
    assert util.is_new_format(str(tmp_path / "a.nd2"))
    assert not util.is_new_format(io.BytesIO(util.OLD_HEADER_MAGIC + bytes(4)))
    with pytest.raises(FileNotFoundError):
        util.is_new_format(tmp_path / "none.nd2")


def test_loop_indices_of_an_experiment(file: Any) -> None:
    assert nd2._util.loop_indices(file.experiment) == file.loop_indices
    assert nd2._util.loop_indices([]) == ({},)
    time = TimeLoop(2, 0, TimeLoopParams(0, 0, 0, nd2.structures.PeriodDiff()))
    stack = ZStackLoop(1, 1, ZStackLoopParams(0, 1, True))
    assert nd2._util.loop_indices([time, stack, time])[1] == {"T": 0, "Z": 0, "T2": 1}
    assert nd2._util.loop_indices([CustomLoop(2)]) == ({"U": 0}, {"U": 1})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("nd2file", "ND2File"),
        ("nd2file", "imread"),
        ("nd2file", "BinaryLayers"),
        ("readers", "ND2Reader"),
        ("readers", "ModernReader"),
        ("readers", "LegacyReader"),
    ],
)
def test_deprecated_modules(module: str, name: str) -> None:
    deprecated = importlib.import_module(f"nd2.{module}")
    with pytest.warns(DeprecationWarning, match=f"import {name} from nd2"):
        value = getattr(deprecated, name)
    if hasattr(nd2, name):
        assert value is getattr(nd2, name)
    assert not hasattr(deprecated, "never")


def test_readers_are_subclasses() -> None:
    with pytest.warns(DeprecationWarning, match="nd2.readers"):
        from nd2.readers import LegacyReader, ModernReader, ND2Reader
    assert issubclass(ModernReader, ND2Reader)
    assert issubclass(LegacyReader, ND2Reader)


def test_versions() -> None:
    # the API's, which programs compare; the distribution's is another one
    assert nd2.__version__ == "0.12.0"
    assert xarray_nd2.__version__ == version("xarray-nd2")
    # with the distribution of packaging/nd2 there is a local part
    assert nd2.version("nd2").partition("+")[0] == nd2.__version__
    assert nd2.version("numpy") == np.__version__
    with pytest.raises(PackageNotFoundError):
        nd2.version("there-is-no-such-distribution")
    assert vars(nd2)["version"] is nd2.version


def test_ome_metadata_as_a_function(file: Any) -> None:
    document = nd2.tiff.nd2_ome_metadata(file, include_unstructured=False, tiff_file_name="a.tif")
    assert document.creator == f"xarray-nd2 v{xarray_nd2.__version__}"
    uuid = document.images[0].pixels.tiff_data_blocks[0].uuid
    assert uuid is not None
    assert uuid.file_name == "a.tif"
    assert not document.structured_annotations


def test_private_reader(file: Any, tmp_path: Path) -> None:
    reader = file._rdr
    assert reader._seq_count() == 24
    assert reader._coord_info() == file._coord_info()
    assert reader.read_frame(5).shape == file._raw_frame_shape
    np.testing.assert_array_equal(np.moveaxis(reader.read_frame(5)[..., 0], 2, 0), file.read_frame(5))
    assert reader._acquisition_datetime() is None or reader._acquisition_datetime().tzinfo
    assert {b"ImageDataSeq|23!", b"ImageAttributesLV!"} <= set(reader.chunkmap)
    attributes = reader._decode_chunk(b"ImageAttributesLV!", strip_prefix=False)
    assert attributes["SLxImageAttributes"]["uiWidth"] == 8
    assert reader._decode_chunk(b"ImageAttributesLV!")["SLxImageAttributes"]["Width"] == 8
    with pytest.raises(KeyError, match="ImageGone"):
        reader._decode_chunk(b"ImageGone!")


def test_private_readers_open_files(file: Any, tmp_path: Path) -> None:
    from nd2._readers import LegacyReader, ModernReader, protocol

    path = tmp_path / "a.nd2"
    with ModernReader(path) as reader:
        assert reader.chunkmap == file._rdr.chunkmap
        reader._cached_global_metadata()
        assert reader._raw_attributes["uiWidth"] == 8
        assert reader._raw_experiment["uLoopPars"]["uiCount"] == 2
        assert len(reader._raw_image_metadata["sPicturePlanes"]["sPlaneNew"]) == 2
        assert reader._raw_text_info["TextInfoItem_13"] == "Plan Apo 20x"
    build(tmp_path / "old.nd2", version=(2, 1))
    with protocol.ND2Reader.create(tmp_path / "old.nd2") as reader:
        assert type(reader) is ModernReader
        assert reader._raw_attributes["uiWidth"] == 8
        assert reader._raw_experiment == {}
    pytest.importorskip("imagecodecs")
    legacy_builder.build(tmp_path / "legacy.nd2")
    with protocol.ND2Reader.create(tmp_path / "legacy.nd2") as reader:
        assert type(reader) is LegacyReader
        assert reader._raw_attributes == {}


def test_private_names_of_urls(tmp_path: Path) -> None:
    build(tmp_path / "a.nd2")
    data = (tmp_path / "a.nd2").read_bytes()
    fsspec.filesystem("memory").pipe_file("/compat/a.nd2", data)
    for limit in (0, len(data)):
        with nd2._util.open_fsspec_url("memory://compat/a.nd2", small_file_limit=limit) as handle:
            assert handle.read() == data
    with nd2.ND2File("memory://compat/a.nd2", storage_options={"listings_expiry_time": 5}) as remote:
        assert remote._storage_options == {"listings_expiry_time": 5}
    with nd2.ND2File(tmp_path / "a.nd2") as local:
        assert local._storage_options is None


def test_private_decoders(file: Any, tmp_path: Path) -> None:
    from nd2._parse import _chunk_decode, _clx_lite, _clx_xml, _parse
    from nd2._readers import LegacyReader, ModernReader, ND2Reader

    path = tmp_path / "a.nd2"
    assert _chunk_decode.get_version(path) == (3, 0)
    with path.open("rb") as handle:
        assert _chunk_decode.get_chunkmap(handle) == file._rdr.chunkmap
        assert _chunk_decode.get_chunkmap(handle, error_radius=100_000) == file._rdr.chunkmap
        places = {name: (start, length) for name, start, length in _chunk_decode.iter_chunks(handle)}
    start, length = places["ND2 FILE SIGNATURE CHUNK NAME01!"]
    assert path.read_bytes()[start : start + length].startswith(b"Ver3.0")
    assert {name.encode() for name in places} >= {name for name in file._rdr.chunkmap if name.endswith(b"!")}
    assert _chunk_decode.ND2_FILE_SIGNATURE in file._rdr.chunkmap
    tree = clx_lite.encode({"bFlag": True})
    assert tree[0] == _clx_lite.ELxLiteVariantType.BOOL
    assert _clx_lite.json_from_clx_lite_variant(tree) == {"Flag": True}
    xml = b'<variant><a runtype="lx_int32" value="5"/></variant>'
    assert _clx_xml.json_from_clx_variant(xml) == {"a": 5}
    assert _clx_xml.json_from_clx_variant(xml, strip_variant=False) == {"variant": {"a": 5}}
    stack = {"uiCount": 5, "iType": 2, "bZInverted": True, "dZHome": 4.0, "dZHigh": 4.0, "dZStep": 1.0}
    assert _parse._parse_z_stack_loop(stack).parameters.homeIndex == 0
    assert _parse._calc_zstack_home_index(False, 3, 3, 100.0, 100.0, 100.0, 0.0) == 0
    assert _parse.load_events({"RLxExperimentRecord": {}}) == []
    assert issubclass(ModernReader, ND2Reader)
    assert issubclass(LegacyReader, ND2Reader)


def test_private_catalog(file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path / "z.nd2", height=3)
    records = nd2.index.index_files([tmp_path])
    rows = nd2.index._filter_data(
        records, sort_by="name-", exclude="path", filters=["kb > 0", "'T' in axes or 'Y' in axes"]
    )
    assert [row["name"] for row in rows] == ["z.nd2", "a.nd2"]
    assert "path" not in rows[0]
    rows = nd2.index._filter_data(records, include="name,axes", filters=("'Z' in axes",))
    assert rows == [{"name": "a.nd2", "axes": "TPZCYX"}]
    nd2.index._print_csv(rows)
    nd2.index._print_csv(rows, skip_header=True)
    nd2.index._print_json(rows)
    nd2.index._pretty_print_table(rows, sort_column="name")
    printed = capsys.readouterr().out
    assert printed.count("a.nd2") == 4
    assert printed.startswith("name,axes\na.nd2,TPZCYX\na.nd2,TPZCYX\n")
