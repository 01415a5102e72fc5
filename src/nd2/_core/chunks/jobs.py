"""Jobs: what a file says of the job that acquired it. The set of tasks is open, so their content stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nd2._core.chunks import fields


def parse(
    definition: fields.Tree, description: fields.Tree | None, run_guid: bytes
) -> dict[str, Any]:
    """Return the job as ``nd2._core.job_types.JobsDict`` describes it.

    Parameters
    ----------
    definition : mapping
        The decoded definition, names without prefix: one level ``Job``, or ``ProtectedJob`` where it is encrypted.
    description : mapping or None
        The decoded description of the program.
    run_guid : bytes
        Identifier of the run, in UTF-16.
    """
    jobs: dict[str, Any] = {
        "JobRunGUID": run_guid[: len(run_guid) // 2 * 2].decode("utf-16-le", "replace").rstrip("\0")
    }
    if description is not None:
        jobs["ProgramDesc"] = description.get("ProgramDesc", description)
    return {**jobs, "Job": None, "ProtectedJob": None, **definition}
