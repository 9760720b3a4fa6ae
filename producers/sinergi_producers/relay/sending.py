# ruff: noqa: SLF001 - librdkafka's own codes are public with an underscore
"""Sends sealed leaves to their topics, and waits for every delivery report.

A message is a pure function of what is sealed, so that sending again sends the same bytes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaError, KafkaException

from sinergi_schemas import errors, message
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.faults import translate, translated
from sinergi_schemas.kafka.producer import DeliveryReports, open_producer, serve
from sinergi_schemas.message import Envelope, HeaderTemplate
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from confluent_kafka import Message, Producer

    from sinergi_producers.relay.sealing import TreeUpdate
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.connection import Attempt

Headers = list[tuple[str, bytes]]

_WAIT_SECONDS = 0.5
_MOST_WAITS = 10
# What librdkafka reports of other messages because the broker has refused one.
_CONSEQUENCES = frozenset(
    {
        KafkaError._INVALID_DIFFERENT_RECORD,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._GAPLESS_GUARANTEE,
        KafkaError._FATAL,
    }
)


class Sender:
    """Sends the leaves of one agency. After a failure it is discarded, and another one is opened.

    Args:
        schema_ids: the number of each schema in the Confluent framing, by its fingerprint.
    """

    def __init__(
        self,
        connection: Connection,
        bus: str,
        agency: str,
        schema_ids: Mapping[bytes, int],
        clock: Clock = SYSTEM,
    ) -> None:
        self._connection = connection
        self._producer: Producer = open_producer(connection, undelivered=self._undelivered)
        self._bus = bus
        self._agency = agency
        self._schema_ids = schema_ids
        self._clock = clock
        self._failure: errors.SinergiError | None = None
        self._is_cause_known = False
        self._enqueued: list[TreeUpdate] = []

    def enqueue(self, updates: Iterable[TreeUpdate]) -> None:
        """Hand leaves to the client library; `flush` waits for their reports.

        Raises:
            BrokerAway, BrokerRefuses, …: the library does not take them.
        """
        for update in updates:
            self._enqueued.append(update)
            topic = Topic(self._agency, update.tree_key[0])
            templates = {
                each: self._template(topic, each) for each in {r.fingerprint for r in update.rows}
            }
            name, partition = topic.name, update.tree_key[1]
            last = update.after.size - 1
            for leaf_index, row in enumerate(update.rows, update.start):
                template = templates[row.fingerprint]
                envelope = Envelope(row.event_id, row.recorded_at, row.traceparent)
                headers = template.headers.headers(row.key, leaf_index, envelope)
                if leaf_index == last:
                    headers += message.seal_headers(update.sealed)
                value = message.frame(template.schema_id, row.datum)
                self._produce(name, partition, row.key, value, headers)

    def flush(self, while_waiting: Callable[[], None]) -> list[TreeUpdate]:
        """Wait for the reports of all that was enqueued; what the broker has confirmed.

        Args:
            while_waiting: called about twice a second during the wait.

        Raises:
            BrokerAway, BrokerRefuses, …: a message was not delivered, or no report has come for
                `timeouts.kafka.report` seconds. This sender must then be discarded.
        """
        reports = DeliveryReports(self._producer, self._clock, self._attempt)
        longest = self._connection.timeouts.report
        try:
            while (missing := len(self._producer)) and not self._failure:
                serve(self._producer, _WAIT_SECONDS, self._attempt)
                while_waiting()
                if reports.are_overdue(longest):
                    what = f"{missing} messages unreported for {longest:g} s"
                    raise self._connection.away(what)
        except errors.BrokerRefuses as why:
            self._failure = self._failure or why  # the client has failed
        if self._failure:
            raise self._cause(self._failure)
        sent, self._enqueued = self._enqueued, []
        return sent

    def discard(self) -> None:
        """Drop what is not delivered yet. Another sender sends it again."""
        self._producer.purge()
        with suppress(errors.SinergiError):  # it was raised before, and led to this call
            serve(self._producer, _WAIT_SECONDS, self._attempt)

    def _produce(
        self, topic: str, partition: int, key: bytes, value: bytes, headers: Headers
    ) -> None:
        while not self._failure:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers)  # type: ignore[arg-type]
            except BufferError:
                serve(self._producer, _WAIT_SECONDS, self._attempt)
            except KafkaException as why:
                raise self._cause(translated(why, self._attempt)) from None
            else:
                return

    def _template(self, topic: Topic, fingerprint: bytes) -> _MessageTemplate:
        schema_id = self._schema_ids.get(fingerprint)
        if schema_id is None:
            what = "it was sealed by a newer version of Sinergi; install that one again"
            raise errors.SchemaRefused(fingerprint.hex(), what)
        return _MessageTemplate(schema_id, HeaderTemplate(self._bus, topic, fingerprint))

    def _undelivered(self, error: KafkaError | None, failed: Message) -> None:
        if error is None or self._is_cause_known:
            return
        is_cause = error.code() not in _CONSEQUENCES
        if is_cause or self._failure is None:
            attempt = self._connection.attempt("Write", [failed.topic() or ""])
            self._failure, self._is_cause_known = translate(error, attempt), is_cause

    def _cause(self, found: errors.SinergiError) -> errors.SinergiError:
        """The error of the message that the broker refused, whose report may be still to come."""
        for _ in range(_MOST_WAITS):
            if self._is_cause_known or not len(self._producer):
                break
            with suppress(errors.SinergiError):  # the client fails at each call
                serve(self._producer, _WAIT_SECONDS / _MOST_WAITS, self._attempt)
        return self._failure if self._failure and self._is_cause_known else found

    @property
    def _attempt(self) -> Attempt:
        """What this sender writes to, for an error that names no topic."""
        names = {Topic(self._agency, each.tree_key[0]).name for each in self._enqueued}
        return self._connection.attempt("Write", names)


class _MessageTemplate(NamedTuple):
    """What all messages of one topic and schema have in common."""

    schema_id: int
    headers: HeaderTemplate
