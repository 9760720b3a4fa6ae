"""Producers: idempotent, gapless, and never giving up on their own account."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from sinergi_schemas.kafka.faults import on_error

if TYPE_CHECKING:
    from sinergi_schemas.kafka import Connection

_SETTINGS: dict[str, str | int | float | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    # Without it, messages behind one that failed for good are delivered all the same: a gap.
    "enable.gapless.guarantee": True,
    # A message does not expire; who waits for its report decides how long.
    "message.timeout.ms": 0,
    "linger.ms": 5,
    "batch.num.messages": 10000,
    "queue.buffering.max.messages": 100000,
    "compression.type": "lz4",
    "allow.auto.create.topics": False,
}


def open_producer(connection: Connection, client: str) -> Producer:
    """A producer; `client` is its name in the broker's log."""
    return Producer(
        {**connection.settings(client), **_SETTINGS, "error_cb": on_error(client)},
        logger=logging.getLogger("sinergi.kafka"),
    )
