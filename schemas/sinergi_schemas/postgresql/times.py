"""Timestamps that PostgreSQL can hold and Python cannot: infinity, 4712 BC, the year 20000.

Sinergi never writes one, but anybody who may write to a table can. The driver refuses to read it,
and with it all rows of the result. So it is read as a moment at the end of Python's calendar, which
is shown as the server writes it.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

import psycopg
from psycopg import pq
from psycopg.adapt import Loader

if TYPE_CHECKING:
    from psycopg.abc import AdaptContext, Buffer

# A day from each end, so that every time zone can show it.
_FIRST = datetime(1, 1, 2, tzinfo=UTC)
_LAST = datetime(9999, 12, 30, tzinfo=UTC)

_OID = psycopg.adapters.types["timestamptz"].oid
_LOADER = psycopg.adapters.get_loader(_OID, pq.Format.TEXT)


class BeyondCalendar(datetime):
    """A timestamp outside Python's calendar. It counts as the calendar's end."""

    said: str

    def __new__(cls, said: str) -> Self:
        """Make one from the server's text."""
        is_past = said.startswith(("-", "0001-")) or said.endswith("BC")
        at = _FIRST if is_past else _LAST
        made = super().__new__(cls, at.year, at.month, at.day, tzinfo=UTC)
        made.said = said
        return made

    def astimezone(self, tz: tzinfo | None = None) -> BeyondCalendar:  # noqa: ARG002
        """The same timestamp, in whatever zone."""
        return self

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:  # noqa: ARG002
        """The server's text."""
        return self.said

    def __str__(self) -> str:
        return self.said

    def __format__(self, _form: str) -> str:
        return self.said

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[Any, ...]:
        return BeyondCalendar, (self.said,)


class MomentLoader(Loader):
    """Reads timestamps like the driver, and those that it refuses as well."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        assert _LOADER is not None
        self._within = _LOADER(oid, context)

    def load(self, data: Buffer) -> datetime:
        """The timestamp."""
        try:
            found: datetime = self._within.load(data)
        except psycopg.DataError:
            return _beyond(data)
        return found if _FIRST <= found <= _LAST else _beyond(data)


def _beyond(data: Buffer) -> BeyondCalendar:
    return BeyondCalendar(bytes(data).decode("ascii", "replace"))
