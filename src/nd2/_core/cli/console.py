"""The streams of the program: characters that they cannot encode, warnings, and progress."""

from __future__ import annotations

import codecs
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_ASCII = {"µ": "u", "μ": "u", "×": "x", "°": "deg", "–": "-", "…": "..."}
_HANDLER = "nd2.ascii"


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Spell the signs of units in ASCII, and escape every other character."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    spelled = [_ASCII.get(sign) or sign.encode("ascii", "backslashreplace").decode("ascii") for sign in signs]
    return "".join(spelled), error.end


codecs.register_error(_HANDLER, _replace)


def accept_all_characters() -> None:
    """Let the streams replace characters that their encoding does not support."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Print each warning once, in one line without the place in the code."""
    shown = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in shown:
            shown.add(text)
            print(f"warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.filterwarnings("always", category=UserWarning)
        warnings.showwarning = show
        yield


def terminal_width() -> int | None:
    """Return the number of columns of the terminal; None if the output is not a terminal."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def shows_progress(quiet: bool) -> bool:
    """Return whether to show progress bars."""
    return not quiet and sys.stderr.isatty()
