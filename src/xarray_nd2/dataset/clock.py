"""How times are told: seconds on the clock of the acquisition, or seconds since an instant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.readers import Reader

TimeMode = Literal["relative", "absolute"]

_UNIX_EPOCH = 2440587.5
"""Julian day number of 1970-01-01."""
_DAY_MS = 86_400_000
_PLAUSIBLE = range(1990, 2100)


def start_instant(reader: Reader) -> np.datetime64 | None:
    """Return the instant of the first frame in UTC, to the millisecond; None where the file does not say it.

    As a double, a Julian day number tells 0.04 ms apart.

    Files hold a Julian day number; implausible ones (before 1990, or after 2099) occur and count as unknown.
    """
    days = reader.start_julian_day - _UNIX_EPOCH
    if not 0 < days < 60_000:
        return None
    instant = np.datetime64(round(days * _DAY_MS), "ms")
    year = instant.astype("datetime64[Y]").astype(int) + 1970
    return instant if year in _PLAUSIBLE else None


def iso(instant: np.datetime64) -> str:
    """Write an instant as ISO 8601, with milliseconds, in UTC."""
    return f"{np.datetime_as_string(instant, unit='ms')}Z"


@dataclass(frozen=True)
class Clock:
    """How times in seconds become those that the dataset shows.

    Attributes
    ----------
    start : numpy.datetime64, optional
        The instant of the first frame, from which seconds are counted; None to leave times as recorded.
    first : float
        Time of the first frame in seconds, as recorded.
    """

    start: np.datetime64 | None = None
    first: float = 0.0

    @classmethod
    def of(cls, reader: Reader, mode: TimeMode) -> Clock:
        """Choose how times are told.

        Raises
        ------
        ValueError
            If instants are asked for, and the file does not say when it was recorded; or ``mode`` is neither.
        """
        if mode == "relative":
            return cls()
        if mode != "absolute":
            raise ValueError(f"time must be 'relative' or 'absolute', not {mode!r}")
        start = start_instant(reader)
        if start is None:
            raise ValueError(
                "the file does not say when it was recorded; open it with time='relative' "
                f"(file {reader.source.url!r})"
            )
        times = reader.frame_times
        if times is None or not len(times) or not np.isfinite(times[0]):
            return cls(start)
        return cls(start, float(times[0]) / 1000)

    def convert(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return times as this clock tells them; those since an instant to the nanosecond, as recorded otherwise."""
        return seconds if self.start is None else np.round(seconds - self.first, 9)

    @property
    def units(self) -> dict[str, str]:
        """Attributes that tell the unit, as CF has them."""
        if self.start is None:
            return {"units": "s"}
        since = np.datetime_as_string(self.start, unit="ms").replace("T", " ")
        return {"units": f"seconds since {since}", "calendar": "proleptic_gregorian"}
