"""The page that a person sees at the address of an endpoint."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from nd2._core.views.html import tables
from xarray_nd2.serving import viewer
from xarray_nd2.serving.server import VIEW
from xarray_nd2.serving.store import OWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarray_nd2.serving.store import Store

_MAX_THUMBNAILS = 1536
"""Wells of the largest plate."""
_LARGE_THUMBNAILS = 3
"""Thumbnails that are shown large; more are small, with a scroll bar."""
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


def landing_page(store: Store, base: str) -> str:
    """Return the page as HTML; all text from the file is escaped.

    Parameters
    ----------
    base : str
        URL of the root, as the client knows it.
    """
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
    levels = store.levels
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
    """Return lines to copy for each program."""
    image = f"{base}0/" if store.positions else base
    array = "0/0" if store.positions else "0"
    indices = ["0" for axis in store.axes if axis.name not in "pyx"]
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
    public = escape(viewer.public_url(viewer.state(store, base)))
    yield (
        "<p>Scripts of other websites may read this address only if it was started with "
        "<code>--allow-origin</code>. After <code>nd2 serve --allow-origin "
        f'{viewer.PUBLIC}</code>, <a href="{public}">this link</a> shows the file there.</p>'
    )


def _program(name: str, lines: str, note: str = "") -> str:
    """Return a heading and lines to copy; the note is HTML."""
    more = f" <small>({note})</small>" if note else ""
    return f"<h2>{name}{more}</h2><pre>{escape(lines)}</pre>"
