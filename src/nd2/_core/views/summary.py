"""Summary of a file: values for JSON, lines of text, and tables for notebooks. Pixels are not read."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.io.urls import file_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from nd2._core.readers import Reader
    from nd2._core.views.channels import ChannelFacts
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


def summary(reader: Reader, facts: Facts) -> dict[str, Any]:
    """Return a summary as values for JSON, without those that are unknown."""
    layout = reader.layout
    date = facts.start
    count = layout.frame_count
    missing = count - int(reader.frames.table.present(count).sum())
    pixel = facts.pixel_size
    time_points = _first_frames(reader, "TU")
    found: dict[str, Any] = {
        "path": reader.source.url,
        "bytes": reader.source.size,
        "version": ".".join(map(str, reader.version)),
        "software": facts.software,
        "acquired": None if date is None else f"{date:%Y-%m-%d %H:%M:%S} UTC",
        "start": facts.start_text,
        "sizes": dict(layout.sizes),
        "dtype": reader.dtype.name,
        "significant_bits": facts.significant_bits,
        "compression": {"zlib": "lossless", "jpeg2k": "JPEG 2000"}.get(reader.frames.pixels.codec),
        "voxel_um": None if pixel is None else [*pixel, facts.z_step],
        "z_step_um": facts.z_step,
        "time_step_ms": facts.time_step(time_points) if len(time_points) > 1 else None,
        "frames": count,
        "frames_missing": missing,
        "frames_beyond_the_loops": max(reader.frame_count - count, 0),
        "loops": [loop_facts(loop) for loop in reader.experiment],
        "positions": _positions(reader, facts),
        "channels": [channel_facts(channel) for channel in facts.channels],
        "duration_s": _duration(facts),
        "recorded": list(facts.recorded),
        "labels": [layer.info.name for layer in reader.binary_layers],
        "rois": len(reader.rois),
        "events": len(reader.experiment_events),
        "job": reader.jobs is not None,
    }
    return {key: value for key, value in found.items() if value not in (None, "", [], 0, False)}


def _first_frames(reader: Reader, letters: str) -> NDArray[np.intp]:
    """Return the first frame of each step of the loops whose names begin with some letters."""
    grid = reader.layout.grid
    return grid.with_dims([name for name in grid.names if name[0] in letters]).frames().reshape(-1)


def _positions(reader: Reader, facts: Facts) -> list[dict[str, Any]]:
    """Return name and place of each position; empty if the file does not have a loop over positions."""
    if "P" not in facts.loops:
        return []
    frames = _first_frames(reader, "P")
    places = np.stack([facts.stage[axis].values[frames] for axis in "xyz"], axis=1)
    names = facts.image_names(len(frames))
    return [
        {**({"name": name} if name else {}), "stage_um": [None if v != v else v for v in place]}
        for name, place in zip(names, places.tolist(), strict=True)
    ]


def _duration(facts: Facts) -> float | None:
    times = facts.frame_times
    if times is None or np.isfinite(times).sum() < 2:
        return None
    return round(float(np.nanmax(times) - np.nanmin(times)) / 1000, 3)


def loop_facts(loop: Any) -> dict[str, Any]:
    """Return the known facts of a loop as values for JSON."""
    found: dict[str, Any] = {"type": loop.type, "count": loop.count}
    if loop.type == "TimeLoop":
        found["period_ms"] = loop.parameters.periodDiff.avg or loop.parameters.periodMs
    elif loop.type == "NETimeLoop":
        found["phases"] = [period.count for period in loop.parameters.periods]
    elif loop.type == "ZStackLoop":
        found["step_um"] = loop.parameters.stepUm
    elif loop.type == "XYPosLoop":
        names = [point.name for point in loop.parameters.points if point.name]
        if names:
            found["names"] = names
    return found


def channel_facts(channel: ChannelFacts) -> dict[str, Any]:
    """Return the known facts of a channel as values for JSON."""
    optics = None if channel.meta is None else channel.meta.microscope
    found = {
        "name": channel.name,
        "color": f"#{channel.hex}",
        "excitation_nm": channel.excitation_nm,
        "emission_nm": channel.emission_nm,
        "modality": list(channel.modality),
        "exposure_ms": channel.capture.exposure_ms,
        "objective": optics and optics.objectiveName,
        "na": optics and optics.objectiveNumericalAperture,
        "magnification": optics and optics.objectiveMagnification,
    }
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def as_text(found: Mapping[str, Any]) -> list[str]:
    """Return the lines of a summary."""
    sizes = " x ".join(f"{axis} {size}" for axis, size in found.get("sizes", {}).items())
    bits = f", {found['significant_bits']} bits" if "significant_bits" in found else ""
    packed = f", {found['compression']} compression" if "compression" in found else ""
    channels = found.get("channels", [])
    counts = {"rois": "regions of interest", "events": "events"}
    also = [f"{found[key]} {what}" for key, what in counts.items() if key in found]
    also += ["acquired by a job"] if "job" in found else []
    lines = [
        ("File", f"{found['path']} ({byte_size(found['bytes'])}, version {found['version']})"),
        ("Acquired", found.get("acquired")),
        ("Software", found.get("software")),
        ("Image", f"{sizes or 'one pixel'} ({found['dtype']}{bits}{packed})"),
        ("Voxel", _voxel(*found["voxel_um"]) if "voxel_um" in found else None),
        ("Frames", _frames(found)),
        ("Duration", f"{found['duration_s']:.6g} s" if "duration_s" in found else None),
        *(("Loop", _loop_line(loop)) for loop in found.get("loops", ())),
        *(("Channel", _channel_line(channel)) for channel in channels),
        ("Objective", next((_objective(channel) for channel in channels if "objective" in channel), None)),
        *((title, ", ".join(found[title.lower()])) for title in ("Labels", "Recorded") if title.lower() in found),
        ("Also", ", ".join(also) or None),
    ]
    return [f"{title + ':':<11}{line}" for title, line in lines if line is not None]


def _objective(channel: Mapping[str, Any]) -> str:
    aperture = f", NA {channel['na']:g}" if "na" in channel else ""
    return f"{channel['objective']}{aperture}"


def _voxel(x: float, y: float, z: float | None) -> str:
    depth = "" if z is None else f" x {z:.4g}"
    return f"{x:.4g} x {y:.4g}{depth} µm ({'x, y' if z is None else 'x, y, z'})"


def _frames(found: Mapping[str, Any]) -> str:
    parts = [str(found.get("frames", 0))]
    if "frames_missing" in found:
        parts.append(f"{found['frames_missing']} missing")
    if "frames_beyond_the_loops" in found:
        parts.append(f"{found['frames_beyond_the_loops']} more that no loop reaches")
    return ", ".join(parts)


def _loop_line(loop: Mapping[str, Any]) -> str:
    what = {"TimeLoop": "time", "NETimeLoop": "time, in phases", "ZStackLoop": "z stack"}
    name = what.get(loop["type"], "positions" if loop["type"] == "XYPosLoop" else loop["type"])
    parts = [f"{name}, {loop['count']}"]
    if "period_ms" in loop:
        parts.append(f"every {loop['period_ms']:.6g} ms" if loop["period_ms"] else "without delay")
    if "phases" in loop:
        parts.append(f"phases of {', '.join(map(str, loop['phases']))}")
    if "step_um" in loop:
        parts.append(f"step {loop['step_um']:.4g} µm")
    if "names" in loop:
        names = loop["names"]
        parts.append(", ".join(names[:8]) + (" ..." if len(names) > 8 else ""))
    return ", ".join(parts)


def _channel_line(channel: Mapping[str, Any]) -> str:
    parts = [f"{channel['name']} ({channel['color']})"]
    for key, what in (("excitation_nm", "excitation"), ("emission_nm", "emission")):
        if key in channel:
            parts.append(f"{what} {channel[key]:.4g} nm")
    return ", ".join([*parts, *channel.get("modality", ())])


def byte_size(count: int) -> str:
    """Return a number of bytes as a text with a decimal unit."""
    size, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"


def file_table(reader: Reader, facts: Facts) -> str:
    """Return a summary of a file as HTML. Only metadata are read; all text from the file is escaped."""
    name = escape(file_name(reader.source.url))
    return f"<div><strong>ND2File</strong> {name}</div>{tables(reader, facts, path=True)}"


def tables(reader: Reader, facts: Facts, *, path: bool) -> str:
    """Return the tables of axes, channels and properties, with or without the path."""
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
    """Yield name and size of each axis, the step along it with its unit, empty if it has none, and a description."""
    for name, size in reader.layout.sizes.items():
        loop = loop_facts(facts.loops[name]) if name in facts.loops else {}
        step, what = "", _KINDS.get(name[0], "frames")
        if name in ("Y", "X") and facts.pixel_size is not None:
            step = f"{facts.pixel_size[name == 'Y']:.4g} µm"
        elif name == "S":
            what += f": {', '.join(reader.frames.pixels.sample_order)}"
        elif loop.get("step_um"):
            step = f"{loop['step_um']:.4g} µm"
        elif loop.get("period_ms"):
            step = f"{loop['period_ms'] / 1000:.4g} s"
        elif "phases" in loop:
            what += f", in phases of {listed(map(str, loop['phases']))}"
        elif "names" in loop:
            what += f": {listed(loop['names'])}"
        yield escape(name), str(size), escape(step), escape(what)


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
    date, optics = facts.start, facts.optics
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
