"""What is in a file, as a person reads it, or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nd2._core.views.channels import channels
from nd2._core.views.clock import start_date

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nd2._core.readers import Reader
    from nd2._core.views.channels import ExportChannel


def summary(reader: Reader) -> dict[str, Any]:
    """Return what is in a file, as JSON can hold it; what is not known is left out."""
    layout, attributes = reader.layout, reader.attributes
    date = start_date(reader)
    count = layout.frame_count
    missing = count - int(reader.frames.table.present(count).sum())
    found: dict[str, Any] = {
        "path": reader.source.url,
        "bytes": reader.source.size,
        "version": ".".join(map(str, reader.version)),
        "software": reader.software,
        "acquired": None if date is None else f"{date:%Y-%m-%d %H:%M:%S} UTC",
        "sizes": dict(layout.sizes),
        "dtype": reader.dtype.name,
        "significant_bits": attributes.bitsPerComponentSignificant,
        "compression": {"zlib": "lossless", "jpeg2k": "JPEG 2000"}.get(reader.frames.pixels.codec),
        "voxel_um": list(reader.voxel_size),
        "frames": count,
        "frames_missing": missing,
        "frames_beyond_the_loops": max(reader.frame_count - count, 0),
        "loops": [loop_facts(loop) for loop in reader.experiment],
        "channels": [channel_facts(channel) for channel in channels(reader)],
        "duration_s": _duration(reader),
        "recorded": list(reader.recorded_data),
        "labels": [layer.info.name for layer in reader.binary_layers],
        "rois": len(reader.rois),
        "events": len(reader.experiment_events),
        "job": reader.jobs is not None,
    }
    return {key: value for key, value in found.items() if value not in (None, "", [], 0, False)}


def _duration(reader: Reader) -> float | None:
    times = reader.frame_times
    if times is None or len(times) < 2:
        return None
    return round(float(np.nanmax(times) - np.nanmin(times)) / 1000, 3)


def loop_facts(loop: Any) -> dict[str, Any]:
    """Return what there is to say of a loop, as JSON can hold it."""
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


def channel_facts(channel: ExportChannel) -> dict[str, Any]:
    """Return what there is to say of a channel, as JSON can hold it."""
    found: dict[str, Any] = {"name": channel.name, "color": f"#{channel.hex}"}
    if channel.meta is not None:
        meta, optics = channel.meta.channel, channel.meta.microscope
        found |= {
            "excitation_nm": meta.excitationLambdaNm,
            "emission_nm": meta.emissionLambdaNm,
            "modality": list(optics.modalityFlags),
            "objective": optics.objectiveName,
            "na": optics.objectiveNumericalAperture,
            "magnification": optics.objectiveMagnification,
        }
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def as_text(found: Mapping[str, Any]) -> Iterator[str]:
    """Return the lines of a summary."""
    sizes = " x ".join(f"{axis} {size}" for axis, size in found.get("sizes", {}).items())
    bits = f", {found['significant_bits']} bits" if "significant_bits" in found else ""
    packed = f", {found['compression']} compression" if "compression" in found else ""
    x, y, z = found.get("voxel_um", (1, 1, 1))
    lines = {
        "File": f"{found['path']} ({byte_size(found['bytes'])}, version {found['version']})",
        "Acquired": found.get("acquired"),
        "Software": found.get("software"),
        "Image": f"{sizes or 'one pixel'} ({found['dtype']}{bits}{packed})",
        "Voxel": f"{x:.4g} x {y:.4g} x {z:.4g} µm (x, y, z)",
        "Frames": _frames(found),
        "Duration": f"{found['duration_s']:.6g} s" if "duration_s" in found else None,
    }
    for title, line in lines.items():
        if line:
            yield f"{title + ':':<11}{line}"
    for loop in found.get("loops", ()):
        yield f"{'Loop:':<11}{_loop_line(loop)}"
    for channel in found.get("channels", ()):
        yield f"{'Channel:':<11}{_channel_line(channel)}"
    optics = next((c for c in found.get("channels", ()) if "objective" in c), None)
    if optics is not None:
        parts = [optics["objective"]]
        parts += [f"NA {optics['na']:g}"] if "na" in optics else []
        yield f"{'Objective:':<11}{', '.join(parts)}"
    for title, key in (("Labels", "labels"), ("Recorded", "recorded")):
        if key in found:
            yield f"{title + ':':<11}{', '.join(found[key])}"
    also = [
        f"{found[key]} {what}"
        for key, what in (("rois", "regions of interest"), ("events", "events"))
        if key in found
    ] + (["acquired by a job"] if "job" in found else [])
    if also:
        yield f"{'Also:':<11}{', '.join(also)}"


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
    """Return a number of bytes as a person reads it."""
    size, unit = float(count), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.3g} {unit}"
