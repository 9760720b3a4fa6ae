"""Producers: idempotent, and without gaps, since what follows a lost message must not arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer

from sinergi_schemas.kafka.faults import translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, Message

    from sinergi_schemas.kafka.connection import Connection

    OnDelivery = Callable[[KafkaError | None, Message], None]

_SETTINGS = {
    "enable.idempotence": True,
    "acks": "all",
    # No message gives up by the clock: whoever sends watches its delivery reports.
    "message.timeout.ms": 0,
    "allow.auto.create.topics": False,
    "compression.type": "lz4",
    "linger.ms": 5,
}


def open_producer(
    connection: Connection, *, gapless: bool = True, undelivered: OnDelivery | None = None
) -> Producer:
    """A producer whose delivery reports have to be awaited: its length is what is not reported yet.

    Args:
        undelivered: told within a poll of each message that fails, where `produce` names nobody. Of
            the others it is told nothing, since a call for each message costs as much as sending.
        gapless: a message that fails for good takes the client down with everything behind it
            (`_GAPLESS_GUARANTEE`, fatal): discard it, open another and send again. Only where
            each message stands alone, as in a compacted topic, may it be False.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    settings = {**connection.settings(), **_SETTINGS, "enable.gapless.guarantee": gapless}
    if undelivered:
        settings |= {"on_delivery": undelivered, "delivery.report.only.error": True}
    try:
        return Producer(settings)
    except KafkaException as why:
        raise translated(why) from None
