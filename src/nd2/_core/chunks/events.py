"""Events of the experiment: ``RLxExperimentRecord``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nd2._core.chunks import fields
from nd2._core.event_types import EventMeaning, ExperimentEvent, StimulationEvent, StimulationType
from nd2._core.format.clx_lite import U32

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = (b"ImageEventsLV!", b"ImageEvents!", b"CustomData|ExperimentEventsV1_0!")
"""Chunks that hold events; the last one is that of current files."""

_EVENT = (
    ("T", "time", float),
    ("T2", "time2", float),
    ("M", "meaning", U32),
    ("D", "description", str),
    ("A", "data", str),
    ("I", "id", U32),
)
_STIMULATION = (("T", "type", U32), ("L", "loop_index", U32), ("P", "position", U32), ("D", "description", str))

_TEXT = {
    0: "Unknown",
    1: "Autofocus",
    **{code: f"User {code - 1} old" for code in range(2, 6)},
    6: "JOBs Event",
    7: "Command Executed",
    8: "Macro Event",
    9: "Experiment Paused",
    10: "Experiment Resumed",
    11: "Experiment Stopped by User",
    12: "Acquisition zero time",
    13: "Next Phase Moved by User",
    14: "Experiment Paused for Refocusing",
    15: "Stimulation",
    16: "External Stimulation",
    **{code: f"User {code - 32}" for code in range(33, 41)},
    41: "Before Capture",
    42: "After Capture",
    44: "No Acquisition Phase Start",
    45: "No Acquisition Phase End",
    46: "Hardware Error",
    47: "N-STORM",
    48: "Incubation Info",
    49: "Incubation Error",
    50: "Interactive Finish",
    51: "Pause Experiment",
    52: "WID Replenishment Start",
    53: "WID Replenishment End",
    54: "N-STORM",
}
"""Texts that the software shows for an event without a description."""


def decode(raw: fields.Tree) -> list[ExperimentEvent]:
    """Return the events in stored order.

    Older files have full names; unverified on real files.
    """
    record = fields.root(raw, "RLxExperimentRecord")
    compact = fields.levels(record.get("pEvents"))
    return [_event(event) for event in compact] or [
        _older_event(event) for event in fields.levels(record.get("pFirstEvent"))
    ]


def _event(event: fields.Tree) -> ExperimentEvent:
    values = fields.read(event, _EVENT)
    code, stimulation = values["meaning"], None
    description = values["description"] or _standard_text(code)
    if "S" in event:
        stored = fields.read(fields.level(event, "S"), _STIMULATION)
        kind = fields.member(StimulationType, stored["type"])
        stimulation = StimulationEvent(**{**stored, "type": kind})
        phase = kind.name if isinstance(kind, StimulationType) else str(kind)
        detail = f" - {stimulation.description}" if stimulation.description else ""
        description = f"{description} Phase {phase}{detail}"
    meaning = fields.member(EventMeaning, code)
    own = {"meaning": meaning, "description": description, "stimulation": stimulation}
    return ExperimentEvent(**{**values, **own})


def _older_event(event: fields.Tree) -> ExperimentEvent:
    code, data = fields.integer(event, "eMeaning"), fields.text(event, "wsData")
    description = fields.text(event, "wsDescription") or _standard_text(code)
    return ExperimentEvent(
        time=fields.real(event, "dTime"),
        meaning=fields.member(EventMeaning, code),
        description=f"{description} - {data}" if data else description,
        data=data,
    )


def _standard_text(code: int) -> str:
    member = code in EventMeaning.__members__.values()
    return _TEXT.get(code, "") if member else f"Event {code}"


def encode(events: Iterable[ExperimentEvent]) -> dict[str, Any]:
    """Return the tree of events."""
    items = []
    for event in events:
        item = fields.write(event, _EVENT)
        if event.stimulation is not None:
            item["S"] = fields.write(event.stimulation, _STIMULATION)
        items.append(item)
    return {"RLxExperimentRecord": {"uiCount": U32(len(items)), "pEvents": items}}
