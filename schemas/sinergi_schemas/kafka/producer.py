"""Producers: idempotent, and without gaps, since what follows a lost message must not arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer

from sinergi_schemas.kafka.faults import translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, Message

    from sinergi_schemas.clock import Clock
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


class Reports:
    """How long the delivery reports of a producer have stood still.

    A client that reaches its brokers no more may never do so again; another one does.
    """

    def __init__(self, producer: Producer, clock: Clock) -> None:
        self._producer = producer
        self._clock = clock
        self._left = len(producer)
        self._moved = clock.monotonic()

    @property
    def still_seconds(self) -> float:
        """Since when none has come, though some are awaited; as seen by those who ask."""
        now, left = self._clock.monotonic(), len(self._producer)
        if not left or left < self._left:
            self._moved = now
        self._left = left
        return now - self._moved


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
