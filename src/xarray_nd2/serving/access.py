"""Who may read, and which part: hosts, origins and byte ranges of HTTP requests."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is that of this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def hostname(url: str) -> str:
    """Return the lower-case host of a URL; empty if the URL is malformed."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_host(text: str) -> bool:
    """Return whether a ``Host`` header is a host with an optional port, and nothing else."""
    return _HOST.fullmatch(text) is not None


def requested_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return start and stop of what a ``Range`` header requests; None for the whole."""
    match = _RANGE.fullmatch(text or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(size - int(match[2]), 0), size
    return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size


def prefers_html(accept: str | None) -> bool:
    """Return whether an ``Accept`` header is that of a person's browser: it names HTML."""
    return "text/html" in (accept or "").lower()
