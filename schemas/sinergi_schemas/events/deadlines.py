"""The legal deadlines of a seizure. A missed deadline causes a warning, never a refusal.

They are computed from dates, in calendar days or in working days from Monday to Friday. Public
holidays are not taken into account, so a warning does not prove that a deadline was missed.
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
    """The date `count` working days after `start`, not counting `start` itself."""
    day = start
    while count and day < date.max:
        day += timedelta(days=1)
        count -= day.weekday() < _SATURDAY
    return day


def _days_after(start: date, count: int) -> date:
    """The date `count` days after `start`, but at most the last one that `date` can hold."""
    return date.fromordinal(min(start.toordinal() + count, date.max.toordinal()))


def permit_is_late(seized: date, granted: date | None) -> bool:
    """Whether a court's permit is later than the law allows (KUHAP, UU 20/2025 arts 119-120).

    Args:
        seized: the date of the seizure.
        granted: the date of the permit; if it is unknown, the date on which the seizure was
            recorded; None if both are unknown.
    """
    is_new = seized >= _NEW_PROCEDURE
    return (
        is_new
        and granted is not None
        and granted > working_days_after(seized, _PERMIT_WORKING_DAYS)
    )


def lab_is_late(seized: date, tested: date | None) -> bool:
    """Whether a laboratory's result is later than the law allows (PP 40/2013 arts 14(4), 17)."""
    return tested is not None and tested > _days_after(seized, _LAB_DAYS)


def day_of(instant: datetime, zone: str) -> date:
    """The date of an instant in a zone; the date in UTC if `datetime` cannot hold the former."""
    try:
        return instant.astimezone(ZoneInfo(zone)).date()
    except OverflowError:
        return instant.date()
