"""Types of the value of ``ND2File.jobs``."""

from nd2._core.job_types import *  # noqa: F403
from nd2._core.job_types import __all__ as __all__
