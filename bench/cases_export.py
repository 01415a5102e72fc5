"""Benchmarks of exports: OME-Zarr and TIFF of the 2 GB file. Peak memory is to stay under 300 MB."""

from __future__ import annotations

from bench.files import FILES
from bench.harness import Case

_LIMIT = round(300e6 / FILES["raw"].array_bytes, 3)
# The previous output is removed and buffers are flushed before timing starts, so that every round writes to an idle
# disk. Memory for the page cache is requested before timing starts: a virtual machine needs 0.3 to 5 s to get it from
# its host.
_SETUP = """
import atexit, mmap, nd2, os, shutil, tempfile
folder = tempfile.mkdtemp(dir=os.path.dirname(FILE))
atexit.register(shutil.rmtree, folder)
f = nd2.ND2File(FILE)
f.sizes
os.sync()
with mmap.mmap(-1, 3 << 30) as memory:
    for _ in range(3 << 10):
        memory.write(bytes(1 << 20))
"""


def _case(name: str, run: str, goal: float) -> Case:
    return Case(name, run, "raw", _SETUP, array_bytes=FILES["raw"].array_bytes, time_goal=goal, memory_goal=_LIMIT)


CASES = [
    _case("write_ome_zarr, zarr", "f.write_ome_zarr(os.path.join(folder, 'a.zarr'), backend='zarr')", 0.6),
    _case(
        "write_ome_zarr, tensorstore", "f.write_ome_zarr(os.path.join(folder, 'a.zarr'), backend='tensorstore')", 0.6
    ),
    _case("write_tiff", "f.write_tiff(os.path.join(folder, 'a.tif'))", 0.8),
    _case("write_tiff, OME", "f.write_tiff(os.path.join(folder, 'a.ome.tif'))", 0.8),
]
