"""The number of hashes that a reader may compute to try checkpoints: a token bucket.

The reader tries a checkpoint with the candidates that have arrived. A try costs thousands of
hashes, but writing a checkpoint costs only one message. One thread reads all topics, so a topic
with many checkpoints must not use the thread's time. Each message adds a few hashes to the budget
of its reader, and each try takes hashes from it.

    1. A new reader has the full budget. The budget never rises above that.
    2. While the budget is above zero, a try may use up to `FULL_TRY` hashes, which is called a full
       try, even if the budget then becomes negative.
    3. While the budget is negative, the reader tries nothing until enough messages have arrived
       or the topic has no more messages.
    4. If the topic has no more messages and the budget is negative, the first try is a full one.
       Later tries get a few hashes for each leaf, until the budget is above zero again.

So the reader finds a true checkpoint whose leaves have arrived. It computes at most a few hashes
per message, plus those of four full tries.
"""

from __future__ import annotations

FULL_BUDGET = 100_000
PER_MESSAGE = 16
FULL_TRY = 50_000
_SMALL_TRY = 2_000
_SMALL_TRY_PER_LEAF = 4


class HashBudget:
    """The budget of one reader. The unit is the time of one hash, a little above 1 µs."""

    def __init__(self) -> None:
        self._left = FULL_BUDGET
        self._try_limit = 0
        self._may_overdraw = True

    @property
    def is_left(self) -> bool:
        """Whether a checkpoint may be tried while messages still arrive."""
        return self._left > 0

    @property
    def is_try_exhausted(self) -> bool:
        """Whether the current try has used its hashes and must stop."""
        return self._left < self._try_limit

    def add_messages(self, messages: int) -> None:
        """Add the hashes of messages that have arrived."""
        self._left = min(FULL_BUDGET, self._left + PER_MESSAGE * messages)

    def begin_try(self, leaves: int) -> None:
        """Begin to try a checkpoint that covers this number of new leaves."""
        most = FULL_TRY
        if self._left > 0:
            self._may_overdraw = True
        elif self._may_overdraw:
            self._may_overdraw = False
        else:
            most = _SMALL_TRY + _SMALL_TRY_PER_LEAF * leaves
        self._try_limit = self._left - most

    def spend_on_preparation(self, hashes: int) -> None:
        """Take the hashes that every try needs; they do not count against the try's limit."""
        self._left -= hashes
        self._try_limit -= hashes

    def spend(self, hashes: int) -> None:
        """Take the hashes of one step of the search."""
        self._left -= hashes
