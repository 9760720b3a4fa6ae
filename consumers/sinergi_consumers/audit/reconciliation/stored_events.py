"""The events that a side has stored, as frames that can be joined with those of a topic.

A side is an outbox or a reader's database. A frame has these columns:

    partition, leaf   where the event stands in the topic; null where it has no leaf yet
    high, low         the two halves of the event_id
    day               of `recorded_at`, in the zone of the reconciliation
    stored            in what state it is there: see `StoredState`
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sinergi_consumers.sinks.postgresql.retention import Retention
    from sinergi_schemas.topics import Topic, TopicPartition

COLUMNS = ("partition", "leaf", "high", "low", "day", "stored")
_CHUNK = 50_000


class StoredState(StrEnum):
    """In what state a side has stored an event."""

    PRESENT = "present"
    QUARANTINED = "quarantined"
    WAITING = "waiting"
    HELD = "held"


class Side(Protocol):
    """An outbox or a database that is compared with the topics.

    Its sizes are read before the topics, and its events after them. So what moves meanwhile is on
    its way, and never missing.
    """

    @property
    def name(self) -> str:
        """`outbox`, or `<agency>/<database>`."""

    @property
    def is_source(self) -> bool:
        """Whether the events come from there: then it has all events that the topic has."""

    def holds(self, topic: Topic) -> bool:
        """Whether events of a topic belong there."""

    def read_sizes(self) -> Mapping[TopicPartition, int]:
        """How many leaves of each topic-partition it should have in common with the topic.

        That is the position of a database, or how many leaves the relay of an outbox has sent.

        Raises:
            Unavailable, Fatal, Refused: it cannot be read.
        """

    def retention(self, topic: Topic) -> Retention | None:
        """The events of a topic that the side has removed as old enough; None if it has not.

        This is known once `read_sizes` was called.
        """

    def read_events(self, topic: Topic, zone: str) -> pl.DataFrame:
        """Its events of a topic, with `COLUMNS`.

        Args:
            zone: the IANA name of the zone in which days begin.

        Raises:
            Unavailable, Fatal, Refused: they cannot be read.
        """


def as_frame(rows: Iterable[tuple[object, ...]]) -> pl.DataFrame:
    """A frame with `COLUMNS` from rows of partition, leaf, event_id as text, day, state."""
    parts: list[pl.DataFrame] = []
    chunk: list[tuple[object, ...]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            parts.append(_converted(chunk))
            chunk = []
    parts.append(_converted(chunk))
    return pl.concat(parts)


def halves(event_id: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The two halves of event_ids that are given as text, as columns `high` and `low`."""
    digits = event_id.str.replace_all("-", "", literal=True)
    return (
        digits.str.slice(0, 16).str.to_integer(base=16, dtype=pl.UInt64).alias("high"),
        digits.str.slice(16, 16).str.to_integer(base=16, dtype=pl.UInt64).alias("low"),
    )


def event_id(high: int | None, low: int | None) -> UUID | None:
    """The event_id of two halves; None where it is unknown."""
    return None if high is None or low is None else UUID(int=(high << 64) | low)


def _converted(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    given = {
        "partition": pl.Int32,
        "leaf": pl.Int64,
        "event_id": pl.String,
        "day": pl.Date,
        "stored": pl.String,
    }
    frame = pl.DataFrame(rows, schema=given, orient="row")
    return frame.with_columns(halves(pl.col("event_id"))).select(COLUMNS)
