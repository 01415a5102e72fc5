"""``python -m nd2``: the command ``nd2``."""

import sys

from nd2._core.cli import main

sys.exit(main())
