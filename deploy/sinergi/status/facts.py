"""What is known about an agency's two sides at one time, without a judgement."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sinergi_schemas.limits import MOST_DATUM_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sinergi.status.copies import UnderReplicatedTopic
    from sinergi_schemas.topics import Topic


class FactSource(StrEnum):
    """The sources of facts."""

    BROKER = "broker"
    PRODUCER = "producer database"
    CONSUMER = "consumer database"


@dataclass(frozen=True, slots=True)
class Away:
    """A service that did not answer, so that its facts are missing.

    Attributes:
        where: its address, without secrets.
        answers: whether it is reachable, but refuses or lacks what was requested.
    """

    service: FactSource
    where: str
    why: str
    answers: bool = False


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """Which relay holds the lease, by the producer database's own clock.

    Attributes:
        expires_at: None if it was released, or never acquired.
    """

    holder: str | None
    expires_at: datetime | None
    is_held: bool


@dataclass(frozen=True, slots=True)
class ShownLeaves:
    """What a topic-partition shows on the broker. Only its ends are read.

    Attributes:
        leaves: the size of the largest checkpoint of its owner that was found.
        is_complete: whether `leaves` is final: the whole partition was read, or it shows all leaves
            that it is known to have had.
        messages: the number of offsets from its first to its last; it has at most as many messages.
        first_leaf: the lowest leaf that its first messages claim; None if these claim none.
        is_searched: no other message claims a lower one, since all of it was read for this.
        is_unsigned: it has checkpoints, but none under a key in the agreements.
        strays: messages near its end that its owner did not send: they are malformed, or have a
            checkpoint that its keys have not signed.
    """

    leaves: int
    is_complete: bool
    messages: int
    first_leaf: int | None = 0
    is_searched: bool = True
    is_unsigned: bool = False
    strays: int = 0

    @property
    def missing(self) -> int:
        """How many leaves are missing at least, since a message has one leaf at most."""
        return max(0, self.leaves - self.messages)


@dataclass(frozen=True, slots=True)
class Tree:
    """One partition that this agency owns.

    Attributes:
        sealed: leaves in its tree.
        sent: leaves that the broker has confirmed.
        unsent_seconds: since the oldest unsent leaf was sealed; 0 if all are sent.
        shown: what the topic shows; None if the broker is away or does not have it.
    """

    partition: int
    sealed: int
    sent: int
    unsent_seconds: float
    shown: ShownLeaves | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """How far one reader is in one partition that this agency owns.

    Attributes:
        reader: `<agency>/<database>`.
        size: the tree size of its largest valid receipt; None if there is none.
        at: when that receipt was signed.
    """

    reader: str
    partition: int
    size: int | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class PublishedTopic:
    """A topic that this agency owns. A row gets its partition when it is sealed.

    Attributes:
        found: its partitions on the broker, 0 if there is no such topic; None if the broker is
            away.
        unsealed: rows that wait for the relay, without those of a backfill.
        history: rows of a backfill that wait: they are sealed when nothing else waits.
        oldest_unsealed_at: `recorded_at` of the oldest row in `unsealed`.
        held: rows that the relay holds, by reason.
        readers: how far each database of each reader is; empty if that is unknown.
        is_in_force: whether an agreement that is in force now covers it.
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
    is_in_force: bool = True

    @property
    def most_known(self) -> int:
        """The leaves of its fullest partition that the broker has confirmed."""
        return max((each.sent for each in self.partitions), default=0)

    @property
    def waiting(self) -> int:
        """The rows and leaves that a relay still has to seal or send."""
        unsent = sum(each.sealed - each.sent for each in self.partitions)
        return self.unsealed + self.history + unsent


