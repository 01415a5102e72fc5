"""The checks of words and of page layout find faults, and pass what is correct."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.chromium import PROGRAM
from tools import drop_in

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"


@pytest.fixture(scope="module")
def words() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(TOOLS / "check_words.py")))


@pytest.fixture(scope="module")
def layout() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(TOOLS / "check_pages.py")))


def found(words: SimpleNamespace, text: str, name: str = "a.py") -> list[tuple[int, str]]:
    rules = words.compiled(words.RULES)
    if not name.endswith(".md"):
        rules += words.compiled(words.CODE_RULES)
    return [(hit.line, hit.phrase) for hit in words.phrases(Path(name), text, rules)]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("the name stands in the header", "stands in"),  # words: ok
        ("a file beside the other", "beside"),  # words: ok
        ("times come\n    # along with the pixels", "come # along"),
        ("it can be read, too.", ", too."),  # words: ok
        ("this is no list of frames", "is no l"),  # words: ok
        ("bytes that are none", "are none"),  # words: ok
    ],
)
def test_a_phrase_is_found(words: SimpleNamespace, text: str, phrase: str) -> None:
    assert [hit for _, hit in found(words, text)] == [phrase]


@pytest.mark.parametrize(
    "text",
    [
        "if value is None or there is none of them",
        "there is no channel of that name",
        "it is no longer read",
        "the file is too large",
        "# What is this for?",
        "it stands in the header  # words: ok",
    ],
)
def test_other_text_passes(words: SimpleNamespace, text: str) -> None:
    assert found(words, text) == []


def test_headings_of_pages_may_begin_with_what(words: SimpleNamespace) -> None:
    text = "# What is read\n"  # words: ok
    assert found(words, text, "a.md") == []
    assert found(words, text) == [(1, "# What is read")]  # words: ok


def test_the_exit_status_tells_of_phrases(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOLS / "check_words.py")]
    done = subprocess.run([*command, str(TOOLS / "check_pages.py")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")
def test_the_layout_of_pages(layout: SimpleNamespace, tmp_path: Path) -> None:
    page = "<!doctype html><article style='width:{}'>text <a href='{}'>link</a>{}</article>"
    image = "<img class='figure' width=9 height=9 src='{}'>"
    (tmp_path / "good.html").write_text(page.format("90%", "wide.html", ""))
    (tmp_path / "wide.html").write_text(page.format("700px", "good.html", ""))
    (tmp_path / "broken.html").write_text(page.format("90%", "gone.html", image.format("no.png")))
    names = layout.page_names(tmp_path)
    faults = layout.check(PROGRAM, tmp_path, names, [400, 800])
    assert {(name, width) for name, width, _ in faults if name != "broken.html"} == {("wide.html", 400)}
    broken = " ".join(fault for name, _, fault in faults if name == "broken.html")
    assert "no picture no.png" in broken
    assert "leads nowhere: gone.html" in broken


def test_workflows_pin_actions_by_hash() -> None:
    uses = [
        line.strip()
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    pinned = re.compile(r"- uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+")
    assert len(uses) > 10
    assert [line for line in uses if not pinned.fullmatch(line)] == []


def test_pre_commit_has_the_versions_of_the_lint_group() -> None:
    """The hooks install their own tools: each is pinned, and one that the lint group allows."""
    config = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pins = dict(re.findall(r'"(\w+)==([\d.]+)"', config))
    lowest = dict(re.findall(r'"(ruff|codespell)>=([\d.]+)"', (ROOT / "pyproject.toml").read_text("utf-8")))
    assert pins.keys() == lowest.keys()
    for name, version in pins.items():
        assert [int(part) for part in version.split(".")] >= [int(part) for part in lowest[name].split(".")]


def test_the_conda_recipe_and_the_citation_agree_with_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = (ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    run = recipe[recipe.index("  run:") : recipe.index("  run_constraints:")]
    required = set(re.findall(r"^    - (?!python )(.*)$", run, re.MULTILINE))
    wanted = {
        re.sub(r"([a-z])(?=>=)", r"\1 ", text.replace("dask[array]", "dask-core")) for text in project["dependencies"]
    }
    assert required == wanted
    assert f"version: {project['version']}" in recipe
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project['version']}\n" in citation


def test_the_tests_of_nd2_that_pass_there_only_need_a_reason(tmp_path: Path) -> None:
    report = tmp_path / "a.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="tests.test_a" name="one[x.nd2]"/>'
        '<testcase classname="" name="tests.test_a"><skipped message=""/></testcase>'
        '<testcase classname="tests.test_rescue" name="test_rescue"><failure message="E:\\n  appears to be corrupt"/>'
        "</testcase></testsuite></testsuites>"
    )
    ours = dict(drop_in.outcomes(report))
    assert ours["test_a::one[x.nd2]"] == "passed"
    assert ours["test_a::tests.test_a"] == "skipped"
    theirs = {test: "skipped" if test == "test_a::tests.test_a" else "passed" for test in ours}
    assert list(drop_in.table(theirs, ours))[2:] == [
        "| test_a | 1 | 0 | 0 | 0 | 1 |",
        "| test_rescue | 0 | 1 | 0 | 0 | 0 |",
        "| all | 1 | 1 | 0 | 0 | 1 |",
    ]
    assert drop_in.differences(theirs, ours) == ({"logger `nd2.rescue`": 1}, [])
    gone = drop_in.differences({**theirs, "test_a::three": "passed"}, {**ours, "test_rescue::test_rescue": "KeyError"})
    assert gone == ({}, ["test_rescue::test_rescue: KeyError", "test_a::three: absent"])
