"""The statements that merge a batch's rows into a projection's tables on PostgreSQL.

Rows go by COPY into temporary tables made like the real ones, and from there in one statement a
table. Which revision stands is decided by `ON CONFLICT`, so the outcome does not depend on how
events are cut into batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs
from psycopg import sql

from sinergi_consumers.projections.naming import INCOMING
from sinergi_consumers.projections.projection import SCHEMA, ProjectionKind
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    import sqlalchemy as sa

    from sinergi_consumers.projections.projection import Projection

_TEMPORARY = "pg_temp"
WINNER = sql.Identifier(_TEMPORARY, "sinergi_winner")

# The database reads one part while the next is made.
ROWS_IN_ONE_PART = 4_000

# `xmax` tells an updated row from an inserted one: only updated records have children to replace.
_MAKE_WINNER = sql.SQL(
    "CREATE TEMPORARY TABLE {} (agency text, record_id text, leaf_index bigint, replaced boolean)"
    " {}"
)
ANY_REPLACED = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE replaced)").format(WINNER)


def incoming(table: sa.Table) -> sql.Identifier:
    """The temporary table that rows for `table` arrive in."""
    return sql.Identifier(_TEMPORARY, incoming_name(table))


def incoming_name(table: sa.Table) -> str:
    """The same as PostgreSQL tells it, without its schema."""
    return f"{INCOMING}{table.name}"


def as_csv(table: sa.Table, rows: pl.DataFrame) -> bytes:
    """Rows as `Merge.copy` takes them in, the columns in the table's order.

    Raises:
        ProjectionFailed: a column is of a kind that no table holds, as a list.
    """
    columns = [column.name for column in table.columns]
    octets = cs.binary().bin.encode("hex").str.replace("^", "\\x")
    text = BytesIO()
    try:
        rows.select(columns).with_columns(octets).write_csv(text, include_header=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as why:
        raise errors.ProjectionFailed(
            table.name, f"rows are no CSV: {type(why).__name__}"
        ) from None
    return text.getvalue()


@dataclass(frozen=True)
class Merge:
    """The statements of one projection."""

    projection: Projection

    def make_incoming(self, table: sa.Table, on_commit: sql.SQL) -> sql.Composed:
        """Make the temporary table for a table's rows.

        With the real table's checks: a row that does not stand in the end is judged all the same,
        so that the verdict on an event does not depend on how batches are cut.
        """
        return sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {} INCLUDING CONSTRAINTS) {}").format(
            incoming(table), real(table), on_commit
        )

    def copy(self, table: sa.Table) -> sql.Composed:
        """Take rows in as CSV, the columns in the table's order."""
        return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, ENCODING 'UTF8')").format(
            incoming(table), columns(table)
        )

    @cached_property
    def upsert(self) -> sql.Composed:
        """Let the revisions that stand into the record table: as many rows as it says it touched.

        Where children follow they are noted as winners, which takes as long as a fifth of it.
        """
        let_in = self.let_in(sql.SQL("true"))
        if not self.projection.children:
            return let_in
        return sql.SQL(
            "WITH stands AS ({}"
            " RETURNING stored.agency, stored.record_id, stored.leaf_index, stored.xmax <> 0)"
            " INSERT INTO {} SELECT * FROM stands"
        ).format(let_in, WINNER)

    def let_in(self, which: sql.Composable) -> sql.Composed:
        """Let the revisions that stand into the record table, of some rows that have arrived."""
        record = self.projection.record
        key = _names(self.projection.kind.key)
        if self.projection.kind is ProjectionKind.CURRENT:
            order = sql.SQL("{}, revision DESC, leaf_index").format(key)
            conflict: sql.Composable = sql.SQL(
                "DO UPDATE SET {} WHERE excluded.revision > stored.revision"
            ).format(
                sql.SQL(", ").join(
                    sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column.name))
                    for column in record.columns
                    if not column.primary_key
                )
            )
        else:
            order = sql.SQL("{}, leaf_index").format(key)
            conflict = sql.SQL("DO NOTHING")
        return sql.SQL(
            "INSERT INTO {real} AS stored ({columns})"
            " SELECT DISTINCT ON ({key}) {columns} FROM {incoming} WHERE {which} ORDER BY {order}"
            " ON CONFLICT ({key}) {conflict}"
        ).format(
            real=real(record),
            columns=columns(record),
            key=key,
            incoming=incoming(record),
            which=which,
            order=order,
            conflict=conflict,
        )

    @cached_property
    def supersede_by_arrived(self) -> sql.Composed:
        """Mark what quarantine keeps of earlier revisions of the records that have arrived."""
        return self._supersede(
            sql.SQL("SELECT DISTINCT agency, record_id, topic, partition FROM {}").format(
                incoming(self.projection.record)
            )
        )

    @cached_property
    def supersede(self) -> sql.Composed:
        """The same for some records: an agency, their ids, a topic and a partition."""
        return self._supersede(
            sql.SQL(
                "SELECT %s::text AS agency, unnest(%s::text[]) AS record_id, %s::text AS topic,"
                " %s::integer AS partition"
            )
        )

    def _supersede(self, records: sql.Composable) -> sql.Composed:
        """Mark what quarantine keeps of revisions below the highest that stands of each record.

        Where a revision could not be read the order of leaves tells: an outbox gives a record's
        revisions out in their order.

        A record costs three looks into indexes and what it marks, however many revisions of it
        stand, arrive or stay in quarantine. OFFSET 0 keeps it so: PostgreSQL knows nothing of what
        arrived, and would compare every row of it with every one in quarantine.
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
            real=real(self.projection.record),
            held=held,
        )

    def delete_replaced(self, child: sa.Table) -> sql.Composed:
        """Take away the rows of revisions that no longer stand.

        Each record is looked up by its key, and each row of it by its place: with a plain join
        PostgreSQL walks through the whole table, since it knows nothing of the winners.
        """
        return sql.SQL(
            "DELETE FROM {real} AS stored USING {winner} AS winner WHERE winner.replaced"
            " AND stored.agency = winner.agency AND stored.record_id = winner.record_id"
            " AND stored.ctid = ANY (ARRAY(SELECT gone.place FROM {winner} AS winner, LATERAL ("
            "SELECT stored.ctid AS place FROM {real} AS stored WHERE stored.agency = winner.agency"
            " AND stored.record_id = winner.record_id OFFSET 0) AS gone WHERE winner.replaced))"
        ).format(real=real(child), winner=WINNER)

    def insert_children(self, child: sa.Table) -> sql.Composed:
        """Put in the rows of the revisions that stand; a batch is of one partition."""
        return sql.SQL(
            "INSERT INTO {} ({columns}) SELECT {columns} FROM {} AS arrived"
            " WHERE EXISTS (SELECT FROM {} AS winner WHERE winner.leaf_index = arrived.leaf_index)"
        ).format(real(child), incoming(child), WINNER, columns=columns(child))

    @cached_property
    def conflicts(self) -> sql.Composed:
        """The leaves whose revision is held by another event.

        Each is looked up by its key: a plain join would walk through the whole table.
        """
        record = self.projection.record
        same_key = sql.SQL(" AND ").join(
            sql.SQL("stored.{0} = arrived.{0}").format(sql.Identifier(name))
            for name in self.projection.kind.key
        )
        return sql.SQL(
            "SELECT arrived.leaf_index FROM {incoming} AS arrived, LATERAL ("
            "SELECT stored.revision, stored.event_id FROM {real} AS stored WHERE {same_key} LIMIT 1"
            ") AS stands WHERE stands.revision = arrived.revision"
            " AND stands.event_id <> arrived.event_id ORDER BY arrived.leaf_index"
        ).format(incoming=incoming(record), real=real(record), same_key=same_key)


def make_all(merges: Iterable[Merge], *, kept: bool) -> sql.Composed:
    """Make all temporary tables at once.

    Args:
        kept: they stay for the transactions to come, since the session is ours. Else they go with
            this one, and those of others that left theirs in the session go first.
    """
    on_commit = sql.SQL("ON COMMIT PRESERVE ROWS" if kept else "ON COMMIT DROP")
    tables = [(each, table) for each in merges for table in each.projection.tables]
    names = [WINNER, *(incoming(table) for _, table in tables)]
    drop = sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join(names))
    return sql.SQL("; ").join(
        [
            *([] if kept else [drop]),
            _MAKE_WINNER.format(WINNER, on_commit),
            *(each.make_incoming(table, on_commit) for each, table in tables),
        ]
    )


def empty(table: sql.Identifier, *, again: bool) -> sql.Composed:
    """Empty a temporary table; ON COMMIT DELETE ROWS would empty all of them each time.

    Args:
        again: it is done many times in this transaction. A TRUNCATE leaves dead rows in the
            catalog, which every later statement walks through: of hundreds each costs more than
            the one before.
    """
    return sql.SQL("DELETE FROM {}" if again else "TRUNCATE {}").format(table)


def empty_all(merges: Iterable[Merge]) -> sql.Composed:
    """Empty all temporary tables at once."""
    tables = [incoming(table) for each in merges for table in each.projection.tables]
    return sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join([WINNER, *tables]))


def real(table: sa.Table) -> sql.Identifier:
    """The table itself."""
    return sql.Identifier(SCHEMA, table.name)


def columns(table: sa.Table) -> sql.Composed:
    """Its columns in their order."""
    return _names(column.name for column in table.columns)


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
