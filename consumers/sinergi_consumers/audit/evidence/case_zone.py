"""The one zone in which a page shows all times of a case; it is named once on the page.

Events of three agencies may have three zones. The data keep each time with its own offset. A case
without events has the zone in which its agreements state when they are in force.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_schemas.zones import find_zone, in_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

UNKNOWN = "unknown · tidak diketahui"
# The zone of the period of an agreement. `verifier.html` finds it by the same expression.
_AGREED = re.compile(rb"""(?m)(?:^|[{,])[ \t]*zone[ \t]*=[ \t]*["']([A-Za-z0-9_+/-]+)["']""")
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class CaseZone(NamedTuple):
    """A zone by its IANA name, and its offset where the case begins."""

    name: str
    first: datetime

    @classmethod
    def of(
        cls,
        events: Iterable[Mapping[str, Any]],
        agreements: Iterable[bytes] = (),
        made_at: str = "",
    ) -> CaseZone:
        """The zone of most events; where no event has one that is known here, that of agreements.

        Args:
            agreements: their files. UTC where none names a zone that is known here.
            made_at: when the page was made, which decides about the offset where no event does.
        """
        known = [each for each in events if find_zone(each.get("zone")) is not None]
        counts = Counter(str(each["zone"]) for each in known) or Counter(_agreed(agreements))
        name = min(counts, key=lambda each: (-counts[each], each), default="UTC")
        times = [datetime.fromisoformat(str(each["recorded_at"])) for each in known]
        return cls(name, in_zone(min(times, default=_made(made_at)), name))

    def __str__(self) -> str:
        if self.name == "UTC":
            return self.name
        short, offset = self.first.tzname() or "", self.first.isoformat()[-len("+07:00") :]
        return f"{self.name} ({short}, {offset})" if short.isalpha() else f"{self.name} ({offset})"

    def local(self, at: datetime) -> datetime:
        """A time in this zone."""
        return in_zone(at, self.name)

    def shown(self, at: datetime | None) -> str:
        """A time to the second, without an offset unless it is another one than the stated."""
        if at is None:
            return UNKNOWN
        there = self.local(at)
        is_stated = there.utcoffset() == self.first.utcoffset()
        return (there.replace(tzinfo=None) if is_stated else there).isoformat(" ", "seconds")

    def shown_text(self, text: str) -> str:
        """A time that is written in a document; a text that is none stays as it is."""
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return text
        return text if at.tzinfo is None else self.shown(at)

    def shown_posix(self, seconds: int) -> str:
        """A POSIX time; one that no calendar has stays a number."""
        try:
            return self.shown(datetime.fromtimestamp(seconds, UTC))
        except (OverflowError, OSError, ValueError):
            return f"POSIX time {seconds}"


def _agreed(agreements: Iterable[bytes]) -> Iterator[str]:
    """The zone of each agreement that names one."""
    for each in agreements:
        found = _AGREED.search(each)
        if found is not None and find_zone(name := found[1].decode()) is not None:
            yield name


def _made(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return _BEGINNING
    return _BEGINNING if at.tzinfo is None else at
