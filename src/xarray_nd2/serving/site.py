"""Answers of an endpoint: the keys of the store, a page for people, pictures, and the viewer."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from nd2._core.views.picture import middle_steps, picture
from nd2._core.views.summary import tables
from xarray_nd2.serving import viewer
from xarray_nd2.serving.store import OWN, Answer, Store
from xarray_nd2.serving.viewer import VIEW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_THUMBNAIL = re.compile(rf"{OWN}/thumbnails/(\d{{1,9}})\.png")
_THUMBNAIL_SIZE = 256
_KEPT_THUMBNAILS = 512
_MAX_THUMBNAILS = 1536
"""Wells of the largest plate."""
_LARGE_THUMBNAILS = 3
"""Thumbnails that are shown large; more are small, with a scroll bar."""
_HTML = "text/html; charset=utf-8"
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; overflow-wrap: anywhere } h2 { font-size: 1.1rem; margin-top: 2rem }
pre { background: #8882; padding: .7em 1em; overflow-x: auto; border-radius: 4px }
.images { display: flex; flex-wrap: wrap; gap: .8rem }
.many { max-height: 24rem; overflow-y: auto; gap: .5rem } .many figure { width: 7rem }
figure { margin: 0; max-width: 24rem } figure img { max-width: 100%; background: #222 }
figcaption { font-size: .85rem; overflow-wrap: anywhere }
.open { display: inline-block; padding: .4em 1em; border-radius: 4px; background: #2563eb; color: #fff;
  text-decoration: none }
"""
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

    def answer(self, key: str, base: str, *, html: bool = False) -> Answer | None:
        """Return the answer to a request; None if there is no such key.

        ``base`` is the URL of the root, as the client knows it; ``html`` is whether the client is a person's browser.
        """
        if not key and html:
            text = _landing_page(self.store, base)
            return Answer(_HTML, text.encode(), headers=_PAGE_HEADERS)
        if key == "favicon.ico":  # every browser asks
            return Answer("", b"", HTTPStatus.NO_CONTENT)
        if key == VIEW:
            place = base
            if viewer.is_installed():
                place = viewer.address(f"{base}{viewer.CLIENT}", viewer.state(self.store, base))
            headers = {"Location": place, "Cache-Control": "no-store"}
            return Answer("", b"", HTTPStatus.FOUND, headers)
        if (match := _THUMBNAIL.fullmatch(key)) and int(match[1]) < max(self.store.positions, 1):
            return Answer("image/png", self._thumbnail(int(match[1])))
        if key.startswith(f"{OWN}/") and (found := viewer.client_answer(key)) is not None:
            return found
        return self.store.get(key)

    def _draw(self, position: int) -> bytes:
        """Draw the middle plane of a position at its first time point."""
        image = self.store.image
        if "P" in image.dims:
            image = image.fix("P", position)
        grid = image.grid
        frame = grid.frame(middle_steps(zip(grid.names, grid.counts, strict=True)))
        return picture(self.store.reader, self.store.facts, [frame], tiles=1, size=_THUMBNAIL_SIZE).png()


def _landing_page(store: Store, base: str) -> str:
    """Return the page of the file as HTML; all text from the file is escaped."""
    name = escape(store.name)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{name}</h1>{''.join(_sections(store, base))}</body></html>"
    )


def _sections(store: Store, base: str) -> Iterator[str]:
    if viewer.is_installed():
        yield f'<p><a class="open" href="{VIEW}">Open in the viewer</a></p>'
    several = " many" if store.positions > _LARGE_THUMBNAILS else ""
    yield f'<div class="images{several}">{"".join(_images(store))}</div>'
    yield tables(store.reader, store.facts, path=False)
    yield _address(store, base)
    yield from _lines(store, base)


def _images(store: Store) -> Iterator[str]:
    names = store.facts.position_names
    count = max(store.positions, 1)
    for position in range(min(count, _MAX_THUMBNAILS)):
        picture = f"{OWN}/thumbnails/{position}.png"
        title = ""
        if store.positions:
            name = names[position] if position < len(names) else ""
            title = f"{position}: {name}" if name else str(position)
        caption = f"<figcaption>{escape(title)}</figcaption>" if title else ""
        image = f'<img loading="lazy" src="{picture}" alt="{escape(title or "image")}">'
        yield f"<figure>{image}{caption}</figure>"
    if count > _MAX_THUMBNAILS:
        yield f"<p>and {count - _MAX_THUMBNAILS} more positions</p>"


def _address(store: Store, base: str) -> str:
    groups = "the image"
    if store.positions:
        groups = f"one image per position, <code>0</code> to <code>{store.positions - 1}</code>"
    levels = store.pyramid.levels
    several = f" Each image has {levels} levels of resolution." if levels > 1 else ""
    labels = ", ".join(escape(labels.title or labels.name) for labels in store.labels)
    layers = f" Labels: {labels}." if labels else ""
    return (
        "<h2>This address</h2>"
        f"<p><code>{escape(base)}</code> is an OME-Zarr 0.5 group with {groups}, computed from the ND2 "
        f"file on request. It is read-only.{several}{layers} Programs that read OME-Zarr over HTTP "
        "open it by this address.</p>"
    )


def _lines(store: Store, base: str) -> Iterator[str]:
    """Yield lines to copy for each program."""
    image = f"{base}0/" if store.positions else base
    array = "0/0" if store.positions else "0"
    indices = ["0" for name in store.axes.names if name not in "pyx"]
    yield _program(
        "zarr, dask",
        f'import zarr\n\narray = zarr.open_group("{base}", mode="r")["{array}"]\n'
        f"plane = array[{', '.join([*indices, '...'])}]\n\n"
        f'import dask.array\n\nlazy = dask.array.from_zarr("{image}0")',
    )
    yield _program("napari", f'napari --plugin napari-ome-zarr "{image}"', "with napari-ome-zarr")
    source = f"zarr3://{image}"
    if viewer.is_installed():
        note = "the viewer of this page; elsewhere, the source of a layer"
    else:
        note = (
            "<code>pip install 'xarray-nd2[view]'</code> adds a viewer to this page; elsewhere, the source of a layer"
        )
    yield _program("neuroglancer", source, note)
    public = escape(viewer.address(viewer.PUBLIC, viewer.state(store, base)))
    yield (
        "<p>Scripts of other websites may read this address only if it was started with "
        "<code>--allow-origin</code>. After <code>nd2 serve --allow-origin "
        f'{viewer.PUBLIC}</code>, <a href="{public}">this link</a> shows the file there.</p>'
    )


def _program(name: str, lines: str, note: str = "") -> str:
    """Return a heading and lines to copy; the note is HTML."""
    more = f" <small>({note})</small>" if note else ""
    return f"<h2>{name}{more}</h2><pre>{escape(lines)}</pre>"