@dataclass(frozen=True, slots=True)
class PublisherFacts:
    """The publishing side.

    Attributes:
        unknown: why the progress of some readers is unknown, and what of it cannot be read.
        missing: the control topic of this agency, if its relay needs it and it does not exist.
    """

    lease: LeaseFacts
    topics: tuple[PublishedTopic, ...]
    unknown: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a partition is halted.

    Attributes:
        looks_at: when its materialiser checks it again; None if an older version halted it.
    """

    reason: str
    detail: str
    since: datetime
    looks_at: datetime | None


@dataclass(frozen=True, slots=True)
class ForeignMessages:
    """Foreign messages of one partition that were skipped for one cause."""

    cause: str
    messages: int
    first_offset: int


@dataclass(frozen=True, slots=True)
class ReadPartition:
    """One partition that is read into this agency's database.

    Attributes:
        available: leaves on the broker according to its last messages; None if unknown.
        at_least: a lower bound of the leaves, from the last messages that are read, if these do not
            determine the number; None if `available` is known, or the broker is away.
        signed: leaves that the owner's signed heads state.
        materialised: leaves in the tables, by projection; None if the database is away.
        seconds_behind: age of the first message that is not in the tables, by its time on the
            broker; 0 if none is missing, None if that is unknown.
        worker: the host that reads it, according to the consumer group.
        quarantined: events in quarantine, by reason; None if the database is away; then it is also
            unknown whether the partition is halted.
        strays: foreign messages that were skipped, by cause; they stay on the topic.
        quarantined_events: events in quarantine for any reason; an event that two projections
            refuse counts once.
    """

    partition: int
    available: int | None
    signed: int | None
    materialised: Mapping[str, int] | None
    seconds_behind: float | None
    worker: str | None
    quarantined: Mapping[str, int] | None
    halt: Halt | None
    strays: tuple[ForeignMessages, ...] = ()
    quarantined_events: int | None = None
    at_least: int | None = None
    shown: ShownLeaves | None = None

    @property
    def highest(self) -> int:
        """The position of the most advanced projection; each leaf up to it was verified."""
        return max((self.materialised or {}).values(), default=0)

    @property
    def lowest(self) -> int | None:
        """The position of the least advanced projection."""
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
        found: its partitions on the broker, 0 if there is no such topic; None if the broker is
            away.
        heads_at: when its owner last signed heads.
        heads_fault: why the heads are invalid.
        heads_unread: older messages of the owner's control topic that were not read, and may be
            newer heads.
        is_in_force: whether an agreement that is in force now covers it.
    """

    topic: str
    agreed: int
    found: int | None
    heads_at: datetime | None
    heads_fault: str | None
    partitions: tuple[ReadPartition, ...]
    heads_unread: int = 0
    is_in_force: bool = True

    @property
    def most_known(self) -> int:
        """The leaves of its fullest partition that its owner has signed, or were verified here."""
        return max((max(each.highest, each.signed or 0) for each in self.partitions), default=0)


@dataclass(frozen=True, slots=True)
class QuarantineUse:
    """The bytes of one owner's events that quarantine keeps, and the quota."""

    owner: str
    kept: int
    quota: int

    @property
    def is_used_up(self) -> bool:
        """Whether the largest event that the contract allows may exceed the quota."""
        return self.kept > 0 and self.quota - self.kept < MOST_DATUM_BYTES


@dataclass(frozen=True, slots=True)
class ReaderFacts:
    """The reading side.

    Attributes:
        rooms: the kept bytes and the quota of each owner with events in quarantine.
        workers: materialisers in the consumer group; None if the broker is away.
        foreign: other members of the group, by client id and host.
        group_fault: why the members are unknown although the broker describes the group: others
            use it for something else.
        missing: the receipts topic of this agency, if its materialisers need it and it does not
            exist.
        unreadable: batches of control topics that cannot be read, a line each.
    """

    group: str
    workers: int | None
    topics: tuple[ReadTopic, ...]
    rooms: tuple[QuarantineUse, ...] = ()
    foreign: tuple[str, ...] = ()
    group_fault: str | None = None
    missing: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts about an agency.

    Attributes:
        publishing: None if its database is away, or the settings name none.
        reading: None if the settings name no consumer database.
        unset: settings that are missing and that the agreements require.
        unknown: topics that it may write or read, of event types that this version lacks.
        invalid: damaged rows of both databases, a line each.
        not_in_force: topics on which no agreement is in force; for each the file that covers it,
            and when it comes into force or when it ended.
        misplaced: databases that belong to another agency, a line each.
        agreements: the folder of the agreements.
        periods: which agreements have ended, begin later or end soon, a line each.
        unsigned: topics with checkpoints of which none is under a key in the agreements.
        under_replicated: topics with fewer copies in sync than they shall have.
    """

    agency: str
    at: datetime
    publishing: PublisherFacts | None
    reading: ReaderFacts | None
    away: tuple[Away, ...]
    unset: tuple[str, ...]
    unknown: tuple[Topic, ...] = ()
    invalid: tuple[str, ...] = ()
    not_in_force: Mapping[str, str] = field(default_factory=dict)
    misplaced: tuple[str, ...] = ()
    agreements: str = "agreements"
    periods: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()
    under_replicated: tuple[UnderReplicatedTopic, ...] = ()
