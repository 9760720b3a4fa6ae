"""The floor under the relay's look: an id at or below which no live row waits.

An old snapshot elsewhere in the database keeps dead index entries alive, and a look from the
beginning then wades through all of them. But ids commit in another order than they are given out,
so a floor may rise only to an id that was given out before every transaction that was open then
had ended: whoever could still commit a smaller one is done.
"""

from __future__ import annotations

from dataclasses import dataclass

FULL_LOOK_SECONDS = 60.0


@dataclass(slots=True)
class Floor:
    """Where the next look starts.

    Attributes:
        id: no live row at or below it waits.
    """

    id: int = 0
    _candidate: tuple[int, int] | None = None
    _full_look_due: float = 0.0

    def before_look(self, now: float) -> int:
        """The id to look from; once a minute from the very beginning, whatever was reasoned.

        Args:
            now: seconds on a monotonic clock.
        """
        if now >= self._full_look_due:
            self._full_look_due = now + FULL_LOOK_SECONDS
            self.reset()
        return self.id

    def after_empty_look(self, xmin: int, xmax: int, last_id: int) -> None:
        """Raise the floor if all who could still commit below the candidate have ended.

        Call it after a look that found nothing, with a horizon taken before that look.

        Args:
            xmin: the oldest transaction still open.
            xmax: the next transaction to begin.
            last_id: the last id given out.
        """
        if self._candidate is None or xmin >= self._candidate[0]:
            if self._candidate is not None:
                self.id = self._candidate[1]
            self._candidate = (xmax, last_id)

    def reset(self) -> None:
        """Look from the beginning again: rows that were held may lie below."""
        self.id = 0
        self._candidate = None
