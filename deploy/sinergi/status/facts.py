"""What is known of an agency's two sides at one moment. Nothing here says whether it is well."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sinergi_schemas.limits import MOST_DATUM_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sinergi_schemas.topics import Topic


class FactSource(StrEnum):
    """What facts come from."""

    BROKER = "broker"
    PRODUCER = "producer database"
    CONSUMER = "consumer database"


@dataclass(frozen=True, slots=True)
class Away:
    """A service that did not tell, so that what it knows is missing here.

    Attributes:
        where: its address, without secrets.
        answers: whether it is there, and refuses or lacks what was asked of it.
    """

    service: FactSource
    where: str
    why: str
    answers: bool = False


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """Who leads as relay, by the producer database's own clock.

    Attributes:
        expires_at: None where it was given back, or never taken.
    """

    holder: str | None
    expires_at: datetime | None
    is_held: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """One partition that this agency owns.

    Attributes:
        sealed: leaves in its tree.
        sent: leaves that the broker has confirmed.
        unsent_seconds: since the oldest leaf that is not sent was sealed; 0 where all are sent.
    """

    partition: int
    sealed: int
    sent: int
    unsent_seconds: float


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """How far one reader is in one partition that this agency owns.

    Attributes:
        reader: `<agency>/<database>`.
        size: the leaves that its largest valid receipt is for; None where there is none.
        at: when that was signed.
    """

    reader: str
    partition: int
    size: int | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class PublishedTopic:
    """A topic that this agency owns. A row has a partition from its sealing on, not before.

    Attributes:
        found: its partitions on the broker, 0 where it has no such topic; None where it is away.
        unsealed: rows that wait for the relay, history apart.
        history: rows of history that wait: they are sealed when nothing else waits.
        oldest_unsealed_at: `recorded_at` of the oldest row that waits, history apart.
        held: rows that the relay leaves aside, by the reason.
        readers: how far each database of each reader is; empty where that is not known.
    """

    topic: str
    agreed: int
    found: int | None
    unsealed: int
    history: int
    oldest_unsealed_at: datetime | None
    oldest_unsealed_seconds: float
    held: Mapping[str, int]
    partitions: tuple[Tree, ...]
    readers: tuple[Acknowledged, ...] = ()

    @property
    def waiting(self) -> int:
        """Everything that a relay has still to seal or send."""
        unsent = sum(each.sealed - each.sent for each in self.partitions)
        return self.unsealed + self.history + unsent


@dataclass(frozen=True, slots=True)
class PublisherFacts:
    """The side of the outbox.

    Attributes:
        unknown: why it is not known how far some readers are.
    """

    lease: LeaseFacts
    topics: tuple[PublishedTopic, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a partition stands still.

    Attributes:
        looks_at: when its materialiser looks at it again; None where an older one halted it.
    """

    reason: str
    detail: str
    since: datetime
    looks_at: datetime | None


@dataclass(frozen=True, slots=True)
class Strays:
    """Messages of one partition that are not its owner's and were skipped for one cause."""

    cause: str
    messages: int
    first_offset: int


@dataclass(frozen=True, slots=True)
class ReadPartition:
    """One partition that is read into this agency's database.

    Attributes:
        available: leaves on the broker as its last messages say; None where that is not known.
        at_least: leaves that so many of its last messages show as are looked at, where these leave
            open how many there are; None where `available` tells, or the broker is away.
        signed: leaves that the owner's signed heads state.
        materialised: leaves in the tables, by projection; None where the database is away.
        seconds_behind: age of the first message that is not in the tables, by its time on the
            broker; 0 where none is missing, None where that is not known.
        worker: the host that reads it, as the consumer group has it.
        quarantined: events in quarantine, by the reason; None where the database is away, and
            with it whether the partition is halted.
        strays: messages of others that were skipped, by cause; they stay on the topic.
        quarantined_events: events in quarantine for any reason; one that two projections refuse
            counts once.
    """

    partition: int
    available: int | None
    signed: int | None
    materialised: Mapping[str, int] | None
    seconds_behind: float | None
    worker: str | None
    quarantined: Mapping[str, int] | None
    halt: Halt | None
    strays: tuple[Strays, ...] = ()
    quarantined_events: int | None = None
    at_least: int | None = None

    @property
    def highest(self) -> int:
        """How far the projection is that is farthest; each leaf of it was verified."""
        return max((self.materialised or {}).values(), default=0)

    @property
    def lowest(self) -> int | None:
        """How far the projection is that is least far."""
        return None if self.materialised is None else min(self.materialised.values(), default=0)

    @property
    def behind(self) -> int | None:
        """Leaves on the broker that are not in the tables yet."""
        if self.available is None or self.lowest is None:
            return None
        return max(0, self.available - self.lowest)


@dataclass(frozen=True, slots=True)
class ReadTopic:
    """A topic of another agency that is read here.

    Attributes:
        found: its partitions on the broker, 0 where it has no such topic; None where it is away.
        heads_at: when its owner signed its heads last.
        heads_fault: why they cannot be believed.
    """

    topic: str
    agreed: int
    found: int | None
    heads_at: datetime | None
    heads_fault: str | None
    partitions: tuple[ReadPartition, ...]


@dataclass(frozen=True, slots=True)
class Room:
    """How much of one owner's events quarantine keeps, in bytes, and how much it may."""

    owner: str
    kept: int
    quota: int

    @property
    def is_used_up(self) -> bool:
        """Whether an event as large as the contract allows may find no room."""
        return self.kept > 0 and self.quota - self.kept < MOST_DATUM_BYTES


@dataclass(frozen=True, slots=True)
class ReaderFacts:
    """The side of the tables.

    Attributes:
        rooms: of the owners of whose events quarantine keeps any.
        workers: materialisers in the consumer group; None where the broker is away.
        foreign: other members of the group, by client id and host.
    """

    group: str
    workers: int | None
    topics: tuple[ReadTopic, ...]
    rooms: tuple[Room, ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that could be found out.

    Attributes:
        publishing: None where its database is away, or this agency's settings name none.
        reading: None where the settings name no consumer database.
        unset: settings that the agreements would want and that are not there.
        unknown: topics that it may write or read, of event types that this version lacks.
        invalid: rows of both databases that are not what was stored there, a line each.
    """

    agency: str
    at: datetime
    publishing: PublisherFacts | None
    reading: ReaderFacts | None
    away: tuple[Away, ...]
    unset: tuple[str, ...]
    unknown: tuple[Topic, ...] = ()
    invalid: tuple[str, ...] = ()
