"""Sending: sealed leaves to their topics, every delivery report awaited.

A message is a pure function of what is sealed, so that sending again sends the same bytes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from confluent_kafka import KafkaException

from sinergi_schemas import errors, message
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.faults import translate, translated
from sinergi_schemas.kafka.producer import DeliveryReports, open_producer, serve
from sinergi_schemas.message import Envelope, HeaderTemplate
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from confluent_kafka import KafkaError, Message, Producer

    from sinergi_producers.relay.sealing import TreeUpdate
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.connection import Attempt

Headers = list[tuple[str, bytes]]

STALLED_SECONDS = 30.0
_WAIT_SECONDS = 0.5


class Sender:
    """Sends the leaves of one agency. After a failure it is thrown away and made anew.

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
        self._begun: list[TreeUpdate] = []

    def enqueue(self, growths: Iterable[TreeUpdate]) -> None:
        """Hand leaves to the client library; `flush` waits for their reports.

        Raises:
            BrokerAway, BrokerRefuses, …: the library does not take them.
        """
        for growth in growths:
            self._begun.append(growth)
            topic = Topic(self._agency, growth.tree_key[0])
            sheets = {
                each: self._sheet(topic, each) for each in {r.fingerprint for r in growth.rows}
            }
            name, partition = topic.name, growth.tree_key[1]
            last = growth.after.size - 1
            for leaf_index, row in enumerate(growth.rows, growth.start):
                sheet = sheets[row.fingerprint]
                envelope = Envelope(row.event_id, row.recorded_at, row.traceparent)
                headers = sheet.letterhead.headers(row.key, leaf_index, envelope)
                if leaf_index == last:
                    headers += message.seal_headers(growth.sealed)
                value = message.frame(sheet.schema_id, row.datum)
                self._produce(name, partition, row.key, value, headers)

    def flush(self, keep: Callable[[], None]) -> list[TreeUpdate]:
        """Wait until all that was begun is reported; what the broker has now.

        Args:
            keep: called time and again while we wait.

        Raises:
            BrokerAway, BrokerRefuses, …: something was not delivered, or nothing has moved for
                half a minute. This sender is then of no more use.
        """
        reports = DeliveryReports(self._producer, self._clock, self._attempt)
        try:
            while (left := len(self._producer)) and not self._failure:
                serve(self._producer, _WAIT_SECONDS, self._attempt)
                keep()
                if reports.are_overdue(STALLED_SECONDS):
                    said = f"{left} messages unreported for {STALLED_SECONDS:.0f} s"
                    raise self._connection.away(said)
        except errors.BrokerRefuses:
            # The client breaks off at the first message that fails; its report says why.
            if not self._failure:
                raise
        if self._failure:
            raise self._failure
        sent, self._begun = self._begun, []
        return sent

    def discard(self) -> None:
        """Drop what is not delivered yet; it will be sent again by another sender."""
        self._producer.purge()
        with suppress(errors.SinergiError):  # it says again why it is of no more use
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
                raise translated(why, self._attempt) from None
            else:
                return

    def _sheet(self, topic: Topic, fingerprint: bytes) -> _Sheet:
        schema_id = self._schema_ids.get(fingerprint)
        if schema_id is None:
            what = "it was sealed by a newer version of Sinergi; install that one again"
            raise errors.SchemaRefused(fingerprint.hex(), what)
        return _Sheet(schema_id, HeaderTemplate(self._bus, topic, fingerprint))

    def _undelivered(self, error: KafkaError | None, failed: Message) -> None:
        if error is not None and self._failure is None:
            attempt = self._connection.attempt("Write", [failed.topic() or ""])
            self._failure = translate(error, attempt)

    @property
    def _attempt(self) -> Attempt:
        """What is being sent, for an error that names no topic."""
        names = {Topic(self._agency, each.tree_key[0]).name for each in self._begun}
        return self._connection.attempt("Write", names)


class _Sheet(NamedTuple):
    """What all messages of one topic and schema are written on."""

    schema_id: int
    letterhead: HeaderTemplate
