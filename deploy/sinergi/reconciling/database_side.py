"""A reader's database as a side of a reconciliation."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from psycopg import sql

from sinergi.reconciling.streaming import DAY, streamed
from sinergi_consumers.audit.reconciliation.stored_events import StoredState, as_frame
from sinergi_consumers.projections.projection import history
from sinergi_consumers.sinks.postgresql import retention, stored_statements
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import polars as pl

    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.postgresql.retention import Retention
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.topics import Topic, TopicPartition

_EVENTS = f"""
    SELECT partition, leaf_index, event_id::text, {DAY}, %(present)s
    FROM {{}} WHERE agency = %(agency)s AND topic = %(topic)s
    UNION ALL
    SELECT partition, leaf_index, NULL, NULL::date, %(quarantined)s
    FROM sinergi_consumer.quarantine
    WHERE projection = %(projection)s AND topic = %(topic)s AND state <> 'retried'
"""  # noqa: S608 - our own text


class DatabaseSide:
    """The database of a reader, by the history that it has of each event type.

    Args:
        name: `<agency>/<database>`.
        url: where it is; see `sinergi_schemas.postgresql.address`.
        topics: those that the agency reads.
    """

    is_source = False

    def __init__(self, name: str, url: str, topics: Collection[Topic], catalog: Catalog) -> None:
        self.name = name
        self._url = url
        self._topics = topics
        self._catalog = catalog
        self._histories: dict[str, Projection] = {}
        self._removed: Mapping[str, Retention] = {}

    def holds(self, topic: Topic) -> bool:
        """Whether the agency reads the topic."""
        return topic in self._topics

    def read_sizes(self) -> Mapping[TopicPartition, int]:
        """The position of the history in each topic-partition.

        Raises:
            ReconciliationRefused: the database signs its receipts as another one.
            StoredStateInvalid: a stored position is not one.
            Unavailable, Fatal, Refused: see `Database.reading`.
        """
        with closing(self._database()) as database, database.reading() as connection:
            signers = stored_statements.receipt_signers(connection)
            if signers and self.name not in signers:
                what = f"that database signs its receipts as {', '.join(signers)}"
                raise errors.ReconciliationRefused(f"{what}, and not as {self.name}")
            positions = stored_statements.positions(connection)
            self._removed = retention.read(connection)
        return {
            key.tp: frontier.size
            for key, frontier in positions.items()
            if self.holds(key.tp.event_topic)
            and key.projection == self._history(key.tp.event_topic).name
        }

    def retention(self, topic: Topic) -> Retention | None:
        """What was removed from the history of the event type of a topic; None if nothing was."""
        return retention.of_projection(self._removed, self._history(topic))

    def read_events(self, topic: Topic, zone: str) -> pl.DataFrame:
        """The rows of its history of a topic, and the events that are in quarantine there.

        Raises:
            Unavailable, Fatal, Refused: see `Database.reading`.
        """
        projection = self._history(topic)
        values = {
            "agency": topic.agency,
            "topic": topic.name,
            "zone": zone,
            "projection": projection.name,
            "present": StoredState.PRESENT,
            "quarantined": StoredState.QUARANTINED,
        }
        table = sql.Identifier(str(projection.record.schema), projection.record.name)
        with closing(self._database()) as database, database.reading() as connection:
            statement = sql.SQL(_EVENTS).format(table).as_string(connection)
            return as_frame(streamed(connection, statement, values))

    def _history(self, topic: Topic) -> Projection:
        # A projection declares its tables, so it is made once for each event type.
        if topic.event_type not in self._histories:
            self._histories[topic.event_type] = history(self._catalog.newest(topic.event_type))
        return self._histories[topic.event_type]

    def _database(self) -> Database:
        return Database(self._url, "sinergi reconcile")
