"""The sink for PostgreSQL: positions, rows, quarantine and receipts in one transaction."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sinergi_consumers.decode.agreement_check import NOT_AGREED
from sinergi_consumers.decode.decoder import AWAITING_SCHEMA
from sinergi_consumers.projections.projection import SCHEMA
from sinergi_consumers.reading.position import Position, TopicIncarnation
from sinergi_consumers.sinks.postgresql import merge, rights
from sinergi_consumers.sinks.postgresql.merge import Merge
from sinergi_consumers.sinks.postgresql.registered_columns import undeclared
from sinergi_consumers.sinks.postgresql.transaction import PostgresqlTransaction
from sinergi_consumers.sinks.protocol import EventWithoutBytes, QuarantineKey, Receipt
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database, stored
from sinergi_schemas.postgresql.rights import check as check_rights
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    import psycopg

    from sinergi_consumers.projections.projection import Projection
    from sinergi_schemas.seal.skipped import SkippedMessages
    from sinergi_schemas.timeouts import DatabaseTimeouts

_OWN = {
    "position": ("projection", "topic", "partition", "tree_size", "frontier", "epoch"),
    "checkpoint": ("topic", "partition", "size", "root", "note"),
    "receipt": ("topic", "partition", "size", "note", "published_at"),
    "quarantine": ("projection", "topic", "partition", "leaf_index", "state", "leaf_hash", "size"),
    "quarantined_datum": ("topic", "partition", "leaf_index", "key", "datum", "owner", "size"),
    "decision": ("projection", "topic", "partition", "leaf_index", "action", "outcome"),
    "halt": ("topic", "partition", "reason", "detail", "looks_at", "looks"),
    "skipped": ("topic", "partition", "cause", "messages", "first_offset", "last_offset"),
    "projection_column": ("projection", "table_name", "column_name"),
}


_POSITION = "sinergi_consumer.position"
_MOST_NAMED = 4  # rows, in an error
_IS_REPLAYED = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s)"
_CLAIM = """
    INSERT INTO sinergi_consumer.position AS p (projection, topic, partition)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::integer[]) AS claimed ORDER BY 1, 2, 3
    ON CONFLICT (projection, topic, partition) DO UPDATE SET epoch = p.epoch + 1
    RETURNING topic, partition,
        projection, tree_size, frontier, epoch, cluster_id, topic_id, next_offset
"""

# OFFSET 0: PostgreSQL may otherwise read all that waits, for each call.
_WAITING = """
    SELECT at.topic, at.partition FROM unnest(%s::text[], %s::integer[]) AS at (topic, partition)
    WHERE EXISTS (
        SELECT FROM sinergi_consumer.quarantine AS q WHERE q.projection = ANY(%s)
            AND q.topic = at.topic AND q.partition = at.partition AND q.reason = ANY(%s)
            AND q.state IN ('open', 'superseded') OFFSET 0
    )
"""

# A hostile publisher may have used any number of schemas.
_AWAITED = """
    SELECT at.topic, at.partition, used.fingerprint
    FROM unnest(%s::text[], %s::integer[]) AS at (topic, partition)
    CROSS JOIN LATERAL (
        SELECT DISTINCT q.fingerprint FROM sinergi_consumer.quarantine AS q
        WHERE q.projection = ANY(%s) AND q.topic = at.topic AND q.partition = at.partition
            AND q.reason = %s AND q.state IN ('open', 'superseded') LIMIT 100
    ) AS used
"""

_CLEAR_HALTS = """
    DELETE FROM sinergi_consumer.halt AS h
    USING unnest(%s::text[], %s::integer[]) AS at (topic, partition)
    WHERE h.topic = at.topic AND h.partition = at.partition
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

# A worker that restarts reads some messages again. They are not counted twice.
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


