"""One transaction of the sink of PostgreSQL: what of a batch becomes visible, or does not."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from sinergi_consumers.projections.projection import ProjectionKind
from sinergi_consumers.reading.position import Position, TopicIncarnation
from sinergi_consumers.sinks.postgresql import merge, one_by_one, row_refusals
from sinergi_consumers.sinks.postgresql.quarantine_rows import QuarantineRows
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql import translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import polars as pl
    import sqlalchemy as sa
    from psycopg import sql

    from sinergi_consumers.decode.decoder import Unfit
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import Leaves, VerifiedBatch
    from sinergi_consumers.sinks.postgresql.merge import Merge
    from sinergi_consumers.sinks.protocol import Decision, QuarantineKey, Receipt
    from sinergi_schemas.message import Message
    from sinergi_schemas.topics import TopicPartition

_MOST_LEFT = 2_000
_STILL_SECONDS = 2.0


class PostgresqlTransaction:
    """See `sinergi_consumers.sinks.protocol.Transaction`."""

    def __init__(
        self, connection: psycopg.Connection, merges: Mapping[str, Merge], quota: int
    ) -> None:
        self._connection = connection
        self._merges = merges
        self._apart = QuarantineRows(connection, quota)
        # Rows that attempts have left in the temporary tables, dead ones too, once one was refused.
        self._left: int | None = None
        self._asked = SYSTEM.monotonic()

    def advance(
        self,
        projection: Projection,
        batch: VerifiedBatch,
        position: Position,
        place: TopicIncarnation,
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
                self._connection.execute(merge.empty_all(self._merges.values()))
                self._left = 0
            with self._connection.transaction():
                yield
        except psycopg.Error as error:
            raise translate(error) from None

    def keep_alive(self) -> None:
        """Ask for nothing, at most every other second (idle_in_transaction_session_timeout)."""
        now = SYSTEM.monotonic()
        if now - self._asked > _STILL_SECONDS:
            self._asked = now
            try:
                self._connection.execute("SELECT")
            except psycopg.Error as error:
                raise translate(error) from None

    def merge(self, projection: Projection, rows: Mapping[str, pl.DataFrame]) -> Sequence[int]:
        """Put the rows of some events in; the leaves whose revision another event holds."""
        statements = self._merges[projection.name]
        record = projection.record
        arrived = self._copy(statements, record, rows[record.name])
        if projection.children:
            self._empty(merge.WINNER)
        won = self._connection.execute(statements.upsert).rowcount
        self._connection.execute(statements.supersede_by_arrived)
        if projection.children:
            self._merge_children(statements, projection.children, rows)
        if won == arrived or projection.kind is not ProjectionKind.HISTORY:
            return []  # a current table has forgotten earlier revisions and cannot tell
        return [index for (index,) in self._connection.execute(statements.conflicts)]

    def merge_one_by_one(
        self, projection: Projection, rows: Mapping[str, pl.DataFrame]
    ) -> Mapping[int, errors.RowsRefused | None]:
        """Put the rows of some events in, each event alone; those that do not stand, and why."""
        statements = self._merges[projection.name]
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
            found = row_refusals.refused(self._connection, statements, rows)
        except psycopg.Error as error:
            raise translate(error) from None
        before = _MOST_LEFT if self._left is None else self._left
        self._left = before + sum(each.height for each in rows.values())
        return found

    def quarantine(self, projection: Projection, leaves: Leaves, unfit: Sequence[Unfit]) -> None:
        """Keep what could not become rows of a projection; again, where it is kept already."""
        self._apart.keep(self._merges[projection.name], leaves, unfit)

    def held(
        self, projection: Projection, tp: TopicPartition, leaves: Sequence[int]
    ) -> dict[int, Message | None]:
        """What quarantine holds at some leaves, below the position and not through by now."""
        return self._apart.held(projection.name, tp, leaves)

    def retried(self, entries: Sequence[QuarantineKey]) -> None:
        """State that these are no longer in quarantine: they went through."""
        self._apart.retried(entries)

    def decided(self, outcomes: Sequence[tuple[QuarantineKey, str]], decision: Decision) -> None:
        """Keep who tried these once more, why, and what came of it."""
        self._apart.decided(outcomes, decision)

    def checkpoints(self, batch: VerifiedBatch) -> None:
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
            for part in rows.iter_slices(merge.ROWS_IN_ONE_PART):
                copy.write(merge.as_csv(table, part))
        return rows.height
