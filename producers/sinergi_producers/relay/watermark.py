"""Watermarks: each is an id, and every row up to that id is sealed or held. The relay reads above.

While an old snapshot is open elsewhere in the database, VACUUM cannot remove dead index entries,
and each read from the first id scans all of them. Reading from a watermark avoids this.

Transactions do not commit in the order of their ids. So a watermark may rise to an id only when all
transactions have ended that were open when the id was assigned. After that, no row with a smaller
id can appear. Such an id is called settled.

Live rows and the rows of a backfill have a watermark each. A read does not return a live row while
a backfill row of its record waits before it; so while any backfill row waits, the watermark of live
rows does not rise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_producers.relay.sealing import OutboxRow


class UnsealedRows(NamedTuple):
    """The next rows without a leaf, in the order of their ids; of a backfill if no live row waits.

    Attributes:
        live: the watermark above which live rows were read.
        are_backfill: whether they are rows of a backfill.
        backfill: the watermark above which backfill rows were read.
    """

    rows: Sequence[OutboxRow]
    are_backfill: bool
    live: int
    backfill: int


class Horizon(NamedTuple):
    """The database's ids and open transactions at one moment.

    Attributes:
        xmin: the oldest transaction that is still open.
        next_xid: a transaction that was begun after `last_id` was read.
        last_id: the last id that was given out.
        backfill_waits: whether a row of a backfill has no leaf.
    """

    xmin: int
    next_xid: int
    last_id: int
    backfill_waits: bool


@dataclass(slots=True)
class Watermarks:
    """Where the next reads start.

    Attributes:
        live: no live row at or below it waits.
        backfill: no row of a backfill at or below it waits.
        full_read: how often a read starts from the beginning, in seconds.
    """

    live: int = 0
    backfill: int = 0
    full_read: float = DEFAULT.relay.full_read
    _settled: int = 0
    _newest: int = 0
    _has_settled: bool = False
    _candidate: Horizon | None = None
    _backfill_waits: bool = True
    _full_read_due: float = field(default=0.0)

    @property
    def can_rise(self) -> bool:
        """Whether another horizon can raise a watermark; not if every row that came is settled."""
        return not self._has_settled

    def before_read(self, now: float) -> None:
        """Start from the very beginning from time to time, in case a watermark is ever too high.

        Args:
            now: seconds on a monotonic clock.
        """
        if now >= self._full_read_due:
            self._full_read_due = now + self.full_read
            self.reset()

    def observe(self, horizon: Horizon) -> None:
        """Take in a horizon that was read before the next rows are."""
        self._backfill_waits = horizon.backfill_waits
        if self._candidate is None:
            self._candidate = horizon
        elif horizon.xmin >= self._candidate.next_xid:
            self._settled = self._candidate.last_id
            self._candidate = horizon
            self._has_settled = self._settled >= self._newest

    def after_read(self, read: UnsealedRows) -> None:
        """Raise a watermark: what a read has returned is sealed or held before the next read.

        A read that started higher, before a reset, says nothing about the rows below.
        """
        if read.rows:
            self._newest = max(self._newest, read.rows[-1].id)
            self._has_settled = self._settled >= self._newest
        if read.live > self.live or read.backfill > self.backfill:
            return
        if not read.rows:
            self.live = self.backfill = self._settled
            return
        reached = min(self._settled, read.rows[-1].id)
        if read.are_backfill:
            self.backfill = max(self.backfill, reached)
        elif not self._backfill_waits:
            self.live = max(self.live, reached)

    def reset(self) -> None:
        """Start from the beginning again: rows that were held may lie below, also of a backfill."""
        self.live = self.backfill = 0
        self._backfill_waits, self._has_settled = True, False
