"""Catalog ND2 files: one row per file, with the most important metadata.

``python -m nd2.index FOLDER``, or ``nd2 index FOLDER``, prints the rows as a table, CSV or JSON.
"""

from nd2._core.catalog import Record, index_file, index_files

__all__ = ["Record", "index_file", "index_files"]

if __name__ == "__main__":
    from nd2._core.cli.index import main

    raise SystemExit(main())
