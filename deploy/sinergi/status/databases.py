"""Reads the state of the two databases of an agency, each in one read-only transaction."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, LiteralString, NamedTuple, TypeVar

from sinergi.status.checked_rows import CheckedRows
from sinergi.status.facts import ForeignMessages, Halt, LeaseFacts
from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_producers.relay.sealing import TreeKey
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database, stored
from sinergi_schemas.seal.note import parse_note
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import psycopg


K = TypeVar("K")

_LEASE = """
    SELECT holder, CASE WHEN isfinite(expires_at) THEN expires_at END,
        expires_at > clock_timestamp()
    FROM sinergi_producer.lease WHERE name = 'relay'
"""
# For each tree the checkpoint that ends its oldest batch that is not sent.
_TREES = """
    SELECT t.event_type, t.partition, t.size, t.frontier, t.sent_size, c.sealed_at
    FROM sinergi_producer.tree AS t LEFT JOIN LATERAL (
        SELECT sealed_at FROM sinergi_producer.checkpoint AS c
        WHERE (c.event_type, c.partition) = (t.event_type, t.partition) AND c.size > t.sent_size
        ORDER BY c.size LIMIT 1
    ) AS c ON true
"""
# The conditions are those of the outbox's partial indexes.
_UNSEALED = """
    SELECT event_type, count(*), min(recorded_at) FROM sinergi_producer.outbox
    WHERE leaf_index IS NULL AND held IS NULL AND {} GROUP BY event_type
"""
_LIVE, _BACKFILL = _UNSEALED.format("NOT backfill"), _UNSEALED.format("backfill")
_HELD = """
    SELECT event_type, held, count(*) FROM sinergi_producer.outbox
    WHERE held IS NOT NULL GROUP BY event_type, held
"""

# Any note shows whose database it is; all are by the same agency.
_OWN_NOTE = "SELECT note FROM sinergi_producer.checkpoint LIMIT 1"
# Without an order the server would first read all blocks whose rows were removed.
_OWN_RECEIPT = """
    SELECT note FROM sinergi_consumer.receipt ORDER BY topic, partition, size LIMIT 1
"""

_POSITIONS = """
    SELECT topic, partition, projection, tree_size, frontier, cluster_id, topic_id, next_offset
    FROM sinergi_consumer.position ORDER BY topic, partition, projection
"""
# By reason, and together; an event that several projections refuse counts once.
_QUARANTINE = """
    SELECT topic, partition, reason, count(DISTINCT leaf_index)
    FROM sinergi_consumer.quarantine WHERE state = 'open'
    GROUP BY GROUPING SETS ((topic, partition, reason), (topic, partition))
    ORDER BY topic, partition, reason
"""
_KEPT = "SELECT owner, sum(size)::bigint FROM sinergi_consumer.quarantined_datum GROUP BY owner"
_SKIPPED = """
    SELECT topic, partition, cause, messages, first_offset FROM sinergi_consumer.skipped
    ORDER BY topic, partition, cause
"""
_HALTS = "SELECT topic, partition, reason, detail, halted_at, looks_at FROM sinergi_consumer.halt"


class TreeRow(NamedTuple):
    """A tree in the producer's database; `unsent_since` is None if all of it is sent."""

    sealed: int
    sent: int
    unsent_since: datetime | None


class WaitingRows(NamedTuple):
    """How many rows of an event type wait, and the `recorded_at` of the oldest."""

    rows: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class ProducerRows:
    """What the producer's database holds, by event type and partition.

    Attributes:
        invalid: damaged rows, a line each; they are left out where they cannot be interpreted.
        signers: the names of the keys under one checkpoint.
    """

    lease: LeaseFacts
    trees: Mapping[TreeKey, TreeRow]
    live: Mapping[str, WaitingRows]
    backfill: Mapping[str, WaitingRows]
    held: Mapping[str, Mapping[str, int]]
    invalid: Sequence[str]
    signers: Sequence[str] = ()


class PositionRow(NamedTuple):
    """How far a projection is, and the offset to continue from where it is valid."""

    tree_size: int
    incarnation: TopicIncarnation | None
    next_offset: int | None


@dataclass(frozen=True, slots=True)
class ConsumerRows:
    """What the consumer's database holds, by topic and partition; bytes by the topics' owner.

    Attributes:
        foreign: the foreign messages that were skipped.
        invalid: see `ProducerRows`.
        signers: the names of the keys under one receipt, those of the owner and of the database.
    """

    positions: Mapping[TopicPartition, Mapping[str, PositionRow]]
    quarantined: Mapping[TopicPartition, Mapping[str, int]]
    quarantined_events: Mapping[TopicPartition, int]
    quarantined_bytes: Mapping[str, int]
    halts: Mapping[TopicPartition, Halt]
    foreign: Mapping[TopicPartition, list[ForeignMessages]]
    invalid: Sequence[str]
    signers: Sequence[str] = ()


