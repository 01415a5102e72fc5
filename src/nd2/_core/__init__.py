"""The implementation of ``nd2``; it imports nothing of this package outside this folder."""
