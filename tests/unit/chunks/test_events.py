"""Events of an experiment."""

from __future__ import annotations

from typing import Any

from hypothesis import given

from nd2._core.chunks import events
from nd2.structures import EventMeaning, ExperimentEvent, StimulationType
from tests.trees import trees


def record(*stored: dict[str, Any], key: str = "pEvents") -> dict[str, Any]:
    listed = {f"i{i:010d}": event for i, event in enumerate(stored)}
    return {"RLxExperimentRecord": {"uiCount": len(stored), key: listed}}


def test_events() -> None:
    plain, own, phase, unknown = events.decode(
        record(
            {"T": 1500.0, "T2": 3.0, "M": 9, "I": 4},
            {"T": 2000.0, "M": 7, "D": "Home", "A": "StgMoveXY"},
            {"T": 1.0, "M": 15, "S": {"T": 4, "L": 1, "P": 2, "D": "spot"}},
            {"M": 999, "S": {"T": 77}},
        )
    )
    assert (plain.id, plain.time, plain.time2, plain.meaning) == (4, 1500.0, 3.0, EventMeaning.Pause)
    assert plain.description == "Experiment Paused"
    assert plain.stimulation is None
    assert (own.description, own.data) == ("Home", "StgMoveXY")
    assert phase.description == "Stimulation Phase Begin - spot"
    assert phase.stimulation is not None
    assert phase.stimulation.type is StimulationType.Begin
    assert (phase.stimulation.loop_index, phase.stimulation.position) == (1, 2)
    assert (unknown.meaning, unknown.description) == (999, "Event 999 Phase 77")


def test_events_of_the_older_form() -> None:
    (event,) = events.decode(record({"dTime": 5.0, "eMeaning": 34, "wsData": "x"}, key="pFirstEvent"))
    assert (event.time, event.meaning) == (5.0, EventMeaning.UserInteraction2)
    assert event.description == "User 2 - x"
    assert events.decode({}) == []


@given(trees("RLxExperimentRecord", "pEvents", "pFirstEvent", "T", "M", "S", "D", "A"))
def test_any_tree_gives_events(tree: dict[str, Any]) -> None:
    assert all(isinstance(event, ExperimentEvent) for event in events.decode(tree))
