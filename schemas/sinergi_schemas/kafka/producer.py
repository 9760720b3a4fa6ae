"""Producers: idempotent and without gaps, since no message may arrive after one that was lost."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer

from sinergi_schemas import errors
from sinergi_schemas.kafka.faults import opening, translate, translated
from sinergi_schemas.limits import MOST_DATUM_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Message

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka.connection import Attempt, Connection

    OnDelivery = Callable[[KafkaError | None, Message], None]

_SETTINGS = {
    "enable.idempotence": True,
    "acks": "all",
    # No message expires: the sender watches its delivery reports.
    "message.timeout.ms": 0,
    "allow.auto.create.topics": False,
    "compression.type": "lz4",
    "linger.ms": 5,
    # The size of a batch of several messages; a larger message is a batch of its own.
    "batch.size": MOST_DATUM_BYTES,
}

_LAST_SECONDS = 2.0


class DeliveryReports:
    """Watches for how long a producer has received no delivery report while some are missing.

    A client that has lost its brokers may never reach them again, while another client does.
    """

    def __init__(self, producer: Producer, clock: Clock, attempt: Attempt) -> None:
        self._producer = producer
        self._clock = clock
        self._attempt = attempt
        self._missing = 0
        self._reported_at = clock.monotonic()

    def are_overdue(self, seconds: float) -> bool:
        """Receive the reports; whether none has come for `seconds` although some are missing.

        The time counts from the first call that finds a report missing, so that a producer which is
        checked once a minute does not count as one without reports for a minute. After a suspension
        of the whole process, its reports get a moment to arrive.

        Raises:
            BrokerAway, BrokerRefuses, …: see `serve`.
        """
        if self._observe(0) <= seconds:
            return False
        return self._observe(_LAST_SECONDS) > seconds

    def _observe(self, wait_seconds: float) -> float:
        """The seconds since the last report; 0 if none is missing."""
        serve(self._producer, wait_seconds, self._attempt)
        now, missing = self._clock.monotonic(), len(self._producer)
        if not self._missing or missing < self._missing:
            self._reported_at = now
        self._missing = missing
        return now - self._reported_at if missing else 0.0


def open_producer(
    connection: Connection, *, gapless: bool = True, undelivered: OnDelivery | None = None
) -> Producer:
    """A producer. Its length is how many messages have no delivery report yet.

    Args:
        gapless: a message that fails for good is a fatal error of the client
            (`_GAPLESS_GUARANTEE`), which sends no later message either: replace the client and send
            again. It may be False only where messages are independent, as in a compacted topic.
        undelivered: called within a poll for each message that fails and whose `produce` has no
            callback of its own. There is no call for delivered messages, since a call for each
            message costs as much as sending it.

    Raises:
        KafkaSettingsRefused: librdkafka does not take the connection's options.
    """
    settings = {**connection.settings(), **_SETTINGS, "enable.gapless.guarantee": gapless}
    if undelivered:
        settings |= {"on_delivery": undelivered, "delivery.report.only.error": True}
    with opening(connection):
        return Producer(settings)


def serve(producer: Producer, seconds: float, attempt: Attempt) -> None:
    """Receive delivery reports until none is missing, for some time at most.

    A fatal error is raised between the reports. The client library may raise a SystemError in its
    place, with the error as its cause or without it. With Python 3.11 it may also raise the bare
    KafkaError, which is not an exception class: no `except` clause that names a class catches it,
    and a `finally` clause meets it.

    Args:
        attempt: what the client writes to; NotPermitted names it.

    Raises:
        BrokerAway, BrokerRefuses, …: the client has failed and must be replaced.
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
        raise errors.BrokerRefuses("the client has failed") from None
    finally:
        error = sys.exc_info()[1]
        if isinstance(error, KafkaError):
            raise translate(error, attempt) from None
