"""Time zones by their IANA names, the same ones on every machine.

`zoneinfo.ZoneInfo` itself takes more: names that mean another zone on each machine (`localtime`),
files of other folders (`posix/…`, `right/…`), and for some text it raises an error of an importer.
"""

from __future__ import annotations

import zoneinfo
from contextlib import suppress
from datetime import UTC
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from datetime import datetime

_NOT_IANA = frozenset({"localtime", "Factory", "posixrules"})


@cache
def zone_names() -> frozenset[str]:
    """The names of all zones."""
    return frozenset(zoneinfo.available_timezones()) - _NOT_IANA


def find_zone(name: object) -> ZoneInfo | None:
    """The zone with a name, which may be any foreign value; None if there is none."""
    if isinstance(name, str) and name in zone_names():
        return ZoneInfo(name)
    return None


def in_zone(when: datetime, zone: object) -> datetime:
    """A time with an offset, in the zone with a name; in UTC if there is no such zone here."""
    # In other zones the last hours of the year 9999 are in the year 10000.
    with suppress(OverflowError):
        return when.astimezone(find_zone(zone) or UTC)
    return when


def local_text(when: datetime) -> str:
    """A time with an offset as a text for people: in this machine's zone, to the second."""
    with suppress(OverflowError):
        when = when.astimezone()
    return when.isoformat(sep=" ", timespec="seconds")
