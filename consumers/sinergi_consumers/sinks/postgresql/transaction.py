"""One transaction of the sink for PostgreSQL."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from sinergi_consumers.projections.projection import ProjectionKind
from sinergi_consumers.sinks.postgresql import merge, one_by_one, partitions, row_refusals
from sinergi_consumers.sinks.postgresql.csv_rows import ROWS_IN_ONE_PART, as_csv
from sinergi_consumers.sinks.postgresql.quarantine_rows import QuarantineRows
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql import translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl
    import sqlalchemy as sa
    from psycopg import sql

    from sinergi_consumers.decode.batches import RefusedEvent
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.sinks.postgresql.merge import Merge
    from sinergi_consumers.sinks.protocol import Decision, PositionMove, QuarantineKey, Receipt
    from sinergi_schemas import errors
    from sinergi_schemas.message import Message
    from sinergi_schemas.topics import TopicPartition

# Rows are locked in the order of their keys, as a claim does: workers never wait for one another.
_LOCK = """
    SELECT moved.number FROM unnest(%s::text[], %s::text[], %s::integer[], %s::bigint[],
        %s::bigint[]) WITH ORDINALITY AS moved
        (projection, topic, partition, epoch, tree_size, number)
    JOIN sinergi_consumer.position AS p USING (projection, topic, partition, epoch, tree_size)
    ORDER BY p.projection, p.topic, p.partition FOR UPDATE OF p
"""
_ADVANCE = """
    UPDATE sinergi_consumer.position AS p SET tree_size = moved.tree_size,
        frontier = moved.frontier, cluster_id = moved.cluster_id, topic_id = moved.topic_id,
        next_offset = moved.next_offset, moved_at = clock_timestamp()
    FROM unnest(%s::text[], %s::text[], %s::integer[], %s::bigint[], %s::bytea[], %s::text[],
        %s::text[], %s::bigint[]) AS moved
        (projection, topic, partition, tree_size, frontier, cluster_id, topic_id, next_offset)
    WHERE p.projection = moved.projection AND p.topic = moved.topic
        AND p.partition = moved.partition
"""
_STORE_RECEIPTS = """
    INSERT INTO sinergi_consumer.receipt (topic, partition, size, note, signed_at)
    SELECT * FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::text[], %s::timestamptz[])
        AS signed (topic, partition, size, note, signed_at)
    WHERE NOT EXISTS (SELECT FROM sinergi_consumer.receipt AS r WHERE r.topic = signed.topic
        AND r.partition = signed.partition AND r.size >= signed.size)
