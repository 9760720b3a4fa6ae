"""Producers: idempotent, and without gaps, since what follows a lost message must not arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer

from sinergi_schemas.kafka.faults import translated

if TYPE_CHECKING:
    from sinergi_schemas.kafka.connection import Connection

_SETTINGS = {
    "enable.idempotence": True,
    "acks": "all",
    # No message gives up by the clock: whoever sends watches its delivery reports.
    "message.timeout.ms": 0,
    "allow.auto.create.topics": False,
    "compression.type": "lz4",
    "linger.ms": 5,
}


def open_producer(connection: Connection, *, gapless: bool = True) -> Producer:
    """A producer whose delivery reports have to be awaited.

    Args:
        gapless: a message that fails for good takes the client down with everything behind it
            (`_GAPLESS_GUARANTEE`, fatal): discard it, open another and send again. Only where
            each message stands alone, as in a compacted topic, may it be False.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    guarantee = {"enable.gapless.guarantee": gapless}
    try:
        return Producer({**connection.settings(), **_SETTINGS, **guarantee})
    except KafkaException as why:
        raise translated(why) from None
