"""Channels as exports name and paint them, also where a file says nothing of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nd2._core import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nd2._core.readers import Reader
    from nd2._core.structures import Channel


@dataclass(frozen=True, slots=True)
class ExportChannel:
    """Name and colour of a channel, and what the file says of it (None if it says nothing)."""

    name: str
    rgb: tuple[int, int, int]
    meta: Channel | None

    @property
    def hex(self) -> str:
        """Colour as six hexadecimal digits, ``RRGGBB``."""
        return "{:02X}{:02X}{:02X}".format(*self.rgb)


def channel_indices(
    chosen: Sequence[int | str], names: Sequence[str], *, path: str = ""
) -> list[int]:
    """Return the indices of channels that are given by index or name, each once; of several of a name, the first.

    Raises
    ------
    IndexError
        If there is no channel of that index.
    ValueError
        If there is no channel of that name; the message suggests names that are like it.
    """
    found = []
    for channel in chosen:
        if isinstance(channel, str):
            if channel not in names:
                raise errors.no_such("channel", channel, names, path=path)
            found.append(names.index(channel))
        else:
            if not -len(names) <= channel < len(names):
                raise errors.channel_range(channel, len(names), path=path)
            found.append(channel % len(names))
    return list(dict.fromkeys(found))


def channels(reader: Reader) -> list[ExportChannel]:
    """Return the channels of a file, as many as its frames have."""
    known = list(getattr(reader.metadata, "channels", None) or [])
    count = reader.layout.channels
    if len(known) != count:
        return [ExportChannel(f"Channel {i}", (255, 255, 255), None) for i in range(count)]
    return [
        ExportChannel(channel.channel.name, channel.channel.color[:3], channel) for channel in known
    ]
