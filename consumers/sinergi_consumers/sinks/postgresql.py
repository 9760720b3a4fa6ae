"""The sink of PostgreSQL: positions, rows, quarantine and receipts in one transaction."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg

from sinergi_consumers.decoding import AWAITING_SCHEMA
from sinergi_consumers.position import Place, Position
from sinergi_consumers.projection import SCHEMA, Kind
from sinergi_consumers.quarantined import HOLD
from sinergi_consumers.receipts import Receipt
from sinergi_consumers.retrying import Entry
from sinergi_consumers.sinks import merge, sieve
from sinergi_consumers.sinks.merge import Merge
from sinergi_schemas import errors
from sinergi_schemas.message import Message
from sinergi_schemas.postgresql import Database, translate
from sinergi_schemas.seal.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import polars as pl
    import sqlalchemy as sa

    from sinergi_consumers.decoding import Unfit
    from sinergi_consumers.partition import Batch, Leaves
    from sinergi_consumers.projection import Projection
    from sinergi_consumers.retrying import Decision
    from sinergi_schemas.topics import Topic

_MOST_LEFT = 2_000

_OWN = {
    "position": ("projection", "topic", "partition", "tree_size", "frontier", "epoch"),
    "checkpoint": ("topic", "partition", "size", "root", "note"),
    "receipt": ("topic", "partition", "size", "note", "published_at"),
    "quarantine": ("projection", "topic", "partition", "leaf_index", "event_id", "state"),
    "decision": ("projection", "topic", "partition", "leaf_index", "action", "outcome"),
    "halt": ("topic", "partition", "reason", "detail"),
}


class PostgresqlSink:
    """A PostgreSQL database as a sink; see `sinergi_consumers.sinks.Sink`.

    Args:
        url: an SQLAlchemy URL of the database.
        projections: those that live in it.
    """

    def __init__(self, url: str, projections: Sequence[Projection]) -> None:
        self._database = Database(url, "sinergi materialise")
        self._merges = {each.name: Merge(each) for each in projections}
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

    def claim(self, topic: Topic, partition: int) -> dict[str, Position]:
        """Raise the epoch of every projection of the topic's event type, and read where it is."""
        names = sorted(
            name
            for name, each in self._merges.items()
            if each.projection.event_type == topic.event_type
        )
        with self._database.serving() as connection, connection.transaction():
            rows = connection.execute(
                "INSERT INTO sinergi_consumer.position AS p (projection, topic, partition)"
                " SELECT name, %s, %s FROM unnest(%s::text[]) AS name ORDER BY name"
                " ON CONFLICT (projection, topic, partition) DO UPDATE SET epoch = p.epoch + 1"
                " RETURNING projection, tree_size, frontier, epoch, cluster_id, topic_id,"
                " next_offset",
                (topic.name, partition, names),
            ).fetchall()
            connection.execute(
                "DELETE FROM sinergi_consumer.halt WHERE topic = %s AND partition = %s",
                (topic.name, partition),
            )
        return {
            name: Position(
                Frontier.parse(size, bytes(frontier)),
                epoch,
                Place(cluster, topic_id) if cluster and topic_id else None,
                offset,
            )
            for name, size, frontier, epoch, cluster, topic_id, offset in rows
        }

    @contextmanager
    def transaction(self) -> Iterator[PostgresqlTransaction]:
        """Begin; commit at the end of the block, roll back where it raises."""
        with self._database.serving() as connection:
            self._prepare(connection)
            with connection.transaction():
                # A deferred constraint would speak only at the commit, too late to find its row.
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                yield PostgresqlTransaction(connection, self._merges)

    def awaiting(self, topic: Topic, partition: int, fingerprints: Sequence[bytes]) -> list[Entry]:
        """What waits in quarantine for one of these schemas."""
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT projection, leaf_index FROM sinergi_consumer.quarantine"
                " WHERE projection = ANY(%s) AND topic = %s AND partition = %s AND reason = %s"
                " AND fingerprint = ANY(%s) AND state IN ('open', 'superseded')"
                " ORDER BY projection, leaf_index",
                (
                    list(self._merges),
                    topic.name,
                    partition,
                    AWAITING_SCHEMA,
                    list(fingerprints),
                ),
            ).fetchall()
        return [Entry(name, topic, partition, index) for name, index in rows]

    def halt(self, topic: Topic, partition: int, why: errors.Broken) -> None:
        """Keep for people why a partition stands still."""
        with self._database.serving() as connection:
            connection.execute(
                "INSERT INTO sinergi_consumer.halt (topic, partition, reason, detail)"
                " VALUES (%s, %s, %s, %s) ON CONFLICT (topic, partition) DO UPDATE"
                " SET reason = excluded.reason, detail = excluded.detail,"
                " halted_at = clock_timestamp()",
                (topic.name, partition, type(why).__name__, str(why)),
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
        # Outside every transaction: a savepoint that is rolled back would take the tables along.
        if self._prepared is not connection:
            connection.execute(merge.MAKE_WINNER)
            for each in self._merges.values():
                for table in each.projection.tables:
                    connection.execute(each.make_incoming(table))
            self._prepared = connection


class PostgresqlTransaction:
    """See `sinergi_consumers.sinks.Transaction`."""

    def __init__(self, connection: psycopg.Connection, merges: Mapping[str, Merge]) -> None:
        self._connection = connection
        self._merges = merges
        # Rows that attempts have left in the temporary tables, dead ones too, once one was refused.
        self._left: int | None = None

    def advance(
        self, projection: Projection, batch: Batch, position: Position, place: Place
    ) -> Position:
        """Move a projection's position to the end of the batch, if it is still ours."""
        moved = self._connection.execute(
            "UPDATE sinergi_consumer.position SET tree_size = %s, frontier = %s, cluster_id = %s,"
            " topic_id = %s, next_offset = %s, moved_at = clock_timestamp()"
            " WHERE projection = %s AND topic = %s AND partition = %s"
            " AND epoch = %s AND tree_size = %s",
            (
                batch.end,
                batch.frontier.to_bytes(),
                place.cluster_id,
                place.topic_id,
                batch.next_offset,
                projection.name,
                batch.topic.name,
                batch.partition,
                position.epoch,
                position.frontier.size,
            ),
        )
        if moved.rowcount != 1:
            raise errors.PositionLost(projection.name, batch.topic.name, batch.partition)
        return Position(batch.frontier, position.epoch, place, batch.next_offset)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction that can fail alone."""
        try:
            if self._left is not None and self._left > _MOST_LEFT:
                self._connection.execute(merge.clear_all(self._merges.values()))
                self._left = 0
            with self._connection.transaction():
                yield
        except psycopg.Error as error:
            raise translate(error) from None

    def merge(self, projection: Projection, rows: Mapping[str, pl.DataFrame]) -> Sequence[int]:
        """Put the rows of some events in; the leaves whose revision another event holds."""
        statements = self._merges[projection.name]
        record = projection.record
        arrived = self._copy(statements, record, rows[record.name])
        if projection.children:
            many = self._left is None
            self._connection.execute(merge.CLEAR_WINNER if many else merge.EMPTY_WINNER)
        won = self._connection.execute(statements.upsert).rowcount
        self._connection.execute(statements.supersede_earlier)
        if projection.children:
            self._merge_children(statements, projection.children, rows)
        if won == arrived or projection.kind is not Kind.HISTORY:
            return []  # a current table has forgotten earlier revisions and cannot tell
        return [index for (index,) in self._connection.execute(statements.conflicts)]

    def _merge_children(
        self, statements: Merge, children: Iterable[sa.Table], rows: Mapping[str, pl.DataFrame]
    ) -> None:
        (replaced,) = self._connection.execute(merge.ANY_REPLACED).fetchone() or (False,)
        for child in children:
            if replaced:
                self._connection.execute(statements.delete_replaced(child))
            if self._copy(statements, child, rows[child.name]):
                self._connection.execute(statements.insert_children(child))

    def refused(
        self, projection: Projection, rows: Mapping[str, pl.DataFrame]
    ) -> Mapping[int, errors.RowsRefused]:
        """The leaves of which a row is not taken in for what stands in it, and why."""
        statements = self._merges[projection.name]
        try:
            found = sieve.refused(self._connection, statements, rows)
        except psycopg.Error as error:
            raise translate(error) from None
        before = _MOST_LEFT if self._left is None else self._left
        self._left = before + sum(each.height for each in rows.values())
        return found

    def quarantine(self, projection: Projection, leaves: Leaves, unfit: Sequence[Unfit]) -> None:
        """Keep what could not become rows of a projection; again, where it is kept already."""
        topic, partition = leaves.topic, leaves.partition
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO sinergi_consumer.quarantine AS held (projection, topic, partition,"
                " leaf_index, event_id, revision, reason, detail, fingerprint, key, datum)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
                " ON CONFLICT (projection, topic, partition, leaf_index) DO UPDATE"
                " SET revision = excluded.revision, reason = excluded.reason,"
                " detail = excluded.detail,"
                " state = CASE held.state WHEN 'retried' THEN 'open' ELSE held.state END",
                [
                    (
                        projection.name,
                        topic.name,
                        partition,
                        each.message.leaf_index,
                        _uuid(each.message.event_id),
                        each.revision,
                        each.reason,
                        each.detail,
                        each.message.fingerprint,
                        each.message.key,
                        each.message.datum,
                    )
                    for each in unfit
                ],
            )
            cursor.executemany(
                self._merges[projection.name].supersede_late,
                [
                    (topic.name, partition, each.message.leaf_index, topic.agency, record_id)
                    for each in unfit
                    if (record_id := _record_id(each.message.key)) is not None
                ],
            )

    def held(
        self, projection: Projection, topic: Topic, partition: int, leaves: Sequence[int]
    ) -> list[Message]:
        """What quarantine keeps at some leaves, below the position and not through by now."""
        where = (projection.name, topic.name, partition)
        reached = self._connection.execute(HOLD, where).fetchone()
        if reached is None:
            return []
        rows = self._connection.execute(
            "SELECT leaf_index, fingerprint, key, datum"
            " FROM sinergi_consumer.quarantine"
            " WHERE projection = %s AND topic = %s AND partition = %s AND leaf_index = ANY(%s)"
            " AND leaf_index < %s AND state <> 'retried' ORDER BY leaf_index FOR UPDATE",
            (*where, list(leaves), *reached),
        )
        return [
            Message(0, index, fingerprint, key, datum, None)
            for index, fingerprint, key, datum in rows
        ]

    def retried(self, entries: Sequence[Entry]) -> None:
        """State that these are no longer in quarantine: they went through."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "UPDATE sinergi_consumer.quarantine SET state = 'retried'"
                " WHERE projection = %s AND topic = %s AND partition = %s AND leaf_index = %s",
                [each.columns for each in entries],
            )

    def decided(self, outcomes: Sequence[tuple[Entry, str]], decision: Decision) -> None:
        """Keep who tried these once more, why, and what came of it."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO sinergi_consumer.decision (projection, topic, partition, leaf_index,"
                " action, outcome, decided_by, why) VALUES (%s, %s, %s, %s, 'retry', %s, %s, %s)",
                [
                    (*entry.columns, outcome, decision.by, decision.why)
                    for entry, outcome in outcomes
                ],
            )

    def checkpoints(self, batch: Batch) -> None:
        """Keep every checkpoint that was met in the batch."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO sinergi_consumer.checkpoint (topic, partition, size, root, note)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (topic, partition, size) DO NOTHING",
                [
                    (batch.topic.name, batch.partition, each.end, each.root, each.note)
                    for each in batch.checkpoints
                ],
            )

    def receipt(self, receipt: Receipt) -> None:
        """Keep a receipt, to be published after the commit."""
        self._connection.execute(
            "INSERT INTO sinergi_consumer.receipt (topic, partition, size, note, signed_at)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (topic, partition, size) DO NOTHING",
            (receipt.topic, receipt.partition, receipt.size, receipt.note, receipt.signed_at),
        )

    def _copy(self, statements: Merge, table: sa.Table, rows: pl.DataFrame) -> int:
        if self._left is None:
            self._connection.execute(statements.clear(table))
        else:
            self._connection.execute(statements.empty(table))
            self._left += rows.height
        if rows.is_empty():
            return 0
        with (
            self._connection.cursor() as cursor,
            cursor.copy(statements.copy(table)) as copy,
        ):
            for part in rows.iter_slices(merge.ROWS_IN_ONE_PART):
                copy.write(merge.as_csv(table, part))
        return rows.height


def _uuid(text: bytes | None) -> UUID | None:
    """An event's id out of a header; None where it is none."""
    try:
        return UUID((text or b"").decode("ascii"))
    except ValueError:
        return None


def _record_id(key: bytes) -> str | None:
    """A record's id out of a key; None where no table can hold it."""
    try:
        found = key.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in found else found
