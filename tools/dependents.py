"""Compare what programs that depend on PyPI's nd2 return with it and with this project.

    make dependents

makes two environments for each program, one with PyPI's nd2 0.12.0 and one with this project and
the distribution of ``packaging/nd2``, calls the program's readers on all sample files in both, and
prints how many results are equal. A difference that no line of ``docs/migrating.md`` explains, or a
call that fails here only, makes the command fail.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".venv-dependents"
SAMPLES = ROOT.parent / "shared" / "samples"
CALLS = ROOT / "tools" / "dependents_calls.py"
PAGE = ROOT / "docs" / "migrating.md"
THEIRS = "nd2[legacy]==0.12.0"


@dataclass(frozen=True)
class Program:
    """Requirements of a program: installed with their dependencies, and alone."""

    requirements: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


# Programs that pull in much more than their reader needs are installed alone, with what it imports.
PROGRAMS = {
    "arcadia-microscopy-tools": Program(("arcadia-microscopy-tools",)),
    "bioio-nd2": Program(("bioio", "bioio-nd2")),
    "cellpose": Program(
        ("imagecodecs", "matplotlib", "natsort", "opencv-python-headless", "roifile", "scipy", "tifffile", "tqdm"),
        ("cellpose",),
    ),
    "deeptile": Program(("deeptile",)),
    "large-image-source-nd2": Program(("large-image-source-nd2",)),
    "ndevio": Program(("ndevio", "bioio-nd2")),
    "nellie": Program(("imagecodecs", "ome-types", "pandas", "scikit-image", "scipy", "tifffile"), ("nellie",)),
}

REASONS = (
    ("nested loops of one kind", r"", "loop_t_t nested_TT nested_T"),
    ("a file without picture metadata", r"", "nometa"),
    ("`frame_metadata(i)` of frames that no loop reaches", r"frame_metadata", ""),
    ("position.stagePositionUm.z", r"stagePositionUm|PositionZ", ""),
    ("position.pfsOffset", r"pfsOffset", ""),
    ("`to_xarray().S`", r"coords/S", ""),
    ("channel.index", r"channel/index", ""),
    ("`events()` if times were recorded for some frames only", r"", "short_T"),
    ("OME metadata", r"ome_metadata|^metadata|processed|raw_image_metadata|standard_metadata", ""),
    ("OME metadata", r"dimension_properties/./unit|scale|physical_pixel", ""),
)
"""Phrase of the line of docs/migrating.md; pattern of what differs; files, if only some."""


@dataclass
class Outcome:
    """How the results of a program compare."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def compare(self, file: str, call: str, theirs: Any, ours: Any) -> None:
        """Count one call; None stands for one that was not reached."""
        bad, worse = (not isinstance(x, str) and _failed(x) for x in (theirs, ours))
        if bad or worse:
            kind = "both fail" if bad and worse else "fails there only" if bad else "fails here only"
            self.counts[kind] += 1
            if kind == "fails here only" and not self._explain(file, call):
                self.problems.append(f"{file}: {call}: {ours}")
        elif theirs == ours:
            self.counts["equal"] += 1
        else:
            self.counts["different"] += 1
            for path in sorted(set(_differences(theirs, ours, re.sub(r"\[\d+\]", "", call)))):
                if not self._explain(file, path):
                    self.problems.append(f"{file}: {path}")

    def _explain(self, file: str, path: str) -> bool:
        for phrase, pattern, files in REASONS:
            if re.search(pattern, path) and (not files or file in files.split()):
                self.reasons[phrase] += 1
                return True
        return False


def _failed(result: Any) -> bool:
    return result is None or (isinstance(result, dict) and "error" in result)


