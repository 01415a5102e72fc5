"""URLs as they may be shown: without passwords, signatures and tokens, and the name of the file alone."""

from __future__ import annotations

import re
from pathlib import PurePath
from urllib.parse import urlsplit, urlunsplit

_SECRET = re.compile(
    r"^(x-amz-.*|x-goog-.*|.*(signature|token|secret|passw|credential|auth|api[-_]?key|accesskey).*"
    r"|sig|key|se|sp|sv|st|skoid|sktid|expires|policy|key-pair-id)$",
    re.IGNORECASE,
)
_REPOSITORIES = ("github", "gist", "git")


def redacted(url: str) -> str:
    """Return a URL without user name, password, fragment, and the parts of the query that sign it.

    What is left still names the file; of the links of a chained URL each is treated.
    """
    return "::".join(_redacted(part) for part in url.split("::"))


def file_name(url: str) -> str:
    """Return the name of the file that a path or URL leads to; of a chained URL, that of the innermost file."""
    place = next((part for part in url.split("::") if "://" in part), None)
    if place is None:
        return PurePath(url).name
    if place.startswith(("http://", "https://")):
        place = urlsplit(place).path
    return place.rstrip("/").rpartition("/")[2]


def _redacted(url: str) -> str:
    if "://" not in url or ("@" not in url and "?" not in url and "#" not in url):
        return url
    parts = urlsplit(url)
    http = parts.scheme in ("http", "https")
    # In other schemes "@" may belong to the path's first part (an Azure container, a repository and its commit).
    host = parts.netloc
    if http or (parts.scheme not in _REPOSITORIES and ":" in host.rpartition("@")[0]):
        host = host.rpartition("@")[2]
    if not http:
        return urlunsplit(parts._replace(netloc=host))
    query = "&".join(
        item for item in parts.query.split("&") if item and not _SECRET.match(item.split("=")[0])
    )
    return urlunsplit((parts.scheme, host, parts.path, query, ""))
