"""Private names of nd2 0.12.0 that its own tests import; see `nd2._core.compat`."""

from nd2._core.readers import Reader as ND2Reader
from nd2._core.readers import reader as protocol
from nd2._core.readers.legacy import LegacyReader
from nd2._core.readers.modern import ModernReader

__all__ = ["LegacyReader", "ModernReader", "ND2Reader", "protocol"]
