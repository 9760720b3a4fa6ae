"""Recovery: a database that was restored from a backup gets its lost events from the topics.

    1. read each topic beyond the tree that the database has, and verify it under this agency's
       keys; messages that they do not cover, and that are not events of this agency, are skipped
       and reported
    2. read the rows that have no leaf, and decide what becomes of them and of the events
    3. if asked to, write everything in one transaction: rows with their leaves, heads of records,
       checkpoints and trees. The relay then goes on where the topics end

If the relay died before it sent a checkpoint, the events after the last one are proved only by
rows that were in the backup. The others are left, unless a person has checked them and vouches for
them.
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
from sinergi_producers.relay import topic_beginning, topic_evidence
from sinergi_producers.relay.registered_schemas import RegisteredSchemas
from sinergi_producers.relay.sealing import TreeKey
from sinergi_producers.relay.store import OutboxStore
from sinergi_schemas.kafka.partitions import PartitionCheck
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.kafka.skip_report import SkipReport
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sinergi_producers.recovery.lost_events import RelatedRow, TopicEvent
    from sinergi_producers.recovery.reading import Extent
    from sinergi_producers.relay.factory import RelaySetup


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What a recovery would do, or has done.

    Attributes:
        extents: the sizes of the topic-partitions before the recovery.
        left: events at the end of a topic that are not proved, and that nobody vouches for.
    """

    extents: Sequence[Extent]
    settlement: Settlement
    left: Sequence[TopicEvent]

    @property
    def is_needed(self) -> bool:
        """Whether the topics have something that the database lacks."""
        found = any(each.is_forgotten for each in self.extents)
        return found or bool(self.settlement.forgotten or self.settlement.known)


class _Decision(NamedTuple):
    """What becomes of events and rows; `kept` counts the events that are added to each tree."""

    settlement: Settlement
    left: list[TopicEvent]
    kept: Mapping[TreeKey, int]


class Recovery:
    """The recovery of one outbox.

    Args:
        setup: what the relay of this outbox needs.
    """

    def __init__(self, setup: RelaySetup) -> None:
        self._identity = setup.identity
        self._url = setup.database
        self._connection = setup.connection
        self._catalog = setup.catalog
        self._timeouts = setup.timeouts
        self._clock = setup.clock

    def plan(self, *, vouched: bool = False) -> RecoveryPlan:
        """What a recovery would do. Nothing is written.

        Args:
            vouched: a person has checked the events that are not proved, and vouches for them.

        Raises:
            SealBroken: a topic does not fit this database's tree and this agency's keys.
            SchemaRefused, DatumInvalid: an event there cannot be read by this version.
            RecoveryRefused: an event there contradicts a row here.
            PartitionsDiffer, TablesMissing, DatabaseAway, BrokerAway, …: see the relay.
        """
        readings = self._read()  # 1
        events = self._events(readings)
        with closing(RestoreStore(self._url, self._timeouts)) as store:
            decision = self._decide(events, store.related_rows(events), vouched=vouched)  # 2
        extents = [each.extent for each in readings]
        return RecoveryPlan(extents, decision.settlement, decision.left)

    def apply(self, *, vouched: bool = False) -> RecoveryPlan:
        """Recover the database, and return what was done.

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
            closing(RestoreStore(self._url, self._timeouts)) as store,
            store.exclusive(events) as (rows, transaction),
        ):
            decision = self._decide(events, rows, vouched=vouched)  # 2
            transaction.extend_trees(self._extensions(readings, decision.kept))  # 3
            transaction.settle(decision.settlement)
        return RecoveryPlan(extents, decision.settlement, decision.left)

    def _decide(
        self, events: Sequence[TopicEvent], rows: Sequence[RelatedRow], *, vouched: bool
    ) -> _Decision:
        """Decide what becomes of events and rows, and which events are left.

        If one event after the last checkpoint is left, so are all after it: leaves have no gaps.
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

    def _extensions(
        self, readings: Sequence[TopicReading], kept: Mapping[TreeKey, int]
    ) -> list[TreeExtension]:
        keys = self._identity.current_keys()
        extensions = [each.extension(kept.get(each.tree_key, 0), keys) for each in readings]
        return [each for each in extensions if each.checkpoints]

    def _read(self) -> list[TopicReading]:
        """Read all topics beyond the trees."""
        agreements, agency = self._identity.load(), self._identity.agency
        with closing(OutboxStore(self._url, self._timeouts)) as store:
            store.check()
            trees, pruned = store.trees(), store.pruned()
            registered = RegisteredSchemas(store.registered_schemas, self._catalog)
            self._catalog = registered.usable().catalog
        counts = topic_evidence.agreed_partitions(
            self._connection, agency, agreements, PartitionCheck(), self._clock.now()
        )
        readings: dict[TopicPartition, TopicReading] = {}
        for name, count in counts.items():
            topic = Topic(agency, name)
            for number in range(count):
                tree = trees.get(TreeKey(name, number), Frontier.empty())
                tp, ring = TopicPartition(topic.name, number), agreements.ring(topic, number)
                readings[tp] = TopicReading(
                    TreeKey(name, number), topic, tp.origin(agreements.bus), ring, tree
                )
        self._look_for_first(readings)
        # What is pruned here and lost there is not sent again, so all other leaves lie earlier.
        sizes = {
            place: each.tree.size - (pruned.get(each.tree_key, 0) if each.lost else 0)
            for place, each in readings.items()
        }
        silent_seconds = self._timeouts.relay.silence
        for place, received in topic_evidence.messages_beyond(
            self._connection, sizes, silent_seconds
        ):
            readings[place].verify(received)
        for each in readings.values():
            each.conclude()
        # Of the first reading only offsets and hashes are kept, however many messages there are.
        for place, received in topic_evidence.messages_beyond(
            self._connection, sizes, silent_seconds
        ):
            readings[place].collect(received, self._catalog)
        skipped = SkipReport()
        for place, each in readings.items():
            each.complete()
            skipped.report(place, each.skipped.causes)
        return list(readings.values())

    def _look_for_first(self, readings: Mapping[TopicPartition, TopicReading]) -> None:
        """Find out which topic-partitions have lost the first leaves that a relay has sent."""
        with (
            closing(OutboxStore(self._url, self._timeouts)) as store,
            closing(RangeReader(self._connection, self._timeouts.relay.silence)) as reader,
        ):

            def leaves(tp: TopicPartition, indexes: Iterable[int]) -> dict[int, bytes]:
                return store.leaf_hashes(readings[tp].tree_key, indexes)

            confirmed = store.confirmed()
            sent = {tp: confirmed.get(each.tree_key, (0, None))[0] for tp, each in readings.items()}
            offsets = {tp: range(*reader.bounds(tp)) for tp, size in sent.items() if size}
            for tp, first in topic_beginning.first_missing(reader, offsets, leaves).items():
                readings[tp].lost = sent[tp] if first is None else first

    def _events(self, readings: Sequence[TopicReading]) -> list[TopicEvent]:
        return [
            lost_events.topic_event(
                each.tree_key, message, self._catalog, is_proved=message.leaf_index < each.proved
            )
            for each in readings
            for message in each.leaves
        ]
