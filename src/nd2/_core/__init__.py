"""The implementation of ``nd2``; it imports nothing of this package outside this folder."""

import sys

if "_HOME" not in vars(sys.modules["nd2"]):  # `nd2/__init__.py` is another distribution's, or gone
    from nd2._core.neighbor import explain_missing_names

    explain_missing_names(sys.modules["nd2"])
