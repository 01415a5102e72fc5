"""Answers of an endpoint: the keys of the store, a page for people, pictures, and the viewer."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from nd2._core.views.picture import picture
from xarray_nd2.serving import page, viewer
from xarray_nd2.serving.server import VIEW, Answer
from xarray_nd2.serving.store import OWN, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xarray_nd2.serving.server import Request

_THUMBNAIL = re.compile(rf"{OWN}/thumbnails/(\d{{1,9}})\.png")
_THUMBNAIL_SIZE = 256
_KEPT_THUMBNAILS = 512
_HTML = "text/html; charset=utf-8"
_PAGE_HEADERS = {
    # The page has no scripts: names in the file never run as code.
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
}


class FileSite:
    """One file, for programs and for people."""

    def __init__(self, path: Any, storage_options: Mapping[str, Any] | None) -> None:
        self.store: Store = Store(path, storage_options)
        self._thumbnail = lru_cache(_KEPT_THUMBNAILS)(self._draw)

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; None if there is no such key."""
        key = request.key
        if not key and request.html:
            text = page.landing_page(self.store, request.base)
            return Answer(_HTML, text.encode(), headers=_PAGE_HEADERS)
        if key == "favicon.ico":  # every browser asks
            return Answer("", b"", HTTPStatus.NO_CONTENT)
        if key == VIEW:
            headers = {"Location": self._view_url(request.base), "Cache-Control": "no-store"}
            return Answer("", b"", HTTPStatus.FOUND, headers)
        if (match := _THUMBNAIL.fullmatch(key)) and int(match[1]) < max(self.store.positions, 1):
            return Answer("image/png", self._thumbnail(int(match[1])))
        if key.startswith(f"{OWN}/") and (found := viewer.client_answer(key)) is not None:
            return found
        stored = self.store.get(key)
        return None if stored is None else Answer(*stored)

    def _view_url(self, base: str) -> str:
        """Return the address of the viewer with its state, or of the page if there is no viewer."""
        if not viewer.is_installed():
            return base
        return viewer.client_url(base, viewer.state(self.store, base))

    def _draw(self, position: int) -> bytes:
        """Draw the middle plane of a position at its first time point."""
        image = self.store.image
        if "P" in image.dims:
            image = image.fix("P", position)
        grid = image.grid
        middle = [n // 2 if name[0] == "Z" else 0 for name, n in zip(grid.dims, grid.shape, strict=True)]
        frame = int(grid.frames()[tuple(middle)])
        return picture(self.store.reader, self.store.facts, [frame], tiles=1, size=_THUMBNAIL_SIZE).png()
