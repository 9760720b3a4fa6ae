"""The deadlines that the law sets around a seizure. They warn and never refuse.

They are counted from dates alone, by calendar days or by working days from Monday to Friday; public
holidays are not known here, so a warning is a reason to look and no finding.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sinergi_schemas.events.seizure import Exhibit, Seizure

_SATURDAY = 5
_NEW_PROCEDURE = date(2026, 1, 2)
_PERMIT_WORKING_DAYS = 5 + 2
_LAB_DAYS = 3 + 3


def missed(seizure: Seizure) -> Iterator[str]:
    """Each deadline that the seizure's own dates miss, as field and rule."""
    seized = _day(seizure.seized_at, seizure.zone)
    told = _day(seizure.recorded_at, seizure.zone) if seizure.recorded_at else None
    if _day(seizure.sealed_at, seizure.zone) != seized:
        yield "sealed_at: not on the day of the seizure; PP 40/2013 art. 14(1) has it recorded then"
    if seizure.order is None:
        yield "order: is not stated; PP 40/2013 art. 14(2) asks for one (surat perintah penyitaan)"
    elif seizure.order.date and seizure.order.date > seized:
        yield "order: is dated after the seizure"
    if _permit_is_late(seizure, seized, told):
        yield (
            "court_permit: not within 5 and 2 working days of the seizure "
            "(KUHAP, UU 20/2025 arts 119-120)"
        )
    for number, exhibit in enumerate(seizure.exhibits):
        if _lab_is_late(exhibit, seized, told):
            yield (
                f"exhibits[{number}].lab_result: not within 3×24 h to hand over and 3×24 h to test "
                "(PP 40/2013 arts 14(4), 17)"
            )


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


def _permit_is_late(seizure: Seizure, seized: date, told: date | None) -> bool:
    if seized < _NEW_PROCEDURE:
        return False
    permit = seizure.court_permit
    granted = told if permit is None else permit.date
    return granted is not None and granted > working_days_after(seized, _PERMIT_WORKING_DAYS)


def _lab_is_late(exhibit: Exhibit, seized: date, told: date | None) -> bool:
    letter = exhibit.lab_letter
    if letter and letter.date:
        tested: date | None = letter.date
    else:
        tested = told if exhibit.is_suspected else None
    return tested is not None and tested > _days_after(seized, _LAB_DAYS)


def _day(instant: datetime, zone: str) -> date:
    """The day on the clocks of a zone; of an instant beyond its calendar, the day in UTC."""
    try:
        return instant.astimezone(ZoneInfo(zone)).date()
    except OverflowError:
        return instant.date()
