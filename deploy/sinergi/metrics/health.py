"""Whether a process is alive, and whether it does its work.

It is *alive* if its loop goes round: it has reported a turn within the allowed time. A loop that
waits, for a database or for its turn to lead, goes round; starting the process again would not
help. A loop that does not go round waits for an answer that never comes.

It is *ready* if it is alive and does its work:
- a relay holds the lease and its messages are confirmed within `timeouts.relay.unconfirmed`, or it
  stands by for the relay that does;
- a materialiser reads each topic-partition that the group has assigned to it (none of them is
  halted or cannot be claimed), and its database answers; one without any stands by for the others;
- `provision apply --watch` has planned, and the brokers answer.
A relay or a materialiser is not ready either if its last look at the brokers or at its database
(see `looks`) got no answer, and none of its own messages has come through since. So it is not ready
while its database hangs, although the loop still waits for an answer.

An answer holds no reason beyond the class of an error, since whoever reaches the address may read
it. The log has the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from sinergi_schemas import errors
from sinergi_schemas.observer import WorkState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.observer import PartitionCounts


class HealthAnswer(NamedTuple):
    """Yes or no, and a line about it."""

    is_well: bool
    text: str


class LookEnd(Protocol):
    """How the last look of a `looks.Look` has ended."""

    failure: errors.SinergiError | None
    ended_at: float


class Health:
    """What is known of one process. Each value is replaced as a whole, so no lock is needed.

    Args:
        loop_seconds: how long the loop may take to go round.
        looks: what the process looks at.
    """

    def __init__(self, clock: Clock, loop_seconds: float, looks: Sequence[LookEnd] = ()) -> None:
        self._clock = clock
        self._loop_seconds = loop_seconds
        self._turned_at = clock.monotonic()
        self._due = self._turned_at + loop_seconds
        self._state, self._why = WorkState.STARTING, ""
        self._counts: PartitionCounts | None = None
        self._served_at = self._turned_at
        self._looks = looks

    def turned(self, pause_seconds: float) -> None:
        """The loop goes round; before it does so again it waits for `pause_seconds`."""
        now = self._clock.monotonic()
        self._turned_at, self._due = now, now + pause_seconds + self._loop_seconds

    def entered(self, state: WorkState, why: str) -> None:
        """The process does something else from now on."""
        self._state, self._why = state, why

    def divided(self, counts: PartitionCounts) -> None:
        """What a materialiser has of the topic-partitions."""
        self._counts = counts

    def served(self) -> None:
        """The brokers have taken messages of the process, or it has stored some of theirs."""
        self._served_at = self._clock.monotonic()

    @property
    def state(self) -> WorkState:
        """What the process does."""
        return self._state

    @property
    def seconds_since_turn(self) -> float:
        """How long ago the loop went round."""
        return self._clock.monotonic() - self._turned_at

    def alive(self) -> HealthAnswer:
        """Whether the loop goes round."""
        if self._clock.monotonic() <= self._due:
            return HealthAnswer(is_well=True, text="the loop goes round")
        late = f"the loop has not gone round for {self.seconds_since_turn:.0f} s"
        return HealthAnswer(is_well=False, text=f"{late}; {self._loop_seconds:g} s are allowed")

    def ready(self) -> HealthAnswer:
        """Whether the process does its work."""
        alive = self.alive()
        if not alive.is_well:
            return alive
        if self._state in (WorkState.STARTING, WorkState.WAITING):
            why = f": {self._why}" if self._why else ""
            return HealthAnswer(is_well=False, text=f"{self._state}{why}")
        for look in self._looks:
            away = _away(look.failure)
            if away and look.ended_at > self._served_at:
                why = type(look.failure).__name__
                text = f"{self._state}, but cannot look at the {away}: {why}"
                return HealthAnswer(is_well=False, text=text)
        return self._divided(self._counts) or HealthAnswer(is_well=True, text=str(self._state))

    def _divided(self, counts: PartitionCounts | None) -> HealthAnswer | None:
        """What keeps a materialiser from reading; None if nothing does."""
        if counts is None:
            return None
        if counts.assigned is None:
            return HealthAnswer(is_well=False, text="is no member of the consumer group")
        if counts.claimed < counts.assigned:
            text = f"reads {counts.claimed} of {counts.assigned} topic-partitions"
            return HealthAnswer(is_well=False, text=f"{text}, {counts.halted} are halted")
        if counts.assigned == 0:
            return HealthAnswer(is_well=True, text="the consumer group has assigned nothing")
        return None


def _away(failure: errors.SinergiError | None) -> str:
    """What gave no answer, if a look failed for that; empty if it answered or did not fail.

    A database that refuses one more connection has answered, and the loop has its own.
    """
    if isinstance(failure, errors.BrokerAway | errors.HandshakeRefused):
        return "brokers"
    if type(failure) is not errors.DatabaseAway or failure.sqlstate != "none":
        return ""
    return "" if "FATAL:" in failure.reported else "database"
