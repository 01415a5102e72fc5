"""Kill every writer at random moments: ``python -m tests.kill --moments 50``.

Each writer replaces an old output by a new one, in a process that is ended by SIGKILL somewhere between its start and
its end. Afterwards the output must be the old one or the new one, whole. The counts are printed; the exit code is 1 if
an output was neither. Object stores replace a folder by many steps: while these go on, the new one must be whole in
``NAME.part``; this is counted apart. With ``--interrupt`` the signal is that of Ctrl-C, after which nothing else may be
left.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nd2
from tests.builder import build
from xarray_nd2 import open_references, write_kerchunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD, NEW, STAGED, BROKEN = "old", "new", "new in .part", "BROKEN"
_PATIENCE = 120.0
_SERVE = """
import sys, time
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Writer:
    """Functions that write an output of a source to a place, and read it there."""

    name: str
    write: Callable[[Path, str], object]
    read: Callable[[str], Any]


def _tiff(source: Path, dest: str) -> None:
    nd2.nd2_to_tiff(source, dest)


def _read_tiff(dest: str) -> Any:
    import tifffile

    return tifffile.imread(dest)


def _zarr(backend: Any, **options: Any) -> Callable[[Path, str], object]:
    def write(source: Path, dest: str) -> None:
        with nd2.ND2File(source) as file:
            file.write_ome_zarr(dest, overwrite=True, backend=backend, chunk_shape=(1, 64, 64), **options)

    return write


def _read_zarr(**options: Any) -> Callable[[str], Any]:
    def read(dest: str) -> Any:
        import zarr

        group = zarr.open_group(dest, mode="r", **options)
        assert "ome" in group.attrs
        array: Any = group["0"]
        if options:
            return np.asarray(array[...])
        files = sum(path.is_file() for path in Path(dest, "0", "c").rglob("*"))
        assert files == array.shape[0], f"{files} chunks"
        return np.asarray(array[...])

    return read


def _frames(source: Path, dest: str) -> None:
    pixels = nd2.imread(source)
    sizes = dict(zip("TYX", pixels.shape, strict=True))
    with nd2.ND2Writer(dest, sizes, pixels.dtype, overwrite=True, compression="zlib") as writer:
        for index, frame in enumerate(pixels):
            writer.write_frame(index, frame)


def _imwrite(source: Path, dest: str) -> None:
    nd2.imwrite(dest, nd2.imread(source, dask=True), axes="TYX", overwrite=True)


def _crop(source: Path, dest: str) -> None:
    with nd2.ND2File(source) as file:
        file.write_nd2(dest, T=slice(0, None, 2), overwrite=True)


def _index(source: Path, dest: str) -> None:
    nd2.save_index(source, dest, overwrite=True)


def _read_index(dest: str) -> Any:
    for name in "ab":  # an index fits one of both files
        with suppress(OSError):
            source = Path(dest).parent.parent / f"{name}.nd2"
            return nd2.imread(source, index=dest)
    raise ValueError("the index fits neither file")


def _references(form: Any) -> Callable[[Path, str], object]:
    def write(source: Path, dest: str) -> None:
        write_kerchunk(source, dest, format=form, overwrite=True)

    return write


def _read_references(dest: str) -> Any:
    return open_references(dest).image.values


WRITERS = (
    Writer("out.ome.tif", _tiff, _read_tiff),
    Writer("zarr.zarr", _zarr("zarr"), _read_zarr()),
    Writer("tensorstore.zarr", _zarr("tensorstore"), _read_zarr()),
    Writer("writer.nd2", _frames, nd2.imread),
    Writer("imwrite.nd2", _imwrite, nd2.imread),
    Writer("crop.nd2", _crop, nd2.imread),
    Writer("sidecar.index", _index, _read_index),
    Writer("references.json", _references("json"), _read_references),
    Writer("references.parq", _references("parquet"), _read_references),
)


@contextmanager
def s3_writer() -> Iterator[tuple[str, Writer, Callable[[], object]]]:
    """Yield the URL of a bucket of a server, the writer to it, and a function that removes incomplete folders."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        options = {"key": "key", "secret": "secret", "client_kwargs": {"endpoint_url": endpoint}}
        try:
            _fork(lambda: _make_bucket(options))
            writer = Writer(
                "s3.zarr",
                _zarr("zarr", storage_options=options),
                _read_zarr(storage_options={**options, "skip_instance_cache": True}),
            )
            yield "s3://images", writer, lambda: _fork(lambda: _remove_parts(options, writer.name))
        finally:
            server.stdin.close()
            server.terminate()


def _make_bucket(options: dict[str, Any]) -> None:
    import s3fs

    s3fs.S3FileSystem(**options).mkdir("images")


def _remove_parts(options: dict[str, Any], name: str) -> None:
    import s3fs

    fs = s3fs.S3FileSystem(**options)
    for path in fs.glob(f"images/{name}.part*"):
        fs.rm(path, recursive=True)


def _fork(work: Callable[[], object], after: float | None = None, number: int = signal.SIGKILL) -> float:
    """Run work in a forked process, which gets a signal after some seconds; return the seconds it took."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.write(writing, b"s")
            work()
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}"[:500], file=sys.stderr)
        finally:
            os._exit(status)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    began = time.monotonic()
    if after is not None:
        time.sleep(after)
        os.kill(child, number)
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() - began > _PATIENCE:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)
    return time.monotonic() - began


