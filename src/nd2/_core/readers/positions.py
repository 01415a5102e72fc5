"""Positions of a file by name, and by index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nd2._core import errors

if TYPE_CHECKING:
    from nd2._core.readers.reader import Reader


def position_names(reader: Reader) -> list[str | None]:
    """Return the name of each position, None where it has none; empty where the file has no positions."""
    return [
        point.name
        for loop in reader.experiment
        if loop.type == "XYPosLoop"
        for point in loop.parameters.points
    ]


def position_index(reader: Reader, position: int | str) -> int:
    """Return the index of a position that is given by index or name.

    Raises
    ------
    IndexError
        If there is no position of that index.
    ValueError
        If there is no position of that name.
    """
    if isinstance(position, str):
        names = position_names(reader)
        if position not in names:
            raise errors.no_such("position", position, names, path=reader.source.url)
        return names.index(position)
    count = dict(reader.layout.loops).get("P", 1)
    index = int(position)
    if not -count <= index < count:
        raise errors.position_range(index, count, path=reader.source.url)
    return index % count
