"""Private names of nd2 0.12.0 that limnd2, other programs and its own tests import; see `nd2._core.compat`."""
