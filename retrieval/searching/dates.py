"""Dates as people write them: a day, a month or a year, or a moment."""

import re
from datetime import datetime, timedelta

from index.errors import OptionError

_PARTS = re.compile(r"(\d{4})(?:-(\d\d?)(?:-(\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d))?)?)?)?")


def first_moment(date: str) -> datetime:
    """Return when a day, month or year begins: "2019", "2019-07", "2019-07-14" or "2019-07-14T12:30".

    Raises OptionError for what is no date.
    """
    return _read(date)[0]


def moment_after(date: str) -> datetime:
    """Return when a day, month or year is over, or a minute. Raises OptionError, also for the year 9999."""
    start, parts = _read(date)
    try:
        if parts == 1:
            return start.replace(year=start.year + 1)
        if parts == 2:
            return (start + timedelta(days=31)).replace(day=1)
        return start + {3: timedelta(days=1), 5: timedelta(minutes=1), 6: timedelta(seconds=1)}[parts]
    except (OverflowError, ValueError):
        raise OptionError(f"{date} is too late a date") from None


def _read(date: str) -> tuple[datetime, int]:
    """Return the first moment, and how many parts of it were told."""
    try:
        if (found := _PARTS.fullmatch(date.strip())) is None:
            raise ValueError(date)
        parts = [int(part) for part in found.groups() if part is not None]
        return datetime(*[*parts, 1, 1][: max(3, len(parts))]), len(parts)  # type: ignore[arg-type]
    except ValueError:
        raise OptionError(f"{date} is no date; write 2019, 2019-07 or 2019-07-14") from None
