"""Recovery: a database that was restored from a backup takes back what its topics remember.

    1. read each topic beyond the tree that the database knows, verified under our own keys
    2. look at the rows that wait, and decide what becomes of them and of the events found
    3. on request write all of it in one transaction: rows with their leaves, the heads of the
       records, checkpoints and trees. The relay then goes on where the topics end

What does not stand under a checkpoint, since the relay died before it, is proved by nothing but a
row that was in the backup. The rest is left, unless a person has looked at it and vouches for it.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_producers import forgotten, tail
from sinergi_producers.adoption import Adoption, Ground
from sinergi_producers.backlog import Backlog
from sinergi_producers.forgotten import Settlement, settle
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.seal.reader import Reader, Verified
from sinergi_schemas.seal.writer import Writer
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_producers.forgotten import Found, Row
    from sinergi_producers.relay import Identity
    from sinergi_producers.sealing import Share
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.message import Message
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.keys import SigningKey


@dataclass(frozen=True, slots=True)
class Extent:
    """How far one partition is, in leaves.

    Attributes:
        known: by the database.
        proved: by the last checkpoint on the topic that holds.
        shown: by the topic's messages.
    """

    topic: str
    partition: int
    known: int
    proved: int
    shown: int

    @property
    def is_forgotten(self) -> bool:
        """Whether the topic shows more than the database knows."""
        return self.shown > self.known


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recovery would do, or has done.

    Attributes:
        extents: the partitions before it.
        left: events at the end of a topic that nothing proves, and nobody vouches for.
    """

    extents: Sequence[Extent]
    settlement: Settlement
    left: Sequence[Found]

    @property
    def is_needed(self) -> bool:
        """Whether a topic shows more than the database knows."""
        return any(each.is_forgotten for each in self.extents)


class Recovery:
    """The recovery of one outbox.

    Args:
        identity: the agency, the keys that sign for it, and its agreements.
        url: an SQLAlchemy URL of its database.
    """

    def __init__(
        self,
        identity: Identity,
        url: str,
        connection: Connection,
        catalog: Catalog,
        *,
        clock: Clock = SYSTEM,
    ) -> None:
        self._identity = identity
        self._url = url
        self._connection = connection
        self._catalog = catalog
        self._clock = clock

    def plan(self, *, vouched: bool = False) -> Plan:
        """What would be done; nothing is.

        Args:
            vouched: a person has looked at the events that nothing proves, and takes them on.

        Raises:
            SealBroken: a topic is not what this database's tree, and our keys, say of it.
            SchemaRefused, DatumInvalid: an event there cannot be read by this version.
            RecoveryRefused: an event there contradicts a row here.
            PartitionsDiffer, TablesMissing, DatabaseAway, BrokerAway, …: see the relay.
        """
        readings = self._read()  # 1
        events = self._events(readings)
        with closing(Adoption(self._url)) as adoption:
            decided = self._decide(events, adoption.look(events), vouched=vouched)  # 2
        return Plan([each.extent for each in readings], *decided)

    def apply(self, *, vouched: bool = False) -> Plan:
        """Do it, and say what was done.

        Raises:
            RecoveryRefused: a relay leads, or a tree has grown meanwhile.
            SinergiError: as for `plan`.
        """
        readings = self._read()  # 1
        extents = [each.extent for each in readings]
        events = self._events(readings)
        if not events:
            return Plan(extents, Settlement(), [])
        with (
            closing(Adoption(self._url)) as adoption,
            adoption.closed(events) as (rows, adopting),
        ):
            settlement, left = self._decide(events, rows, vouched=vouched)  # 2
            adopting.grow(self._grounds(readings, left))  # 3
            adopting.settle(settlement)
        return Plan(extents, settlement, left)

    def _decide(
        self, events: Sequence[Found], rows: Sequence[Row], *, vouched: bool
    ) -> tuple[Settlement, list[Found]]:
        """What becomes of events and rows, and which events are left.

        Where one event behind the last checkpoint is not proved, none behind it is taken on: leaves
        have no gaps.
        """
        settlement = settle(events, rows, self._catalog)
        doubtful = set() if vouched else {each.share for each in settlement.unproved}
        kept: list[Found] = []
        left: list[Found] = []
        for each in events:
            (kept if each.is_proved or each.share not in doubtful else left).append(each)
        return settle(kept, rows, self._catalog) if left else settlement, left

    def _grounds(self, readings: Sequence[_Reading], left: Sequence[Found]) -> list[Ground]:
        doubtful = {each.share for each in left}
        grounds = [
            each.ground([] if each.share in doubtful else self._identity.held())
            for each in readings
        ]
        return [each for each in grounds if each.checkpoints]

    def _read(self) -> list[_Reading]:
        """The topics beyond the trees."""
        agreements, agency = self._identity.load(), self._identity.agency
        with closing(Backlog(self._url)) as backlog:
            backlog.check()
            trees = backlog.trees()
        counts = tail.counts(self._connection, agency, agreements)
        readings: dict[tail.Place, _Reading] = {}
        for name, count in counts.items():
            topic = Topic(agency, name)
            for number in range(count):
                tree = trees.get((name, number), Frontier.empty())
                origin = f"{agreements.bus}/{topic.name}/{number}"
                ring = agreements.ring(topic, number)
                readings[topic.name, number] = _Reading((name, number), topic, origin, ring, tree)
        sizes = {place: each.tree.size for place, each in readings.items()}
        for place, message in tail.beyond(self._connection, sizes, self._clock):
            readings[place].take(message)
        return list(readings.values())

    def _events(self, readings: Sequence[_Reading]) -> list[Found]:
        return [
            forgotten.found(
                each.share, message, self._catalog, is_proved=message.leaf_index < each.proved
            )
            for each in readings
            for message in each.leaves
        ]


