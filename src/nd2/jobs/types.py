"""Types of the value of ``ND2File.jobs``."""

from typing import TYPE_CHECKING as TYPE_CHECKING

from nd2._core.job_types import *  # noqa: F403
from nd2._core.job_types import __all__ as _names

__all__ = [*_names, "TYPE_CHECKING"]
