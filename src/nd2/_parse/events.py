"""Events of the experiment: from the ``RLxExperimentRecord`` tree to `ExperimentEvent`."""

from __future__ import annotations

from nd2._parse import _tree
from nd2.structures import EventMeaning, ExperimentEvent, StimulationEvent, StimulationType

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


def parse(raw: _tree.Tree) -> list[ExperimentEvent]:
    """Return the events in stored order.

    Parameters
    ----------
    raw : mapping
        The decoded tree, with or without its root level. Both forms are read: the compact one of current files, and the
        older one with full names (unverified on real files).
    """
    record = _tree.root(raw, "RLxExperimentRecord")
    compact = _tree.levels(record.get("pEvents"))
    return [_event(one) for one in compact] or [
        _older_event(one) for one in _tree.levels(record.get("pFirstEvent"))
    ]


def _event(event: _tree.Tree) -> ExperimentEvent:
    code = _tree.integer(event, "M")
    description = _tree.text(event, "D") or _standard_text(code)
    stimulation = None
    if "S" in event:
        stored = _tree.level(event, "S")
        stimulation = StimulationEvent(
            _tree.member(StimulationType, _tree.integer(stored, "T")),
            _tree.integer(stored, "L"),
            _tree.integer(stored, "P"),
            _tree.text(stored, "D"),
        )
        kind = stimulation.type
        phase = kind.name if isinstance(kind, StimulationType) else str(kind)
        detail = f" - {stimulation.description}" if stimulation.description else ""
        description = f"{description} Phase {phase}{detail}"
    return ExperimentEvent(
        id=_tree.integer(event, "I"),
        time=_tree.real(event, "T"),
        time2=_tree.real(event, "T2"),
        meaning=_tree.member(EventMeaning, code),
        description=description,
        data=_tree.text(event, "A"),
        stimulation=stimulation,
    )


def _older_event(event: _tree.Tree) -> ExperimentEvent:
    code, data = _tree.integer(event, "eMeaning"), _tree.text(event, "wsData")
    description = _tree.text(event, "wsDescription") or _standard_text(code)
    return ExperimentEvent(
        time=_tree.real(event, "dTime"),
        meaning=_tree.member(EventMeaning, code),
        description=f"{description} - {data}" if data else description,
        data=data,
    )


def _standard_text(code: int) -> str:
    known = code in EventMeaning.__members__.values()
    return _TEXT.get(code, "") if known else f"Event {code}"