"""

_MOST_LEFT = 2_000
_IDLE_SECONDS = 2.0


class PostgresqlTransaction:
    """See `sinergi_consumers.sinks.protocol.Transaction`."""

    def __init__(
        self, connection: psycopg.Connection, merges: Mapping[str, Merge], quota: int
    ) -> None:
        self._connection = connection
        self._merges = merges
        self._quarantine = QuarantineRows(connection, quota)
        # The number of rows in the temporary tables, including dead rows; None until a row was
        # refused.
        self._left: int | None = None
        self._partitioned: set[str] | None = None
        self._asked = SYSTEM.monotonic()

    def lock_positions(self, moves: Sequence[PositionMove]) -> list[PositionMove]:
        """Lock the rows of positions, and return those that are no longer as they were read."""
        rows = [
            (each.projection, *each.tp, each.position.epoch, each.position.frontier.size)
            for each in moves
        ]
        held = {number for (number,) in self._connection.execute(_LOCK, _columns(rows, 5))}
        return [each for number, each in enumerate(moves, 1) if number not in held]

    def advance(self, moves: Sequence[PositionMove]) -> None:
        """PositionMove positions, whose rows are locked, to the ends of their batches."""
        rows = [
            (
                each.projection,
                *each.tp,
                each.batch.end,
                each.batch.frontier.to_bytes(),
                each.incarnation.cluster_id,
                each.incarnation.topic_id,
                each.batch.next_offset,
            )
            for each in moves
        ]
        self._connection.execute(_ADVANCE, _columns(rows, 8))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction that can be rolled back alone."""
        try:
            if self._left is not None and self._left > _MOST_LEFT:
                self._connection.execute(merge.empty_all(self._merges.values()))
                self._left = 0
            with self._connection.transaction():
                yield
        except psycopg.Error as error:
            raise translate(error) from None

    def keep_alive(self) -> None:
        """Run an empty statement every two seconds (idle_in_transaction_session_timeout)."""
        now = SYSTEM.monotonic()
        if now - self._asked > _IDLE_SECONDS:
            self._asked = now
            try:
                self._connection.execute("SELECT")
            except psycopg.Error as error:
                raise translate(error) from None

    def merge(self, projection: Projection, rows: Mapping[str, pl.DataFrame]) -> Sequence[int]:
        """Merge the rows of some events. Returns the leaves with a revision conflict."""
        statements = self._statements(projection)
        record = projection.record
        arrived = self._copy(statements, record, rows[record.name])
        if statements.has_children:
            self._empty(merge.WINNER)
        written = self._connection.execute(statements.upsert).rowcount
        self._connection.execute(statements.supersede_by_arrived)
        if statements.has_children:
            self._merge_children(statements, rows)
        if written == arrived or projection.kind is not ProjectionKind.HISTORY:
            return []  # a current table does not store earlier revisions
        return [index for (index,) in self._connection.execute(statements.conflicts)]

    def merge_one_by_one(
        self, projection: Projection, rows: Mapping[str, pl.DataFrame]
    ) -> Mapping[int, errors.RowsRefused | None]:
        """Merge the rows of some events, each event alone. Returns those that are refused."""
        statements = self._statements(projection)
        found: dict[int, errors.RowsRefused | None] = {}
        with self.savepoint():
            for table in projection.tables:
                self._copy(statements, table, rows[table.name])
            found |= one_by_one.merge_arrived(self._connection, statements)
            self._connection.execute(statements.supersede_by_arrived)
            if projection.kind is ProjectionKind.HISTORY:
                conflicts = self._connection.execute(statements.conflicts)
                found |= {index: found.get(index) for (index,) in conflicts}
        return found

    def _merge_children(self, statements: Merge, rows: Mapping[str, pl.DataFrame]) -> None:
        (replaced,) = self._connection.execute(merge.ANY_REPLACED).fetchone() or (False,)
        if replaced:
            for statement in statements.delete_undeclared:
                self._connection.execute(statement)
        for child in statements.projection.children:
            if replaced:
                self._connection.execute(statements.delete_replaced(child))
            if self._copy(statements, child, rows[child.name]):
                self._connection.execute(statements.insert_children(child))

    def find_refused(
        self, projection: Projection, rows: Mapping[str, pl.DataFrame]
    ) -> Mapping[int, errors.RowsRefused]:
        """The leaves with a row that the database refuses because of its own values, and why."""
        statements = self._merges[projection.name]
        try:
            found = row_refusals.find_refused(self._connection, statements, rows)
        except psycopg.Error as error:
            raise translate(error) from None
        before = _MOST_LEFT if self._left is None else self._left
        self._left = before + sum(each.height for each in rows.values())
        return found

    def quarantine(
        self, projection: Projection, tp: TopicPartition, refused: Sequence[RefusedEvent]
    ) -> None:
        """Store events that could not become rows of a projection, or update their rows."""
        self._quarantine.store(self._merges[projection.name], tp, refused)

    def quarantined(
        self, projection: Projection, tp: TopicPartition, leaves: Sequence[int]
    ) -> dict[int, Message | None]:
        """The events in quarantine with these leaf indexes, below the position and not retried."""
        return self._quarantine.messages(projection.name, tp, leaves)

    def mark_retried(self, entries: Sequence[QuarantineKey]) -> None:
        """Mark entries as retried, because they have become rows."""
        self._quarantine.mark_retried(entries)

    def record_decisions(
        self, outcomes: Sequence[tuple[QuarantineKey, str]], decision: Decision
    ) -> None:
        """Store who retried these entries, why, and the results."""
        self._quarantine.record_decisions(outcomes, decision)

    def store_checkpoints(self, batches: Sequence[VerifiedBatch]) -> None:
        """Store the verified checkpoints of some batches."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO sinergi_consumer.checkpoint (topic, partition, size, root, note)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (topic, partition, size) DO NOTHING",
                [
                    (batch.topic.name, batch.partition, each.end, each.root, each.note)
                    for batch in batches
                    for each in batch.checkpoints
                ],
            )

    def store_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Store receipts, which are published after the commit."""
        rows = [
            (each.topic, each.partition, each.size, each.note, each.signed_at) for each in receipts
        ]
        self._connection.execute(_STORE_RECEIPTS, _columns(rows, 5))

    def _statements(self, projection: Projection) -> Merge:
        """The statements for the tables of a projection as they are now.

        A table is partitioned only while nobody has locked a position. So it stays as it is found,
        since the caller has locked one.
        """
        statements = self._merges[projection.name]
        if not statements.may_be_partitioned:
            return statements
        if self._partitioned is None:
            self._partitioned = partitions.partitioned_tables(self._connection)
        is_partitioned = projection.record.name in self._partitioned
        return statements.partitioned if is_partitioned else statements

    def _empty(self, table: sql.Identifier) -> None:
        self._connection.execute(merge.empty(table, again=self._left is not None))

    def _copy(self, statements: Merge, table: sa.Table, rows: pl.DataFrame) -> int:
        self._empty(merge.incoming(table))
        if self._left is not None:
            self._left += rows.height
        if rows.is_empty():
            return 0
        with (
            self._connection.cursor() as cursor,
            cursor.copy(statements.copy(table)) as copy,
        ):
            for part in rows.iter_slices(ROWS_IN_ONE_PART):
                copy.write(as_csv(table, part))
        return rows.height


def _columns(rows: Sequence[Sequence[object]], count: int) -> list[list[object]]:
    """Rows as columns, for arrays of the same length; without rows so many empty ones."""
    return [[row[at] for row in rows] for at in range(count)]
