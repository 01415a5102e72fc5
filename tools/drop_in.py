"""Run the tests of PyPI's nd2 with it and with this project.

    make drop-in

takes the tests from the source distribution of nd2 0.12.0, writes files under the names that they open
(``tests/stand_ins.py``; the files themselves are not published), runs the tests in two environments, and
prints how many pass in both. A test that passes with PyPI's nd2 only makes the command fail, unless a line
of ``docs/migrating.md`` explains it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tests.stand_ins import write_files
from tools.dependents import ROOT, Environments, Program, interpreter, missing_lines, option_parser, run_logged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FOLDER = ROOT / ".venv-drop-in"
THEIRS = "nd2==0.12.0"
NEEDED = (
    "nd2[legacy,ome-zarr,ome-zarr-tensorstore,remote,tiff]",
    "numcodecs",
    "ome-types",
    "pandas",
    "pytest-xdist",
    "resource-backed-dask-array",
    "yaozarrs",
)
"""Packages in addition to the group of requirements for tests; what is missing makes tests skip."""

REASONS = (
    ("`Software` and `Creator` name this package", r"test_write_to_tiff.*\.ome\.tif", r"'xarray-nd2 v.*' == 'nd2 v"),
    ("`events()` of legacy files", r"test_metadata_extraction_legacy", r"DID NOT WARN"),
    ("with several color channels", r"test_to_ome_zarr_mixed_rgb_channel_error", r"DID NOT RAISE ValueError"),
    ("unnamed `BytesIO`", r"test_unnamed_file_like_cannot_reopen", r"DID NOT RAISE RuntimeError"),
    ("beyond the end of the file", r"test_truncated_file_without_mmap", r"_frame_offsets"),
    ("logger `nd2.rescue`", r"test_rescue$", r"appears to be corrupt"),
    (
        "has no effect on how URLs are opened",
        r"test_url_handle_closed_on_reader",
        r"not recognized as ND2",
    ),
)
"""Phrase of the line of docs/migrating.md; pattern of the test; pattern of its failure."""


def fetch(folder: Path) -> Path:
    """Unpack the tests and what they read, and nothing else, of the source distribution."""
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "nd2")
    subprocess.run([*command, "--dest", folder, THEIRS], check=True)
    (archive,) = folder.glob("nd2-*.tar.gz")
    with tarfile.open(archive) as tar:
        for member in tar:
            inside = member.name.partition("/")[2]
            if inside in ("README.md", "pyproject.toml") or inside.startswith(("tests/", "scripts/")):
                tar.extract(member, folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def run(side: str, project: Path, jobs: str) -> dict[str, str]:
    """Return test -> ``passed``, ``skipped``, or the message of its failure."""
    out = FOLDER / f"{side}.xml"
    options = ("-q", "-n", jobs, "-p", "no:cacheprovider", "-o", "addopts=", f"--junitxml={out}")
    # Requests to a real bucket, made by mistake, end at this endpoint.
    variables = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    run_logged(FOLDER / side, out, ("-m", "pytest", *options, "tests"), variables, timeout=3600, cwd=project)
    return dict(outcomes(out))


def outcomes(path: Path) -> Iterator[tuple[str, str]]:
    """Yield test and outcome; a test may come twice, if it and what follows it fail."""
    for case in ElementTree.parse(path).iter("testcase"):
        messages = [child.get("message", "") for child in case if child.tag in ("failure", "error")]
        module = (case.get("classname") or case.get("name") or "").rpartition(".")[2]
        name = f"{module}::{case.get('name')}"
        if messages:
            yield name, " ".join(messages[0].split()) or "failed"
        else:
            yield name, "skipped" if any(child.tag == "skipped" for child in case) else "passed"


def explain(test: str, message: str) -> str | None:
    """Return the phrase of docs/migrating.md that says why a test fails here."""
    found = (p for p, name, text in REASONS if re.search(name, test) and re.search(text, message))
    return next(found, None)


def kind(theirs: str, ours: str) -> str:
    """Return the column of a test."""
    if "skipped" in (theirs, ours):
        return "skipped"
    if theirs == "passed":
        return "pass" if ours == "passed" else "pass there only"
    return "pass here only" if ours == "passed" else "both fail"


def table(theirs: dict[str, str], ours: dict[str, str]) -> Iterator[str]:
    """Yield the lines of a Markdown table: one row for each module of tests."""
    counts: dict[str, Counter[str]] = {}
    for test in theirs | ours:
        one = kind(theirs.get(test, "absent"), ours.get(test, "absent"))
        for row in (test.partition("::")[0], "all"):
            counts.setdefault(row, Counter())[one] += 1
    kinds = ("pass", "pass there only", "pass here only", "both fail", "skipped")
    yield f"| tests | {' | '.join(kinds)} |"
    yield "| --- " * (len(kinds) + 1) + "|"
    for row in sorted(counts, key=lambda row: (row == "all", row)):
        yield f"| {row} | {' | '.join(str(counts[row][one]) for one in kinds)} |"


def differences(theirs: dict[str, str], ours: dict[str, str]) -> tuple[Counter[str], list[str]]:
    """Return how often each reason explains a test that passes there only, and what is not explained."""
    reasons: Counter[str] = Counter()
    problems = list(missing_lines(REASONS))
    for test, outcome in theirs.items():
        here = ours.get(test, "absent")
        if outcome == "passed" != here:
            phrase = explain(test, here)
            if phrase is None:
                problems.append(f"{test}: {here[:300]}")
            else:
                reasons[phrase] += 1
    return reasons, problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if something is not explained."""
    parser = option_parser(__doc__)
    parser.add_argument("--jobs", default="auto", help="processes that run tests")
    options = parser.parse_args(arguments)
    (FOLDER / "home").mkdir(parents=True, exist_ok=True)
    project = fetch(FOLDER)
    shutil.rmtree(project / "tests" / "data", ignore_errors=True)
    files = write_files(project / "tests" / "data", options.samples)
    environments = Environments(options.uv, options.python)
    tests = Program(("--no-sources", "--group", f"{project / 'pyproject.toml'}:test", *NEEDED))
    results = {}
    for side in ("theirs", "ours"):
        folder = FOLDER / side
        if not (options.keep and interpreter(folder).exists()):
            wheels = [THEIRS] if side == "theirs" else environments.build_wheels(FOLDER / "wheels")
            environments.make(folder, tests, wheels)
        results[side] = run(side, project, options.jobs)
        print(f"{side}: {len(results[side])} tests on {len(files)} files", file=sys.stderr)
    print("\n".join(table(results["theirs"], results["ours"])))
    reasons, problems = differences(results["theirs"], results["ours"])
    print("\npass there only, by the line of docs/migrating.md:")
    print("\n".join(f"- {phrase}: {count}" for phrase, count in reasons.most_common()))
    print("\n".join(problems[:100]), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
