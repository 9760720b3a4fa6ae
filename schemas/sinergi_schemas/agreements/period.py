"""The period in which an agreement is in force, from the table `[in_force]` of its file.

A date means the beginning of that day in its zone; the last day means the beginning of the next
day. A time must have its offset from UTC: where a zone has daylight saving, a local time may occur
twice or never. A time outside the range of `datetime` becomes the first or last time in the range,
since people write 9999-12-31 if there is no end.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_schemas.files import toml_file
from sinergi_schemas.zones import find_zone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


class AgreementPeriod(NamedTuple):
    """When an agreement is in force.

    Attributes:
        starts, ends: in UTC, from `starts` until just before `ends`; None if the table has none.
        problems: a key of the table and what is wrong with its value.
        zone: of its dates; None if the table names none.
    """

    starts: datetime | None
    ends: datetime | None
    problems: Sequence[tuple[str, str]]
    zone: ZoneInfo | None = None


def read_period(table: dict[str, Any]) -> AgreementPeriod:
    """Read the period from the keys `from`, `until` and `zone` of a parsed TOML table."""
    reading = _PeriodReading(table)
    starts = reading.time_at("from", is_last=False)
    ends = reading.time_at("until", is_last=True)
    if starts == _LATEST:
        what = "is after the last date of the calendar; write an earlier date"
        reading.problems.append(("from", what))
    elif starts is not None and ends is not None and ends <= starts:
        reading.problems.append(("until", "is before from; write a later date"))
    ends = None if ends == _LATEST else ends
    return AgreementPeriod(starts, ends, reading.problems, reading.zone)


class _PeriodReading:
    def __init__(self, table: dict[str, Any]) -> None:
        self._table = table
        self.problems: list[tuple[str, str]] = []
        self.zone = self._read_zone(table.get("zone"))

    def time_at(self, key: str, *, is_last: bool) -> datetime | None:
        value = self._table.get(key)
        if isinstance(value, datetime):
            if value.tzinfo is None:
                what = "is a time without an offset, and zone is the zone of dates only; write a"
                hint = f"date, or add the offset, such as {value.isoformat()}+07:00"
                self.problems.append((key, f"{what} {hint}"))
                return None
            return _in_utc(value)
        if isinstance(value, date):
            return self._beginning_of(value, key, is_last=is_last)
        if value is not None:
            kind = toml_file.kind_of(value)
            what = f"must be a date or a time with an offset, without quotes, not {kind}"
            self.problems.append((key, what))
        return None

    def _beginning_of(self, day: date, key: str, *, is_last: bool) -> datetime | None:
        if self.zone is None:
            if "zone" not in self._table:
                what = 'is a date, so it needs a zone; add zone = "Asia/Jakarta"'
                self.problems.append((key, what))
            return None
        if is_last and day == date.max:
            return _LATEST
        first = day + timedelta(days=1) if is_last else day
        return _in_utc(datetime.combine(first, time(), self.zone))

    def _read_zone(self, name: object) -> ZoneInfo | None:
        if not isinstance(name, str):
            return None
        zone = find_zone(name)
        if zone is None:
            what = f'{name!r} is not an IANA zone; write one such as "Asia/Jakarta"'
            self.problems.append(("zone", what))
        return zone


def _in_utc(moment: datetime) -> datetime:
    """A time in UTC; if it is out of the range of `datetime`, the first or last time in it."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _EARLIEST if moment.year == _EARLIEST.year else _LATEST
