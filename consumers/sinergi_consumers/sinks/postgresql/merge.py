"""The statements that merge the rows of a batch into a projection's tables on PostgreSQL.

COPY writes rows to temporary tables with the same columns, and one statement per table merges them
into the target table. `ON CONFLICT` decides which revision wins, so the result does not depend on
how events are split into batches.

A table that is partitioned by time can have no unique key without the time. There each new revision
is looked up in all partitions. Nobody inserts the same one meanwhile: a record has one
topic-partition, whose position the transaction has locked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from psycopg import sql

from sinergi_consumers.projections.naming import INCOMING, PARTITION_TIME
from sinergi_consumers.projections.projection import RECORDED_AT, SCHEMA, ProjectionKind
from sinergi_consumers.sinks.postgresql.partitions import BOUNDS
from sinergi_consumers.sinks.postgresql.registered_columns import NOTHING, Undeclared

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from sinergi_consumers.projections.projection import Projection

_TEMPORARY = "pg_temp"
WINNER = sql.Identifier(_TEMPORARY, "sinergi_winner")

# `xmax` distinguishes updated from inserted rows. Only updated records have children to replace.
_MAKE_WINNER = sql.SQL(
    "CREATE TEMPORARY TABLE {} (agency text, record_id text, topic text, partition integer,"
    " leaf_index bigint, replaced boolean, recorded_at timestamptz) {}"
)
ANY_REPLACED = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE replaced)").format(WINNER)


def incoming(table: sa.Table) -> sql.Identifier:
    """The temporary table for new rows of a table."""
    return sql.Identifier(_TEMPORARY, incoming_name(table))


def incoming_name(table: sa.Table) -> str:
    """The name of the temporary table without its schema, as in messages of PostgreSQL."""
    return f"{INCOMING}{table.name}"


@dataclass(frozen=True)
class Merge:
    """The statements of one projection.

    Attributes:
        is_partitioned: whether its tables are partitioned by time.
        undeclared: what its tables have beside what it declares.
    """

    projection: Projection
    is_partitioned: bool = False
    undeclared: Undeclared = NOTHING

    @property
    def may_be_partitioned(self) -> bool:
        """Whether the tables into which rows are merged can be partitioned."""
        return self.projection.may_be_partitioned

    @cached_property
    def partitioned(self) -> Merge:
        """The statements for the same tables, partitioned."""
        return replace(self, is_partitioned=True)

    @property
    def has_children(self) -> bool:
        """Whether rows of child tables belong to each row of the record table."""
        return bool(self.projection.children or self.undeclared.children)

    def target(self, table: sa.Table) -> sql.Identifier:
        """The table into which rows of a table are merged."""
        return real(table)

    def make_incoming(self, table: sa.Table, on_commit: sql.SQL) -> sql.Composed:
        """Create the temporary table for a table's rows.

        It has the CHECK constraints of the target table, so that they also apply to rows that a
        later revision replaces. So the result does not depend on how events are split into batches.
        """
        made = sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING CONSTRAINTS) {}").format(
            incoming(table), self.target(table), on_commit
        )
        if not self.projection.may_be_partitioned:
            return made
        return sql.SQL("{}; {}").format(made, without_partitioning(incoming(table)))

    def copy(self, table: sa.Table) -> sql.Composed:
        """COPY rows as CSV into the temporary table, with the columns in the table's order."""
        return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')").format(
            incoming(table), columns(table)
        )

    @cached_property
    def upsert(self) -> sql.Composed:
        """Insert or update the rows of winning revisions in the record table.

        If the projection has child tables, the winning revisions are also written to a temporary
        table, which takes a fifth of the time.
        """
        insert = self.insert_winners(sql.SQL("true"))
        if not self.has_children:
            return insert
        return sql.SQL(
            "WITH written AS ({}"
            " RETURNING stored.agency, stored.record_id, stored.topic, stored.partition,"
            " stored.leaf_index, {}, {})"
            " INSERT INTO {} SELECT * FROM written"
        ).format(insert, self.replaced, self.recorded_at, WINNER)

    @property
    def replaced(self) -> sql.SQL:
        """Whether a row that was just written has replaced another; a history keeps each."""
        return sql.SQL("false" if self.is_partitioned else "stored.xmax <> 0")

    @property
    def recorded_at(self) -> sql.Composable:
        """When the event of a row that was just written was recorded; null if nobody needs it."""
        if self.is_partitioned:
            return sql.Identifier("stored", RECORDED_AT)
        return sql.SQL("NULL::timestamptz")

    def insert_winners(self, which: sql.Composable) -> sql.Composed:
        """Insert or update the winning revisions among new rows that meet a condition."""
        record = self.projection.record
        key = _names(self.projection.kind.key)
        if self.projection.kind is ProjectionKind.CURRENT:
            order = sql.SQL("{}, revision DESC, leaf_index").format(key)
            conflict: sql.Composable = sql.SQL(
                "DO UPDATE SET {} WHERE excluded.revision > stored.revision"
            ).format(
                sql.SQL(", ").join(
                    [
                        *(
                            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column.name))
                            for column in record.columns
                            if not column.primary_key
                        ),
                        *(
                            sql.SQL("{} = DEFAULT").format(sql.Identifier(name))
                            for name in self.undeclared.columns
                        ),
                    ]
                )
            )
        else:
            order = sql.SQL("{}, leaf_index").format(key)
            conflict = sql.SQL("DO NOTHING")
        unique = key
        if self.is_partitioned:
            unique = sql.SQL("{}, {}").format(key, sql.Identifier(RECORDED_AT))
            which = sql.SQL("{} AND {}").format(which, self._is_new)
        return sql.SQL(
            "INSERT INTO {real} AS stored ({columns})"
            " SELECT DISTINCT ON ({key}) {columns} FROM {incoming} AS arrived WHERE {which}"
            " ORDER BY {order} ON CONFLICT ({unique}) {conflict}"
        ).format(
            unique=unique,
            real=self.target(record),
            columns=columns(record),
            key=key,
            incoming=incoming(record),
            which=which,
            order=order,
            conflict=conflict,
        )

    @property
    def _is_new(self) -> sql.Composed:
        """Whether no partition has the revision of a row that arrived.

        OFFSET 0 keeps the lookup by key. Otherwise PostgreSQL may read all partitions.
        """
        return sql.SQL("NOT EXISTS (SELECT FROM {} AS held WHERE {} OFFSET 0)").format(
            self.target(self.projection.record), self._same_key("held")
        )

    def _same_key(self, alias: str) -> sql.Composed:
        """Whether a row of the record table has the key of a row that arrived."""
        return sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(alias, name), sql.Identifier("arrived", name))
            for name in self.projection.kind.key
        )

    @cached_property
    def supersede_by_arrived(self) -> sql.Composed:
        """Mark earlier revisions in quarantine, of the records of the new rows, as superseded."""
        return self.supersede_by(incoming(self.projection.record))

    def supersede_by(self, records: sql.Identifier) -> sql.Composed:
        """The same for the records in a table with the columns of the record table."""
        return self._supersede(
            sql.SQL("SELECT DISTINCT agency, record_id, topic, partition FROM {}").format(records)
        )

    @cached_property
    def supersede(self) -> sql.Composed:
        """The same with parameters: an agency, ids of records, a topic and a partition."""
        return self._supersede(
            sql.SQL(
                "SELECT %s::text AS agency, unnest(%s::text[]) AS record_id, %s::text AS topic,"
                " %s::integer AS partition"
            )
        )

    def _supersede(self, records: sql.Composable) -> sql.Composed:
        """Mark revisions in quarantine that are lower than the highest one in the record table.

        If a revision could not be read, the order of the leaves is used instead, because an outbox
        assigns the revisions of a record in that order.

        A record costs three index lookups plus the rows that are marked, however many revisions of
        it there are. OFFSET 0 ensures that: PostgreSQL has no statistics of the new rows, and would
        otherwise compare every new row with every row in quarantine.
        """
        held = sql.SQL(
            "SELECT id FROM sinergi_consumer.quarantine"
            " WHERE key_hash = sha256(convert_to(record.record_id, 'UTF8'))"
            " AND projection || ' ' || topic || ' ' || partition::text || ' ' || state"
            " = {} || ' ' || newest.topic || ' ' || newest.partition::text || ' open' AND "
        ).format(sql.Literal(self.projection.name))
        return sql.SQL(
            "UPDATE sinergi_consumer.quarantine SET state = 'superseded'"
            " WHERE id = ANY (ARRAY(SELECT held.id FROM ({records}) AS record, LATERAL ("
            "SELECT topic, partition, revision, leaf_index FROM {real} AS stored"
            " WHERE stored.agency = record.agency AND stored.record_id = record.record_id"
            " ORDER BY revision DESC LIMIT 1) AS newest, LATERAL ("
            "{held} revision < newest.revision UNION ALL"
            " {held} revision IS NULL AND leaf_index < newest.leaf_index OFFSET 0) AS held"
            " WHERE EXISTS (SELECT FROM sinergi_consumer.quarantine WHERE projection = {name}"
            " AND state = 'open')"
            " AND newest.topic = record.topic AND newest.partition = record.partition))"
        ).format(
            name=sql.Literal(self.projection.name),
            records=records,
            real=self.target(self.projection.record),
            held=held,
        )

    @property
    def child_targets(self) -> list[sql.Identifier]:
        """All child tables, also those that are not declared."""
        declared = [self.target(each) for each in self.projection.children]
        return [*declared, *self._undeclared_children]

    @property
    def _undeclared_children(self) -> list[sql.Identifier]:
        return [sql.Identifier(SCHEMA, each) for each in self.undeclared.children]

    @cached_property
    def delete_undeclared(self) -> list[sql.Composed]:
        """Delete the rows of replaced revisions from child tables that are not declared."""
        return [_delete_replaced(each) for each in self._undeclared_children]

    def delete_replaced(self, child: sa.Table) -> sql.Composed:
        """Delete the child rows of replaced revisions."""
        return _delete_replaced(self.target(child))

    def insert_children(self, child: sa.Table) -> sql.Composed:
        """Insert the child rows of winning revisions."""
        if self.is_partitioned:
            return sql.SQL(
                "INSERT INTO {} ({}, {}) SELECT {}, winner.recorded_at FROM {} AS arrived"
                " JOIN {} AS winner USING (topic, partition, leaf_index)"
            ).format(
                self.target(child),
                columns(child),
                sql.Identifier(PARTITION_TIME),
                _names_of("arrived", child),
                incoming(child),
                WINNER,
            )
        return sql.SQL(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM {} AS arrived"
            " WHERE EXISTS (SELECT FROM {} AS winner WHERE winner.leaf_index = arrived.leaf_index"
            " AND winner.partition = arrived.partition AND winner.topic = arrived.topic)"
        ).format(self.target(child), incoming(child), WINNER, columns=columns(child))

    @cached_property
    def conflicts(self) -> sql.Composed:
        """The leaves whose revision another event has already.

        It finds each one by its key. In a plain join PostgreSQL would scan the whole table.
        """
        record = self.projection.record
        return sql.SQL(
            "SELECT arrived.leaf_index FROM {incoming} AS arrived, LATERAL ("
            "SELECT stored.revision, stored.event_id FROM {real} AS stored WHERE {same_key} LIMIT 1"
            ") AS winner WHERE winner.revision = arrived.revision"
            " AND winner.event_id <> arrived.event_id ORDER BY arrived.leaf_index"
        ).format(
            incoming=incoming(record), real=self.target(record), same_key=self._same_key("stored")
        )


