"""An agency's outbox as a side of a reconciliation."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from sinergi.reconciling.streaming import DAY, streamed
from sinergi_consumers.audit.reconciliation.stored_events import StoredState, as_frame
from sinergi_schemas.postgresql import Database
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from sinergi_consumers.sinks.postgresql.retention import Retention

_SIZES = "SELECT event_type, partition, sent_size FROM sinergi_producer.tree"
_EVENTS = f"""
    SELECT partition, leaf_index, event_id::text, {DAY},
        CASE WHEN leaf_index IS NOT NULL THEN %(present)s
            WHEN held IS NOT NULL THEN %(held)s ELSE %(waiting)s END
    FROM sinergi_producer.outbox WHERE event_type = %(event_type)s
"""  # noqa: S608 - our own text


class OutboxSide:
    """The outbox of one agency.

    Args:
        agency: its owner.
        url: where it is; see `sinergi_schemas.postgresql.address`.
    """

    name = "outbox"
    is_source = True

    def __init__(self, agency: str, url: str) -> None:
        self._agency = agency
        self._url = url

    def holds(self, topic: Topic) -> bool:
        """Whether it is a topic of this agency."""
        return topic.agency == self._agency

    def read_sizes(self) -> Mapping[TopicPartition, int]:
        """How many leaves of each tree the relay has sent.

        Raises:
            Unavailable, Fatal, Refused: see `Database.reading`.
        """
        with closing(self._database()) as database, database.reading() as connection:
            rows = connection.execute(_SIZES).fetchall()
        return {
            TopicPartition(Topic(self._agency, event_type).name, partition): size
            for event_type, partition, size in rows
        }

    def retention(self, topic: Topic) -> Retention | None:
        """Nothing: an outbox keeps the rows whose contents were pruned."""
        del topic
        return None

    def read_events(self, topic: Topic, zone: str) -> pl.DataFrame:
        """All of its rows of an event type, sealed or not.

        Raises:
            Unavailable, Fatal, Refused: see `Database.reading`.
        """
        values = {
            "event_type": topic.event_type,
            "zone": zone,
            "present": StoredState.PRESENT,
            "held": StoredState.HELD,
            "waiting": StoredState.WAITING,
        }
        with closing(self._database()) as database, database.reading() as connection:
            return as_frame(streamed(connection, _EVENTS, values))

    def _database(self) -> Database:
        return Database(self._url, "sinergi reconcile")
