"""The sink of PostgreSQL: positions, rows, quarantine and receipts in one transaction."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sinergi_consumers.decode.agreement_check import NOT_AGREED
from sinergi_consumers.decode.decoder import AWAITING_SCHEMA
from sinergi_consumers.projections.projection import SCHEMA
from sinergi_consumers.reading.position import Position, TopicIncarnation
from sinergi_consumers.sinks.postgresql import merge
from sinergi_consumers.sinks.postgresql.merge import Merge
from sinergi_consumers.sinks.postgresql.transaction import PostgresqlTransaction
from sinergi_consumers.sinks.protocol import QuarantineKey, Receipt, UnkeptEvent
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database, stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    import psycopg

    from sinergi_consumers.projections.projection import Projection
    from sinergi_schemas.seal.noise import SkippedMessages
    from sinergi_schemas.topics import TopicPartition

_OWN = {
    "position": ("projection", "topic", "partition", "tree_size", "frontier", "epoch"),
    "checkpoint": ("topic", "partition", "size", "root", "note"),
    "receipt": ("topic", "partition", "size", "note", "published_at"),
    "quarantine": ("projection", "topic", "partition", "leaf_index", "state", "leaf_hash", "size"),
    "quarantined_datum": ("topic", "partition", "leaf_index", "key", "datum", "owner", "size"),
    "decision": ("projection", "topic", "partition", "leaf_index", "action", "outcome"),
    "halt": ("topic", "partition", "reason", "detail", "looks_at", "looks"),
    "skipped": ("topic", "partition", "cause", "messages", "first_offset", "last_offset"),
}


_POSITION = "sinergi_consumer.position"
_CLAIM = """
    INSERT INTO sinergi_consumer.position AS p (projection, topic, partition)
    SELECT name, %s, %s FROM unnest(%s::text[]) AS name ORDER BY name
    ON CONFLICT (projection, topic, partition) DO UPDATE SET epoch = p.epoch + 1
    RETURNING projection, tree_size, frontier, epoch, cluster_id, topic_id, next_offset
"""

_HALT = """
    INSERT INTO sinergi_consumer.halt AS h (topic, partition, reason, detail, looks_at)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (topic, partition) DO UPDATE SET
        reason = excluded.reason, detail = excluded.detail, looks_at = excluded.looks_at,
        looks = h.looks + 1,
        halted_at = CASE WHEN h.reason = excluded.reason THEN h.halted_at
                         ELSE excluded.halted_at END
"""

# A worker that starts again reads some messages again, which are not counted twice.
_SKIPPED = """
    INSERT INTO sinergi_consumer.skipped AS s
        (topic, partition, cause, messages, first_offset, last_offset)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (topic, partition, cause) DO UPDATE SET
        messages = CASE WHEN excluded.first_offset > s.last_offset
                        THEN s.messages + excluded.messages
                        ELSE greatest(s.messages, excluded.messages) END,
        first_offset = least(s.first_offset, excluded.first_offset),
        last_offset = greatest(s.last_offset, excluded.last_offset),
        last_at = excluded.last_at
"""


# OFFSET 0: in a plain join PostgreSQL may compare every event with every datum that is kept.
_UNKEPT = """
    SELECT DISTINCT ON (leaf_index) leaf_index, leaf_hash, q.size
    FROM sinergi_consumer.quarantine AS q
    WHERE topic = %s AND partition = %s AND leaf_index = ANY(%s) AND state <> 'retried'
        AND NOT EXISTS (
            SELECT FROM sinergi_consumer.quarantined_datum AS d WHERE d.topic = q.topic
                AND d.partition = q.partition AND d.leaf_index = q.leaf_index OFFSET 0
        )
    ORDER BY leaf_index
