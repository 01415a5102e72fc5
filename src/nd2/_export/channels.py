"""Channels as exports name and paint them, also where a file says nothing of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nd2._readers import Reader
    from nd2.structures import Channel


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


def channels(reader: Reader) -> list[ExportChannel]:
    """Return the channels of a file, as many as its frames have."""
    known = list(getattr(reader.metadata, "channels", None) or [])
    count = reader.layout.channels
    if len(known) != count:
        return [ExportChannel(f"Channel {i}", (255, 255, 255), None) for i in range(count)]
    return [
        ExportChannel(channel.channel.name, channel.channel.color[:3], channel) for channel in known
    ]
