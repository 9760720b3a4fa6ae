"""The control topic: an agency's schemas, and its signed heads.

Heads make a cut-off tail visible and tell "nothing happened" from "the producer is dead". They
state what the broker has confirmed, so that a topic which shows less has lost something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaException

from sinergi_producers.sending import STALLED_SECONDS, serve
from sinergi_schemas import errors, topics
from sinergi_schemas.kafka.producer import Reports, open_producer
from sinergi_schemas.seal import heads
from sinergi_schemas.seal.heads import Head, Heads
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from confluent_kafka import KafkaError, Message

    from sinergi_producers.sealing import Share
    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.seal.merkle import Frontier

_log = structlog.get_logger(__name__)

HEADS_SECONDS = 60.0
_PARTING_SECONDS = 10.0


class Control:
    """Writes the control topic of one agency. What is lost here is said again within a minute."""

    def __init__(
        self,
        connection: Connection,
        bus: str,
        agency: str,
        keys: Sequence[SigningKey],
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._open()
        self._topic = topics.control_topic(agency)
        self._bus = bus
        self._agency = agency
        self._keys = keys
        self._due = 0.0
        self._schemas: tuple[Schema, ...] = ()
        self._is_incomplete = False

    def schemas(self, schemas: Iterable[Schema]) -> None:
        """Tell the schemas that events may bear."""
        self._schemas = tuple(schemas)
        self._is_incomplete = False
        for each in self._schemas:
            self._tell(f"schema/{each.fingerprint.hex()}", each.text)

    def heads(self, trees: Mapping[Share, Frontier]) -> None:
        """Tell all trees, as far as the broker has them, in one signed note."""
        stated = tuple(
            Head(Topic(self._agency, name).name, number, tree.size, tree.root())
            for (name, number), tree in sorted(trees.items())
        )
        now = int(self._clock.now().timestamp())
        note = heads.sign(Heads(self._bus, self._agency, now, stated), self._keys)
        self._tell("heads", note.encode())
        self._due = self._clock.monotonic() + HEADS_SECONDS

    def heads_if_due(self, trees: Mapping[Share, Frontier]) -> None:
        """Tell them again after a minute without news, and what of the schemas may be lost."""
        if self._clock.monotonic() >= self._due:
            if self._is_incomplete:
                self.schemas(self._schemas)
            self.heads(trees)

    def finish(self) -> None:
        """Wait a while for what is under way."""
        self._serve(_PARTING_SECONDS)

    def _open(self) -> None:
        self._producer = open_producer(self._connection, gapless=False)
        self._reports = Reports(self._producer, self._clock)

    def _tell(self, key: str, value: bytes) -> None:
        if self._reports.still_seconds > STALLED_SECONDS:
            self._begin_anew(f"{len(self._producer)} messages unreported")
        try:
            self._producer.produce(
                self._topic, key=key.encode(), value=value, partition=0, on_delivery=self._reported
            )
        except (BufferError, KafkaException) as why:
            self._begin_anew(str(why))
        self._serve(0)

    def _serve(self, seconds: float) -> None:
        try:
            serve(self._producer, seconds)
        except errors.SinergiError as why:
            self._begin_anew(str(why))

    def _begin_anew(self, why: str) -> None:
        """Drop the client with all that it keeps: only the newest of each key matters."""
        _log.warning("control topic not written", why=why)
        self._open()
        self._is_incomplete = True

    def _reported(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            _log.warning("control topic not written", why=error.name())
            self._is_incomplete = True
