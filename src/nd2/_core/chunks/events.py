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
_OLDER_EVENT = (
    ("dTime", "time", float),
    ("eMeaning", "meaning", U32),
    ("wsDescription", "description", str),
    ("wsData", "data", str),
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
    events = [_event(event, _EVENT) for event in fields.levels(record.get("pEvents"))]
    if not events:
        events = [_event(event, _OLDER_EVENT) for event in fields.levels(record.get("pFirstEvent"))]
        for event in events:
            event.description += f" - {event.data}" if event.data else ""
    return events


def _event(stored: fields.Tree, table: fields.Table) -> ExperimentEvent:
    event = ExperimentEvent(**fields.read(stored, table))
    code = event.meaning
    event.meaning = fields.member(EventMeaning, code)
    standard = _TEXT.get(code, "") if isinstance(event.meaning, EventMeaning) else f"Event {code}"
    event.description = event.description or standard
    if "S" in stored:
        event.stimulation = StimulationEvent(**fields.read(fields.level(stored, "S"), _STIMULATION))
        kind = event.stimulation.type = fields.member(StimulationType, event.stimulation.type)
        phase = kind.name if isinstance(kind, StimulationType) else str(kind)
        detail = f" - {event.stimulation.description}" if event.stimulation.description else ""
        event.description += f" Phase {phase}{detail}"
    return event


def encode(events: Iterable[ExperimentEvent]) -> dict[str, Any]:
    """Return the tree of events."""
    items = []
    for event in events:
        item = fields.write(event, _EVENT)
        if event.stimulation is not None:
            item["S"] = fields.write(event.stimulation, _STIMULATION)
        items.append(item)
    return {"RLxExperimentRecord": {"uiCount": U32(len(items)), "pEvents": items}}
