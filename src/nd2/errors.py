"""Errors that reading and writing ND2 files raises.

Each class derives from the standard class that a caller would catch anyway: ``OSError`` for a file that is not ND2
or cannot be read, ``ValueError`` for a corrupt file, ``NotImplementedError`` for an unsupported feature.
"""

from nd2._core.errors import (
    CorruptFileError,
    ND2Error,
    NotND2Error,
    SourceError,
    UnclosedFileWarning,
    UnsupportedFileError,
)

__all__ = ["CorruptFileError", "ND2Error", "NotND2Error", "SourceError", "UnclosedFileWarning", "UnsupportedFileError"]
