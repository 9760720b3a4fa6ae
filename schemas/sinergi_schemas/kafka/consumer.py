"""Consumers that commit no offset, store no offset and skip nothing by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import confluent_kafka
import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException

from sinergi_schemas import errors
from sinergi_schemas.kafka.conversion import from_client, of_message, to_client
from sinergi_schemas.kafka.faults import opening, translate, translated
from sinergi_schemas.kafka.unreadable import UnreadableBatches, is_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Message

    from sinergi_schemas.kafka.connection import Attempt, Connection
    from sinergi_schemas.kafka.unreadable import Unreadable
    from sinergi_schemas.topics import TopicPartition

    OnCommit = Callable[[KafkaError | None, list[confluent_kafka.TopicPartition]], None]

_log = structlog.get_logger(__name__)

_SETTINGS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # An offset that the broker no longer has is an error, and is never replaced by another one.
    "auto.offset.reset": "error",
    "check.crcs": True,
    # Anybody who may write to a topic can leave a transaction open, and with read_committed nobody
    # reads on after it. Only the seal decides what counts, so an aborted message is a foreign one.
    "isolation.level": "read_uncommitted",
    "allow.auto.create.topics": False,
    # How much is fetched ahead of the reader; the defaults are 100,000 messages and 64 MiB. Headers
    # are not among the bytes that are counted, and a message may have a megabyte of them. While a
    # large message waits, nothing more is fetched: the batch that it came in is still unpacked.
    "queued.min.messages": 100,
    "queued.max.messages.kbytes": 64,
    # For how long nothing is fetched once so much waits; with the default of 1,000 a fast reader
    # has to wait. With 2 a replay waits as long as it computes; 0 takes more processor time.
    "fetch.queue.backoff.ms": 1,
    # The client unpacks all batches of an answer at once, without a limit: a megabyte of zeros is a
    # hundred bytes on the broker, and an answer of the default 1 MiB can hold gigabytes. An answer
    # has at least one batch, so that batches of an ordinary size come as fast as before.
    "fetch.message.max.bytes": 8 * 1024,
    # librdkafka doubles the value above where an answer holds no message, as where others abort
    # their transactions. It keeps this one, which must not be below `message.max.bytes`.
    "fetch.max.bytes": 256 * 1024,
    "message.max.bytes": 256 * 1024,
    # A zstd batch that unpacks to more is refused. A batch of ours unpacks to a megabyte.
    "receive.message.max.bytes": 4 * 1024 * 1024,
}

# A consumer without a group assigns its partitions itself and stores nothing with a coordinator.
# librdkafka still requires a group's name, and looks for its coordinator.
_WITHOUT_GROUP = {
    "group.id": "sinergi-without-group",
    # It often goes to another offset, which waits until the fetch before has ended.
    "fetch.wait.max.ms": 10,
    # A new client does not connect for half of it, and an audit opens a client for each
    # topic-partition (docs/performance.md has the measurement). It doubles at each failure.
    "reconnect.backoff.ms": 20,
}

# A fetch names each topic-partition that is read, and takes the broker some 20 microseconds for
# each, whether it has new messages or not. Without these settings every lone message ends a fetch.
# An answer holds at most 8 KiB of a topic-partition (above), so that one with a backlog fills it.
_MANY_PARTITIONS = 64
_FEWER_FETCHES = {"fetch.min.bytes": 8 * 1024, "fetch.wait.max.ms": 300}

# Where compaction has removed the messages of a batch, an answer may hold none. After 18 of them
# librdkafka reports each further one of that partition so, for as long as the client lives: it has
# doubled `fetch.message.max.bytes` as far as it can. It goes on after the batch. No message is too
# large, since brokers send the first batch of an answer whole.
_EMPTY_ANSWER = KafkaError.MSG_SIZE_TOO_LARGE

# How often the bounds of a topic are asked for that is shown by the time its absence is explained,
# since a right or the topic itself has been given meanwhile.
_LOOKS = 3
_RIGHTS = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
_ABSENT = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)


class ReadingConsumer(Consumer):
    """A consumer that passes over batches that cannot be read; see `unreadable`.

    Attributes:
        passes: how often it has passed over such batches.
    """

    def __init__(self, connection: Connection, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self._connection = connection
        self._unreadable = UnreadableBatches(
            lambda: _open_probe(connection), connection.timeouts.answer
        )
        self._passed: dict[TopicPartition, int] = {}
        self.passes = 0

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """The next messages, and errors in place of messages, but none about unreadable batches."""
        found = super().consume(num_messages, timeout)
        if not [each for each in found if each.error() is not None]:
            return found
        return [each for each in found if each.error() is None or not self._handles(each)]

    def fault(self, found: errors.SinergiError) -> errors.SinergiError:
        """An error of this client; where it got no answer, the cause that was reported besides.

        What has arrived is dropped: call it where the error ends the reading.
        """
        # Not the method of a subclass, which may raise.
        super().consume(1, 0)  # the callbacks with a refused login come only within a poll
        return self._connection.cause(found)

    def drain_unreadable(self) -> list[Unreadable]:
        """The batches that were found unreadable since the last call."""
        return self._unreadable.drain()

    def assign(self, partitions: list[confluent_kafka.TopicPartition]) -> None:
        """As `Consumer.assign`."""
        self._forget(partitions)
        super().assign(partitions)

    def incremental_assign(self, partitions: list[confluent_kafka.TopicPartition]) -> None:
        """As `Consumer.incremental_assign`."""
        self._forget(partitions)
        super().incremental_assign(partitions)

    def position(
        self, partitions: list[confluent_kafka.TopicPartition]
    ) -> list[confluent_kafka.TopicPartition]:
        """As `Consumer.position`; where a batch was passed over, at least the offset after it."""
        found = super().position(partitions)
        for each in found:
            each.offset = max(each.offset, self._passed.get(from_client(each), -1))
        return found

    def close(self) -> None:
        """As `Consumer.close`."""
        super().close()
        self._unreadable.close()

    def _handles(self, received: Message) -> bool:
        """Handle an error that came in place of a message, if the caller need not know of it."""
        error = received.error()
        if error is not None and error.code() == _EMPTY_ANSWER:
            return True
        if not is_unreadable(error):
            return False
        self._pass_over(received)
        return True

    def _pass_over(self, received: Message) -> None:
        """Read on after a batch. Where that fails, the client delivers its error once more."""
        tp = of_message(received)
        try:
            offset = self._unreadable.after(received)
            self.seek(to_client(tp, offset))
        except (KafkaException, errors.SinergiError) as failed:
            why = failed.args[0].name() if isinstance(failed, KafkaException) else str(failed)
            _log.info("batch not passed over yet", topic=tp.topic, partition=tp.partition, why=why)
        else:
            self._passed[tp] = offset
            self.passes += 1

    def _forget(self, partitions: list[confluent_kafka.TopicPartition]) -> None:
        for each in partitions:
            self._passed.pop(from_client(each), None)


class UngroupedConsumer(ReadingConsumer):
    """A consumer that reads topics and needs no right on any group.

    `consume` returns no errors about the group, and raises NotPermitted, which names the topic,
    where a topic may not be read.
    """

    def __init__(self, connection: Connection, settings: dict[str, Any]) -> None:
        super().__init__(connection, settings)
        self._known: set[str] = set()

    def assign(self, partitions: list[confluent_kafka.TopicPartition]) -> None:
        """As `Consumer.assign`.

        Raises:
            SinergiError: see `faults.translate`.
        """
        self._fetch_metadata({each.topic for each in partitions})
        super().assign(partitions)

    def unassign(self) -> None:
        """As `Consumer.unassign`. Topics are looked up again: they may be others by then."""
        super().unassign()
        self._known.clear()

    def get_watermark_offsets(
        self, partition: confluent_kafka.TopicPartition, *args: Any, **kwargs: Any
    ) -> tuple[int, int]:
        """The first offset of a topic-partition, and its end offset.

        Raises:
            NotPermitted, TopicAway: naming the topic, which the library does not.
            SinergiError: see `faults.translate`.
        """
        attempt = self._connection.attempt("Read", [partition.topic])
        looks = 0
        while True:
            looks += 1
            self._fetch_metadata({partition.topic})
            try:
                return super().get_watermark_offsets(partition, *args, **kwargs)
            except KafkaException as why:
                found = self._translated(why, attempt)
                if why.args[0].code() not in _ABSENT:
                    raise found from None
                absence = self._why_absent(partition.topic, attempt)
                if absence is not None or looks == _LOOKS:
                    raise absence or found from None

    def _fetch_metadata(self, topics: set[str]) -> None:
        """Ask for topics at once: the client looks for an assigned topic only once a second."""
        new = topics - self._known
        try:
            for each in new:
                if self._metadata_error(each) is None:
                    self._known.add(each)
        except KafkaException as why:
            raise self._translated(why, self._connection.attempt("Read", [*new])) from None

    def _translated(self, why: KafkaException, attempt: Attempt) -> errors.SinergiError:
        """As `translated`; where the brokers are away, with the cause that the connection knows."""
        return self.fault(translated(why, attempt))

    def _handles(self, received: Message) -> bool:
        return super()._handles(received) or self._is_about_group(received)

    def _is_about_group(self, each: Message) -> bool:
        error = each.error()
        if error is None or error.code() not in _RIGHTS:
            return False
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise translate(error, self._connection.attempt("Read", [each.topic() or ""]))
        return True

    def _metadata_error(self, topic: str) -> KafkaError | None:
        """What the brokers have against a topic; None where they describe it."""
        found = self.list_topics(topic, timeout=self._connection.timeouts.answer)
        error: KafkaError | None = found.topics[topic].error
        return error

    def _why_absent(self, topic: str, attempt: Attempt) -> errors.SinergiError | None:
        """Why the brokers do not show a topic; None where they do."""
        try:
            error = self._metadata_error(topic)
        except KafkaException as why:
            return translated(why, attempt)
        if error is None:
            return None
        found = translate(error, attempt)
        if isinstance(found, errors.NotPermitted):
            return found
        return errors.TopicMissing(topic)


def open_consumer(
    connection: Connection,
    group: str | None,
    partitions: int = 1,
    on_commit: OnCommit | None = None,
) -> ReadingConsumer:
    """A consumer in a group, or one that is outside of every group and assigns its own partitions.

    Args:
        partitions: how many topic-partitions the group has. Where they are many, a lone message is
            fetched up to 0.3 s later, so that the work of the brokers does not grow with both the
            number of messages and that of topic-partitions.
        on_commit: called within a poll with the result of each asynchronous commit.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    membership = _WITHOUT_GROUP if group is None else _membership(connection, group, partitions)
    callbacks = {"on_commit": on_commit} if on_commit else {}
    settings = {**connection.settings(), **_SETTINGS, **membership, **callbacks}
    kind = UngroupedConsumer if group is None else ReadingConsumer
    with opening(connection):
        return kind(connection, settings)


def _open_probe(connection: Connection) -> Consumer:
    """A consumer that looks for the ends of unreadable batches."""
    settings = {**connection.settings(), **_SETTINGS, **_WITHOUT_GROUP}
    return Consumer({**settings, "enable.partition.eof": True, "fetch.error.backoff.ms": 10})


def _membership(connection: Connection, group: str, partitions: int) -> dict[str, Any]:
    """The settings of a member; the newer protocol refuses a strategy of assignment."""
    found: dict[str, Any] = {
        "group.id": group,
        "group.protocol": connection.group_protocol,
        # A missing leaf can be reported only at the end: before it, the leaf may still arrive.
        "enable.partition.eof": True,
        # A right or a topic that is given later is found within a minute; the default is five.
        "topic.metadata.refresh.interval.ms": 60_000,
    }
    if connection.group_protocol == "classic":
        found["partition.assignment.strategy"] = "cooperative-sticky"
    if partitions >= _MANY_PARTITIONS:
        found |= _FEWER_FETCHES
    return found
