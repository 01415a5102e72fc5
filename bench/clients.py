"""``python -m bench.clients``: many clients of `nd2 serve` at once: errors, latency, memory, on the loopback device.

Each client keeps a connection, and pans and zooms in one large frame: it requests four neighboring tiles of
a level, then others. ``--server`` serves the same responses with aiohttp or uvicorn, to compare them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import psutil

import nd2
from xarray_nd2.serve import serve
from xarray_nd2.serving.site import FileSite

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = Path(os.environ.get("ND2_BENCH_CACHE", Path(__file__).with_name(".cache")))
THREADS = 8
"""Threads that compute responses for aiohttp and uvicorn, which have none for this."""


@dataclass
class Found:
    """Results of the clients."""

    seconds: list[float] = field(default_factory=list)
    nbytes: int = 0
    errors: int = 0

    def line(self, clients: int, duration: float, memory: int) -> str:
        """Return a row of a table."""
        times = np.array(self.seconds) * 1000
        quantiles = (np.percentile(times, q) for q in (50, 95, 99, 100))
        shown = " | ".join(f"{value:.0f}" for value in quantiles)
        rate, volume = len(times) / duration, self.nbytes / duration / 1e6
        return f"| {clients} | {rate:.0f} | {volume:.0f} | {self.errors} | {shown} | {memory / 1e6:.0f} |"


HEADER = (
    "| clients | requests/s | MB/s | errors | median ms | 95 % | 99 % | longest | peak memory MB |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def frame_file(side: int) -> Path:
    """Return a file of one square frame, written if it does not exist."""
    path = CACHE / f"frame_{side}.nd2"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(0).integers(0, 4000, (side, side), np.uint16)
        nd2.imwrite(path, values, axes="YX", voxel_size=(0.325, 0.325, 1.0))
    return path


def steps(chooser: random.Random, levels: list[tuple[int, int]]) -> Iterator[str]:
    """Yield the paths that a user requests by panning and zooming, endlessly."""
    while True:
        level = chooser.randrange(len(levels))
        rows, columns = levels[level]
        y, x = chooser.randrange(max(rows - 1, 1)), chooser.randrange(max(columns - 1, 1))
        for row in range(y, min(y + 2, rows)):
            for column in range(x, min(x + 2, columns)):
                yield f"/{level}/c.{row}.{column}"


async def client(number: int, url: str, levels: list[tuple[int, int]], end: float, found: Found) -> None:
    """Request tiles over one connection until the end; connect again after an error."""
    place = urlsplit(url)
    paths = steps(random.Random(number), levels)
    while time.monotonic() < end:
        try:
            reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1 << 20)
            try:
                while time.monotonic() < end:
                    start = time.monotonic()
                    request = f"GET {next(paths)} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n"
                    writer.write(request.encode())
                    head = await reader.readuntil(b"\r\n\r\n")
                    size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    body = await reader.readexactly(size)
                    if b" 200 " not in head[:16]:
                        raise OSError(body.decode(errors="replace"))
                    found.seconds.append(time.monotonic() - start)
                    found.nbytes += size
            finally:
                writer.close()
        except (OSError, EOFError) as error:
            print(error, file=sys.stderr)
            found.errors += 1
            await asyncio.sleep(0.1)


async def load(url: str, clients: int, duration: float, process: psutil.Process) -> tuple[Found, int]:
    """Run all clients; return their results, and the peak memory of the server in bytes."""
    with urllib.request.urlopen(f"{url}/zarr.json", timeout=60) as answer:
        members = json.load(answer)["consolidated_metadata"]["metadata"]
    levels = []
    for number in range(len(members)):
        array = members[str(number)]
        chunks = array["chunk_grid"]["configuration"]["chunk_shape"]
        levels.append(tuple(-(-n // m) for n, m in zip(array["shape"], chunks, strict=True)))
    found, memory = Found(), 0
    end = time.monotonic() + duration
    work = [asyncio.create_task(client(i, url, levels, end, found)) for i in range(clients)]
    while not all(task.done() for task in work):
        memory = max(memory, process.memory_info().rss)
        await asyncio.sleep(0.2)
    await asyncio.gather(*work)
    return found, memory


def serve_by(server: str, path: Path) -> None:
    """Print the address of one of the servers, and serve a file with it."""
    if server == "standard":
        with serve(path) as endpoint:
            print(endpoint.url, flush=True)
            endpoint.wait()
    elif server == "aiohttp":
        asyncio.run(_aiohttp(FileSite(path, None)))
    else:
        asyncio.run(_uvicorn(FileSite(path, None)))


async def _aiohttp(site: FileSite) -> None:
    from aiohttp import web

    pool = ThreadPoolExecutor(THREADS)

    async def handle(request: web.BaseRequest) -> web.Response:
        key = request.path.strip("/")
        answer = await asyncio.get_running_loop().run_in_executor(pool, site.answer, key, "")
        if answer is None:
            return web.Response(status=404)
        return web.Response(body=answer.data, status=answer.status, content_type=answer.kind)

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=128).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


async def _uvicorn(site: FileSite) -> None:
    import uvicorn

    pool = ThreadPoolExecutor(THREADS)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        key = scope["path"].strip("/")
        answer = await asyncio.get_running_loop().run_in_executor(pool, site.answer, key, "")
        status, data = (404, b"") if answer is None else (answer.status, answer.data)
        length = (b"content-length", str(len(data)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [length]})
        await send({"type": "http.response.body", "body": data})

    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off", backlog=128)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
    print(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", flush=True)
    await serving


def main() -> None:
    """Run a server in a separate process, and clients in this one."""
    parser = argparse.ArgumentParser(prog="bench.clients", description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--side", type=int, default=12_000, help="pixels; up to some 8000, all tiles stay in memory")
    parser.add_argument("--server", choices=["standard", "aiohttp", "uvicorn"], default="standard")
    parser.add_argument("--serve-only", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_only:
        serve_by(options.server, Path(options.serve_only))
        return
    path = frame_file(options.side)
    command = [sys.executable, "-m", "bench.clients", "--server", options.server]
    with subprocess.Popen([*command, "--serve-only", str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            server = psutil.Process(process.pid)
            before = os.getloadavg()[0]
            found, memory = asyncio.run(load(url, options.clients, options.seconds, server))
        finally:
            process.terminate()
    print(f"{options.server} server, {os.cpu_count()} cores, load {before:.1f} before\n\n{HEADER}")
    print(found.line(options.clients, options.seconds, memory))


if __name__ == "__main__":
    main()
