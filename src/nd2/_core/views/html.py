"""What is in a file, as a notebook shows it: tables of its axes, its channels, and a few facts, without a pixel."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from nd2._core.io.urls import file_name
from nd2._core.structures import LOOP_AXES
from nd2._core.views.channels import channels
from nd2._core.views.clock import start_date
from nd2._core.views.summary import byte_size, channel_facts, loop_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nd2._core.readers import Reader

_SHOWN = 12
"""How many channels, or names of positions, are listed at most."""
_KINDS = {
    "T": "time",
    "Z": "z stack",
    "P": "positions",
    "C": "channels",
    "Y": "height",
    "X": "width",
    "S": "colour samples",
}


def file_table(reader: Reader) -> str:
    """Return what is in a file as HTML; nothing is read but metadata. All text from the file is escaped."""
    parts = [
        f"<div><strong>ND2File</strong> {escape(file_name(reader.source.url))}</div>",
        _table(("axis", "size", "step", ""), _axes(reader)),
        _table(("channel", "", "excitation", "emission", "modality"), _channels(reader)),
        _table((), _facts(reader)),
    ]
    return f'<div class="nd2-file" style="overflow-x:auto">{"".join(parts)}</div>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    cell = 'style="text-align:left;vertical-align:top;padding:0.1em 1.2em 0.1em 0"'
    lines = ["".join(f"<th {cell}>{title}</th>" for title in head)] if head else []
    lines += ["".join(f"<td {cell}>{text}</td>" for text in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table style="margin:0.5em 0">{body}</table>'


# --------------------------------------------------------------------------------------------------------------- axes


def _axes(reader: Reader) -> Iterator[tuple[str, str, str, str]]:
    loops = [loop for loop in reader.experiment if LOOP_AXES[loop.type] != "C"]
    facts = {
        name: loop_facts(loop) for (name, _), loop in zip(reader.layout.loops, loops, strict=False)
    }
    for name, size in reader.layout.sizes.items():
        step, what = _described(name, facts.get(name, {}), reader)
        yield escape(name), str(size), escape(step), escape(what)


def _described(name: str, facts: Mapping[str, Any], reader: Reader) -> tuple[str, str]:
    """Return the step along an axis with its unit, empty where it has none, and what the axis is."""
    what = _KINDS.get(name[0], "frames")
    if name in ("Y", "X"):
        return _pixel_size(name, reader), what
    if name == "S":
        return "", f"{what}: {', '.join(reader.frames.pixels.sample_order)}"
    step = f"{facts['step_um']:.4g} µm" if facts.get("step_um") else ""
    if facts.get("period_ms"):
        step = f"{facts['period_ms'] / 1000:.4g} s"
    if "phases" in facts:
        what += f", in phases of {_listed(map(str, facts['phases']))}"
    if "names" in facts:
        what += f": {_listed(facts['names'])}"
    return step, what


def _pixel_size(name: str, reader: Reader) -> str:
    known = [channel.meta for channel in channels(reader) if channel.meta is not None]
    if known and not all(known[0].volume.axesCalibrated[:2]):
        return ""
    voxel = reader.voxel_size
    return f"{voxel.y if name == 'Y' else voxel.x:.4g} µm"


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return ", ".join(known[:_SHOWN]) + more


# ----------------------------------------------------------------------------------------------------------- channels


def _channels(reader: Reader) -> Iterator[tuple[str, ...]]:
    known = channels(reader)
    for channel in known[:_SHOWN]:
        facts = channel_facts(channel)
        swatch = (
            '<span style="display:inline-block;width:1em;height:1em;border:1px solid #8888;'
            f'background:{facts["color"]}"></span>'
        )
        lengths = (
            f"{facts[key]:.4g} nm" if key in facts else ""
            for key in ("excitation_nm", "emission_nm")
        )
        yield (
            escape(channel.name),
            swatch,
            *lengths,
            escape(", ".join(facts.get("modality", ()))),
        )
    if len(known) > _SHOWN:
        yield (f"and {len(known) - _SHOWN} more",)


# -------------------------------------------------------------------------------------------------------------- facts


def _facts(reader: Reader) -> Iterator[tuple[str, str]]:
    attributes, date = reader.attributes, start_date(reader)
    frames = reader.layout.frame_count
    known = {
        "type": f"{reader.dtype.name}, {attributes.bitsPerComponentSignificant} bits",
        "frames": str(frames),
        "acquired": None if date is None else f"{date:%Y-%m-%d %H:%M:%S} UTC",
        "objective": next(
            (
                channel.meta.microscope.objectiveName
                for channel in channels(reader)
                if channel.meta is not None
            ),
            None,
        ),
        "size": byte_size(reader.source.size),
        "path": reader.source.url,
    }
    for title, text in known.items():
        if text:
            yield title, escape(text)
