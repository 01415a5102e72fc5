"""Where bytes come from: local files, URLs through fsspec, and open file objects, behind one base class."""

from nd2._core.io.open import open_source
from nd2._core.io.source import ByteSource, Span

__all__ = ["ByteSource", "Span", "open_source"]
