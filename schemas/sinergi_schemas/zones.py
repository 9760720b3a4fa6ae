"""Time zones by their IANA names, the same ones on every machine.

`zoneinfo.ZoneInfo` itself takes more: names that mean another zone on each machine (`localtime`),
files of other folders (`posix/…`, `right/…`), and for some text it raises an error of an importer.
"""

from __future__ import annotations

import zoneinfo
from functools import cache
from zoneinfo import ZoneInfo

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
