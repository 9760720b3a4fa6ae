"""Writes a compacted topic, of which only the newest value of each key matters.

The caller has other work that must not stop, so no method raises an error of the brokers. A value
that they refuse is written again after a pause of up to a minute. A client that receives no
delivery reports any more, or that has failed, is replaced by another one. It is logged once why a
topic is not written, and once that it is written again.
"""

from __future__ import annotations

import re
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import structlog
from confluent_kafka import KafkaException

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.faults import translate, translated
from sinergi_schemas.kafka.producer import DeliveryReports, open_producer, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, Message

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka.connection import Connection

_log = structlog.get_logger(__name__)

_PAUSE_SECONDS = (1.0, 60.0)
_FINISH_PAUSE_SECONDS = 0.5
_WAIT_SECONDS = 0.05
_NEVER = Event()
_NUMBERS = re.compile(r"\d+")


class KeyedValue(NamedTuple):
    """A key with one of its values."""

    key: bytes
    value: bytes


class CompactedTopic:
    """Writes the newest value of each key to partition 0 of a topic.

    Args:
        stalled_seconds: how long no delivery report may arrive, while some are missing, before the
            client is replaced.
    """

    def __init__(
        self, connection: Connection, topic: str, clock: Clock, stalled_seconds: float
    ) -> None:
        self._connection = connection
        self._topic = topic
        self._attempt = connection.attempt("Write", [topic])
        self._clock = clock
        self._stalled_seconds = stalled_seconds
        self._unconfirmed: dict[bytes, bytes] = {}
        self._to_retry: set[bytes] = set()
        self._confirmed: list[KeyedValue] = []
        self._has_failed = False
        self._pause, self._retry_due = _PAUSE_SECONDS[0], 0.0
        self._reported_why = ""
        self._why: errors.SinergiError | None = None
        self._open()

    def put(self, key: bytes, value: bytes) -> None:
        """Write a value. It replaces those of the same key that are not confirmed yet."""
        self._unconfirmed[key] = value
        if key not in self._to_retry:
            self._produce(key)

    def serve(self, seconds: float = 0.0) -> list[KeyedValue]:
        """Receive delivery reports, and write again what is due; the values that were confirmed.

        Call it often: librdkafka calls back with its reports within this call alone.

        Args:
            seconds: how long to wait for reports, at most.
        """
        try:
            if seconds:
                serve(self._producer, seconds, self._attempt)
            is_stalled = self._reports.are_overdue(self._stalled_seconds)
        except errors.SinergiError as failed:
            self._give_up_client(failed)
        else:
            if is_stalled:
                why = f"no delivery report for {self._stalled_seconds:.0f} s"
                self._warn(self._connection.away(why))
                self._replace_client()
        if self._to_retry and self._clock.monotonic() >= self._retry_due:
            self._retry()
        confirmed, self._confirmed = self._confirmed, []
        return confirmed

    def wait_until_written(self, seconds: float) -> list[KeyedValue]:
        """Wait until every value is confirmed or refused, for some time at most.

        Returns:
            The values that were confirmed.
        """
        end = SYSTEM.monotonic() + seconds
        confirmed = self.serve()
        while not self._to_retry >= self._unconfirmed.keys():
            if (left := end - SYSTEM.monotonic()) <= 0:
                break
            confirmed += self.serve(min(left, _WAIT_SECONDS))
        return confirmed

    def finish(self, seconds: float) -> list[KeyedValue]:
        """Wait until every value is confirmed, for some time at most; the values that were.

        It is the last call, and nothing is written again later. So a value that the brokers refuse
        is written again at once, unless a person has to mend the cause first. After half of the
        time another client writes all that is not confirmed. It is logged how many values are left.
        """
        # By the clock of the machine, since the client library waits by that one too.
        end = SYSTEM.monotonic() + seconds
        is_first = True
        confirmed = self.serve()
        while (
            self._unconfirmed and not self._needs_person and (left := end - SYSTEM.monotonic()) > 0
        ):
            if is_first and left < seconds / 2:
                is_first = False
                self._replace_client()
            elif self._to_retry:
                _NEVER.wait(min(left, _FINISH_PAUSE_SECONDS))
                self._retry()
            confirmed += self.serve(min(left, _FINISH_PAUSE_SECONDS))
        if self._unconfirmed:
            _log.warning("topic left unwritten", topic=self._topic, values=len(self._unconfirmed))
        return confirmed

    @property
    def _needs_person(self) -> bool:
        """Whether all that is not confirmed was refused for a cause that a person must mend."""
        return (
            not self._has_failed
            and self._to_retry >= self._unconfirmed.keys()
            and not isinstance(self._why, errors.ServiceAway)
        )

    def _open(self) -> None:
        self._producer = open_producer(self._connection, gapless=False)
        self._reports = DeliveryReports(self._producer, self._clock, self._attempt)
        self._has_failed = False

    def _produce(self, key: bytes) -> None:
        try:
            self._producer.produce(
                self._topic,
                key=key,
                value=self._unconfirmed[key],
                partition=0,
                on_delivery=self._on_delivery(KeyedValue(key, self._unconfirmed[key])),
            )
        except BufferError:
            self._retry_later(key, errors.BrokerAway("the client takes no more messages"))
        except KafkaException as why:
            self._retry_later(key, translated(why, self._attempt))

    def _on_delivery(self, record: KeyedValue) -> Callable[[KafkaError | None, Message], None]:
        producer = self._producer

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is None:
                self._confirm(record)
            elif self._producer is producer and self._unconfirmed.get(record.key) == record.value:
                self._retry_later(record.key, translate(error, self._attempt))

        return delivered

    def _confirm(self, record: KeyedValue) -> None:
        self._confirmed.append(record)
        if self._unconfirmed.get(record.key) == record.value:
            del self._unconfirmed[record.key]
            self._to_retry.discard(record.key)
        self._pause = _PAUSE_SECONDS[0]
        if self._reported_why:
            _log.info("topic is written again", topic=self._topic)
            self._reported_why = ""

    def _retry_later(self, key: bytes, why: errors.SinergiError) -> None:
        """Write the value of a key again after a pause."""
        if not self._to_retry:
            self._retry_due = self._clock.monotonic() + self._pause
            self._pause = min(2 * self._pause, _PAUSE_SECONDS[1])
        self._to_retry.add(key)
        self._why = why
        self._warn(why)

    def _give_up_client(self, why: errors.SinergiError) -> None:
        """Let another client write all that is not confirmed, after a pause."""
        self._has_failed = True
        self._warn(why)
        for key in self._unconfirmed:
            self._retry_later(key, why)

    def _retry(self) -> None:
        if self._has_failed:
            self._replace_client()
            return
        again, self._to_retry = self._to_retry, set()
        for key in again:
            self._produce(key)

    def _replace_client(self) -> None:
        """Let another client write all that is not confirmed."""
        self._to_retry = set()
        self._open()
        for key in list(self._unconfirmed):
            self._produce(key)

    def _warn(self, why: errors.SinergiError) -> None:
        """Log why the topic is not written, each cause once."""
        # Numbers, as the ids of clients, differ at each attempt at the same cause.
        cause = _NUMBERS.sub("", str(why))
        if cause != self._reported_why:
            self._reported_why = cause
            _log.warning("topic is not written", topic=self._topic, why=str(why))
