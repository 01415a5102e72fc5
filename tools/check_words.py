"""Find words and phrases that this project avoids, and print what to write instead.

``python tools/check_words.py`` checks every file that git tracks, ``python tools/check_words.py FILE...`` only
these. It reads code, comments, docstrings, messages, documentation and configuration. A line that must contain
such a word, for example because it quotes another program, ends with ``words: ok``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".cff", ".css", ".html", ".ipynb", ".js", ".json", ".md", ".py", ".pyi", ".sh", ".toml", ".yaml", ".yml"}
NAMES = {"Makefile", "run"}
EXEMPT = ("tests/fuzz/regressions/", "tests/nd2_surface.json", "tools/check_words.py")
ALLOWED = "words: ok"

# What to avoid (a space matches any white space, also the start of the next line of a comment), and what to write.
# Look-behinds have one width: their spaces are \x20. Patterns with an upper-case letter or ``(?i:`` are case-sensitive.
RULES = (
    # phrases that English does not have, or no longer has
    (r"\b(stand|stands|stood|standing) (in|at|on|before|behind|beside|there|here)\b", "is in"),
    (r"\b(come|comes|came|coming|go|goes|went|going) along\b", "is included, is copied"),
    (r"\bat hand\b", "available"),
    (r"\bbeside\b", "next to, compared with, in addition to"),
    (r"(?i:(?<!there\x20)\b(is|are|was|were|be)) none\b(?! (?i:of))", "is not a ..., does not exist"),
    (r"(?<!there\x20)\b(is|are|was|were) no (?!longer|more\b|less\b|matter|need|use\b)[a-z]", "is not a"),
    (r"\banew\b", "again"),
    (r"\bheed(s|ed|ing)?\b", "respect, use"),
    (r"\bwhom\b", "rephrase without it"),
    (r"\b(thence|hence it|thereof|therein|thereto|wherein|whereof|hitherto|nought|naught)\b", "rephrase"),
    (r"\b(lies|lie|lay|lying) (in|at|on|next|there|here|beyond|before|behind)\b", "is in"),
    (r"\b(is|are|was|were|bytes|part|parts|library) asked for\b", "requested"),
    (r"\bgone through\b", "read, traversed"),
    (r"\bbut for\b", "except for"),
    (r"\b(by|of) itself\b", "automatically"),
    (r"\bspeaks? of\b", "mentions"),
    (r"\bas ([\w`.]+ ){1,3}(has|have) (it|them)\b", "as in ..."),
    (r"\blead(s|ing)? on\b", "continues, is resolved"),
    (r"\bcould not be had\b", "cannot be read"),
    (r"\b(otherwise|else) than\b", "other than"),
    (r"\bone's own\b", "your own"),
    (r"\ball that (is|are|it|they|a|the|has|have|can)\b", "everything that"),
    (r"\btake note\b", "note"),
    (r"\bled astray\b", "misled"),
    (r"\btell(s|ing)? (apart|which|whether|how many)\b", "distinguishes, says, shows"),
    (r"\bfor a look\b", "for display"),
    (r"\b(holds|hold|reads|read) no (pixel|frame|byte|file|chunk)\b", "contains no pixels"),
    (r"\b(one|two|three|four|bytes|requests|request|reads) an? (frame|file|plane|chunk|row|pixel|channel)\b", "per"),
    (r"(?<=[a-z`)])(?:,)? too[.;:)]", "also"),
    (r"(?:[.:]\x20|^)What (has|have|had|comes|goes|holds|varies|fails|differs|stands)\b", "Entries that have ..."),
    # terms of the field, and this project's own
    (r"\b(un)?told\b", "given, stated"),
    (r"\bmicrometre", "micrometer"),
    (r"\bfsspec knows\b", "fsspec supports"),
    (r"\{doc\}`", "a Markdown link, which also works in the repository"),
    (r"\bNikon Elements\b", "NIS-Elements"),
    (r"\b(OME-zarr|OME-tiff|Ome-Zarr|Ome-Tiff)\b", "OME-Zarr, OME-TIFF"),
    (r"\bXArray\b|\bXarray\b(?! is)", "xarray"),
    (r"\bNumpy\b", "NumPy"),
    (r"\bimageJ\b|\bImagej\b", "ImageJ"),
)  # fmt: skip
# Comments and docstrings, but not headings of pages.
CODE_RULES = (
    (r"(?:\"\"\"|# )What [a-z][^?\n]*$", "begin with a noun or a verb"),
)  # fmt: skip


class Found(NamedTuple):
    """A phrase to avoid: its file, line, text, and what to write instead."""

    path: Path
    line: int
    phrase: str
    better: str


def compiled(rules: tuple[tuple[str, str], ...]) -> list[tuple[re.Pattern[str], str]]:
    """Return rules as regular expressions."""
    found = []
    for pattern, better in rules:
        letters = re.sub(r"\\.", "", pattern)
        any_case = letters == letters.lower() and "(?i:" not in pattern
        flags = re.MULTILINE | (re.IGNORECASE if any_case else 0)
        found.append((re.compile(pattern.replace(" ", r"(?: |\n[ \t]*(?:# |> )?)"), flags), better))
    return found


def tracked_files() -> list[Path]:
    """Return the files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def is_checked(path: Path) -> bool:
    """Return whether a file is text that people read."""
    name = path.resolve().relative_to(ROOT).as_posix()
    return (path.suffix in SUFFIXES or path.name in NAMES) and not name.startswith(EXEMPT)


def phrases(path: Path, text: str, rules: list[tuple[re.Pattern[str], str]]) -> Iterator[Found]:
    """Yield the phrases to avoid in a text."""
    lines = text.splitlines()
    for pattern, better in rules:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            if ALLOWED not in lines[line - 1]:
                yield Found(path, line, " ".join(match[0].split()), better)


def main(names: list[str]) -> int:
    """Print the phrases to avoid in files; return 1 if there are any."""
    rules, code_rules = compiled(RULES), compiled(CODE_RULES)
    paths = [Path(name).resolve() for name in names] or tracked_files()
    found = [
        phrase
        for path in paths
        if is_checked(path) and path.is_file()
        for phrase in phrases(
            path, path.read_text(encoding="utf-8"), rules if path.suffix == ".md" else rules + code_rules
        )
    ]
    for path, line, phrase, better in sorted(found):
        print(f"{path.relative_to(ROOT)}:{line}: {phrase!r}: write {better!r}")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
