"""Errors of file systems as this package's errors, without passwords, signatures and tokens."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nd2._core import errors
from nd2._core.io.urls import redact

if TYPE_CHECKING:
    from collections.abc import Iterator


_CONNECTION = ("ClientConnector", "EndpointConnection", "ConnectTimeout", "ServerTimeout")
"""Names of errors of clients that could not connect start like this."""
_AUTHORITY = re.compile(r"https?://(?:[^/@\s\"]*@)?([^/?#\s\"]+)")


@contextmanager
def explain_faults(raw_url: str) -> Iterator[None]:
    """Raise errors of file systems as this package's; their text and cause may name the URL in full."""
    try:
        yield
    except (errors.ND2Error, ImportError, MemoryError, NotImplementedError):
        raise
    except Exception as error:
        if isinstance(error, (ValueError, TypeError)) and "://" not in str(error):  # a closed file, a wrong option
            raise
        url = redact(raw_url)
        raise explained(error, url) from (None if url != raw_url or "::" in raw_url else error)


def explained(error: Exception, url: str) -> OSError:
    """Return the error to raise instead of that of a file system."""
    status, reason = http_status(error)
    answer = f"the server answered {status} {reason}".rstrip()
    if status in (401, 403):
        return PermissionError(f"access denied to {url!r}: {answer}")
    if status not in (0, 404, 410):
        return errors.source(answer, path=url)
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"there is no such file: {url!r}")
    if isinstance(error, IsADirectoryError):
        return IsADirectoryError(f"a folder, not an ND2 file: {url!r}")
    text = " ".join(str(error).split())
    if "://" in text:  # the text may name the URL in full
        text = ""
    if isinstance(error, PermissionError):
        return PermissionError(f"access denied to {url!r}" + (f": {text}" if text else ""))
    kind = type(error).__name__
    if kind == "NoCredentialsError":
        return PermissionError(
            f"no credentials for {url!r}; give them by storage_options, or "
            "storage_options={'anon': True} for a public bucket"
        )
    if server := _server(error):
        return errors.source(f"cannot connect to the server {server!r}", path=url)
    return errors.source(f"the bytes could not be read: {kind}{': ' * bool(text)}{text}", path=url)


def http_status(error: BaseException | None) -> tuple[int, str]:
    """Return status and reason of the HTTP answer behind an error; 0 without one.

    fsspec reports every answer to its first request as a file that does not exist.
    """
    while error is not None:
        status = getattr(error, "status", None)
        if isinstance(status, int):
            return status, str(getattr(error, "message", ""))
        error = error.__cause__ or error.__context__
    return 0, ""


def _server(error: Exception) -> str:
    """Return host and port of the server that a client could not connect to; empty for other errors."""
    kind = type(error).__name__
    if not kind.startswith(_CONNECTION):
        return ""
    if match := _AUTHORITY.search(str(error)):  # botocore
        return match[1]
    host, port = getattr(error, "host", ""), getattr(error, "port", "")  # aiohttp
    return f"{host}:{port}" if host else ""
