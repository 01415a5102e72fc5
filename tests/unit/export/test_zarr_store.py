"""Folders of OME-Zarr: what is removed after workers were killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core.export.zarr_store import Target

if TYPE_CHECKING:
    from pathlib import Path

PARTIAL = f"0.{'a1' * 16}.partial"


def test_a_sweep_removes_incomplete_chunks_and_nothing_else(tmp_path: Path) -> None:
    outside, folder = tmp_path / "raw", tmp_path / "a.zarr"
    chunks = folder / "0" / "c" / "0.__lock"  # a folder may have any name
    for parent in (outside, chunks):
        parent.mkdir(parents=True)
    kept = [folder / "zarr.json", folder / "a.nd2.partial", chunks / "0", outside / PARTIAL]
    left = [folder / PARTIAL, chunks / PARTIAL, chunks / "1.__lock"]
    for path in (*kept, *left):
        path.write_bytes(b"x")
    (folder / "link").symlink_to(outside, target_is_directory=True)
    (folder / "2.__lock").symlink_to(outside / PARTIAL)
    Target(str(folder), None).sweep()
    assert all(path.read_bytes() == b"x" for path in kept)
    assert not any(path.exists() for path in left)
    assert not (folder / "2.__lock").is_symlink()
