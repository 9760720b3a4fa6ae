"""What was removed from a database because it was old enough, as the database records it.

Events that were recorded before the time of a removal may be missing in a history. A row of them
that is there has to be right all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.projections.projection import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import psycopg

    from sinergi_consumers.projections.projection import Projection
    from sinergi_schemas.topics import TopicPartition

_REMOVED = """
    SELECT table_name, max(before), sum(rows)::bigint, max(removed_at),
        (array_agg(database_user ORDER BY id DESC))[1]
    FROM sinergi_consumer.retention WHERE %(until)s::timestamptz IS NULL OR removed_at <= %(until)s
    GROUP BY table_name ORDER BY table_name
"""
_RECORD = """
    INSERT INTO sinergi_consumer.retention
        (table_name, before, rows, topic, partition, largest_size, account, why)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""


class Retention(NamedTuple):
    """What was removed from a table.

    Attributes:
        before: rows from before may be gone.
        rows: how many were removed, of all times.
        removed_at, user: when and by whom for the last time.
    """

    before: datetime
    rows: int
    removed_at: datetime
    user: str


class Removal(NamedTuple):
    """What one transaction removes.

    Attributes:
        table: with its schema.
        before: rows from before are removed.
        rows: how many.
        tp, largest_size: of checkpoints and receipts, the topic-partition and the largest tree.
    """

    table: str
    before: datetime
    rows: int
    tp: TopicPartition | None = None
    largest_size: int | None = None


def read(connection: psycopg.Connection, until: datetime | None = None) -> Mapping[str, Retention]:
    """What was removed, by the table with its schema.

    Args:
        until: removals of later times do not count.
    """
    rows = connection.execute(_REMOVED, {"until": until})
    return {name: Retention(*rest) for name, *rest in rows}


def of_projection(found: Mapping[str, Retention], projection: Projection) -> Retention | None:
    """What was removed from the tables of a projection; None if nothing was.

    Only histories are pruned. What is recorded of another table explains nothing there.
    """
    if not projection.may_be_partitioned:
        return None
    return found.get(f"{SCHEMA}.{projection.record.name}")


def record(connection: psycopg.Connection, removal: Removal, decided: tuple[str, str]) -> None:
    """Record what a transaction removes.

    Args:
        decided: who has decided it, and why.
    """
    *what, tp, largest = removal
    topic, partition = tp or (None, None)
    connection.execute(_RECORD, (*what, topic, partition, largest, *decided))
