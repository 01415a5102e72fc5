"""Structures that hold the metadata of an ND2 file."""

from typing import TYPE_CHECKING as TYPE_CHECKING
from typing import Any, TypedDict

from nd2._core import event_types, region_types, structures
from nd2._core.event_types import *  # noqa: F403
from nd2._core.region_types import *  # noqa: F403
from nd2._core.structures import *  # noqa: F403

__all__ = ["TYPE_CHECKING", "T"]
__all__ += structures.__all__
__all__ += region_types.__all__
__all__ += event_types.__all__


class T(TypedDict):
    """Raw region of interest; nd2 0.12.0 has the name by accident."""

    Id: int
    Info: dict[str, Any]
    GUID: str
    AnimParams_Size: int
