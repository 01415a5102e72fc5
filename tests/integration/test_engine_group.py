"""``group=``, as xarray's own engines with groups have it; and several files where one is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import xarray as xr

import nd2
from tests.builder import build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.nd2"
    build(path, loops=[("T", 3), ("P", 2)])
    return path


@pytest.mark.parametrize("group", ["/", "P0", "/P1", "events/"])
@pytest.mark.parametrize("options", [{}, {"drop_variables": "image"}])
def test_one_group(path: Path, group: str, options: dict[str, Any]) -> None:
    tree = xr.open_datatree(path, engine="nd2", **options)
    node: Any = tree[group.strip("/")] if group.strip("/") else tree
    dataset = xr.open_dataset(path, engine="nd2", group=group, **options)
    xr.testing.assert_identical(dataset, node.to_dataset(inherit=False))
    if group != "/":
        part = xr.open_datatree(path, engine="nd2", group=group, **options)
        assert part.groups == ("/",)
        xr.testing.assert_identical(part.to_dataset(), dataset)
        assert set(xr.open_groups(path, engine="nd2", group=group, **options)) == {"/"}


def test_a_group_that_is_not_there(path: Path) -> None:
    for name in ("P2", "event", "labels", "tiles"):
        with pytest.raises(ValueError, match=f"no group.*'{name}'"):
            xr.open_dataset(path, engine="nd2", group=name)
    with pytest.raises(ValueError, match="there are 'P0', 'P1', 'events' "):  # without those that are missing
        xr.open_dataset(path, engine="nd2", group="labels")
    with pytest.raises(ValueError, match="group or position"):
        xr.open_dataset(path, engine="nd2", group="P0", position=0)


@pytest.mark.parametrize("several", [["a.nd2", "b.nd2"], ("a.nd2",)])
def test_several_files(several: Any) -> None:
    with pytest.raises(TypeError, match="open_mfdataset"):
        xr.open_dataset(several, engine="nd2")
    with pytest.raises(TypeError, match="open_mfdataset"):
        nd2.ND2File(several)


def test_a_pattern(path: Path) -> None:
    for pattern in (str(path.parent / "*.nd2"), "memory://a*.nd2"):
        with pytest.raises(FileNotFoundError, match="open_mfdataset"):
            xr.open_dataset(pattern, engine="nd2")
        with pytest.raises(FileNotFoundError, match="open_mfdataset"):
            nd2.ND2File(pattern)
    odd = path.with_name("odd [1]*.nd2")
    path.rename(odd)
    assert xr.open_dataset(odd, engine="nd2").sizes["T"] == 3
