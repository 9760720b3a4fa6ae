"""What a running process reports of its own work, as it happens.

Relay, materialiser and provision call an observer; they do not know who listens. The roof makes
metrics and health answers of what is reported (`sinergi.metrics`). Without `--listen` nothing is
listening, and `UNOBSERVED` drops every report.

A method returns at once, and raises nothing: it must not delay or end the process. More than one
thread calls them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_schemas import errors


class WorkState(StrEnum):
    """What a process does at present."""

    STARTING = "starting"
    STANDING_BY = "standing by"
    WORKING = "working"
    WAITING = "waiting"


class WorkStep(StrEnum):
    """A step of a batch of which the duration is reported."""

    SEAL = "seal"
    SEND = "send"
    STORE = "store"


@dataclass(frozen=True, slots=True)
class PartitionCounts:
    """How many topic-partitions the group has assigned to a worker, and what it does with them.

    Attributes:
        assigned: by the consumer group; None until it has answered.
        claimed: those that are being read.
        halted: those whose messages are not what their owner sealed.
    """

    assigned: int | None
    claimed: int
    halted: int


class Observer(Protocol):
    """Takes what a process reports."""

    def turned(self, pause_seconds: float = 0.0) -> None:
        """The loop goes round. It reports again within `pause_seconds` and the time of its work."""
        ...

    def entered(self, state: WorkState, why: object = "") -> None:
        """The process does something else from now on.

        Args:
            why: for `WAITING`, the reason, for example the error. It is no personal data.
        """
        ...

    def failed(self, error: errors.SinergiError) -> None:
        """Something failed that the process tries again, or that ends it."""
        ...

    def finished(self, step: WorkStep, seconds: float, leaves: Mapping[str, int]) -> None:
        """A step of a batch is done.

        Args:
            seconds: how long it took.
            leaves: how many leaves it concerned of each topic, by the topic's name.
        """
        ...

    def held(self, rows: int) -> None:
        """The relay has held so many rows."""
        ...

    def divided(self, counts: PartitionCounts) -> None:
        """Which part of the topic-partitions this worker has, each round anew."""
        ...

    def changed(self, what: str, action: str) -> None:
        """`sinergi provision` has made a change on the brokers.

        Args:
            what: topic, user or right.
            action: what was done with it, e.g. create.
        """
        ...

    def refused(self, topics: int, users: int) -> None:
        """`sinergi provision` has planned, and refuses so many topics and users."""
        ...

    def reloaded(self, *, is_loaded: bool) -> None:
        """The process has read the agreements again, or could not, so that the old ones count."""
        ...


class _Unobserved:
    """Drops every report."""

    def turned(self, pause_seconds: float = 0.0) -> None:
        """See `Observer`, as for the others."""

    def entered(self, state: WorkState, why: object = "") -> None: ...

    def failed(self, error: errors.SinergiError) -> None: ...

    def finished(self, step: WorkStep, seconds: float, leaves: Mapping[str, int]) -> None: ...

    def held(self, rows: int) -> None: ...

    def divided(self, counts: PartitionCounts) -> None: ...

    def changed(self, what: str, action: str) -> None: ...

    def refused(self, topics: int, users: int) -> None: ...

    def reloaded(self, *, is_loaded: bool) -> None: ...


UNOBSERVED: Observer = _Unobserved()
"""For a process that nothing watches."""
