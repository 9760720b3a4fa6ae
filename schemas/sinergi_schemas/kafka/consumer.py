"""Consumers: nothing is committed, stored or skipped that we did not say."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException

from sinergi_schemas.kafka.faults import on_error, translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.kafka import Connection

_SETTINGS: dict[str, str | int | float | bool] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # An offset that is gone is a loss to speak of, never a reason to go on elsewhere.
    "auto.offset.reset": "error",
    "check.crcs": True,
    "isolation.level": "read_committed",
    # At its default of 1,000 ms a full queue stalls a fast consumer for a second.
    "fetch.queue.backoff.ms": 10,
    "queued.max.messages.kbytes": 65536,
    "enable.partition.eof": False,
    "allow.auto.create.topics": False,
}


def open_consumer(connection: Connection, group: str) -> Consumer:
    """A member of a consumer group, to be subscribed; see KIP-848 for its protocol."""
    return Consumer(
        {
            **connection.settings(f"sinergi {group}"),
            **_SETTINGS,
            "group.id": group,
            "group.protocol": "consumer",
            "error_cb": on_error(group),
        },
        logger=logging.getLogger("sinergi.kafka"),
    )


def open_reader(connection: Connection) -> Consumer:
    """A consumer outside every group, to be assigned by hand; it never commits anything."""
    return Consumer(
        {
            **connection.settings("sinergi reader"),
            **_SETTINGS,
            "group.id": "sinergi.reader",
            "error_cb": on_error("reader"),
        },
        logger=logging.getLogger("sinergi.kafka"),
    )


@contextmanager
def asking(topic: str = "") -> Iterator[None]:
    """Turn what the client library raises inside the block into an error of ours."""
    try:
        yield
    except KafkaException as why:
        raise translate(why.args[0], topic) from None
