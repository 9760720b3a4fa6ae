"""PostgreSQL alone: the rows lie in staging tables already, and are merged 20,000 a transaction.

The upper bound of everybody else on this machine. Staging is not part of what is measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import samples
import sqlalchemy as sa

from peers import tables
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stage import Stage

    from peers.tables import Document, Filling

_BATCH = 20_000


def run(stage: Stage, url: str, kinds: Sequence[str], count: int) -> tuple[float, float]:
    """Stage so many events, then merge them."""
    conninfo = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    fillings = tables.fillings(stage, kinds)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for each in fillings:
            _stage(connection, stage, each, count)
        connection.execute("CREATE TEMPORARY TABLE stands (leaf_index bigint, record_id text)")
        connection.execute("CHECKPOINT")
        began = SYSTEM.monotonic()
        for start in range(0, count, _BATCH):
            with connection.transaction():
                for each in fillings:
                    _merge(connection, each, start)
        return began, SYSTEM.monotonic()


def _stage(connection: psycopg.Connection[Any], stage: Stage, filling: Filling, count: int) -> None:
    def record(document: Document, at: int) -> list[tuple[Any, ...]]:
        return [filling.record(document, at)]

    (agreement,) = stage.agreements
    for table, rows in [(filling.projection.record, record), *filling.children]:
        name = f"staging_{table.name}"
        connection.execute(f"CREATE UNLOGGED TABLE {name} (LIKE sinergi.{table.name})")
        columns = ", ".join(column.name for column in table.columns)
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {name} ({columns}) FROM STDIN") as copy,
        ):
            documents = samples.documents(stage.event_type, stage.publisher, count, agreement.hash)
            for at, document in enumerate(documents):
                for row in rows(document, at):
                    copy.write_row(row)
        connection.execute(f"CREATE INDEX ON {name} (leaf_index)")
        connection.execute(f"ANALYZE {name}")


def _merge(connection: psycopg.Connection[Any], filling: Filling, start: int) -> None:
    projection = filling.projection
    record, kind = projection.record, projection.kind
    key = ", ".join(kind.key)
    names = ", ".join(column.name for column in record.columns)
    here = f"leaf_index >= {start} AND leaf_index < {start + _BATCH}"
    order = f"{key}, revision DESC, leaf_index" if filling.is_current else f"{key}, leaf_index"
    upsert = tables.upsert(
        record,
        kind,
        f"SELECT DISTINCT ON ({key}) {names} FROM staging_{record.name} WHERE {here}"
        f" ORDER BY {order}",
    )
    if not filling.children:
        connection.execute(upsert)
        return
    connection.execute("TRUNCATE stands")
    connection.execute(
        f"WITH won AS ({upsert} RETURNING stored.leaf_index, stored.record_id)"
        " INSERT INTO stands SELECT * FROM won"
    )
    for child, _ in filling.children:
        columns = ", ".join(column.name for column in child.columns)
        if filling.is_current:
            connection.execute(
                f"DELETE FROM sinergi.{child.name} AS old USING stands"
                " WHERE old.record_id = stands.record_id AND old.agency ="
                f" (SELECT agency FROM staging_{record.name} LIMIT 1)"
            )
        connection.execute(
            f"INSERT INTO sinergi.{child.name} ({columns}) SELECT {columns}"
            f" FROM staging_{child.name} WHERE {here}"
            " AND leaf_index IN (SELECT leaf_index FROM stands)"
        )
