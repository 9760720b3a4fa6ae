"""Consumers: nothing is committed, stored or skipped behind the reader's back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException

from sinergi_schemas import errors
from sinergi_schemas.kafka.faults import translate, translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Message, TopicPartition

    from sinergi_schemas.kafka.connection import Attempt, Connection

    OnCommit = Callable[[KafkaError | None, list[TopicPartition]], None]

_SETTINGS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # An offset that is gone is said, never replaced by a guess.
    "auto.offset.reset": "error",
    "check.crcs": True,
    "isolation.level": "read_committed",
    "allow.auto.create.topics": False,
    # At its default of 1,000 a full queue stalls a fast consumer for a second.
    "fetch.queue.backoff.ms": 10,
    # Fetched ahead of the reader; the defaults are 100,000 and 64 MiB, and a small message takes
    # several times its bytes.
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 16 * 1024,
    # The client unpacks all batches of an answer at once, whatever room it has: a megabyte of
    # zeros is a hundred bytes on the broker, and at the default of 1 MiB an answer holds gigabytes.
    # At least one batch always comes, so that batches of an ordinary size come as fast as before.
    "fetch.message.max.bytes": 16 * 1024,
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
_FEW = 40
_RIGHTS = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
_NOT_SHOWN = frozenset(
    {
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)


class UngroupedConsumer(Consumer):
    """A consumer that reads topics and needs no right on any group."""

    def __init__(self, connection: Connection, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self._connection = connection

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
        try:
            return super().get_watermark_offsets(partition, *args, **kwargs)
        except KafkaException as why:
            attempt = self._connection.attempt("Read", [partition.topic])
            found = translated(why, attempt)
            if why.args[0].code() in _NOT_SHOWN:
                raise self._why_not_shown(partition.topic, attempt) or found from None
            if isinstance(found, errors.BrokerAway):
                found = self._connection.away(found.said)
            raise found from None

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
) -> Consumer:
    """A consumer in a group, or one that is outside of every group and assigns its own partitions.

    Args:
        on_commit: told within a poll what became of an asynchronous commit.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    membership = _WITHOUT_GROUP if group is None else _membership(connection, group)
    told = {"on_commit": on_commit} if on_commit else {}
    settings = {**connection.settings(), **_SETTINGS, **membership, **told}
    try:
        return UngroupedConsumer(connection, settings) if group is None else Consumer(settings)
    except KafkaException as why:
        raise translated(why) from None


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


def take(consumer: Consumer, most: int, seconds: float) -> tuple[list[Message], int, bool]:
    """The next messages, at most so many or some 4 MiB; their bytes; whether more may be there.

    They are taken few at a time, since each of a thousand may have a megabyte.

    Args:
        seconds: how long to wait where there are none.
    """
    chunk: list[Message] = []
    size = 0
    while len(chunk) < most and size < _PART_BYTES:
        few = consumer.consume(_FEW, seconds)
        chunk += few
        size += sum(map(len, few))
        if len(few) < _FEW:
            return chunk, size, False
    return chunk, size, True
