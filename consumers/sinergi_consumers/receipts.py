"""Receipts: what a database answers for what it has materialised.

A receipt is the owner's checkpoint with a cosignature (C2SP tlog-cosignature) under the database's
own key. It is signed in the transaction that brings its rows, and published after it: the topic
may lack the newest receipts for a while, but never holds one whose rows are not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaException

from sinergi_schemas import topics
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.producer import Reports, open_producer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from confluent_kafka import KafkaError, Message

    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection

_log = structlog.get_logger(__name__)

_STALLED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """A cosigned checkpoint of one partition."""

    topic: str
    partition: int
    size: int
    note: str
    signed_at: datetime


class Receipts:
    """Publishes receipts to `sinergi.<agency>.receipts` and tells which have arrived."""

    def __init__(
        self, agency: str, database: str, connection: Connection, clock: Clock = SYSTEM
    ) -> None:
        self._topic = topics.receipts_topic(agency)
        self._database = database
        self._connection = connection
        self._clock = clock
        self._open()
        self._arrived: list[Receipt] = []
        self._awaited: dict[tuple[str, int], Receipt] = {}

    def send(self, receipts: Iterable[Receipt]) -> None:
        """Hand receipts to the client library. What it does not take stays unpublished.

        A later receipt of the same partition covers it, and the next start sends the newest again;
        so does another client, where this one gets no reports any more.
        """
        awaited = {(each.topic, each.partition): each for each in receipts}
        if self._reports.still_seconds > _STALLED_SECONDS:
            _log.warning("receipts not published", awaited=len(self._producer))
            self._open()
            awaited = self._awaited | awaited
        self._awaited |= awaited
        for each in awaited.values():
            try:
                self._producer.produce(
                    self._topic,
                    key=f"{self._database}/{each.topic}/{each.partition}".encode(),
                    value=each.note.encode(),
                    on_delivery=self._on_delivery(each),
                )
            except (BufferError, KafkaException) as why:
                _log.warning("receipt not published", topic=each.topic, why=str(why))
        self._producer.poll(0)

    def arrived(self) -> list[Receipt]:
        """The receipts that the broker has confirmed since the last call."""
        self._producer.poll(0)
        done, self._arrived = self._arrived, []
        return done

    def finish(self, seconds: float) -> list[Receipt]:
        """Wait for outstanding receipts, at most so long; those that arrived."""
        self._producer.flush(seconds)
        return self.arrived()

    def _open(self) -> None:
        self._producer = open_producer(self._connection, gapless=False)
        self._reports = Reports(self._producer, self._clock)

    def _on_delivery(self, receipt: Receipt) -> Callable[[KafkaError | None, Message], None]:
        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is None:
                self._arrived.append(receipt)
                if self._awaited.get((receipt.topic, receipt.partition)) is receipt:
                    del self._awaited[receipt.topic, receipt.partition]
            else:
                _log.warning("receipt not published", topic=receipt.topic, why=error.name())

        return delivered
