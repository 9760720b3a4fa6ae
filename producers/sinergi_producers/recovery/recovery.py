"""Recovery: a database that was restored from a backup takes back what its topics remember.

    1. read each topic beyond the tree that the database knows, verified under our own keys; what
       they do not cover and is no event of ours is skipped and reported
    2. look at the rows that wait, and decide what becomes of them and of the events found
    3. on request write all of it in one transaction: rows with their leaves, the heads of the
       records, checkpoints and trees. The relay then goes on where the topics end

What does not stand under a checkpoint, since the relay died before it, is proved by nothing but a
row that was in the backup. The rest is left, unless a person has looked at it and vouches for it.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sinergi_producers.recovery import lost_events
from sinergi_producers.recovery.lost_events import Settlement, credible, settle
from sinergi_producers.recovery.reading import TopicReading
from sinergi_producers.recovery.restoring import RestoreStore, TreeExtension
from sinergi_producers.relay import topic_evidence
from sinergi_producers.relay.comparison import SkipReport
from sinergi_producers.relay.sealing import TreeKey
from sinergi_producers.relay.store import OutboxStore
from sinergi_schemas.kafka.partitions import PartitionCheck
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinergi_producers.recovery.lost_events import RelatedRow, TopicEvent
    from sinergi_producers.recovery.reading import Extent
    from sinergi_producers.relay.term import Identity
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.kafka import Connection


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What a recovery would do, or has done.

    Attributes:
        extents: the partitions before it.
        left: events at the end of a topic that nothing proves, and nobody vouches for.
    """

    extents: Sequence[Extent]
    settlement: Settlement
    left: Sequence[TopicEvent]

    @property
    def is_needed(self) -> bool:
        """Whether there is something that the database has forgotten."""
        found = any(each.is_forgotten for each in self.extents)
        return found or bool(self.settlement.forgotten or self.settlement.known)


class _Decision(NamedTuple):
    """What becomes of events and rows; `kept` counts the events taken on, by topic-partition."""

    settlement: Settlement
    left: list[TopicEvent]
    kept: Mapping[TreeKey, int]


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
    ) -> None:
        self._identity = identity
        self._url = url
        self._connection = connection
        self._catalog = catalog

    def plan(self, *, vouched: bool = False) -> RecoveryPlan:
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
        with closing(RestoreStore(self._url)) as adoption:
            decision = self._decide(events, adoption.look(events), vouched=vouched)  # 2
        extents = [each.extent for each in readings]
        return RecoveryPlan(extents, decision.settlement, decision.left)

    def apply(self, *, vouched: bool = False) -> RecoveryPlan:
        """Do it, and say what was done.

        Raises:
            RecoveryRefused: a relay leads, or a tree has grown meanwhile.
            SinergiError: as for `plan`.
        """
        readings = self._read()  # 1
        extents = [each.extent for each in readings]
        events = self._events(readings)
        if not events:
            return RecoveryPlan(extents, Settlement(), [])
        with (
            closing(RestoreStore(self._url)) as adoption,
            adoption.closed(events) as (rows, adopting),
        ):
            decision = self._decide(events, rows, vouched=vouched)  # 2
            adopting.grow(self._grounds(readings, decision.kept))  # 3
            adopting.settle(decision.settlement)
        return RecoveryPlan(extents, decision.settlement, decision.left)

    def _decide(
        self, events: Sequence[TopicEvent], rows: Sequence[RelatedRow], *, vouched: bool
    ) -> _Decision:
        """What becomes of events and rows, and which events are left.

        Where one event behind the last checkpoint is not proved, none behind it is taken on: leaves
        have no gaps.
        """
        events = credible(events, rows)
        settlement = settle(events, rows, self._catalog)
        doubtful = set() if vouched else {each.tree_key for each in settlement.unproved}
        kept: list[TopicEvent] = []
        left: list[TopicEvent] = []
        for each in events:
            (kept if each.is_proved or each.tree_key not in doubtful else left).append(each)
        if left:
            settlement = settle(kept, rows, self._catalog)
        return _Decision(settlement, left, Counter(each.tree_key for each in kept))

    def _grounds(
        self, readings: Sequence[TopicReading], kept: Mapping[TreeKey, int]
    ) -> list[TreeExtension]:
        keys = self._identity.held()
        grounds = [each.ground(kept.get(each.tree_key, 0), keys) for each in readings]
        return [each for each in grounds if each.checkpoints]

    def _read(self) -> list[TopicReading]:
        """The topics beyond the trees."""
        agreements, agency = self._identity.load(), self._identity.agency
        with closing(OutboxStore(self._url)) as store:
            store.check()
            trees = store.trees()
        counts = topic_evidence.agreed_partitions(
            self._connection, agency, agreements, PartitionCheck()
        )
        readings: dict[TopicPartition, TopicReading] = {}
        for name, count in counts.items():
            topic = Topic(agency, name)
            for number in range(count):
                tree = trees.get(TreeKey(name, number), Frontier.empty())
                origin = f"{agreements.bus}/{topic.name}/{number}"
                ring = agreements.ring(topic, number)
                readings[TopicPartition(topic.name, number)] = TopicReading(
                    TreeKey(name, number), topic, origin, ring, tree
                )
        sizes = {place: each.tree.size for place, each in readings.items()}
        for place, received in topic_evidence.messages_beyond(self._connection, sizes):
            readings[place].verify(received)
        for each in readings.values():
            each.conclude()
        # What is verified is known by offset and hash only, however much else lies there.
        for place, received in topic_evidence.messages_beyond(self._connection, sizes):
            readings[place].collect(received, self._catalog)
        skipped = SkipReport()
        for place, each in readings.items():
            each.complete()
            skipped.report(place, each.noise)
        return list(readings.values())

    def _events(self, readings: Sequence[TopicReading]) -> list[TopicEvent]:
        return [
            lost_events.topic_event(
                each.tree_key, message, self._catalog, is_proved=message.leaf_index < each.proved
            )
            for each in readings
            for message in each.leaves
        ]
