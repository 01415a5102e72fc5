"""Private names of nd2 0.12.0 that its own tests import; see `nd2._core.compat`."""

from nd2._core.compat import LegacyReader, ModernReader
from nd2._readers.protocol import ND2Reader

__all__ = ["LegacyReader", "ModernReader", "ND2Reader"]
