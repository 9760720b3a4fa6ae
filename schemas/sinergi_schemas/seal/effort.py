"""How much a reader hashes for checkpoints that its messages may not bear out.

A checkpoint of the owner is tried with the candidates that have arrived. To try one costs thousands
of hashes, and to write one costs its owner, or whoever has held it back, a message. One thread
serves all topics, so each message earns its reader a few hashes, and the tries spend them.

    1. A reader begins with some allowance. What it earns beyond that lapses.
    2. While something is left, a checkpoint is tried in full; that may run into debt.
    3. In debt nothing is tried until so much is earned again, or nothing more arrives.
    4. Where nothing more arrives and a reader is in debt, one try is in full all the same; further
       ones, until it is out of debt, get a little for each leaf.

So a true checkpoint that is there gets through, and a reader spends a few hashes a message at most,
and as much as four full tries besides.
"""

from __future__ import annotations

ALLOWANCE = 100_000
A_MESSAGE = 16
A_TRY = 50_000
_LITTLE = 2_000
_A_LEAF = 4


class Effort:
    """The allowance of one reader. Its unit is the time of one hash, somewhat above 1 µs."""

    def __init__(self) -> None:
        self._left = ALLOWANCE
        self._until = 0
        self._has_reserve = True

    @property
    def is_left(self) -> bool:
        """Whether a checkpoint may be tried while more arrives."""
        return self._left > 0

    @property
    def is_over(self) -> bool:
        """Whether the try that has begun is to be given up."""
        return self._left < self._until

    def earn(self, messages: int) -> None:
        """Take account of messages that have arrived."""
        self._left = min(ALLOWANCE, self._left + A_MESSAGE * messages)

    def begin(self, leaves: int) -> None:
        """Begin a try of a checkpoint that covers so many leaves."""
        most = A_TRY
        if self._left > 0:
            self._has_reserve = True
        elif self._has_reserve:
            self._has_reserve = False
        else:
            most = _LITTLE + _A_LEAF * leaves
        self._until = self._left - most

    def prepare(self, hashes: int) -> None:
        """Take account of work that every try takes, and that leaves the search its share."""
        self._left -= hashes
        self._until -= hashes

    def spend(self, hashes: int) -> None:
        """Take account of a step of the search."""
        self._left -= hashes
