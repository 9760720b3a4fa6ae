"""Producers: idempotent, and without gaps, since what follows a lost message must not arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer

from sinergi_schemas import errors
from sinergi_schemas.kafka.faults import translated
from sinergi_schemas.limits import MOST_DATUM_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, Message

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka.connection import Attempt, Connection

    OnDelivery = Callable[[KafkaError | None, Message], None]

_SETTINGS = {
    "enable.idempotence": True,
    "acks": "all",
    # No message gives up by the clock: whoever sends watches its delivery reports.
    "message.timeout.ms": 0,
    "allow.auto.create.topics": False,
    "compression.type": "lz4",
    "linger.ms": 5,
    # Of several messages together; a larger one is a batch of its own.
    "batch.size": MOST_DATUM_BYTES,
}

_LAST_SECONDS = 2.0


class DeliveryReports:
    """How long a producer has waited for delivery reports without getting any.

    A client that has lost its brokers may never reach them again, where another one does.
    """

    def __init__(self, producer: Producer, clock: Clock, attempt: Attempt) -> None:
        self._producer = producer
        self._clock = clock
        self._attempt = attempt
        self._left = 0
        self._moved = clock.monotonic()

    def are_overdue(self, seconds: float) -> bool:
        """Take the reports that are there; whether none has come for so long, though some should.

        The time counts from the call that first found something missing, so that a producer which
        is looked at once a minute is not taken for one that has stood still for a minute. Nor is
        one whose whole process stood still: its reports get a moment to come.

        Raises:
            BrokerAway, BrokerRefuses, …: see `serve`.
        """
        if self._observe(0) <= seconds:
            return False
        return self._observe(_LAST_SECONDS) > seconds

    def _observe(self, wait_seconds: float) -> float:
        """The seconds since something was reported, 0 if nothing is missing."""
        serve(self._producer, wait_seconds, self._attempt)
        now, left = self._clock.monotonic(), len(self._producer)
        if not self._left or left < self._left:
            self._moved = now
        self._left = left
        return now - self._moved if left else 0.0


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


def serve(producer: Producer, seconds: float, attempt: Attempt) -> None:
    """Let a client hand out its delivery reports until none is missing, for some time at most.

    A fatal error is raised in the midst of the reports. There the client library garbles it: what
    arrives may be a SystemError, with the error as its cause or without it.

    Args:
        attempt: what the client writes to, for NotPermitted to say.

    Raises:
        BrokerAway, BrokerRefuses, …: the client has broken off and is of no more use.
    """
    try:
        if seconds:
            producer.flush(seconds)
        else:
            producer.poll(0)
    except KafkaException as why:
        raise translated(why, attempt) from None
    except SystemError as why:
        if isinstance(why.__cause__, KafkaException):
            raise translated(why.__cause__, attempt) from None
        raise errors.BrokerRefuses("the client has broken off") from None
