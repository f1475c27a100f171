"""Points in time as people give them."""

from __future__ import annotations

import datetime
import math
import re
from numbers import Real


class SearchError(ValueError):
    """Results cannot be asked for so; the message says what can be given."""


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
# Fewer digits are a date without its hyphens, or a slip.
_SECONDS = re.compile(r"\d{9,11}(\.\d*)?")


def as_seconds(value: object, what: str, end: bool = False) -> float:
    """Return a point in time as seconds since 1970.

    Parameters
    ----------
    value : datetime, date, str or number
        Without an offset it is this machine's time. Text is ISO 8601, or seconds.
    what : str
        What to call it in messages.
    end : bool
        A day is its end, the next midnight, instead of its beginning.

    Raises
    ------
    SearchError
        If it is none of these, or beyond what a calendar has.
    """
    try:
        if isinstance(value, str):
            value = _read(value.strip())
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        if isinstance(value, datetime.date):
            # By the calendar: a day in which the clock changes has not 24 hours.
            day = value + datetime.timedelta(days=1) if end else value
            return datetime.datetime.combine(day, datetime.time()).timestamp()
        if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except (ValueError, OverflowError, OSError):
        pass
    raise SearchError(
        f'{what}={value!r} is no time: give "2026-11-25", "2026-11-25 14:30" (this machine\'s '
        'time), "2026-11-25T14:30+01:00", a datetime, or seconds since 1970'
    )


def _read(text: str) -> datetime.date | float:
    if _DAY.fullmatch(text):
        return datetime.date.fromisoformat(text)
    if _SECONDS.fullmatch(text):
        return float(text)
    if not _DAY.match(text):  # Python takes 20261125 and 2026-W48-3 too
        raise ValueError(text)
    return datetime.datetime.fromisoformat(text)
