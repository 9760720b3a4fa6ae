"""The deadlines that the law sets around a seizure. They warn and never refuse.

They are counted from dates alone, by calendar days or by working days from Monday to Friday; public
holidays are not known here, so a warning is a reason to look and no finding.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from datetime import datetime

_SATURDAY = 5
_NEW_PROCEDURE = date(2026, 1, 2)
_PERMIT_WORKING_DAYS = 5 + 2
_LAB_DAYS = 3 + 3


def working_days_after(start: date, count: int) -> date:
    """The day that lies `count` working days after `start`, which does not count itself."""
    day = start
    while count and day < date.max:
        day += timedelta(days=1)
        count -= day.weekday() < _SATURDAY
    return day


def _days_after(start: date, count: int) -> date:
    """The day that lies `count` days after `start`, or the calendar's last one."""
    return date.fromordinal(min(start.toordinal() + count, date.max.toordinal()))


def permit_is_late(seized: date, granted: date | None) -> bool:
    """Whether a court's permit came later than the law allows (KUHAP, UU 20/2025 arts 119-120).

    Args:
        seized: the day of the seizure.
        granted: the day of the permit; the day on which the seizure was recorded where none is
            known; None where neither is.
    """
    is_new = seized >= _NEW_PROCEDURE
    return (
        is_new
        and granted is not None
        and granted > working_days_after(seized, _PERMIT_WORKING_DAYS)
    )


def lab_is_late(seized: date, tested: date | None) -> bool:
    """Whether a laboratory's result came later than the law allows (PP 40/2013 arts 14(4), 17)."""
    return tested is not None and tested > _days_after(seized, _LAB_DAYS)


def day_of(instant: datetime, zone: str) -> date:
    """The day on the clocks of a zone; of an instant beyond its calendar, the day in UTC."""
    try:
        return instant.astimezone(ZoneInfo(zone)).date()
    except OverflowError:
        return instant.date()
