"""Summary of a file for notebooks: tables of its axes, its channels and a few facts. Pixels are not read."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from nd2._core.io.urls import file_name
from nd2._core.structures import LOOP_AXES
from nd2._core.views.summary import byte_size, channel_facts, loop_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nd2._core.readers import Reader
    from nd2._core.views.facts import Facts

MAX_NAMES = 12
"""Most channels, and names of positions, that are listed."""
_KINDS = {
    "T": "time",
    "Z": "z stack",
    "P": "positions",
    "C": "channels",
    "Y": "height",
    "X": "width",
    "S": "color samples",
}


def file_table(reader: Reader, facts: Facts) -> str:
    """Return a summary of a file as HTML. Only metadata are read; all text from the file is escaped."""
    name = escape(file_name(reader.source.url))
    return f"<div><strong>ND2File</strong> {name}</div>{tables(reader, facts, path=True)}"


def tables(reader: Reader, facts: Facts, *, path: bool) -> str:
    """Return the tables of axes, channels and properties, of which the path may be left out."""
    parts = [
        table(("axis", "size", "step", ""), _axes(reader, facts)),
        table(("channel", "", "excitation", "emission", "modality"), _channels(facts)),
        table((), _properties(reader, facts, path=path)),
    ]
    return block(parts)


def block(parts: Iterable[str]) -> str:
    """Return the element that contains the tables of a summary."""
    return f'<div class="nd2-file" style="overflow-x:auto">{"".join(parts)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    cell = 'style="text-align:left;vertical-align:top;padding:0.1em 1.2em 0.1em 0"'
    lines = ["".join(f"<th {cell}>{title}</th>" for title in head)] if head else []
    lines += ["".join(f"<td {cell}>{text}</td>" for text in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table style="margin:0.5em 0">{body}</table>'


def swatch(color: str) -> str:
    """Return a small square in a color, ``#RRGGBB``."""
    style = f"display:inline-block;width:1em;height:1em;border:1px solid #8888;background:{color}"
    return f'<span style="{escape(style)}"></span>'


def _axes(reader: Reader, facts: Facts) -> Iterator[tuple[str, str, str, str]]:
    loops = [loop for loop in reader.experiment if LOOP_AXES[loop.type] != "C"]
    known = {name: loop_facts(loop) for (name, _), loop in zip(reader.layout.loops, loops, strict=False)}
    for name, size in reader.layout.sizes.items():
        step, what = _described(name, known.get(name, {}), reader, facts)
        yield escape(name), str(size), escape(step), escape(what)


def _described(name: str, loop: Mapping[str, Any], reader: Reader, facts: Facts) -> tuple[str, str]:
    """Return the step along an axis with its unit, empty if it has none, and a description of the axis."""
    what = _KINDS.get(name[0], "frames")
    if name in ("Y", "X"):
        size = facts.pixel_size
        return "" if size is None else f"{size[name == 'Y']:.4g} µm", what
    if name == "S":
        return "", f"{what}: {', '.join(reader.frames.pixels.sample_order)}"
    step = f"{loop['step_um']:.4g} µm" if loop.get("step_um") else ""
    if loop.get("period_ms"):
        step = f"{loop['period_ms'] / 1000:.4g} s"
    if "phases" in loop:
        what += f", in phases of {listed(map(str, loop['phases']))}"
    if "names" in loop:
        what += f": {listed(loop['names'])}"
    return step, what


def listed(names: Iterable[str]) -> str:
    """Return names as a text; of many, the first ones and the number of the others."""
    known = list(names)
    more = f" and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES else ""
    return ", ".join(known[:MAX_NAMES]) + more


def _channels(facts: Facts) -> Iterator[tuple[str, ...]]:
    for channel in facts.channels[:MAX_NAMES]:
        known = channel_facts(channel)
        lengths = (f"{known[key]:.4g} nm" if key in known else "" for key in ("excitation_nm", "emission_nm"))
        yield (escape(channel.name), swatch(known["color"]), *lengths, escape(", ".join(channel.modality)))
    if len(facts.channels) > MAX_NAMES:
        yield (f"and {len(facts.channels) - MAX_NAMES} more",)


def _properties(reader: Reader, facts: Facts, *, path: bool) -> Iterator[tuple[str, str]]:
    date, optics = facts.start_date, facts.optics
    properties = {
        "type": f"{reader.dtype.name}, {facts.significant_bits} bits",
        "frames": str(reader.layout.frame_count),
        "acquired": None if date is None else f"{date:%Y-%m-%d %H:%M:%S} UTC",
        "objective": None if optics is None else optics.objectiveName,
        "size": byte_size(reader.source.size),
        "path": reader.source.url if path else None,
    }
    for title, text in properties.items():
        if text:
            yield title, escape(text)