def _delete_replaced(child: sql.Identifier) -> sql.Composed:
    """Delete the rows of replaced revisions from a child table.

    It finds each record by its key and each row by its ctid. In a plain join PostgreSQL would scan
    the whole table, because it has no statistics of the winners.
    """
    return sql.SQL(
        "DELETE FROM {real} AS stored USING {winner} AS winner WHERE winner.replaced"
        " AND stored.agency = winner.agency AND stored.record_id = winner.record_id"
        " AND stored.ctid = ANY (ARRAY(SELECT gone.place FROM {winner} AS winner, LATERAL ("
        "SELECT stored.ctid AS place FROM {real} AS stored WHERE stored.agency = winner.agency"
        " AND stored.record_id = winner.record_id OFFSET 0) AS gone WHERE winner.replaced))"
    ).format(real=child, winner=WINNER)


def create_temporary_tables(merges: Iterable[Merge], *, persistent: bool) -> sql.Composed:
    """Create all temporary tables at once.

    Args:
        merges: of all projections.
        persistent: keep the tables for later transactions of the session. Otherwise they are
            dropped at the commit, and tables that another client left in the session are dropped
            first.
    """
    on_commit = sql.SQL("ON COMMIT PRESERVE ROWS" if persistent else "ON COMMIT DROP")
    tables = [(each, table) for each in merges for table in each.projection.tables]
    names = [WINNER, *(incoming(table) for _, table in tables)]
    drop = sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join(names))
    return sql.SQL("; ").join(
        [
            *([] if persistent else [drop]),
            _MAKE_WINNER.format(WINNER, on_commit),
            *(each.make_incoming(table, on_commit) for each, table in tables),
        ]
    )


