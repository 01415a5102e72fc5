"""Public value types of the events of an experiment; see `structures`."""

from __future__ import annotations

from enum import IntEnum

from nd2._core.values import Value, publish, value_type

__all__ = ["EventMeaning", "ExperimentEvent", "StimulationEvent", "StimulationType"]


class EventMeaning(IntEnum):
    """Kinds of events of the experiment."""

    Unspecified = 0
    Autofocus = 1
    UserInteraction1_Old = 2
    UserInteraction2_Old = 3
    UserInteraction3_Old = 4
    UserInteraction4_Old = 5
    JOBs = 6
    Command = 7
    Macro = 8
    Pause = 9
    Resume = 10
    Cancel = 11
    RAMGrabZeroTime = 12
    TimeLoopNextPhase = 13
    Refocus = 14
    Stimulation = 15
    ExternalStimulation = 16
    ExperimentStart = 17
    ExperimentEnd = 18
    PhaseXStart = 19
    PhaseXEnd = 20
    BeforeXYMove = 21
    AfterXYMove = 22
    BeforeZSeries = 23
    AfterZSeries = 24
    BeforeLambdaLoop = 25
    AfterLambdaLoop = 26
    BeforeLargeImage = 27
    AfterLargeImage = 28
    BeforeStimulation = 29
    AfterStimulation = 30
    UserEvents = 31
    StreamData = 32
    UserInteraction1 = 33
    UserInteraction2 = 34
    UserInteraction3 = 35
    UserInteraction4 = 36
    UserInteraction5 = 37
    UserInteraction6 = 38
    UserInteraction7 = 39
    UserInteraction8 = 40
    BeforeCapture = 41
    AfterCapture = 42
    RealTimeTTLData = 43
    NoAcquisitionStart = 44
    NoAcquisitionEnd = 45
    HardwareError = 46
    StormEvent = 47
    IncubationInfo = 48
    IncubationError = 49
    InteractiveExpEnd = 50
    ExperimentPause = 51
    WIDReplenishmentStart = 52
    WIDReplenishmentEnd = 53
    NSTORM = 54
    EventCount = 55


class StimulationType(IntEnum):
    """How a stimulation ran with the acquisition."""

    NoStimulation = 0
    Sequential = 1
    Parallel = 2
    Manual = 3
    Begin = 4
    End = 5


@value_type
class StimulationEvent(Value):
    """The stimulation that an event belongs to."""

    type: StimulationType | int = StimulationType.NoStimulation
    loop_index: int = 0
    position: int = 0
    description: str = ""


@value_type
class ExperimentEvent(Value):
    """Something that happened during the experiment; times in milliseconds."""

    id: int = 0
    time: float = 0.0
    time2: float = 0.0
    meaning: EventMeaning | int = EventMeaning.Unspecified
    description: str = ""
    data: str = ""
    stimulation: StimulationEvent | None = None


publish(globals(), __all__)
