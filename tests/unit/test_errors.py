"""Error messages: hints for names that do not exist."""

from __future__ import annotations

import pytest

from nd2._core.errors import exists, hint, no_such, one_line


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("dapi", ["DAPI", "GFP"], "; did you mean 'DAPI'?"),
        ("A11", ["A1", "A12", "B7"], "; did you mean 'A1' or 'A12'?"),
        ("mcherry", ["mCherry", "MCHERRY"], "; did you mean 'mCherry' or 'MCHERRY'?"),
        ("x", ["DAPI", None, "", "DAPI", "GFP"], "; there are 'DAPI', 'GFP'"),
        ("x", [None, ""], "; there are none"),
        ("x", [f"name {i}" for i in range(23)], "'name 19' and 3 more"),
    ],
)
def test_hints(name: str, known: list[str | None], expected: str) -> None:
    assert hint(name, known).endswith(expected)
    error = no_such("channel", name, known, path="a.nd2", kind=KeyError)
    assert isinstance(error, KeyError)
    assert error.args[0].startswith(f"there is no channel {name!r}; ")
    assert error.args[0].endswith("(file 'a.nd2')")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exists("a.nd2"), "'a.nd2' already exists; pass overwrite=True (--overwrite) to replace it"),
        (FileNotFoundError(2, "No such file", "a.nd2"), "'a.nd2': No such file"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("two\n  lines"), "two lines"),
        (ValueError("there is no axis 'Q'"), "there is no axis 'Q'"),
    ],
)
def test_one_line(error: Exception, expected: str) -> None:
    assert one_line(error) == expected