"""

QUARANTINE_BYTES = 64 * 1024 * 1024


class PostgresqlSink:
    """A PostgreSQL database as a sink; see `sinergi_consumers.sinks.protocol.Sink`.

    Args:
        url: where the database is; see `sinergi_schemas.postgresql.address`.
        projections: those that live in it.
        quota: the bytes of events in quarantine that are kept here of each owner of topics; a few
            more where several workers set events of one owner apart at the same time.
    """

    def __init__(
        self, url: str, projections: Sequence[Projection], quota: int = QUARANTINE_BYTES
    ) -> None:
        # The readers of its tables may see them through policies; those may hold for us as well.
        self._database = Database(url, "sinergi materialise", row_security=True)
        self._merges = {each.name: Merge(each) for each in projections}
        self._quota = quota
        self._prepared: psycopg.Connection | None = None

    def check(self) -> None:
        """See that all tables are there; raises `TablesMissing` naming the first that is not."""
        with self._database.serving() as connection:
            found: dict[tuple[str, str], set[str]] = {}
            # Not out of information_schema, which leaves out what one has no right to.
            for schema, table, column in connection.execute(
                "SELECT nspname, relname, attname FROM pg_catalog.pg_attribute AS a"
                " JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid"
                " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
                " WHERE nspname IN ('sinergi', 'sinergi_consumer')"
                " AND attnum > 0 AND NOT attisdropped"
            ):
                found.setdefault((schema, table), set()).add(column)
        wanted = {("sinergi_consumer", name): columns for name, columns in _OWN.items()} | {
            (SCHEMA, table.name): tuple(column.name for column in table.columns)
            for each in self._merges.values()
            for table in each.projection.tables
        }
        for (schema, table), columns in wanted.items():
            for column in columns:
                if column not in found.get((schema, table), ()):
                    raise errors.TablesMissing(f"{schema}.{table}.{column}", "consumer")

    def claim(self, tp: TopicPartition) -> dict[str, Position]:
        """Raise the epoch of every projection of the topic's event type, and read where it is.

        Raises:
            StoredStateInvalid: a position is none.
        """
        event_type = tp.event_topic.event_type
        names = sorted(
            name for name, each in self._merges.items() if each.projection.event_type == event_type
        )
        with self._database.serving() as connection:
            row = f"({' or '.join(names)}, {tp.topic}, {tp.partition})"
            with stored.raising_epoch(_POSITION, row):
                rows = connection.execute(_CLAIM, (*tp, names)).fetchall()
        return {row[0]: _position(tp, row) for row in rows}

    def reached(self, topics: Sequence[str]) -> dict[tuple[str, str, int], tuple[int, int]]:
        """How far each projection is in each partition of some topics, and under which epoch."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT projection, topic, partition, tree_size, epoch"
                " FROM sinergi_consumer.position WHERE topic = ANY(%s)",
                (list(topics),),
            ).fetchall()
        return {(name, topic, number): (size, epoch) for name, topic, number, size, epoch in rows}

    @contextmanager
    def transaction(self) -> Iterator[PostgresqlTransaction]:
        """Begin; commit at the end of the block, roll back where it raises."""
        with self._database.serving() as connection:
            if self._prepared is not connection:
                self._prepare(connection)
            # A deferred constraint would speak only at the commit, too late to find its row.
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            yield PostgresqlTransaction(connection, self._merges, self._quota)
        # Committed, and so the temporary tables are there to stay, where the session is ours.
        self._prepared = None if self._database.is_pooled else connection

    def awaiting(self, tp: TopicPartition, fingerprints: Sequence[bytes]) -> list[QuarantineKey]:
        """What waits in quarantine for one of these schemas."""
        return self._waiting(tp, AWAITING_SCHEMA, list(fingerprints))

    def not_agreed(self, tp: TopicPartition) -> list[QuarantineKey]:
        """What waits in quarantine for an agreement that allows it."""
        return self._waiting(tp, NOT_AGREED)

    def unkept(self, tp: TopicPartition, leaves: Sequence[int]) -> dict[int, UnkeptEvent]:
        """What quarantine holds at some leaves without their bytes."""
        with self._database.serving() as connection:
            rows = connection.execute(_UNKEPT, (*tp, list(leaves))).fetchall()
        return {index: UnkeptEvent(*row) for index, *row in rows}

    def _waiting(
        self, tp: TopicPartition, reason: str, fingerprints: list[bytes] | None = None
    ) -> list[QuarantineKey]:
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT projection, leaf_index FROM sinergi_consumer.quarantine"
                " WHERE projection = ANY(%s) AND topic = %s AND partition = %s AND reason = %s"
                " AND (%s::bytea[] IS NULL OR fingerprint = ANY(%s))"
                " AND state IN ('open', 'superseded') ORDER BY projection, leaf_index",
                (
                    list(self._merges),
                    *tp,
                    reason,
                    fingerprints,
                    fingerprints,
                ),
            ).fetchall()
        return [QuarantineKey(name, tp, index) for name, index in rows]

    def halt(self, tp: TopicPartition, why: errors.TopicHalted, looks_at: datetime) -> None:
        """Keep for people why a partition stands still, and when it is looked at again."""
        with self._database.serving() as connection:
            reason = type(why).__name__
            connection.execute(_HALT, (*tp, reason, str(why), looks_at))

    def sound(self, tp: TopicPartition) -> None:
        """State that a partition stands still no longer."""
        with self._database.serving() as connection:
            connection.execute(
                "DELETE FROM sinergi_consumer.halt WHERE topic = %s AND partition = %s",
                tp,
            )

    def skipped(self, tp: TopicPartition, skipped: Sequence[SkippedMessages]) -> None:
        """Add what was skipped since the last call to what is kept for people, by its cause."""
        with self._database.serving() as connection, connection.cursor() as cursor:
            cursor.executemany(
                _SKIPPED,
                [(*tp, each.cause, each.count, each.first, each.last) for each in skipped],
            )

    def unpublished(self) -> list[Receipt]:
        """The newest receipt of each partition, where it was not published yet."""
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT DISTINCT ON (topic, partition) topic, partition, size, note, signed_at"
                " FROM sinergi_consumer.receipt WHERE published_at IS NULL"
                " ORDER BY topic, partition, size DESC"
            ).fetchall()
        return [Receipt(*row) for row in rows]

    def published(self, receipts: Iterable[Receipt], at: datetime) -> None:
        """Mark these receipts, and the older ones of their partitions, as published."""
        with self._database.serving() as connection, connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE sinergi_consumer.receipt SET published_at = %s"
                " WHERE topic = %s AND partition = %s AND size <= %s AND published_at IS NULL",
                [(at, each.topic, each.partition, each.size) for each in receipts],
            )

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def _prepare(self, connection: psycopg.Connection) -> None:
        """Make the temporary tables, before any savepoint: rolled back it would take them along."""
        connection.execute(merge.make_all(self._merges.values(), kept=not self._database.is_pooled))


def _position(tp: TopicPartition, row: tuple[Any, ...]) -> Position:
    """A position as it is stored."""
    projection, size, frontier, epoch, cluster_id, topic_id, offset = row
    key = f"({projection}, {tp.topic}, {tp.partition}) of tree_size {size}"
    tree = stored.frontier(size, frontier, _POSITION, key)
    place = TopicIncarnation(cluster_id, topic_id) if cluster_id and topic_id else None
    return Position(tree, epoch, place, stored.offset(offset))