def _digest(writer: Writer, place: str) -> str:
    """Return a digest of the pixels that are read from an output; BROKEN where that fails.

    Read in another process, so that this one has no threads and can be forked.
    """
    with tempfile.NamedTemporaryFile() as file:
        path = file.name

        def read() -> None:
            pixels = np.ascontiguousarray(writer.read(place))
            text = f"{pixels.shape} {hashlib.sha1(pixels.tobytes()).hexdigest()}"
            Path(path).write_text(text)

        _fork(read)
        return Path(path).read_text() or BROKEN


def run(
    writer: Writer,
    base: str,
    sources: list[Path],
    moments: int,
    seed: int,
    number: int,
    remove_parts: Callable[[], object] | None = None,
) -> Counter[str]:
    """Kill a writer at random moments; return how often each kind of output was left.

    The incomplete output of a killed process is removed before the next one starts, here or by
    `remove_parts`. A remote folder would otherwise be written to ``NAME.part2``.
    """
    rng = random.Random(seed)
    place = f"{base}/{writer.name}"
    digests, seconds = [], []
    for source in [*sources, *sources]:
        seconds.append(_fork(lambda source=source: writer.write(source, place)))  # type: ignore[misc]
        digests.append(_digest(writer, place))
    assert digests[0] != digests[1], f"{writer.name}: both outputs are {digests[0]}"
    assert BROKEN not in digests, f"{writer.name}: {digests}"
    usual, current = sorted(seconds)[2], 1
    counts: Counter[str] = Counter()
    for _ in range(moments):
        source = sources[1 - current]
        moment = rng.uniform(0, usual * 1.05)
        _fork(lambda source=source: writer.write(source, place), moment, number)  # type: ignore[misc]
        left = _digest(writer, place)
        if left in digests:
            counts[OLD if left == digests[current] else NEW] += 1
            current = digests.index(left)
        elif _digest(writer, f"{place}.part") == digests[1 - current]:
            counts[STAGED] += 1
            _fork(lambda source=source: writer.write(source, place))  # type: ignore[misc]
            current = 1 - current
        else:
            counts[BROKEN] += 1
            _fork(lambda source=source: writer.write(source, place))  # type: ignore[misc]
            current = 1 - current
        if remove_parts is None:
            _tidy(Path(base), writer.name, counts)
        else:
            remove_parts()
    return counts


def _tidy(folder: Path, name: str, counts: Counter[str]) -> None:
    """Remove the part that a killed process left, and count it; no other file may be there."""
    for path in folder.iterdir():
        if path.name == name:
            continue
        counts["parts" if path.name.startswith(f"{name}.part") else "OTHER FILES"] += 1
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def kill_all(
    moments: int, frames: int, seed: int, only: str = "", number: int = signal.SIGKILL
) -> dict[str, Counter[str]]:
    """Kill every writer; return the counts of each."""
    with tempfile.TemporaryDirectory(prefix="nd2-kill-") as folder:
        sources = [Path(folder, f"{name}.nd2") for name in "ab"]
        for extra, path in enumerate(sources):
            build(path, loops=[("T", frames + extra)], height=64, width=64, seed=extra)
        results = {}
        for writer in WRITERS:
            if only in writer.name:
                base = Path(folder, f"to {writer.name}")
                base.mkdir()
                results[writer.name] = run(writer, str(base), sources, moments, seed, number)
        if only in "s3.zarr" and moments:
            with s3_writer() as (url, writer, remove_parts):
                results[writer.name] = run(writer, url, sources, moments, seed, number, remove_parts)
        return results


def main() -> int:
    """Kill every writer, and print what was left."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--moments", type=int, default=50, help="kills of each writer")
    parser.add_argument("--frames", type=int, default=200, help="frames of the files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of the name of a writer")
    parser.add_argument("--interrupt", action="store_true", help="send SIGINT, as Ctrl-C does")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    options = parser.parse_args()
    # Imports of the writers happen before processes are forked.
    import fastparquet
    import s3fs
    import tensorstore
    import tifffile
    import zarr

    del fastparquet, s3fs, tensorstore, tifffile, zarr
    number = signal.SIGINT if options.interrupt else signal.SIGKILL
    results = kill_all(options.moments, options.frames, options.seed, options.only, number)
    if options.json:
        print(json.dumps(results))
    else:
        for name, counts in results.items():
            print(f"{name:20}", ", ".join(f"{kind}: {n}" for kind, n in sorted(counts.items())))
    kinds = [BROKEN, "OTHER FILES", *(["parts"] if options.interrupt else [])]
    bad = sum(counts[kind] for counts in results.values() for kind in kinds)
    print(f"{bad} are neither old nor new, or should not be there", file=sys.stderr)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
