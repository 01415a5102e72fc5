"""``python -m nd2._core.cli``: the command ``nd2``."""

import sys

from nd2._core.cli import main

sys.exit(main())
