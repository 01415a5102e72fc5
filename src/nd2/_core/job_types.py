"""Types of the values of ``ND2File.jobs``, for type checkers: nothing here is needed at run time.

Tasks and their fields are not a closed set; only the common fields of all jobs are described. Unverified on real files.
"""

from __future__ import annotations

from typing import Any, TypedDict

__all__ = [
    "Job",
    "JobsDict",
    "ProgramDesc",
    "PropertyDefinition",
    "ProtectedJob",
    "Shape",
    "Task",
    "TaskParameter",
    "Wellplate",
]


class ProgramDesc(TypedDict, total=False):
    """Kind of the program that defined the job."""

    JobDefType: int


class ProtectedJob(TypedDict, total=False):
    """A job that its author encrypted."""

    EncryptionType: int
    DataSize: int
    Data: Any


class TaskParameter(TypedDict, total=False):
    """A parameter of a task."""

    Name: str
    Type: Any
    Value: Any


class Task(TypedDict, total=False):
    """One step of a job.

    ``Data`` holds one level named after the kind of the task, such as ``CLxJobTask_LoopTime``; ``Parameters`` holds
    ``{"Parameters": {"Parameter0": TaskParameter, ...}}``.
    """

    Key: str
    JobtaskKeyRef: str
    BlockNumber: int
    Order: int
    Version: int
    Name: str
    Data: dict[str, Any]
    Parameters: dict[str, dict[str, TaskParameter]]
    SlotConnections: Any
    LockableParams: Any
    Notes: str
    NotesDetailed: str
    StateFlags: int


class PropertyDefinition(TypedDict, total=False):
    """A property that the job asks its user for."""

    Key: str
    Value: Any
    Type: int
    Visibility: int
    Value1Desc: str
    Value2Desc: str
    Value3Desc: str
    Value4Desc: str
    Flags: int
    DependencyExpression: str


class Shape(TypedDict, total=False):
    """Shape of a well: 1 is a circle, 2 a rectangle; lengths in micrometers."""

    Type: int
    Radius: float
    CenterX: float
    CenterY: float
    RectL: float
    RectT: float
    RectR: float
    RectB: float


class Wellplate(TypedDict, total=False):
    """A well plate; distances in micrometers, offsets up to the center of the first well."""

    Uuid: str
    CompanyName: str
    TypeName: str
    ModelName: str
    NamingMode: int
    XNamingType: int
    YNamingType: int
    ColsAscending: bool
    RowsAscending: bool
    XCount: int
    YCount: int
    XDistance: float
    YDistance: float
    XWellOffset: float
    YWellOffset: float
    CLxLayoutElement: dict[str, Any]
    SLxShape: Shape


class Job(TypedDict, total=False):
    """Definition of a job. ``Tasks`` are by the name that the user gave them."""

    CustomDefinitions: dict[str, Any]
    Tasks: dict[str, Task]
    PropertyDefinitions: dict[str, PropertyDefinition]
    Property: dict[str, Any]
    ProgramParameters: dict[str, Any]


class JobsDict(TypedDict, total=False):
    """The job of a file; either ``Job`` or ``ProtectedJob`` is None."""

    JobRunGUID: str
    ProgramDesc: ProgramDesc
    Job: Job | None
    ProtectedJob: ProtectedJob | None
