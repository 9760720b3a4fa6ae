# ruff: noqa: SLF001 - librdkafka's own codes are public with an underscore
"""The topic-partitions that the consumer group has assigned to this worker, and their messages.

The group decides who reads a topic-partition; the epoch in the database decides who may write.
So an assigned topic-partition is paused until it is claimed. It is then read from its position in
the database, and never from an offset that Kafka keeps.

After the process was stopped for long (SIGSTOP, a paused machine), a worker may still list
topic-partitions that the group has assigned to another worker meanwhile. If it claimed one, that
worker would lose it. So a worker that has lost a claim waits until the group confirms the
assignment: Kafka accepts an offset commit only from a current member of the group.

A client that delivers nothing although the topic holds more, or that the group does not list as a
member, is replaced (see `client_check`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaError, KafkaException

from sinergi_consumers.materialise.arrival import Arrival
from sinergi_consumers.materialise.client_check import ClientCheck
from sinergi_consumers.materialise.group_errors import GroupErrors
from sinergi_consumers.materialise.own_partitions import OwnPartitions
from sinergi_consumers.materialise.topic_look_ups import TopicLookUps
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.consumer import open_consumer
from sinergi_schemas.kafka.conversion import from_client, of_message, to_client
from sinergi_schemas.kafka.faults import translating
from sinergi_schemas.kafka.parts import consume_parts
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import confluent_kafka
    from confluent_kafka import Consumer, Message

    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_consumers.reading.start import Start
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.consumer import ReadingConsumer
    from sinergi_schemas.topics import TopicPartition


_log = structlog.get_logger(__name__)

# The metadata of an offset commit whose result tells whether this worker is a current member.
_MEMBERSHIP_CHECK = "sinergi membership check"
_BEYOND_EVERY_END = 2**62
_POLL_SECONDS = 0.1
_FETCHER_SLEEP_SECONDS = 1.0
_MOST_MESSAGES = 20_000
_MOST_BYTES = 12 * 1024 * 1024


class Assignment:
    """The topic-partitions of this worker in the group `<agency>.<database>`.

    Args:
        counts: how many partitions each topic that is read has by its agreement, by its name.
        look_seconds: how often, while nothing arrives, it is checked whether the client works.

    Attributes:
        look_ups: what is asked about its topics.
    """

    def __init__(
        self,
        connection: Connection,
        group: str,
        counts: Mapping[str, int],
        clock: Clock = SYSTEM,
        look_seconds: float = DEFAULT.materialiser.stalled,
    ) -> None:
        self._connection = connection
        self._group = group
        self._clock = clock
        self._counts = counts
        self._consumer = self._open()
        self.look_ups = TopicLookUps(connection, counts)
        self._group_errors = GroupErrors(connection, group, self._counts, clock)
        self._own_partitions = OwnPartitions(counts)
        self._client_check = ClientCheck(group, clock, look_seconds)
        self._assigned: set[TopicPartition] = set()
        self._active: dict[TopicPartition, int] = {}
        self._starting: dict[TopicPartition, int] = {}
        self._lost: dict[TopicPartition, int] = {}
        self._unanswered: set[TopicPartition] = set()
        self._suspended: set[TopicPartition] = set()
        self._out_of_range: set[TopicPartition] = set()
        self._logged_short: set[TopicPartition] = set()

    @property
    def assigned(self) -> AbstractSet[TopicPartition] | None:
        """The topic-partitions that the group has assigned; None while it takes in no member here.

        A worker beyond the number of topic-partitions gets none, and no answer that says so.
        """
        return None if self._group_errors.is_left else self._assigned

    @property
    def active(self) -> AbstractSet[TopicPartition]:
        """The topic-partitions that are being read."""
        return self._active.keys()

    @property
    def claimable(self) -> set[TopicPartition]:
        """The topic-partitions that are assigned, and neither being read nor lost nor suspended."""
        return self._assigned - self._active.keys() - self._lost.keys() - self._suspended

    def subscribe(self) -> None:
        """Join the group. It assigns topic-partitions during the polls that follow."""
        self._consumer.subscribe(
            sorted(self._counts),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def poll(self, has_time: Callable[[], bool]) -> Iterator[Arrival]:
        """What has arrived since the last call, in parts: at most 20,000 messages, some 12 MiB, or
        what arrives within half a second.

        A message object takes many times the room of its content: drop each part before the next
        one is taken. Rebalances happen between the parts.

        Args:
            has_time: whether what arrives cannot be stored yet, so that more can be waited for.
        """
        self._request_confirmation()
        messages = size = 0
        for part, part_bytes in consume_parts(self._consumer, _POLL_SECONDS, self._clock, has_time):
            messages += len(part)
            size += part_bytes
            yield self._arrival(part)
            del part
            if messages >= _MOST_MESSAGES or size >= _MOST_BYTES:
                break
        if not messages:
            self._replace_broken_client()

    def keep_alive(self) -> None:
        """Stay a member of the group while the database takes long, and read nothing."""
        paused = list(self._active)
        self._consumer.pause([to_client(tp) for tp in paused])
        for each in self._consumer.consume(1, 0):
            self._observe_error(each)
        # A rebalance may have taken some of them away meanwhile.
        self._consumer.resume([to_client(tp) for tp in paused if tp in self._active])

    def start(self, tp: TopicPartition, position: Position, incarnation: TopicIncarnation) -> Start:
        """Read a topic-partition from a position onwards, once `fetch` is called.

        Raises:
            Unavailable: the broker is away.
        """
        start = self.look_ups.start(tp, position, incarnation)
        self._starting[tp] = start.offset
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
        """Read a topic-partition again from an earlier offset.

        Raises:
            Unavailable: the broker is away.
        """
        self._assign({tp: offset})
        self._wake_fetcher(tp)

    def fetch(self) -> None:
        """Let the client fetch what was started since the last call."""
        started, self._starting = self._starting, {}
        if not started:
            return
        self._assign(started)
        by_leader = {self.look_ups.leader(tp): tp for tp in started}
        for tp in by_leader.values():
            self._wake_fetcher(tp)

    def _assign(self, offsets: Mapping[TopicPartition, int]) -> None:
        # All at once: at each call the client goes through everything that is assigned.
        assigned = [to_client(tp, offset) for tp, offset in offsets.items()]
        with translating():
            # Not by a seek, which fails where the broker has reported meanwhile that it no longer
            # has offset 0.
            self._consumer.incremental_unassign(assigned)
            self._consumer.incremental_assign(assigned)
            self._consumer.resume(assigned)
        self._active.update(offsets)

    def _wake_fetcher(self, tp: TopicPartition) -> None:
        """Let the thread of the connection to the leader look for what is to be fetched.

        It sleeps for up to a second where it had nothing to fetch, and only a request over that
        connection wakes it.
        """
        try:
            self._consumer.get_watermark_offsets(to_client(tp), timeout=_FETCHER_SLEEP_SECONDS)
        except KafkaException as why:
            _log.info("fetcher not woken", topic=tp.topic, why=why.args[0].name())

    def mark_lost(self, tp: TopicPartition) -> None:
        """Pause a topic-partition that another worker has claimed, until the group confirms it."""
        if tp in self._active:
            self._lost[tp] = self._active[tp]
        self._stop_reading(tp)

    def suspend(self, tp: TopicPartition) -> None:
        """Do not read a topic-partition until it is resumed or assigned again."""
        self._stop_reading(tp)
        if tp in self._assigned:
            self._suspended.add(tp)

    def resume(self, tp: TopicPartition) -> None:
        """Let a suspended topic-partition be claimed again."""
        self._suspended.discard(tp)

    def unclaim(self, tp: TopicPartition) -> None:
        """Stop reading a topic-partition, so that it can be claimed again at once."""
        self._stop_reading(tp)

    def commit(self, offsets: Iterable[tuple[TopicPartition, int]]) -> None:
        """Commit offsets for the tools that show lag. No reader starts from them."""
        committed = [to_client(tp, offset) for tp, offset in offsets if tp in self._active]
        try:
            if committed:
                self._consumer.commit(offsets=committed, asynchronous=True)
        except KafkaException as why:
            _log.info("offsets not committed", why=why.args[0].name())

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _open(self) -> ReadingConsumer:
        partitions = sum(self._counts.values())
        return open_consumer(self._connection, self._group, partitions, self._on_commit)

    def _replace_broken_client(self) -> None:
        """Replace a client that an error has ended, or that was found not to work."""
        if self._group_errors.needs_new_client():
            self._replace_client()
        why = self._client_check.why_replace(self._consumer, self._active, self.look_ups.ask)
        if why is not None:
            _log.warning("the consumer is replaced", why=why)
            self._replace_client()

    def _replace_client(self) -> None:
        """Leave the group with a client that no longer delivers, and join it with another one."""
        try:
            self._consumer.close()
        except KafkaException as why:
            _log.info("consumer not closed in order", why=why.args[0].name())
        for tps in (self._assigned, self._unanswered, self._suspended, self._out_of_range):
            tps.clear()
        for offsets in (self._active, self._starting, self._lost):
            offsets.clear()
        self._consumer = self._open()
        self.subscribe()

    def _stop_reading(self, tp: TopicPartition) -> None:
        if self._active.pop(tp, None) is not None:
            self._consumer.pause([to_client(tp)])

    def _request_confirmation(self) -> None:
        """Ask the group whether it still assigns each lost topic-partition to this worker.

        The answer comes with a later poll: Kafka refuses the commit of one that is not a member.
        """
        asking = [tp for tp in self._lost if tp not in self._unanswered]
        committed = [to_client(tp, self._lost[tp], _MEMBERSHIP_CHECK) for tp in asking]
        try:
            if committed:
                self._consumer.commit(offsets=committed, asynchronous=True)
                self._unanswered.update(asking)
        except KafkaException as why:
            _log.info("membership check not sent", why=why.args[0].name())

    def _on_commit(
        self, error: KafkaError | None, partitions: list[confluent_kafka.TopicPartition]
    ) -> None:
        """Take the group's answer about lost topic-partitions. Other commits need no answer."""
        for each in partitions:
            tp = from_client(each)
            if each.metadata == _MEMBERSHIP_CHECK and tp in self._unanswered:
                self._unanswered.discard(tp)
                if error is None and each.error is None:
                    self._lost.pop(tp, None)

    def _arrival(self, chunk: Sequence[Message]) -> Arrival:
        """Sort a chunk by topic-partition. Only those that are being read are in the result."""
        found: dict[TopicPartition, list[Message]] = {}
        ended: set[TopicPartition] = set()
        for each in chunk:
            tp = of_message(each)
            error = each.error()
            if error is None:
                if tp in self._active:
                    found.setdefault(tp, []).append(each)
                    ended.discard(tp)
            elif error.code() != KafkaError._PARTITION_EOF:
                self._observe_error(each)
            elif tp in self._active:
                ended.add(tp)
        out_of_range, self._out_of_range = self._out_of_range, set()
        unreadable = [each for each in self._consumer.drain_unreadable() if each.tp in self._active]
        return Arrival(found, ended, out_of_range, unreadable)

    def _observe_error(self, each: Message) -> None:
        """Take an error that was delivered in place of a message, about a topic or everything."""
        error, tp = each.error(), of_message(each)
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return
        if tp.topic not in self._counts or each.partition() is None:
            self._group_errors.observe(error)
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            self._out_of_range.add(tp)
        else:
            self._group_errors.observe(error, tp.topic)

    def _on_assign(
        self, consumer: Consumer, partitions: list[confluent_kafka.TopicPartition]
    ) -> None:
        own = self._own_partitions.of(partitions)
        # The client may fetch before the pause reaches it, and a batch may unpack to hundreds of
        # megabytes; so it gets an offset that no topic has. An offset that the client looks up, as
        # OFFSET_END, comes late and overrides one assigned since.
        added = [to_client(tp, _BEYOND_EVERY_END) for tp in sorted(own)]
        # Also an empty list is passed on: without this call, the client assigns all of them itself.
        consumer.incremental_assign(added)
        consumer.pause(added)
        self._assigned |= own
        self._group_errors.clear()

    def _on_revoke(
        self, consumer: Consumer, partitions: list[confluent_kafka.TopicPartition]
    ) -> None:
        # The client refuses to give up what was not assigned to it.
        revoked = self._assigned & self._own_partitions.of(partitions)
        for tps in (self._assigned, self._unanswered, self._suspended, self._out_of_range):
            tps.difference_update(revoked)
        for tp in revoked:
            for offsets in (self._active, self._starting, self._lost):
                offsets.pop(tp, None)
        consumer.incremental_unassign([to_client(tp) for tp in sorted(revoked)])

    def _on_lost(
        self, consumer: Consumer, partitions: list[confluent_kafka.TopicPartition]
    ) -> None:
        """The group took this worker for dead: it stood still, or the broker was out of reach."""
        _log.warning(
            "expelled from the group; joining again",
            group=self._group,
            topic_partitions=len(partitions),
        )
        self._on_revoke(consumer, partitions)