def without_partitioning(table: sql.Identifier) -> sql.Composed:
    """Take out of a temporary table what its original has only because it is partitioned."""
    return sql.SQL("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}, DROP COLUMN IF EXISTS {}").format(
        table, sql.Identifier(BOUNDS), sql.Identifier(PARTITION_TIME)
    )


def empty(table: sql.Identifier, *, again: bool) -> sql.Composed:
    """Empty a temporary table. (ON COMMIT DELETE ROWS would empty all of them each time.)

    Args:
        table: the temporary table.
        again: the transaction does it many times. A TRUNCATE leaves dead rows in the catalog, which
            every later statement reads, so each of hundreds is slower than the one before.
    """
    return sql.SQL("DELETE FROM {}" if again else "TRUNCATE {}").format(table)


def empty_all(merges: Iterable[Merge]) -> sql.Composed:
    """Empty all temporary tables at once."""
    tables = [incoming(table) for each in merges for table in each.projection.tables]
    return sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join([WINNER, *tables]))


def real(table: sa.Table) -> sql.Identifier:
    """The target table."""
    return sql.Identifier(SCHEMA, table.name)


def columns(table: sa.Table) -> sql.Composed:
    """The columns of a table in their order."""
    return _names(column.name for column in table.columns)


def _names_of(alias: str, table: sa.Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, column.name) for column in table.columns)


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
