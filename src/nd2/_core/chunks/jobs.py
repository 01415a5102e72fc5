"""The JOBS program that acquired a file; there may be any tasks, so they are returned as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nd2._core.chunks import fields

NAMES = (b"CustomData|JobDefinitionV1_0!", b"CustomData|JobDefinitionDescV1_0!", b"CustomData|JobRunGUIDV1_0!")


def decode(definition: fields.Tree, description: fields.Tree | None, run_guid: bytes) -> dict[str, Any]:
    """Return the job as ``nd2._core.job_types.JobsDict`` describes it."""
    jobs: dict[str, Any] = {
        "JobRunGUID": run_guid[: len(run_guid) // 2 * 2].decode("utf-16-le", "replace").rstrip("\0")
    }
    if description is not None:
        jobs["ProgramDesc"] = description.get("ProgramDesc", description)
    return {**jobs, "Job": None, "ProtectedJob": None, **definition}
