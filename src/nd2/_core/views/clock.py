"""When the first frame of a file was acquired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from nd2._core.chunks.picture_metadata import UNIX_EPOCH

if TYPE_CHECKING:
    from nd2._core.readers import Reader


def start_date(reader: Reader) -> datetime | None:
    """Return date and time (UTC) of the first frame; None where the file does not say, or says what cannot be."""
    day = reader.start_julian_day
    if day < 1:
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day - UNIX_EPOCH)
    except OverflowError:
        return None
