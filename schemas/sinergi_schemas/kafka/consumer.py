"""Consumers: nothing is committed, stored or skipped behind the reader's back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from sinergi_schemas import errors, message
from sinergi_schemas.kafka.faults import translate, translated
from sinergi_schemas.kafka.unreadable import UnreadableBatches, is_unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Message

    from sinergi_schemas.kafka.connection import Attempt, Connection
    from sinergi_schemas.kafka.unreadable import Unreadable

    OnCommit = Callable[[KafkaError | None, list[TopicPartition]], None]

_log = structlog.get_logger(__name__)

_SETTINGS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # An offset that is gone is said, never replaced by a guess.
    "auto.offset.reset": "error",
    "check.crcs": True,
    # Anybody who may write to a topic can leave a transaction open, and with read_committed nobody
    # reads on behind it. Only the seal decides what counts, so an aborted message is noise.
    "isolation.level": "read_uncommitted",
    "allow.auto.create.topics": False,
    # Fetched ahead of the reader; the defaults are 100,000 messages and 64 MiB. The headers are not
    # among the bytes that are counted, and a message may have a megabyte of them.
    "queued.min.messages": 100,
    "queued.max.messages.kbytes": 16 * 1024,
    # So long no more is fetched where so much waits; at the default of 1,000 a fast reader stalls.
    "fetch.queue.backoff.ms": 2,
    # The client unpacks all batches of an answer at once, whatever room it has: a megabyte of
    # zeros is a hundred bytes on the broker, and at the default of 1 MiB an answer holds gigabytes.
    # At least one batch always comes, so that batches of an ordinary size come as fast as before.
    "fetch.message.max.bytes": 8 * 1024,
    # librdkafka doubles the former where an answer holds no message, as where others abort their
    # transactions. This one it keeps; it is never below `message.max.bytes`.
    "fetch.max.bytes": 256 * 1024,
    "message.max.bytes": 256 * 1024,
    # A zstd batch that unpacks to more is refused. A batch of ours unpacks to a megabyte.
    "receive.message.max.bytes": 4 * 1024 * 1024,
}

# Who reads without a group assigns partitions itself and stores nothing with the group's
# coordinator, but librdkafka wants a name all the same, and looks for the coordinator.
_WITHOUT_GROUP = {
    "group.id": "sinergi-without-group",
    # It jumps about, and a jump waits for the fetch before it.
    "fetch.wait.max.ms": 10,
}


_SECONDS = 10.0
_PART_BYTES = 4 * 1024 * 1024
_FEW, _FEWEST = 40, 4
_LARGE_BYTES = 32 * 1024
_HEADER_BYTES, _FEW_HEADERS = 150, 16
_RIGHTS = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
_NOT_SHOWN = frozenset(
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
        passes: how often it has read on behind such batches.
    """

    def __init__(self, connection: Connection, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self._connection = connection
        self._unreadable = UnreadableBatches(lambda: _open_probe(connection))
        self._passed: dict[tuple[str, int], int] = {}
        self.passes = 0

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """The next messages, and errors in place of messages, but none about unreadable batches."""
        found = super().consume(num_messages, timeout)
        if not any(is_unreadable(each.error()) for each in found):
            return found
        for each in found:
            if is_unreadable(each.error()):
                self._pass_over(each)
        return [each for each in found if not is_unreadable(each.error())]

    def drain_unreadable(self) -> list[Unreadable]:
        """The batches that were passed over since the last call."""
        return self._unreadable.drain()

    def assign(self, partitions: list[TopicPartition]) -> None:
        """As `Consumer.assign`."""
        self._forget(partitions)
        super().assign(partitions)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """As `Consumer.incremental_assign`."""
        self._forget(partitions)
        super().incremental_assign(partitions)

    def position(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """As `Consumer.position`; behind a batch that was passed over it is the offset behind."""
        found = super().position(partitions)
        for each in found:
            each.offset = max(each.offset, self._passed.get((each.topic, each.partition), -1))
        return found

    def close(self) -> None:
        """As `Consumer.close`."""
        super().close()
        self._unreadable.close()

    def _pass_over(self, met: Message) -> None:
        """Read on behind a batch; where that fails, its error is delivered once more."""
        topic, partition = met.topic() or "", met.partition() or 0
        try:
            offset = self._unreadable.behind(met)
            self.seek(TopicPartition(topic, partition, offset))
        except (KafkaException, errors.SinergiError) as why:
            said = why.args[0].name() if isinstance(why, KafkaException) else str(why)
            _log.info("batch not passed over yet", topic=topic, partition=partition, why=said)
        else:
            self._passed[topic, partition] = offset
            self.passes += 1

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._passed.pop((each.topic, each.partition), None)


class UngroupedConsumer(ReadingConsumer):
    """A consumer that reads topics and needs no right on any group."""

    def __init__(self, connection: Connection, settings: dict[str, Any]) -> None:
        super().__init__(connection, settings)
        self._known: set[str] = set()

    def assign(self, partitions: list[TopicPartition]) -> None:
        """As `Consumer.assign`.

        Raises:
            SinergiError: see `faults.translate`.
        """
        self._look_at({each.topic for each in partitions})
        super().assign(partitions)

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """The next messages, and errors in place of messages, but none about the group.

        Raises:
            NotPermitted: naming a topic that may not be read.
        """
        return [each for each in super().consume(num_messages, timeout) if not self._is_group(each)]

    def get_watermark_offsets(
        self, partition: TopicPartition, *args: Any, **kwargs: Any
    ) -> tuple[int, int]:
        """The first offset of a topic-partition, and the one behind its last message.

        Raises:
            NotPermitted, TopicAway: naming the topic, of which the library says nothing.
            SinergiError: see `faults.translate`.
        """
        self._look_at({partition.topic})
        try:
            return super().get_watermark_offsets(partition, *args, **kwargs)
        except KafkaException as why:
            attempt = self._connection.attempt("Read", [partition.topic])
            found = self._translated(why, attempt)
            if why.args[0].code() in _NOT_SHOWN:
                raise self._why_not_shown(partition.topic, attempt) or found from None
            raise found from None

    def _look_at(self, topics: set[str]) -> None:
        """Ask for topics at once: what is assigned is looked for once a second only."""
        new = topics - self._known
        try:
            for each in new:
                if self.list_topics(each, timeout=_SECONDS).topics[each].error is None:
                    self._known.add(each)
        except KafkaException as why:
            raise self._translated(why, self._connection.attempt("Read", [*new])) from None

    def _translated(self, why: KafkaException, attempt: Attempt) -> errors.SinergiError:
        """As `translated`; where the brokers are away, with what the connection has heard of it."""
        found = translated(why, attempt)
        if isinstance(found, errors.BrokerAway):
            return self._connection.away(found.said)
        return found

    def _is_group(self, each: Message) -> bool:
        error = each.error()
        if error is None or error.code() not in _RIGHTS:
            return False
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise translate(error, self._connection.attempt("Read", [each.topic() or ""]))
        return True

    def _why_not_shown(self, topic: str, attempt: Attempt) -> errors.SinergiError | None:
        """Why the brokers do not show a topic, or None where they do."""
        try:
            error = self.list_topics(topic, timeout=_SECONDS).topics[topic].error
        except KafkaException as why:
            return translated(why, attempt)
        if error is None:
            return None
        found = translate(error, attempt)
        if isinstance(found, errors.NotPermitted):
            return found
        return errors.TopicAway(topic, "the brokers do not have it")


def open_consumer(
    connection: Connection, group: str | None, on_commit: OnCommit | None = None
) -> ReadingConsumer:
    """A consumer in a group, or one that is outside of every group and assigns its own partitions.

    Args:
        on_commit: told within a poll what became of an asynchronous commit.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    membership = _WITHOUT_GROUP if group is None else _membership(connection, group)
    told = {"on_commit": on_commit} if on_commit else {}
    settings = {**connection.settings(), **_SETTINGS, **membership, **told}
    kind = UngroupedConsumer if group is None else ReadingConsumer
    try:
        return kind(connection, settings)
    except KafkaException as why:
        raise translated(why) from None


def _open_probe(connection: Connection) -> Consumer:
    """A consumer that looks for the ends of unreadable batches."""
    settings = {**connection.settings(), **_SETTINGS, **_WITHOUT_GROUP}
    return Consumer({**settings, "enable.partition.eof": True, "fetch.error.backoff.ms": 10})


def _membership(connection: Connection, group: str) -> dict[str, Any]:
    """A group's own settings; the newer protocol refuses to be told an assignor."""
    found: dict[str, Any] = {
        "group.id": group,
        "group.protocol": connection.group_protocol,
        # Only what is read to its end can be judged: what is missing may still be under way.
        "enable.partition.eof": True,
        # A right or a topic that comes later is met within a minute; the default is five.
        "topic.metadata.refresh.interval.ms": 60_000,
    }
    if connection.group_protocol == "classic":
        found["partition.assignment.strategy"] = "cooperative-sticky"
    return found


def consume_bounded(
    consumer: Consumer, most: int, seconds: float
) -> tuple[list[Message], int, bool]:
    """The next messages, at most so many or some 4 MiB; their bytes; whether more may be there.

    They are taken few at a time, since each of a thousand may have a megabyte; large ones four at a
    time.

    Args:
        seconds: how long to wait where there are none.
    """
    chunk: list[Message] = []
    size, wanted = 0, _FEWEST
    while len(chunk) < most and size < _PART_BYTES:
        few = consumer.consume(wanted, seconds)
        taken = sum(map(message_bytes, few))
        chunk += few
        size += taken
        if len(few) < wanted:
            return chunk, size, False
        wanted = _FEWEST if taken > wanted * _LARGE_BYTES else _FEW
    return chunk, size, True


def message_bytes(each: Message) -> int:
    """The bytes of a message: value, key and headers, each of which may be the large part.

    A header takes three bytes in a batch, and some hundred as an object: where there are more than
    a message of ours has, each counts as such.
    """
    if each.error() is not None:
        return 0
    try:
        headers = message.headers(each)
    except ValueError:
        return _PART_BYTES
    parts = (each.value(), each.key(), *(part for pair in headers for part in pair))
    size = sum(len(part) for part in parts if part)
    return size + _HEADER_BYTES * max(0, len(headers) - _FEW_HEADERS)
