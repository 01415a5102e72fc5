"""URLs: which strings are URLs, the name of their file, and the form that may be shown."""

from __future__ import annotations

import os
import re
from typing import Any, TypeGuard

# A drive letter is not a protocol; "::" chains protocols.
_URL = r"[A-Za-z][A-Za-z0-9+.\-]+(://|::)"
_SECRET = (
    r"(?i)(x-amz-.*|x-goog-.*"
    r"|.*(signature|token|secret|passw|credential|auth|api[-_]?key|access[-_]?key|private[-_]?key"
    r"|session|cookie|bearer|hmac|jwt).*"
    r"|sig|key|se|sp|sv|st|skoid|sktid|expires|policy|key-pair-id"
    r"|pwd|pass|sid|ticket|code|hash|hdnts|hdnea|otp)"
)
_REPOSITORIES = ("github", "gist", "git")


def is_url(path: object) -> TypeGuard[str]:
    """Return whether ``path`` is a string that fsspec has to open, not a local path."""
    return isinstance(path, str) and "::" in path.replace("://", "::") and bool(re.match(_URL, path))


def local_path(path: str | bytes | os.PathLike[Any]) -> str:
    """Return a path as text, ``~`` expanded; for a ``file://`` URL, the path in it."""
    text = os.fsdecode(os.fspath(path))
    if text.startswith("file://"):
        from fsspec.core import strip_protocol

        return str(strip_protocol(text))
    return os.path.expanduser(text)


def sibling(path: Any, suffix: str) -> Any:
    """Return the path or URL of the file whose name has another suffix appended, as a type that can be opened."""
    fs, inner = getattr(path, "fs", None), getattr(path, "path", None)
    if fs is not None and isinstance(inner, str):
        from fsspec.core import OpenFile

        return OpenFile(fs, inner + suffix)
    return local_path(path) + suffix


def file_name(url: str) -> str:
    """Return the name of the file at a path or URL; for a chained URL, that of the innermost file."""
    place = next((part for part in url.split("::") if "://" in part), None)
    if place is None:
        return os.path.basename(url.rstrip("/"))  # pathlib takes ten times as long
    if place.startswith(("http://", "https://")):
        from urllib.parse import urlsplit

        place = urlsplit(place).path
    return place.rstrip("/").rpartition("/")[2]


def file_stem(url: str) -> str:
    """Return the name of the file at a path or URL, without its suffix."""
    return os.path.splitext(file_name(url))[0]


def redact(url: str) -> str:
    """Return a URL without user name, password, fragment, and the parts of the query that sign it.

    The result still names the file. Each link of a chained URL is treated.
    """
    return "::".join(_redact_link(part) for part in url.split("::"))


def _redact_link(url: str) -> str:
    if "://" not in url or ("@" not in url and "?" not in url and "#" not in url):
        return url
    from urllib.parse import unquote, urlsplit, urlunsplit

    parts = urlsplit(url)
    http = parts.scheme in ("http", "https")
    # In other schemes "@" may belong to the path's first part (an Azure container, a repository and its commit).
    host = parts.netloc
    if http or (parts.scheme not in _REPOSITORIES and ":" in host.rpartition("@")[0]):
        host = host.rpartition("@")[2]
    items = re.split(r"([&;])", parts.query)
    query = "".join(
        separator + item
        for separator, item in zip(["", *items[1::2]], items[::2], strict=True)
        if item and not re.fullmatch(_SECRET, unquote(item.partition("=")[0]).strip())
    ).lstrip("&;")
    return urlunsplit((parts.scheme, host, parts.path, query, "" if http else parts.fragment))
