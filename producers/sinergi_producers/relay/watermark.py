"""The floors under the relay's look: ids at or below which no row waits.

An old snapshot elsewhere in the database keeps dead index entries alive, and a look from the
beginning then wades through all of them. But ids commit in another order than they are given out,
so a floor may rise only to an id that was given out before every transaction that was open then
had ended: whoever could still commit a smaller one is done. Such an id is called settled here.

Live rows and history have a floor each. A live row behind waiting history of its record is not
shown by a look, so that while history waits the live floor stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_producers.relay.sealing import OutboxRow

FULL_LOOK_SECONDS = 60.0


class UnsealedRows(NamedTuple):
    """The next rows without a leaf, by their ids; history only if nothing live waits.

    Attributes:
        live: the floor from which live rows were looked for.
        history: the floor from which history was.
    """

    rows: Sequence[OutboxRow]
    are_history: bool
    live: int
    history: int


class Horizon(NamedTuple):
    """What the database says of transactions and ids at one moment.

    Attributes:
        xmin: the oldest transaction still open.
        next_xid: a transaction begun after `last_id` was read.
        last_id: the last id given out.
        history_waits: whether a history row has no leaf.
    """

    xmin: int
    next_xid: int
    last_id: int
    history_waits: bool


@dataclass(slots=True)
class Floors:
    """Where the next looks start.

    Attributes:
        live: no live row at or below it waits.
        history: no history row at or below it waits.
    """

    live: int = 0
    history: int = 0
    _settled: int = 0
    _candidate: Horizon | None = None
    _history_waits: bool = True
    _full_look_due: float = field(default=0.0)

    def before_look(self, now: float) -> None:
        """Once a minute look from the very beginning, whatever was reasoned.

        Args:
            now: seconds on a monotonic clock.
        """
        if now >= self._full_look_due:
            self._full_look_due = now + FULL_LOOK_SECONDS
            self.reset()

    def hear(self, horizon: Horizon) -> None:
        """Take a horizon that was read before the next look."""
        self._history_waits = horizon.history_waits
        if self._candidate is None:
            self._candidate = horizon
        elif horizon.xmin >= self._candidate.next_xid:
            self._settled = self._candidate.last_id
            self._candidate = horizon

    def after_look(self, look: UnsealedRows) -> None:
        """Raise a floor: what a look from there has shown is sealed or held before the next one.

        A look that started higher, before a reset, says nothing of what lies below.
        """
        if look.live > self.live or look.history > self.history:
            return
        if not look.rows:
            self.live = self.history = self._settled
            return
        reached = min(self._settled, look.rows[-1].id)
        if look.are_history:
            self.history = max(self.history, reached)
        elif not self._history_waits:
            self.live = max(self.live, reached)

    def reset(self) -> None:
        """Look from the beginning again: rows that were held may lie below."""
        self.live = self.history = 0