class _Reading:
    """What one partition shows beyond a tree.

    Attributes:
        leaves: a message for each leaf beyond it, in order.
    """

    def __init__(
        self,
        share: Share,
        topic: Topic,
        origin: str,
        ring: KeyRing,
        tree: Frontier,
    ) -> None:
        self.share = share
        self.tree = tree
        self.leaves: list[Message] = []
        self._topic = topic
        self._origin = origin
        self._ring = ring
        self._reader = Reader(origin, ring, tree)
        self._checkpoints: list[Verified] = []
        self._shown = 0

    @property
    def proved(self) -> int:
        """How many leaves stand under a checkpoint."""
        return self._reader.size

    @property
    def extent(self) -> Extent:
        """How far it is."""
        return Extent(self._topic.name, self.share[1], self.tree.size, self.proved, self._shown)

    def take(self, message: Message) -> None:
        """Verify the next message.

        Raises:
            SealBroken: it is not what we have sealed.
        """
        is_fresh = message.leaf_index == self.tree.size + len(self.leaves)
        verified = self._reader.feed(message.leaf_index, message.leaf_data, message.sealed)
        if is_fresh:
            self.leaves.append(message)
        if verified:
            self._checkpoints.append(verified)
        self._shown = max(self._shown, message.leaf_index + 1)

    def ground(self, keys: Sequence[SigningKey]) -> Ground:
        """What the tree gains.

        Args:
            keys: those that must or may sign a checkpoint for the leaves behind the last one, yet
                to be sent; without keys these leaves are left.

        Raises:
            SigningKeyMissing: the key that must sign it is not among them.
        """
        checkpoints = list(self._checkpoints)
        if keys and self._reader.pending:
            size = self.tree.size + len(self.leaves)
            signers = self._ring.signers(self._origin, size, keys)
            writer = Writer(self._origin, signers, self._reader.frontier)
            for each in self.leaves[self.proved - self.tree.size :]:
                writer.add(each.leaf_data)
            sealed, after = writer.checkpoint(), writer.frontier
            last = Verified(self.proved, after.size, after.root(), sealed.note, after, (), ())
            checkpoints.append(last)
        return Ground(self.share, self.tree.size, checkpoints, self.proved)
