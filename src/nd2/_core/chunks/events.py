"""Events of the experiment: from the ``RLxExperimentRecord`` tree to `ExperimentEvent`."""

from __future__ import annotations

from nd2._core.chunks import fields
from nd2._core.structures import EventMeaning, ExperimentEvent, StimulationEvent, StimulationType

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
"""What the software shows for an event that has no description of its own."""


def parse(raw: fields.Tree) -> list[ExperimentEvent]:
    """Return the events in stored order.

    Parameters
    ----------
    raw : mapping
        The decoded tree, with or without its root level. Both forms are read: the compact one of current files, and the
        older one with full names (unverified on real files).
    """
    record = fields.root(raw, "RLxExperimentRecord")
    compact = fields.levels(record.get("pEvents"))
    return [_event(one) for one in compact] or [
        _older_event(one) for one in fields.levels(record.get("pFirstEvent"))
    ]


def _event(event: fields.Tree) -> ExperimentEvent:
    code = fields.integer(event, "M")
    description = fields.text(event, "D") or _standard_text(code)
    stimulation = None
    if "S" in event:
        stored = fields.level(event, "S")
        stimulation = StimulationEvent(
            fields.member(StimulationType, fields.integer(stored, "T")),
            fields.integer(stored, "L"),
            fields.integer(stored, "P"),
            fields.text(stored, "D"),
        )
        kind = stimulation.type
        phase = kind.name if isinstance(kind, StimulationType) else str(kind)
        detail = f" - {stimulation.description}" if stimulation.description else ""
        description = f"{description} Phase {phase}{detail}"
    return ExperimentEvent(
        id=fields.integer(event, "I"),
        time=fields.real(event, "T"),
        time2=fields.real(event, "T2"),
        meaning=fields.member(EventMeaning, code),
        description=description,
        data=fields.text(event, "A"),
        stimulation=stimulation,
    )


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
    known = code in EventMeaning.__members__.values()
    return _TEXT.get(code, "") if known else f"Event {code}"