# OFFSET 0: in a plain join PostgreSQL may compare every event with every stored datum.
_WITHOUT_BYTES = """
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
REPLAY_SCHEMA = "sinergi_replay"
"""The SQL schema that only a database has which a replay has filled."""


class PostgresqlSink:
    """A PostgreSQL database as a sink; see `sinergi_consumers.sinks.protocol.Sink`.

    Args:
        url: the address of the database; see `sinergi_schemas.postgresql.address`.
        projections: the projections with tables in it.
        quota: the bytes of events in quarantine that it stores per owner of topics. Workers that
            quarantine events of one owner at the same time may exceed it by a batch each.
        timeouts: what its transactions wait for.
    """

    def __init__(
        self,
        url: str,
        projections: Sequence[Projection],
        quota: int = QUARANTINE_BYTES,
        timeouts: DatabaseTimeouts = DEFAULT.database,
    ) -> None:
        # The tables may have row-level security policies, which may also apply to this role.
        self._needed = rights.materialiser(projections)
        self._database = Database(
            url, "sinergi materialise", timeouts, row_security=True, needed=self._needed
        )
        self._merges = {each.name: Merge(each) for each in projections}
        self._quota = quota
        self._prepared: psycopg.Connection | None = None

    def check(self) -> None:
        """Check that all tables exist, and that the user may fill them.

        Raises:
            ReplayedDatabase: a replay has filled the database.
            TablesMissing: the first one that does not exist.
            GrantMissing: the user lacks rights.
        """
        with self._database.serving() as connection:
            if connection.execute(_IS_REPLAYED, (REPLAY_SCHEMA,)).fetchone() == (True,):
                raise errors.ReplayedDatabase
            found: dict[tuple[str, str], set[str]] = {}
            # information_schema omits tables without a privilege, so pg_catalog is read.
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
        with self._database.serving() as connection:
            check_rights(connection, self._needed)

    def claim(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, dict[str, Position]]:
        """Increase the epoch of every projection of the topics' event types, and read positions.

        Raises:
            StoredStateInvalid: a stored position is malformed.
        """
        names: dict[str, list[str]] = {}
        for name, each in self._merges.items():
            names.setdefault(each.projection.event_type, []).append(name)
        keys = [(name, *tp) for tp in tps for name in names[tp.event_topic.event_type]]
        one_of = " or ".join(f"({', '.join(map(str, key))})" for key in keys[:_MOST_NAMED])
        with self._database.serving() as connection, stored.raising_epoch(_POSITION, one_of):
            rows = connection.execute(_CLAIM, [*map(list, zip(*keys, strict=True))]).fetchall()
            self._learn_undeclared(connection)
        found: dict[TopicPartition, dict[str, Position]] = {tp: {} for tp in tps}
        for topic, partition, *row in rows:
            tp = TopicPartition(topic, partition)
            found[tp][row[0]] = _position(tp, row)
        return found

    def progress(self, topics: Sequence[str]) -> dict[tuple[str, str, int], tuple[int, int]]:
        """Tree size and epoch by projection, topic and partition."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT projection, topic, partition, tree_size, epoch"
                " FROM sinergi_consumer.position WHERE topic = ANY(%s)",
                (list(topics),),
            ).fetchall()
        return {(name, topic, number): (size, epoch) for name, topic, number, size, epoch in rows}

    @contextmanager
    def transaction(self) -> Iterator[PostgresqlTransaction]:
        """Begin a transaction. Commit at the end of the block, or roll back if it raises."""
        with self._database.serving() as connection:
            if self._prepared is not connection:
                self._prepare(connection)
            # A deferred constraint would fail only at the commit, too late to find its row.
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            yield PostgresqlTransaction(connection, self._merges, self._quota)
        # After the commit the temporary tables persist, unless a pooler shares the session.
        self._prepared = None if self._database.is_pooled else connection

    def with_waiting(self, tps: Collection[TopicPartition]) -> set[TopicPartition]:
        """The partitions with entries in quarantine that wait for a schema or an agreement."""
        reasons = [AWAITING_SCHEMA, NOT_AGREED]
        with self._database.serving() as connection:
            rows = connection.execute(_WAITING, (*_places(tps), [*self._merges], reasons))
            return {TopicPartition(*row) for row in rows}

    def awaited_schemas(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, set[bytes]]:
        """The schemas that entries in quarantine wait for, at most a hundred of each partition."""
        found: dict[TopicPartition, set[bytes]] = {}
        with self._database.serving() as connection:
            given = (*_places(tps), [*self._merges], AWAITING_SCHEMA)
            for topic, number, fingerprint in connection.execute(_AWAITED, given):
                found.setdefault(TopicPartition(topic, number), set()).add(bytes(fingerprint))
        return found

    def awaiting_schema(
        self, tp: TopicPartition, fingerprints: Sequence[bytes]
    ) -> list[QuarantineKey]:
        """The entries in quarantine that wait for one of these schemas."""
        return self._with_reason(tp, AWAITING_SCHEMA, list(fingerprints))

    def not_agreed(self, tp: TopicPartition) -> list[QuarantineKey]:
        """The entries in quarantine that wait for an agreement."""
        return self._with_reason(tp, NOT_AGREED)

    def without_bytes(
        self, tp: TopicPartition, leaves: Sequence[int]
    ) -> dict[int, EventWithoutBytes]:
        """The events in quarantine, among these leaves, whose bytes are not stored."""
        with self._database.serving() as connection:
            rows = connection.execute(_WITHOUT_BYTES, (*tp, list(leaves))).fetchall()
        return {index: EventWithoutBytes(*row) for index, *row in rows}

    def _with_reason(
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

    def record_halt(
        self, tp: TopicPartition, why: errors.TopicHalted, next_check_at: datetime
    ) -> None:
        """Store why a partition is halted, and when the worker tries it again."""
        with self._database.serving() as connection:
            reason = type(why).__name__
            connection.execute(_HALT, (*tp, reason, str(why), next_check_at))

    def clear_halts(self, tps: Collection[TopicPartition]) -> None:
        """Remove the records of halts."""
        with self._database.serving() as connection:
            connection.execute(_CLEAR_HALTS, _places(tps))

    def record_skipped(self, tp: TopicPartition, skipped: Sequence[SkippedMessages]) -> None:
        """Add the messages that were skipped since the last call to the stored counts by cause."""
        with self._database.serving() as connection, connection.cursor() as cursor:
            cursor.executemany(
                _SKIPPED,
                [(*tp, each.cause, each.count, each.first, each.last) for each in skipped],
            )

    def unpublished_receipts(self) -> list[Receipt]:
        """The newest receipt of each partition, if it is not published yet."""
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT DISTINCT ON (topic, partition) topic, partition, size, note, signed_at"
                " FROM sinergi_consumer.receipt WHERE published_at IS NULL"
                " ORDER BY topic, partition, size DESC"
            ).fetchall()
        return [Receipt(*row) for row in rows]

    def mark_published(self, receipts: Iterable[Receipt], at: datetime) -> None:
        """Mark these receipts and the older ones of their partitions as published."""
        with self._database.serving() as connection, connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE sinergi_consumer.receipt SET published_at = %s"
                " WHERE topic = %s AND partition = %s AND size <= %s AND published_at IS NULL",
                [(at, each.topic, each.partition, each.size) for each in receipts],
            )

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _learn_undeclared(self, connection: psycopg.Connection) -> None:
        """Look for what another version has made, which may have written to the records before."""
        found = undeclared(connection, [each.projection for each in self._merges.values()])
        for name, each in found.items():
            if each != self._merges[name].undeclared:
                self._merges[name] = replace(self._merges[name], undeclared=each)

    def _prepare(self, connection: psycopg.Connection) -> None:
        """Create the temporary tables before any savepoint, whose rollback would remove them."""
        self._learn_undeclared(connection)
        connection.execute(
            merge.create_temporary_tables(
                self._merges.values(), persistent=not self._database.is_pooled
            )
        )


def _places(tps: Collection[TopicPartition]) -> tuple[list[str], list[int]]:
    """Topic-partitions as two arrays of the same length."""
    return [tp.topic for tp in tps], [tp.partition for tp in tps]


def _position(tp: TopicPartition, row: Sequence[Any]) -> Position:
    """The position in a stored row."""
    projection, size, frontier, epoch, cluster_id, topic_id, offset = row
    key = f"({projection}, {tp.topic}, {tp.partition}) of tree_size {size}"
    tree = stored.frontier(size, frontier, _POSITION, key)
    incarnation = TopicIncarnation(cluster_id, topic_id) if cluster_id and topic_id else None
    return Position(tree, epoch, incarnation, stored.offset(offset))
