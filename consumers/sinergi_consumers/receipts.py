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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from confluent_kafka import KafkaError, Message, Producer

_log = structlog.get_logger(__name__)


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

    def __init__(self, agency: str, database: str, producer: Producer) -> None:
        self._topic = topics.receipts_topic(agency)
        self._database = database
        self._producer = producer
        self._arrived: list[Receipt] = []

    def send(self, receipts: Iterable[Receipt]) -> None:
        """Hand receipts to the client library. What it does not take stays unpublished.

        A later receipt of the same partition covers it, and the next start sends the newest again.
        """
        for each in receipts:
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

    def _on_delivery(self, receipt: Receipt) -> Callable[[KafkaError | None, Message], None]:
        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is None:
                self._arrived.append(receipt)
            else:
                _log.warning("receipt not published", topic=receipt.topic, why=error.name())

        return delivered
