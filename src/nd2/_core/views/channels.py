"""Channels: the facts of one, the rules for names and composites of several, and colors as files store them.

The rules take plain values, because they hold for labeled arrays as well as for files.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING

from nd2._core import errors
from nd2._core.values import record

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nd2._core.chunks.optics import Capture
    from nd2._core.structures import Channel


@record
class ChannelFacts:
    """Facts of a channel; ``meta`` is None if metadata and image disagree on the number of channels."""

    name: str
    unique_name: str
    rgb: tuple[int, int, int]
    meta: Channel | None
    capture: Capture

    @property
    def hex(self) -> str:
        """Color as ``RRGGBB``."""
        return "{:02X}{:02X}{:02X}".format(*self.rgb)

    @property
    def excitation_nm(self) -> float | None:
        """Excitation wavelength in nanometers."""
        return None if self.meta is None else positive(self.meta.channel.excitationLambdaNm)

    @property
    def emission_nm(self) -> float | None:
        """Emission wavelength in nanometers."""
        return None if self.meta is None else positive(self.meta.channel.emissionLambdaNm)

    @property
    def modality(self) -> tuple[str, ...]:
        """Flags of the modality."""
        return () if self.meta is None else tuple(self.meta.microscope.modalityFlags)


def is_bright_field(modality: Collection[str]) -> bool:
    """Return whether flags of a modality mean transmitted light: bright on a bright background.

    Phase contrast, DIC and the transmitted-light detectors of confocal microscopes also have the flag.
    """
    return "brightfield" in modality and "fluorescence" not in modality


def composite_channels(
    modalities: Sequence[Collection[str]], colors: Sequence[str], emissions: Sequence[float | None]
) -> list[int]:
    """Return the indices of the channels that a composite shows by default.

    Channels that would cover the others are left out: bright field; and, if any channel has a
    wavelength, white channels without one, because cameras record transmitted light with the flags
    of fluorescence. If all channels would be left out, all are shown. Colors are ``RRGGBB`` or ``#RRGGBB``;
    wavelengths are None or 0 if unknown.
    """
    named = any(emissions)
    shown = [
        i
        for i, (modality, color, emission) in enumerate(zip(modalities, colors, emissions, strict=True))
        if not is_bright_field(modality) and not (named and not emission and color.lstrip("#").upper() == "FFFFFF")
    ]
    return shown or list(range(len(modalities)))


def channel_indices(channels: Sequence[int | str], names: Sequence[str], *, path: str = "") -> list[int]:
    """Return the indices of channels given by index or name, the first of that name, without repetitions."""
    return list(dict.fromkeys(locate("channel", channel, names, len(names), path=path) for channel in channels))


def locate(noun: str, item: int | str, names: Sequence[str], count: int, *, path: str) -> int:
    """Return the index of one of ``count`` items that is given by index or name, the first of that name."""
    if isinstance(item, str):
        if item not in names:
            raise errors.no_such(noun, item, names, path=path)
        return names.index(item)
    try:
        index = operator.index(item)
    except TypeError:
        raise errors.not_integer(noun, item, "or a name") from None
    if not -count <= index < count:
        raise errors.out_of_range(f"{noun} {index}", count, noun, path=path)
    return index % count


def unique_names(names: Sequence[str]) -> list[str]:
    """Make names unique by suffixes such as `` (2)``; a new name is never that of another item."""
    unique: list[str] = []
    for i, name in enumerate(names):
        candidate, number = name, 1
        while candidate in ([*names[:i], *unique] if number == 1 else [*names, *unique]):
            number += 1
            candidate = f"{name} ({number})"
        unique.append(candidate)
    return unique


def positive(value: float | None) -> float | None:
    """Return a value that is finite and above zero; None for all others."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


def stored_rgb(color: int) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a color that files store as 0x00BBGGRR."""
    return color & 255, color >> 8 & 255, color >> 16 & 255


def stored_hex(color: int) -> str:
    """Return a color that files store as 0x00BBGGRR, as ``#RRGGBB``."""
    return "#{:02X}{:02X}{:02X}".format(*stored_rgb(color))
