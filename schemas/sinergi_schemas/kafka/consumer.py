"""Consumers: nothing is committed, stored or skipped behind the reader's back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaException

from sinergi_schemas.kafka.faults import translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, TopicPartition

    from sinergi_schemas.kafka.connection import Connection

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

# Who reads without a group assigns partitions itself and never meets the group's coordinator, but
# librdkafka wants a name all the same.
_WITHOUT_GROUP = {
    "group.id": "sinergi-without-group",
    # It jumps about, and a jump waits for the fetch before it.
    "fetch.wait.max.ms": 10,
}


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
    try:
        return Consumer({**connection.settings(), **_SETTINGS, **membership, **told})
    except KafkaException as why:
        raise translated(why) from None


def _membership(connection: Connection, group: str) -> dict[str, Any]:
    """A group's own settings; the newer protocol refuses to be told an assignor."""
    found: dict[str, Any] = {
        "group.id": group,
        "group.protocol": connection.group_protocol,
        # Only what is read to its end can be judged: what is missing may still be under way.
        "enable.partition.eof": True,
    }
    if connection.group_protocol == "classic":
        found["partition.assignment.strategy"] = "cooperative-sticky"
    return found
