"""What a reader's database states about topics: positions, checkpoints and receipts."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_consumers.sinks.protocol import PositionKey
from sinergi_schemas import errors
from sinergi_schemas.postgresql import stored
from sinergi_schemas.seal.note import parse_note
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

    from sinergi_schemas.seal.merkle import Frontier

_POSITIONS = """
    SELECT projection, topic, partition, tree_size, frontier FROM sinergi_consumer.position
    WHERE %(projection)s::text IS NULL OR projection = %(projection)s
    ORDER BY topic, partition, projection
"""
_PLACES = """
    WITH RECURSIVE place AS (
        (SELECT topic, partition FROM {table} ORDER BY topic, partition LIMIT 1)
        UNION ALL
        SELECT following.topic, following.partition FROM place, LATERAL (
            SELECT t.topic, t.partition FROM {table} AS t
            WHERE (t.topic, t.partition) > (place.topic, place.partition)
            ORDER BY t.topic, t.partition LIMIT 1
        ) AS following
    )
    SELECT place.topic, place.partition, {columns} FROM place, LATERAL (
        SELECT {columns} FROM {table} AS t WHERE t.topic = place.topic
            AND t.partition = place.partition AND {condition} ORDER BY size DESC LIMIT 1
    ) AS newest
"""

CHECKPOINTS = "sinergi_consumer.checkpoint"
"""The table of verified checkpoints, with its schema."""

RECEIPTS = "sinergi_consumer.receipt"
"""The table of receipts, with its schema."""


class StoredCheckpoint(NamedTuple):
    """The largest checkpoint of a topic-partition that the database has.

    Attributes:
        note: with the owner's signature, as it was verified when it was stored.
    """

    size: int
    root: bytes
    note: str


class StoredPosition(NamedTuple):
    """The position of a projection, which somebody may have edited.

    Attributes:
        key: its topic may be none.
        tree: None if what is stored is none.
        fault: what is wrong with the row; None if it may be right.
    """

    key: PositionKey
    size: int
    tree: Frontier | None
    fault: errors.StoredStateInvalid | None


def stored_positions(
    connection: psycopg.Connection, projection: str | None = None, *, is_locking: bool = False
) -> Iterator[StoredPosition]:
    """Each position, of all projections or of one.

    Args:
        is_locking: keep others from moving them until the commit.
    """
    lock = "FOR UPDATE" if is_locking else ""
    rows = connection.execute(f"{_POSITIONS} {lock}".encode(), {"projection": projection})
    for name, topic, number, size, frontier in rows:
        table, row = "sinergi_consumer.position", f"({name}, {topic}, {number}) of size {size}"
        key = PositionKey(name, TopicPartition(topic, number))
        try:
            stored.topic(topic, table, row)
            yield StoredPosition(key, size, stored.frontier(size, frontier, table, row), None)
        except errors.StoredStateInvalid as why:
            yield StoredPosition(key, size, None, why)


def positions(
    connection: psycopg.Connection, projection: str | None = None, *, is_locking: bool = False
) -> dict[PositionKey, Frontier]:
    """The tree of each position, of all projections or of one.

    Args:
        is_locking: as of `stored_positions`.

    Raises:
        StoredStateInvalid: a stored tree or topic is not one.
    """
    found = {}
    for each in stored_positions(connection, projection, is_locking=is_locking):
        if each.fault is not None:
            raise each.fault
        if each.tree is not None:
            found[each.key] = each.tree
    return found


def largest_checkpoints(
    connection: psycopg.Connection,
) -> Mapping[TopicPartition, StoredCheckpoint]:
    """The largest checkpoint of each topic-partition; its topic may be none."""
    return {
        TopicPartition(topic, number): StoredCheckpoint(size, bytes(root), note)
        for topic, number, size, root, note in newest(connection, CHECKPOINTS, "size, root, note")
    }


def largest_published(connection: psycopg.Connection) -> Mapping[TopicPartition, int]:
    """The size in the largest receipt of each topic-partition that this database has published."""
    rows = newest(connection, RECEIPTS, "size", "published_at IS NOT NULL")
    return {TopicPartition(topic, number): size for topic, number, size in rows}


def newest(
    connection: psycopg.Connection, table: str, columns: str, condition: str = "true"
) -> list[tuple[Any, ...]]:
    """Topic, partition and some columns of the row with the largest size of each topic-partition.

    The primary key finds them one by one, however many older rows the table has.

    Args:
        table: of checkpoints or of receipts, as SQL.
        columns, condition: as SQL; the condition must hold for the row.
    """
    question = _PLACES.format(table=table, columns=columns, condition=condition)
    return connection.execute(question.encode()).fetchall()


def receipt_signers(connection: psycopg.Connection) -> list[str]:
    """As which databases this database has signed its last receipt, `<agency>/<database>`.

    It is empty if the database has signed none. The signatures are not verified.

    Raises:
        NoteMalformed: the stored receipt is no note.
    """
    last = max(newest(connection, RECEIPTS, "signed_at, note"), key=itemgetter(2), default=None)
    names = [each.name.split("/") for each in parse_note(last[3]).signatures] if last else []
    return ["/".join(each[1:]) for each in names if len(each) == len(("bus", "agency", "database"))]