def _differences(theirs: Any, ours: Any, path: str) -> Iterator[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in {*theirs, *ours}:
            yield from _differences(theirs.get(key), ours.get(key), f"{path}/{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for mine, other in zip(theirs, ours, strict=True):
            yield from _differences(mine, other, path)
    elif theirs != ours:
        yield path


def sample_files(samples: Path, folder: Path) -> list[Path]:
    """Copy the samples, or write small files if there are none; programs write next to them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in samples.glob("*/*.nd2"):
        shutil.copy(path, folder)
    if not samples.is_dir():
        sys.path.insert(0, str(ROOT))
        from tests.builder import build
        from tests.kinds import KINDS

        for name, options in KINDS.items():
            build(folder / f"{name.replace(' ', '_')}.nd2", **options)
    return sorted(folder.glob("*.nd2"))


@dataclass(frozen=True)
class Environments:
    """Environments, made by `uv` for the interpreter `python`."""

    uv: str
    python: str

    def call(self, *arguments: object) -> None:
        """Run a command of uv."""
        subprocess.run([self.uv, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)

    def build_wheels(self, folder: Path) -> list[Path]:
        """Build this project and the distribution nd2 that has no files."""
        shutil.rmtree(folder, ignore_errors=True)
        for source in (ROOT, ROOT / "packaging" / "nd2"):
            self.call("build", "--quiet", "--wheel", "--out-dir", folder, source)
        return sorted(folder.glob("*.whl"))

    def make(self, folder: Path, program: Program, packages: Sequence[object]) -> None:
        """Make an environment that has a program and packages."""
        options = ("--quiet", "--clear", "--no-python-downloads")
        self.call("venv", *options, "--python", self.python, folder)
        install = ("pip", "install", "--quiet", "--python", interpreter(folder))
        self.call(*install, *packages, *program.requirements)
        if program.alone:
            self.call(*install, "--no-deps", *program.alone)


def interpreter(folder: Path) -> Path:
    """Return the Python of an environment."""
    return folder / "bin" / "python"


def run_logged(
    folder: Path,
    out: Path,
    command: Sequence[object],
    variables: Mapping[str, str],
    *,
    timeout: int,
    cwd: Path | None = None,
) -> None:
    """Run the Python of an environment with a command that writes `out`; its output goes to a log next to `out`."""
    log = out.with_suffix(".log")
    out.unlink(missing_ok=True)
    environment = {**os.environ, "HOME": str(folder.parent / "home"), **variables}
    environment.pop("PYTHONPATH", None)
    words = [str(word) for word in (interpreter(folder), *command)]
    with log.open("w") as stream:
        subprocess.run(words, check=False, cwd=cwd, env=environment, stdout=stream, stderr=stream, timeout=timeout)
    if not out.exists():
        raise SystemExit(f"{folder.name} did not end; see {log}")


def run(program: str, folder: Path, files: Sequence[Path]) -> dict[str, Any]:
    """Return file -> call -> result."""
    out = folder.with_suffix(".json")
    variables = {"MPLBACKEND": "Agg", "PYTHONHASHSEED": "0", "QT_QPA_PLATFORM": "offscreen"}
    run_logged(folder, out, (CALLS, program, out, *files), variables, timeout=1800)
    results: dict[str, Any] = json.loads(out.read_text())
    return results


def compare(theirs: dict[str, Any], ours: dict[str, Any]) -> Outcome:
    """Compare the results of a program."""
    outcome = Outcome()
    for file in theirs:
        for call in {**theirs[file], **ours[file]}:
            outcome.compare(file, call, theirs[file].get(call), ours[file].get(call))
    return outcome


def table(outcomes: dict[str, Outcome]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    kinds = ("equal", "different", "fails there only", "fails here only", "both fail")
    yield f"| program | {' | '.join(kinds)} | reasons (docs/migrating.md) |"
    yield "| --- " * (len(kinds) + 2) + "|"
    for program, outcome in outcomes.items():
        cells = [str(outcome.counts[kind]) for kind in kinds]
        yield f"| {program} | {' | '.join(cells)} | {'; '.join(outcome.reasons) or '-'} |"


def missing_lines(reasons: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Yield a problem for each phrase that docs/migrating.md does not contain."""
    page = PAGE.read_text(encoding="utf-8")
    for phrase in dict.fromkeys(phrase for phrase, *_ in reasons):
        if phrase not in page:
            yield f"docs/migrating.md does not say: {phrase}"


def _unexplained(outcomes: dict[str, Outcome]) -> Iterator[str]:
    yield from missing_lines(REASONS)
    for program, outcome in outcomes.items():
        yield from (f"{program}: {problem}" for problem in outcome.problems)


def option_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser of the options of both comparisons."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n", 1)[0])
    parser.add_argument("--uv", default="uv", help="the command uv")
    parser.add_argument("--python", default=sys.executable, help="for the environments; >= 3.12")
    parser.add_argument("--samples", type=Path, default=SAMPLES, help="folder of folders of files")
    parser.add_argument("--keep", action="store_true", help="use existing environments")
    return parser


def main() -> int:
    """Print the table; return 1 if something is not explained."""
    parser = option_parser(__doc__)
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help="by default all")
    options = parser.parse_args()
    (ENVIRONMENTS / "home").mkdir(parents=True, exist_ok=True)
    environments = Environments(options.uv, options.python)
    packages: dict[str, Sequence[object]] = {
        "theirs": [THEIRS],
        "ours": environments.build_wheels(ENVIRONMENTS / "wheels"),
    }
    files = sample_files(options.samples, ENVIRONMENTS / "samples")
    outcomes = {}
    for program in options.programs or PROGRAMS:
        results = {}
        for side in packages:
            folder = ENVIRONMENTS / f"{program}-{side}"
            if not (options.keep and interpreter(folder).exists()):
                environments.make(folder, PROGRAMS[program], packages[side])
            results[side] = run(program, folder, files)
            print(f"{program}, {side}: {len(files)} files", file=sys.stderr)
        outcomes[program] = compare(results["theirs"], results["ours"])
    print("\n".join(table(outcomes)))
    problems = list(_unexplained(outcomes))
    print("\n".join(problems[:200]), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
