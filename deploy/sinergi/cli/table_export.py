"""The tables that a replay has filled, as files: one for each table, in the order of its key.

They are read in one transaction, a part at a time.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import sqlalchemy as sa
from psycopg import sql

from sinergi.cli import written_files
from sinergi.cli.destination import Destination
from sinergi.cli.output import open_table_writers
from sinergi_schemas.plain_text import counted
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import psycopg

    from sinergi.cli.output import FrameWriter
    from sinergi_consumers.projections.projection import Projection

_ROWS = 20_000  # of a part
_KINDS: dict[type[Any], pl.DataType] = {
    sa.Boolean: pl.Boolean(),
    sa.Date: pl.Date(),
    sa.Double: pl.Float64(),
    sa.BigInteger: pl.Int64(),
    sa.Integer: pl.Int32(),
    sa.LargeBinary: pl.Binary(),
}
_OWN = sa.MetaData(schema="sinergi_consumer")
# Without the bytes of events: whoever needs them asks the database.
_QUARANTINE = sa.Table(
    "quarantine",
    _OWN,
    sa.Column("projection", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("leaf_index", sa.BigInteger, primary_key=True),
    sa.Column("event_id", sa.Uuid),
    sa.Column("revision", sa.Integer),
    sa.Column("state", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Column("quarantined_at", sa.DateTime(timezone=True)),
)
_RECEIPT = sa.Table(
    "receipt",
    _OWN,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("signed_at", sa.DateTime(timezone=True)),
    sa.Column("note", sa.Text),
)
OWN_TABLES = (_QUARANTINE, _RECEIPT)
"""The tables of a database of a reader that are written beside those of its projections."""


class ExportedColumn(NamedTuple):
    """A column as it is read, and its type in a frame.

    Attributes:
        value: an expression in SQL.
        read: the type of what the driver returns.
        kind: the type in the frame.
    """

    name: str
    value: sql.Composable
    read: pl.DataType
    kind: pl.DataType


@contextmanager
def exported(
    url: str,
    projections: Sequence[Projection],
    destination: Destination,
    facts: Mapping[str, Any],
) -> Iterator[None]:
    """Write all tables of a database to files in a folder, which get their names after the block.

    Args:
        url: the database.
        projections: those whose tables it has.
        destination: a folder, and how the files are written.
        facts: a JSON document about the tables, for the metadata of Parquet.

    Raises:
        DatabaseAway, DatabaseBroken: the database.
        OutputExists, OutputRefused, ReplayRefused: see `open_table_writers`.
    """
    tables = [*(table for each in projections for table in each.tables), *OWN_TABLES]
    names = [file_name(each) for each in tables]
    rows: dict[str, int] = {}
    with open_table_writers(destination, names) as writers:
        with (
            closing(Database(url, "sinergi replay", row_security=True)) as database,
            database.reading() as connection,
        ):
            for table, name in zip(tables, names, strict=True):
                rows[name] = _write(connection, table, writers[name])
                writers[name].finish(facts)
        yield
    for name, count in rows.items():
        written_files.note(destination.file(name), counted(count, "row"))


def file_name(table: sa.Table) -> str:
    """The name of a table's file; our own tables have the schema before it."""
    return table.name if table.schema == "sinergi" else f"{table.schema}.{table.name}"


def _write(connection: psycopg.Connection, table: sa.Table, writer: FrameWriter) -> int:
    """Write the rows of a table; how many there are."""
    columns = [_column(each) for each in table.columns]
    key = [each.name for each in table.primary_key] or [each.name for each in columns]
    question = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
        sql.SQL(", ").join(each.value for each in columns),
        sql.Identifier(str(table.schema), table.name),
        sql.SQL(", ").join(map(sql.Identifier, key)),
    )
    schema = {each.name: each.read for each in columns}
    casts = [pl.col(each.name).cast(each.kind) for each in columns]
    writer.write(pl.DataFrame(schema=schema).with_columns(casts))  # the columns, without a row too
    count = 0
    for rows in _parts(connection, question):
        writer.write(pl.DataFrame(rows, schema=schema, orient="row").with_columns(casts))
        count += len(rows)
    return count


def _parts(connection: psycopg.Connection, question: sql.Composed) -> Iterator[list[Any]]:
    with connection.cursor("sinergi_export") as cursor:
        cursor.itersize = _ROWS
        cursor.execute(question)
        while rows := cursor.fetchmany(_ROWS):
            yield rows


def _column(column: sa.Column[Any]) -> ExportedColumn:
    """How a column is read: times as numbers, since Python's do not hold each of PostgreSQL's."""
    name, found = column.name, sql.Identifier(column.name)
    if isinstance(column.type, sa.DateTime):
        value = sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint").format(found)
        return ExportedColumn(name, value, pl.Int64(), pl.Datetime("us", "UTC"))
    if isinstance(column.type, sa.Numeric) and not isinstance(column.type, sa.Float):
        number = pl.Decimal(column.type.precision, column.type.scale or 0)
        return ExportedColumn(name, found, number, number)
    for one, kind in _KINDS.items():
        if isinstance(column.type, one):
            return ExportedColumn(name, found, kind, kind)
    return ExportedColumn(name, sql.SQL("{}::text").format(found), pl.String(), pl.String())
