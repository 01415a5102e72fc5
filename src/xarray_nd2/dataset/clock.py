"""The clock of a dataset: seconds on the clock of the acquisition, or seconds since an instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from nd2._core.values import record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nd2._core.views.facts import Facts

TimeMode = Literal["relative", "absolute"]


@record
class Clock:
    """The conversion of times in seconds to those of the dataset.

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
    def from_facts(cls, facts: Facts, mode: TimeMode) -> Clock:
        """Return the clock of a mode."""
        if mode == "relative":
            return cls()
        if mode != "absolute":
            raise ValueError(f"time must be 'relative' or 'absolute', not {mode!r}")
        if facts.start is None:
            raise ValueError(
                "the file does not say when it was recorded; open it with time='relative' "
                f"(file {facts.reader.source.url!r})"
            )
        return cls(facts.start, facts.first_time / 1000)

    def convert(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert seconds to this clock; those since an instant are rounded to nanoseconds."""
        return seconds if self.start is None else np.round(seconds - self.first, 9)

    @property
    def units(self) -> dict[str, str]:
        """Attributes for the unit, by the CF conventions."""
        if self.start is None:
            return {"units": "s"}
        since = np.datetime_as_string(self.start, unit="ms").replace("T", " ")
        return {"units": f"seconds since {since}", "calendar": "proleptic_gregorian"}
