"""URLs are shown without what should stay secret, and still name the file."""

from __future__ import annotations

import pytest

from nd2._core.io.urls import redact

NAMES = [
    "access_key",
    "private_key",
    "pwd",
    "pass",
    "jwt",
    "bearer",
    "session",
    "session_id",
    "sid",
    "ticket",
    "code",
    "hmac",
    "hash",
    "hdnts",
    "hdnea",
    "otp",
    "cookie",
]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a b.nd2", "s3://bucket/a b.nd2"),
        ("https://host/a.nd2", "https://host/a.nd2"),
        ("https://user:pw@host:81/a.nd2", "https://host:81/a.nd2"),
        ("https://host/f?id=3&token=SECRET", "https://host/f?id=3"),
        (
            "https://b.s3.amazonaws.com/a.nd2?X-Amz-Credential=AK&X-Amz-Signature=s&versionId=7",
            "https://b.s3.amazonaws.com/a.nd2?versionId=7",
        ),
        ("https://acc.blob.core.windows.net/c/a.nd2?sv=2&sp=r&sig=s&se=2030", "https://acc.blob.core.windows.net/c/a.nd2"),
        ("https://storage.googleapis.com/b/a.nd2?X-Goog-Signature=s", "https://storage.googleapis.com/b/a.nd2"),
        ("simplecache::https://u:p@host/a.nd2?apikey=1", "simplecache::https://host/a.nd2"),
        ("sftp://user:pw@host/a.nd2", "sftp://host/a.nd2"),
        ("abfs://container@account.dfs.core.windows.net/a.nd2", "abfs://container@account.dfs.core.windows.net/a.nd2"),
        ("github://org:repo@main/a.nd2", "github://org:repo@main/a.nd2"),
        ("abfs://c@acc.dfs.core.windows.net/a.nd2?sv=2&sig=s", "abfs://c@acc.dfs.core.windows.net/a.nd2"),
        ("az://c/a.nd2?sig=s#f", "az://c/a.nd2#f"),
        ("https://host/a.nd2?v=1;sig=s;w=2", "https://host/a.nd2?v=1;w=2"),
        ("https://host/a.nd2?%73ig=s&v=1", "https://host/a.nd2?v=1"),
        *((f"https://host/a.nd2?v=1&{name}=s", "https://host/a.nd2?v=1") for name in NAMES),
    ],
)  # fmt: skip
def test_redact(url: str, shown: str) -> None:
    assert redact(url) == shown
