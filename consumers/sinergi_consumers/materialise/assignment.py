# ruff: noqa: SLF001 - librdkafka's own codes are public with an underscore
"""The partitions that the consumer group has given to this worker, and what arrives from them.

The group decides who should read a partition; the epoch in the database decides who may write.
So a partition that is assigned stands paused until it is claimed, and is read from where its
position says, never from an offset that Kafka keeps.

A worker that was suspended for long still lists topic-partitions that the group has given to
another worker. Claiming one of them again would take it from its rightful worker. So after a claim
was lost, the worker waits until the group confirms the assignment: Kafka accepts an offset commit
only from a current member of the group.

A client that delivers nothing although the topic holds more (see `stall_detection`) is replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, KafkaException

from sinergi_consumers.materialise.arrival import Arrival
from sinergi_consumers.materialise.group_errors import GroupErrors
from sinergi_consumers.materialise.stall_detection import StallDetector
from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_consumers.reading.start import find_start
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import (
    Admin,
    cluster_id,
    describe,
    ends,
    open_admin,
    topic_id,
)
from sinergi_schemas.kafka.consumer import consume_bounded, open_consumer
from sinergi_schemas.kafka.faults import translated
from sinergi_schemas.kafka.partitions import PartitionCheck
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from confluent_kafka import Consumer, Message

    from sinergi_consumers.reading.position import Position
    from sinergi_consumers.reading.start import Start
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.consumer import ReadingConsumer


_log = structlog.get_logger(__name__)

_QUESTION = "is it mine?"
_POLL_SECONDS = 0.1
_PART = 1_000
_MOST_MESSAGES = 20_000
_MOST_BYTES = 32 * 1024 * 1024
_LOOK_SECONDS = 10.0

T = TypeVar("T")


class Assignment:
    """The topic-partitions of this worker in the group `<agency>.<database>`.

    Args:
        counts: how many partitions the agreement gives each topic that is to be read, by its name.
    """

    def __init__(
        self,
        connection: Connection,
        group: str,
        counts: Mapping[str, int],
        clock: Clock = SYSTEM,
    ) -> None:
        self._connection = connection
        self._group = group
        self._clock = clock
        self._counts = counts
        self._consumer = self._open()
        self._admin = open_admin(connection)
        self._group_errors = GroupErrors(connection, group, self._counts, clock)
        self._stalls = StallDetector()
        self._partition_check = PartitionCheck()
        self._look_due = 0.0
        self._assigned: set[TopicPartition] = set()
        self._active: dict[TopicPartition, int] = {}
        self._lost: dict[TopicPartition, int] = {}
        self._asked: set[TopicPartition] = set()
        self._halted: set[TopicPartition] = set()
        self._out_of_range: set[TopicPartition] = set()
        self._logged_short: set[TopicPartition] = set()

    @property
    def active(self) -> AbstractSet[TopicPartition]:
        """The topic-partitions that are claimed."""
        return self._active.keys()

    @property
    def claimable(self) -> set[TopicPartition]:
        """The topic-partitions to claim: assigned, and neither flowing nor lost nor halted."""
        return self._assigned - self._active.keys() - self._lost.keys() - self._halted

    def missing_topics(self) -> list[str]:
        """The topics that the brokers do not have yet: they are read once they are there.

        Raises:
            NotPermitted: one of them may not be looked at.
            Unavailable: the brokers are away.
        """
        there = self._answer(lambda admin: describe(admin, self._counts))
        return sorted(self._counts.keys() - there.keys())

    def subscribe(self) -> None:
        """Join the group; topic-partitions come with the polls that follow."""
        self._consumer.subscribe(
            sorted(self._counts),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def poll(self) -> Iterator[Arrival]:
        """What has arrived since the last call, in parts: at most 20,000 messages or some 32 MiB.

        A message takes many times the room that is needed of it: let go of a part before the next.
        Rebalances happen between the parts.
        """
        self._ask()
        messages = size = 0
        is_more = True
        while is_more and messages < _MOST_MESSAGES and size < _MOST_BYTES:
            chunk, taken, is_more = consume_bounded(self._consumer, _PART, _POLL_SECONDS)
            arrival = self._arrival(chunk)
            size += taken
            messages += len(chunk)
            del chunk
            yield arrival
        if not messages:
            self._look()

    def keep_alive(self) -> None:
        """Stay a member of the group while nothing can be taken in: the database is away."""
        flowing = [_kafka(each) for each in self._active]
        self._consumer.pause(flowing)
        for each in self._consumer.consume(1, 0):
            self._hear(each)
        self._consumer.resume([each for each in flowing if self._tp(each) in self._active])

    def incarnation(self, tp: TopicPartition) -> TopicIncarnation:
        """Which incarnation of the topic, on which cluster, this worker reads.

        Raises:
            PartitionsDiffer: the topic has fewer partitions than the agreement says.
            Unavailable: the broker is away, or the topic is not there.
        """
        topic, agreed = tp.topic, self._counts[tp.topic]
        self._answer(lambda admin: self._partition_check.check(admin, topic, agreed))
        return self._answer(
            lambda admin: TopicIncarnation(cluster_id(admin), topic_id(admin, topic))
        )

    def start(self, tp: TopicPartition, position: Position, place: TopicIncarnation) -> Start:
        """Let a topic-partition flow from a position onwards.

        Raises:
            Unavailable: the broker is away.
        """
        with open_scan(self._connection, tp) as log:
            start = find_start(log, position, place)
        self._assign(tp, start.offset)
        if start.shown is not None and tp not in self._logged_short:
            self._logged_short.add(tp)
            _log.warning(
                "topic shows less than is materialised: cut off, restored, or written to by others",
                topic=tp.topic,
                partition=tp.partition,
                shown=start.shown,
                materialised=position.frontier.size,
            )
        return start

    def rewind(self, tp: TopicPartition, offset: int) -> None:
        """Read a topic-partition that flows again from an earlier offset.

        Raises:
            Unavailable: the broker is away.
        """
        self._assign(tp, offset)

    def _assign(self, tp: TopicPartition, offset: int) -> None:
        here = [_kafka(tp, offset)]
        try:
            # Assigned anew and not sought: a seek fails where the broker has said meanwhile that it
            # no longer has offset 0.
            self._consumer.incremental_unassign(here)
            self._consumer.incremental_assign(here)
            self._consumer.resume(here)
        except KafkaException as why:
            raise translated(why) from None
        self._active[tp] = offset

    def mark_lost(self, tp: TopicPartition) -> None:
        """Pause a topic-partition that another worker has claimed, until the group confirms it."""
        if tp in self._active:
            self._lost[tp] = self._active[tp]
        self._stop(tp)

    def halt(self, tp: TopicPartition) -> None:
        """Let a topic-partition stand still until it is released, or assigned again."""
        self._stop(tp)
        if tp in self._assigned:
            self._halted.add(tp)

    def release(self, tp: TopicPartition) -> None:
        """Let a halted topic-partition be claimed again."""
        self._halted.discard(tp)

    def unclaim(self, tp: TopicPartition) -> None:
        """Let a topic-partition that flows be claimed again at once."""
        self._stop(tp)

    def commit(self, offsets: Iterable[tuple[TopicPartition, int]]) -> None:
        """Tell the broker where the group is, for the tools that show lag. Nothing reads it."""
        told = [_kafka(tp, offset) for tp, offset in offsets if tp in self._active]
        try:
            if told:
                self._consumer.commit(offsets=told, asynchronous=True)
        except KafkaException as why:
            _log.info("offsets not committed", why=why.args[0].name())

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _open(self) -> ReadingConsumer:
        return open_consumer(self._connection, self._group, on_commit=self._on_commit)

    def _answer(self, ask: Callable[[Admin], T]) -> T:
        """What the brokers answer; a client that gets no answer is not asked again.

        Raises:
            Unavailable: the brokers are away, or it was this client's fault.
        """
        try:
            return ask(self._admin)
        except errors.ServiceAway:
            self._admin = open_admin(self._connection)
            raise

    def _look(self) -> None:
        """Now and then, while nothing arrives: does what flows stand still though it is behind?"""
        if self._group_errors.needs_new_client():
            self._begin_anew(set())
        if not self._active or self._clock.monotonic() < self._look_due:
            return
        self._look_due = self._clock.monotonic() + _LOOK_SECONDS
        try:
            here = self._consumer.position([_kafka(each) for each in self._active])
            last = self._answer(lambda admin: ends(admin, here))
        except (KafkaException, errors.SinergiError) as why:
            # Whatever it is, reading meets it too, and knows whether it is to end for it.
            _log.info("not looked whether topic-partitions stand still", why=str(why))
            return
        # What has delivered nothing yet has no position: it is where it was let flow.
        places = {self._tp(at): max(at.offset, self._active[self._tp(at)]) for at in here}
        stalled = self._stalls.observe(places, {self._tp(at): at.offset for at in last})
        if stalled:
            self._begin_anew(stalled)

    def _begin_anew(self, stalled: AbstractSet[TopicPartition]) -> None:
        """Leave the group with a client that delivers no more, and join it with another one."""
        if stalled:
            names = sorted(str(each) for each in stalled)
            _log.warning("topic-partitions stand still: another consumer is tried", tps=names)
        try:
            self._consumer.close()
        except KafkaException as why:
            _log.info("consumer not closed in order", why=why.args[0].name())
        for held in (self._assigned, self._asked, self._halted, self._out_of_range):
            held.clear()
        self._active.clear()
        self._lost.clear()
        self._consumer = self._open()
        self.subscribe()

    def _stop(self, tp: TopicPartition) -> None:
        if self._active.pop(tp, None) is not None:
            self._consumer.pause([_kafka(tp)])

    def _ask(self) -> None:
        """Ask the group about each lost topic-partition; the answer comes with a later poll."""
        asking = self._lost.keys() - self._asked
        told = [confluent_kafka.TopicPartition(*tp, self._lost[tp], _QUESTION) for tp in asking]
        try:
            if told:
                self._consumer.commit(offsets=told, asynchronous=True)
                self._asked |= asking
        except KafkaException as why:
            _log.info("group not asked", why=why.args[0].name())

    def _on_commit(
        self, error: KafkaError | None, partitions: list[confluent_kafka.TopicPartition]
    ) -> None:
        """What the group says; to a commit for the lag tools nobody listens."""
        for each in partitions:
            tp = self._tp(each)
            if each.metadata == _QUESTION and tp in self._asked:
                self._asked.discard(tp)
                if error is None and each.error is None:
                    self._lost.pop(tp, None)

    def _arrival(self, chunk: Sequence[Message]) -> Arrival:
        """The messages and errors of a chunk, for the topic-partitions that flow."""
        found: dict[TopicPartition, list[Message]] = {}
        ended: set[TopicPartition] = set()
        for each in chunk:
            tp = TopicPartition(each.topic() or "", each.partition() or 0)
            error = each.error()
            if error is None:
                if tp in self._active:
                    found.setdefault(tp, []).append(each)
                    ended.discard(tp)
            elif error.code() != KafkaError._PARTITION_EOF:
                self._hear(each)
            elif tp in self._active:
                ended.add(tp)
        gone, self._out_of_range = self._out_of_range, set()
        passed = [
            (tp, each)
            for each in self._consumer.drain_unreadable()
            if (tp := TopicPartition(each.topic, each.partition)) in self._active
        ]
        return Arrival(found, ended, gone, passed)

    def _hear(self, each: Message) -> None:
        """Take an error that was delivered in place of a message, on a topic or on everything."""
        error, topic, number = each.error(), each.topic(), each.partition()
        if error is None or error.code() == KafkaError._PARTITION_EOF:  # as told to `keep_alive`
            return
        if topic is None or number is None or topic not in self._counts:
            self._group_errors.observe(error)
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._out_of_range.add(TopicPartition(topic, number))
        else:
            self._group_errors.observe(error, topic)

    def _on_assign(
        self, consumer: Consumer, partitions: list[confluent_kafka.TopicPartition]
    ) -> None:
        # Nothing is fetched while a topic-partition is paused, so any offset would do. An offset
        # that the client looks up, as OFFSET_END, comes late and overrides one assigned since.
        for each in partitions:
            each.offset = 0
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        tps = {self._tp(each) for each in partitions}
        # Where somebody has added partitions they stay paused: they hold nothing of the owner's.
        self._assigned |= {each for each in tps if each.partition < self._counts[each.topic]}
        self._group_errors.clear()

    def _on_revoke(
        self, consumer: Consumer, partitions: list[confluent_kafka.TopicPartition]
    ) -> None:
        gone = {self._tp(each) for each in partitions}
        for held in (self._assigned, self._asked, self._halted, self._out_of_range):
            held.difference_update(gone)
        for tp in gone:
            self._active.pop(tp, None)
            self._lost.pop(tp, None)
        consumer.incremental_unassign(partitions)

    def _tp(self, each: confluent_kafka.TopicPartition) -> TopicPartition:
        return TopicPartition(each.topic, each.partition)


def _kafka(tp: TopicPartition, offset: int | None = None) -> confluent_kafka.TopicPartition:
    """A topic-partition as the client library has it."""
    if offset is None:
        return confluent_kafka.TopicPartition(*tp)
    return confluent_kafka.TopicPartition(*tp, offset)
