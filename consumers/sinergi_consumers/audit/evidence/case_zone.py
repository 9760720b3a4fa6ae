"""The one zone in which a page shows all times of a case; it is named once on the page.

Events of three agencies may have three zones. The data keep each time with its own offset.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_schemas.zones import find_zone, in_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNKNOWN = "unknown · tidak diketahui"


class CaseZone(NamedTuple):
    """A zone by its IANA name, and its offset where the case begins."""

    name: str
    first: datetime

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> CaseZone:
        """The zone of most events; UTC where no event has one that is known here."""
        known = [each for each in events if find_zone(each.get("zone")) is not None]
        counts = Counter(str(each["zone"]) for each in known)
        name = min(counts, key=lambda each: (-counts[each], each), default="UTC")
        times = [datetime.fromisoformat(str(each["recorded_at"])) for each in known]
        return cls(name, in_zone(min(times, default=datetime(1970, 1, 1, tzinfo=UTC)), name))

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
