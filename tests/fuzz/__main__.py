"""Fuzz everything that reads foreign bytes: ``python -m tests.fuzz --seconds 60``.

Two processes run at once, one on whole files (open, all metadata, all frames, references, rescue), one on the decoders.
Where ``.venv-oracle`` holds nd2 0.12.0 (``make oracle``), a third one compares the pixels of changed files with its.
Where atheris is installed coverage leads the mutations, else they are random. Every input that is a finding is kept,
and the exit code is 1 if there is one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

GROUPS = ("FILES", "DECODERS")
DIFFERENCES = "DIFFERENCES"
_MAX_BYTES = 1 << 15
_STATUS_EVERY = 200


class Worker:
    """Runs inputs of one group of targets, and keeps count.

    The first byte of an input tells the target.
    """

    def __init__(self, group: str, folder: Path, stop: float) -> None:
        from tests.fuzz import targets

        self.names = list(getattr(targets, group))
        self.check = targets.check
        self.folder, self.stop = folder, stop
        self.status = folder / f"{group}.json"
        self.runs: Counter[str] = Counter()
        self.findings: dict[str, str] = {}
        self.began = time.monotonic()
        targets.prepare()

    def corpus(self) -> list[bytes]:
        """Return seeds and regressions as inputs."""
        from tests.fuzz.seeds import REGRESSIONS, seeds

        inputs = [(target, data) for target, data in seeds() if target in self.names]
        for path in sorted(REGRESSIONS.glob("*.bin")):
            target = path.stem.partition("-")[0]
            if target in self.names:
                inputs.append((target, path.read_bytes()))
        return [bytes([self.names.index(target)]) + data for target, data in inputs]

    def run(self, data: bytes) -> None:
        """Run one input; a finding is noted, and the run goes on."""
        if not data:
            return
        target, rest = self.names[data[0] % len(self.names)], data[1:]
        self.runs[target] += 1
        try:
            self.check(target, rest)
        except Exception as error:
            self._note(target, rest, error)
        if sum(self.runs.values()) % _STATUS_EVERY == 0:
            self.write()
            if time.monotonic() - self.began > self.stop:
                os._exit(0)

    def _note(self, target: str, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "nd2" in Path(f.filename).parts] or list(frames)
        place = f"{target} {type(error).__name__} {Path(ours[-1].filename).name}:{ours[-1].name}"
        if place not in self.findings:
            self.findings[place] = str(error)[:200]
            name = f"{target}-{hashlib.sha1(place.encode()).hexdigest()[:10]}"
            (self.folder / f"{name}.bin").write_bytes(data)
            text = "".join(traceback.format_exception(error))
            (self.folder / f"{name}.txt").write_text(f"{place}\n{text}")
            self.write()

    def write(self) -> None:
        """Write down how far it is."""
        state = {"runs": self.runs, "findings": self.findings}
        self.status.write_text(json.dumps({**state, "seconds": time.monotonic() - self.began}))


def _mutated(data: bytes, seed: int, flip: Callable[[bytes, int], bytes], most: int) -> bytes:
    """Change an input: as it is, or the data of one of its chunks, so that the container stays sound."""
    from tests.fuzz.seeds import mutate_chunk

    if len(data) < 2 or seed % 3 == 0:
        return flip(data, most)
    changed = mutate_chunk(data[1:], seed // 3, lambda part: flip(part, most))
    return (data[:1] + changed)[:most]


def with_atheris(worker: Worker, folder: Path) -> None:
    """Let coverage lead the mutations."""
    import atheris

    corpus = folder / f"corpus-{worker.names[0]}"
    corpus.mkdir()
    for i, data in enumerate(worker.corpus()):
        (corpus / str(i)).write_bytes(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        return _mutated(data, seed, lambda part, limit: bytes(atheris.Mutate(part, limit)), most)

    arguments = ["fuzz", f"-max_total_time={int(worker.stop) + 5}", "-timeout=0", "-rss_limit_mb=0"]
    arguments += [f"-max_len={_MAX_BYTES}", "-len_control=0", "-verbosity=0", str(corpus)]
    options = {"custom_mutator": mutate} if "file" in worker.names else {}
    atheris.Setup(arguments, worker.run, **options)
    atheris.Fuzz()


def at_random(worker: Worker) -> None:
    """Mutate seeds without looking at coverage."""
    corpus, rng = worker.corpus(), random.Random(0)
    for data in corpus:
        worker.run(data)
    while True:
        data = rng.choice(corpus)
        for _ in range(rng.randint(1, 4)):
            data = _mutated(data, rng.getrandbits(32), lambda part, most: _flip(rng, part), _MAX_BYTES)
        worker.run(data)


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    at = rng.randrange(len(changed) + 1)
    match rng.randrange(5):
        case 0:
            changed[at : at + 1] = bytes([rng.getrandbits(8)])
        case 1:
            changed[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"))
        case 2:
            del changed[at : at + rng.randrange(64)]
        case 3:
            changed[at:at] = rng.randbytes(rng.randrange(16))
        case _:
            other = rng.randrange(len(changed) + 1)
            changed[at:at] = changed[other : other + rng.randrange(64)]
    return bytes(changed)


def work(group: str, folder: Path, seconds: float) -> None:
    """Be one of the processes."""
    if group == DIFFERENCES:
        from tests.fuzz import differences

        differences.run(folder, seconds, time.time_ns())
        return
    guided = find_spec("atheris") is not None
    context: Any = nullcontext()
    if guided:
        import atheris

        context = atheris.instrument_imports(include=["nd2", "xarray_nd2"])
    with context:
        worker = Worker(group, folder, seconds)
    if guided:
        with_atheris(worker, folder)
    else:
        at_random(worker)


def known() -> int:
    """Run every regression, and every hostile file through every target that takes files, once."""
    from tests.fuzz import targets
    from tests.fuzz.hostile import hostile
    from tests.fuzz.seeds import REGRESSIONS

    regressions = [
        (path.stem, path.stem.partition("-")[0], path.read_bytes()) for path in sorted(REGRESSIONS.glob("*.bin"))
    ]
    made = [(name, target, data) for name, data in hostile().items() for target in targets.FILES]
    targets.prepare()
    findings = 0
    for name, target, data in [*regressions, *made]:
        try:
            targets.check(target, data)
        except Exception as error:
            findings += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FINDING {name!r} in {target}: {type(error).__name__} {error} at {place}")
    print(f"{len(regressions)} regressions and {len(made)} hostile inputs, {findings} findings")
    return 1 if findings else 0


def main() -> int:
    """Start both processes, wait, and print the findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("FUZZ_SECONDS", 60)))
    parser.add_argument("--folder", type=Path, help="where findings and counts are kept")
    parser.add_argument("--known", action="store_true", help="run what was found before, once")
    parser.add_argument("--group", choices=(*GROUPS, DIFFERENCES), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.known:
        return known()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="nd2-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    if given.group:
        work(given.group, folder, given.seconds)
        return 0
    # One arena, and large blocks returned immediately: the address space measures the memory of an input.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
    from tests.fuzz.differences import ORACLE

    groups = (*GROUPS, DIFFERENCES) if ORACLE.exists() else GROUPS
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(given.seconds)]
    with (folder / "log.txt").open("w") as log:
        running = [
            subprocess.Popen([*command, "--folder", str(folder), "--group", group], env=environment, stderr=log)
            for group in groups
        ]
        codes = [process.wait() for process in running]
    findings: dict[str, str] = {}
    total = 0
    for group in groups:
        path = folder / f"{group}.json"
        status = json.loads(path.read_text()) if path.exists() else {"runs": {}, "findings": {}}
        print(group, status["runs"], f"in {status.get('seconds', 0):.0f} s")
        findings |= status["findings"]
        total += sum(status["runs"].values())
    for place, message in findings.items():
        print(f"FINDING {place}: {message}")
    print(f"{total} executions, {len(findings)} findings, in {folder}")
    if any(codes):
        print(f"a process ended with {codes}; see {folder / 'log.txt'}")
    return 1 if findings or any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