def producer_rows(url: str, statement_seconds: float = 0.0) -> ProducerRows:
    """Read the producer's database.

    Args:
        statement_seconds: after which the server cancels a statement; 0 for never.

    Raises:
        TablesMissing: its tables were not created.
        DatabaseAway, DatabaseBroken: it is not available, or refuses a statement.
    """
    with _snapshot(url, "producer", statement_seconds) as connection:
        lease = connection.execute(_LEASE).fetchone()
        if lease is None:
            raise errors.TablesMissing("the row relay of sinergi_producer.lease", "producer")
        holder, expires_at, is_held = lease
        checked = CheckedRows(connection, "sinergi_producer")
        trees: dict[TreeKey, TreeRow] = {}
        for name, number, size, frontier, sent, since in checked.of_event_types("tree", _TREES):
            checked.check_frontier("tree", f"({name}, {number}) of size {size}", size, frontier)
            trees[TreeKey(name, number)] = TreeRow(size, sent, _utc(since))
        return ProducerRows(
            LeaseFacts(holder, _utc(expires_at), is_held),
            trees,
            _waiting(checked, _LIVE),
            _waiting(checked, _BACKFILL),
            _nested(checked.of_event_types("outbox", _HELD)),
            checked.invalid,
            _signers(connection, _OWN_NOTE),
        )


def consumer_rows(url: str, statement_seconds: float = 0.0) -> ConsumerRows:
    """Read the consumer's database.

    Args:
        statement_seconds: after which the server cancels a statement; 0 for never.

    Raises:
        DatabaseAway, DatabaseBroken: it is not available, or refuses a statement.
    """
    with _snapshot(url, "consumer", statement_seconds) as connection:
        checked = CheckedRows(connection, "sinergi_consumer")
        positions: dict[TopicPartition, dict[str, PositionRow]] = {}
        found = checked.of_topics("position", _POSITIONS)
        for topic, number, projection, size, frontier, *at, offset in found:
            key = f"({projection}, {topic}, {number}) of tree_size {size}"
            checked.check_frontier("position", key, size, frontier)
            incarnation = TopicIncarnation(*at) if all(at) else None
            row = PositionRow(size, incarnation, stored.offset(offset))
            positions.setdefault(TopicPartition(topic, number), {})[projection] = row
        counts = checked.of_topics("quarantine", _QUARANTINE)
        quarantined = _nested(
            (TopicPartition(topic, number), reason, count)
            for topic, number, reason, count in counts
            if reason
        )
        events = {
            TopicPartition(topic, number): count
            for topic, number, why, count in counts
            if why is None
        }
        kept = dict(connection.execute(_KEPT).fetchall())
        halts = {
            TopicPartition(topic, number): Halt(
                reason, detail, since.astimezone(UTC), looks_at and looks_at.astimezone(UTC)
            )
            for topic, number, reason, detail, since, looks_at in checked.of_topics("halt", _HALTS)
        }
        signers = _signers(connection, _OWN_RECEIPT)
        foreign: dict[TopicPartition, list[ForeignMessages]] = {}
        for topic, number, *details in checked.of_topics("skipped", _SKIPPED):
            foreign.setdefault(TopicPartition(topic, number), []).append(ForeignMessages(*details))
    known = _with_new_projections(positions)
    return ConsumerRows(known, quarantined, events, kept, halts, foreign, checked.invalid, signers)


def _with_new_projections(
    positions: Mapping[TopicPartition, Mapping[str, PositionRow]],
) -> dict[TopicPartition, dict[str, PositionRow]]:
    """Positions, and size 0 for a projection that has only started other topic-partitions.

    It was installed while a worker without it was running.
    """
    begun: dict[str, set[str]] = {}
    for (topic, _), rows in positions.items():
        begun.setdefault(Topic.parse(topic).event_type, set()).update(rows)
    nothing = PositionRow(0, None, None)
    return {
        tp: dict.fromkeys(sorted(begun[Topic.parse(tp.topic).event_type]), nothing) | dict(rows)
        for tp, rows in positions.items()
    }


@contextmanager
def _snapshot(url: str, role: str, statement_seconds: float) -> Iterator[psycopg.Connection]:
    """One snapshot of a database, whatever others write meanwhile."""
    database = Database(url, "sinergi status", statement_seconds=statement_seconds)
    try:
        with database.reading() as connection:
            yield connection
    except errors.ObjectMissing:
        raise errors.TablesMissing(f"a table of sinergi_{role}", role) from None
    finally:
        database.close()


def _signers(connection: psycopg.Connection, query: LiteralString) -> tuple[str, ...]:
    """The names of the keys under a stored note; none if nothing is stored, or it is damaged."""
    row = connection.execute(query).fetchone()
    try:
        return tuple(each.name for each in parse_note(row[0]).signatures) if row else ()
    except errors.NoteMalformed:
        return ()


def _waiting(checked: CheckedRows, query: str) -> dict[str, WaitingRows]:
    return {
        name: WaitingRows(count, _utc(oldest))
        for name, count, oldest in checked.of_event_types("outbox", query)
    }


def _nested(rows: Iterable[tuple[K, str, int]]) -> dict[K, dict[str, int]]:
    """Counts by a key and then by a reason."""
    found: dict[K, dict[str, int]] = {}
    for key, reason, count in rows:
        found.setdefault(key, {})[reason] = count
    return found


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)
