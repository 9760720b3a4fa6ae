# ruff: noqa: SLF001 - librdkafka's own codes are public with an underscore
"""The partitions that the consumer group has given to this worker, and what arrives from them.

The group decides who should read a partition; the epoch in the database decides who may write.
So a partition that is assigned stands paused until it is claimed, and is read from where its
position says, never from an offset that Kafka keeps.

A worker that stood still for long wakes up in the belief that its shares are still its own, and
meets the epoch of its successor. Claiming again it would take the share from the rightful worker.
So a share that was lost to another claim waits until the group confirms it: Kafka takes a commit of
offsets from a present member alone.

A client that delivers nothing though there is more (see `stalls`) is replaced by another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from sinergi_consumers.arrival import Arrival
from sinergi_consumers.group_complaints import Complaints
from sinergi_consumers.log import open_log
from sinergi_consumers.position import Place
from sinergi_consumers.stalls import Stalls
from sinergi_consumers.start import find_start
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
from sinergi_schemas.kafka.consumer import open_consumer, take
from sinergi_schemas.kafka.faults import translated
from sinergi_schemas.kafka.partitions import PartitionCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from confluent_kafka import Consumer, Message

    from sinergi_consumers.position import Position
    from sinergi_consumers.start import Start
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.consumer import ReadingConsumer
    from sinergi_schemas.topics import Topic

    Share = tuple[Topic, int]

_log = structlog.get_logger(__name__)

_QUESTION = "is it mine?"
_POLL_SECONDS = 0.1
_PART = 1_000
_MOST_MESSAGES = 20_000
_MOST_BYTES = 32 * 1024 * 1024
_LOOK_SECONDS = 10.0

T = TypeVar("T")


class Assignment:
    """The shares of this worker in the group `<agency>.<database>`: a share is one partition.

    Args:
        counts: the topics to read, and how many partitions the agreement gives each.
    """

    def __init__(
        self,
        connection: Connection,
        group: str,
        counts: Mapping[Topic, int],
        clock: Clock = SYSTEM,
    ) -> None:
        self._connection = connection
        self._group = group
        self._clock = clock
        self._counts = counts
        self._topics = {each.name: each for each in counts}
        self._consumer = self._open()
        self._admin = open_admin(connection)
        self._complaints = Complaints(connection, group, self._topics, clock)
        self._stalls = Stalls()
        self._partition_check = PartitionCheck()
        self._look_due = 0.0
        self._mine: set[Share] = set()
        self._flowing: dict[Share, int] = {}
        self._lost: dict[Share, int] = {}
        self._asked: set[Share] = set()
        self._halted: set[Share] = set()
        self._gone: set[Share] = set()
        self._told_short: set[Share] = set()

    @property
    def flowing(self) -> AbstractSet[Share]:
        """The shares that are claimed."""
        return self._flowing.keys()

    @property
    def waiting(self) -> set[Share]:
        """The shares that are assigned and neither flow nor are lost or halted: claim them."""
        return self._mine - self._flowing.keys() - self._lost.keys() - self._halted

    def absent(self) -> list[str]:
        """The topics that the brokers do not have yet: they are read once they are there.

        Raises:
            NotPermitted: one of them may not be looked at.
            Unavailable: the brokers are away.
        """
        there = self._answer(lambda admin: describe(admin, self._topics))
        return sorted(self._topics.keys() - there.keys())

    def subscribe(self) -> None:
        """Join the group; shares come with the polls that follow."""
        self._consumer.subscribe(
            sorted(self._topics),
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
            chunk, taken, is_more = take(self._consumer, _PART, _POLL_SECONDS)
            arrival = self._arrival(chunk)
            size += taken
            messages += len(chunk)
            del chunk
            yield arrival
        if not messages:
            self._look()

    def keep_alive(self) -> None:
        """Stay a member of the group while nothing can be taken in: the database is away."""
        flowing = [TopicPartition(topic.name, number) for topic, number in self._flowing]
        self._consumer.pause(flowing)
        for each in self._consumer.consume(1, 0):
            self._hear(each)
        self._consumer.resume([each for each in flowing if self._share(each) in self._flowing])

    def place(self, share: Share) -> Place:
        """Which incarnation of the topic, on which cluster, this worker reads.

        Raises:
            PartitionsDiffer: the topic has fewer partitions than the agreement says.
            Unavailable: the broker is away, or the topic is not there.
        """
        topic, _ = share
        agreed = self._counts[topic]
        self._answer(lambda admin: self._partition_check.check(admin, topic.name, agreed))
        return self._answer(lambda admin: Place(cluster_id(admin), topic_id(admin, topic.name)))

    def flow(self, share: Share, position: Position, place: Place) -> Start:
        """Let a share flow from a position onwards.

        Raises:
            Unavailable: the broker is away.
        """
        topic, number = share
        with open_log(self._connection, topic.name, number) as log:
            start = find_start(log, position, place)
        self._assign(share, start.offset)
        if start.shown is not None and share not in self._told_short:
            self._told_short.add(share)
            _log.warning(
                "topic shows less than is materialised: cut off, restored, or written to by others",
                topic=topic.name,
                partition=number,
                shown=start.shown,
                materialised=position.frontier.size,
            )
        return start

    def go_back(self, share: Share, offset: int) -> None:
        """Read a share that flows again from an earlier offset.

        Raises:
            Unavailable: the broker is away.
        """
        self._assign(share, offset)

    def _assign(self, share: Share, offset: int) -> None:
        topic, number = share
        here = [TopicPartition(topic.name, number, offset)]
        try:
            # Assigned anew and not sought: a seek fails where the broker has said meanwhile that it
            # no longer has offset 0.
            self._consumer.incremental_unassign(here)
            self._consumer.incremental_assign(here)
            self._consumer.resume(here)
        except KafkaException as why:
            raise translated(why) from None
        self._flowing[share] = offset

    def lose(self, share: Share) -> None:
        """Another worker has claimed the share: let it stand still until the group confirms it."""
        if share in self._flowing:
            self._lost[share] = self._flowing[share]
        self._stop(share)

    def halt(self, share: Share) -> None:
        """Let a share stand still until it is released, or assigned again."""
        self._stop(share)
        if share in self._mine:
            self._halted.add(share)

    def release(self, share: Share) -> None:
        """Let a halted share be claimed again."""
        self._halted.discard(share)

    def let_go(self, share: Share) -> None:
        """Let a share that flows be claimed again at once."""
        self._stop(share)

    def commit(self, offsets: Iterable[tuple[Share, int]]) -> None:
        """Tell the broker where the group is, for the tools that show lag. Nothing reads it."""
        told = [
            TopicPartition(topic.name, number, offset)
            for (topic, number), offset in offsets
            if (topic, number) in self._flowing
        ]
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
        except errors.Unavailable:
            self._admin = open_admin(self._connection)
            raise

    def _look(self) -> None:
        """Now and then, while nothing arrives: does what flows stand still though it is behind?"""
        if self._complaints.wants_another_client():
            self._begin_anew(set())
        if not self._flowing or self._clock.monotonic() < self._look_due:
            return
        self._look_due = self._clock.monotonic() + _LOOK_SECONDS
        try:
            here = self._consumer.position(
                [TopicPartition(topic.name, number) for topic, number in self._flowing]
            )
            last = self._answer(lambda admin: ends(admin, here))
        except (KafkaException, errors.SinergiError) as why:
            # Whatever it is, reading meets it too, and knows whether it is to end for it.
            _log.info("not looked whether shares stand still", why=str(why))
            return
        # What has delivered nothing yet has no position: it is where it was let flow.
        places = {self._share(at): max(at.offset, self._flowing[self._share(at)]) for at in here}
        stalled = self._stalls.look(places, {self._share(at): at.offset for at in last})
        if stalled:
            self._begin_anew(stalled)

    def _begin_anew(self, stalled: AbstractSet[Share]) -> None:
        """Leave the group with a client that delivers no more, and join it with another one."""
        if stalled:
            names = sorted(f"{topic.name}/{number}" for topic, number in stalled)
            _log.warning("shares stand still: another consumer is tried", shares=names)
        try:
            self._consumer.close()
        except KafkaException as why:
            _log.info("consumer not closed in order", why=why.args[0].name())
        for held in (self._mine, self._asked, self._halted, self._gone):
            held.clear()
        self._flowing.clear()
        self._lost.clear()
        self._consumer = self._open()
        self.subscribe()

    def _stop(self, share: Share) -> None:
        topic, number = share
        if self._flowing.pop(share, None) is not None:
            self._consumer.pause([TopicPartition(topic.name, number)])

    def _ask(self) -> None:
        """Ask the group for each share that was lost and not asked about yet: a poll answers."""
        asking = self._lost.keys() - self._asked
        told = [
            TopicPartition(topic.name, number, self._lost[topic, number], _QUESTION)
            for topic, number in asking
        ]
        try:
            if told:
                self._consumer.commit(offsets=told, asynchronous=True)
                self._asked |= asking
        except KafkaException as why:
            _log.info("group not asked", why=why.args[0].name())

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """What the group says; to a commit for the lag tools nobody listens."""
        for each in partitions:
            share = self._share(each)
            if each.metadata == _QUESTION and share in self._asked:
                self._asked.discard(share)
                if error is None and each.error is None:
                    self._lost.pop(share, None)

    def _arrival(self, chunk: Sequence[Message]) -> Arrival:
        """What a chunk holds of the shares that flow, and what the broker says of them."""
        found: dict[Share, list[Message]] = {}
        ended: set[Share] = set()
        flowing = {(topic.name, number): (topic, number) for topic, number in self._flowing}
        for each in chunk:
            share = flowing.get((each.topic() or "", each.partition() or 0))
            error = each.error()
            if error is None:
                if share is not None:
                    found.setdefault(share, []).append(each)
                    ended.discard(share)
            elif error.code() != KafkaError._PARTITION_EOF:
                self._hear(each)
            elif share is not None:
                ended.add(share)
        gone, self._gone = self._gone, set()
        passed = [
            (flowing[each.topic, each.partition], each)
            for each in self._consumer.drain_unreadable()
            if (each.topic, each.partition) in flowing
        ]
        return Arrival(found, ended, gone, passed)

    def _hear(self, each: Message) -> None:
        """Take an error that was delivered in place of a message, on a topic or on everything."""
        error, topic, number = each.error(), self._topics.get(each.topic() or ""), each.partition()
        if error is None or error.code() == KafkaError._PARTITION_EOF:  # as told to `keep_alive`
            return
        if topic is None or number is None:
            self._complaints.take(error)
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._gone.add((topic, number))
        else:
            self._complaints.take(error, topic.name)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Nothing is fetched while a share is paused, so any offset would do; but one that has to be
        # looked up, as OFFSET_END, is looked up late and overrides where the share was let flow.
        for each in partitions:
            each.offset = 0
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)
        shares = {self._share(each) for each in partitions}
        # Where somebody has added partitions they stay paused: they hold nothing of the owner's.
        self._mine |= {each for each in shares if each[1] < self._counts[each[0]]}
        self._complaints.settled()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {self._share(each) for each in partitions}
        for held in (self._mine, self._asked, self._halted, self._gone):
            held.difference_update(gone)
        for share in gone:
            self._flowing.pop(share, None)
            self._lost.pop(share, None)
        consumer.incremental_unassign(partitions)

    def _share(self, each: TopicPartition) -> Share:
        return self._topics[each.topic], each.partition
