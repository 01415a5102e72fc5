"""Private names of nd2 0.12.0 that programs import; see `nd2._core.compat`."""

from nd2._core.compat import NEW_HEADER_MAGIC, OLD_HEADER_MAGIC, is_new_format, loop_indices
from nd2._core.open import is_legacy, is_supported_file
from nd2._core.structures import AXIS, VoxelSize

__all__ = [
    "AXIS",
    "NEW_HEADER_MAGIC",
    "OLD_HEADER_MAGIC",
    "VoxelSize",
    "is_legacy",
    "is_new_format",
    "is_supported_file",
    "loop_indices",
]
