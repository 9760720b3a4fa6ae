"""What a reader's database records of the past: its receipts, its quarantine, and decisions.

The receipts are signed. Quarantine and decisions are not: they are what the database says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.sinks.postgresql import retention, stored_statements
from sinergi_consumers.sinks.postgresql.rights import MATERIALISER
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sinergi_consumers.sinks.postgresql.retention import Retention
    from sinergi_schemas.topics import TopicPartition

# A signature has whole seconds.
_LAST = """
    SELECT size, note, signed_at FROM sinergi_consumer.receipt WHERE topic = %s AND partition = %s
        AND floor(extract(epoch FROM signed_at)) <= %s ORDER BY size DESC LIMIT 1
"""
_FOLLOWING = """
    SELECT size, note, signed_at FROM sinergi_consumer.receipt
    WHERE topic = %s AND partition = %s AND size > %s ORDER BY size LIMIT 1
"""
_BEFORE = """
    SELECT coalesce(max(size), 0) FROM sinergi_consumer.receipt
    WHERE topic = %s AND partition = %s AND size < %s
"""
_REMOVED_RECEIPTS = """
    SELECT max(largest_size), max(before), max(removed_at) FROM sinergi_consumer.retention
    WHERE table_name = 'sinergi_consumer.receipt' AND topic = %s AND partition = %s
"""
# The rows of a batch are written after its receipt is signed, perhaps in the next second. So those
# of the last batch count, whatever time they have.
_REFUSALS = """
    SELECT q.projection, q.leaf_index, q.reason, q.detail, q.revision, q.quarantined_at, q.event_id,
        q.fingerprint, q.key_hash, q.leaf_hash, q.size, (
            SELECT d.outcome FROM sinergi_consumer.decision AS d
            WHERE d.projection = q.projection AND d.topic = q.topic AND d.partition = q.partition
                AND d.leaf_index = q.leaf_index AND d.decided_at <= %(at)s
                AND d.outcome IN ('retried', 'discarded') ORDER BY d.id DESC LIMIT 1
        ), EXISTS (
            SELECT FROM sinergi_consumer.decision AS d
            WHERE d.projection = q.projection AND d.topic = q.topic AND d.partition = q.partition
                AND d.leaf_index = q.leaf_index AND d.decided_at > %(at)s
                AND d.outcome NOT IN ('retried', 'discarded')
        )
    FROM sinergi_consumer.quarantine AS q
    WHERE topic = %(topic)s AND partition = %(partition)s
        AND leaf_index >= %(start)s AND leaf_index < %(end)s
        AND (quarantined_at <= %(at)s OR leaf_index >= %(last_batch)s)
    ORDER BY leaf_index, projection
"""
_DECISIONS = """
    SELECT projection, topic, partition, leaf_index, action, outcome, decided_by, why, decided_at
    FROM sinergi_consumer.decision WHERE topic = %s AND partition = %s
        AND leaf_index >= %s AND leaf_index < %s AND decided_at <= %s ORDER BY id
"""


class UnverifiedReceipt(NamedTuple):
    """A receipt as a database keeps it; nothing of it is verified."""

    size: int
    note: str
    signed_at: datetime


class RemovedReceipts(NamedTuple):
    """The receipts of a topic-partition that were removed as old enough.

    Attributes:
        largest: the size of the largest one.
        before: they were signed before.
        removed_at: when the last were removed.
    """

    largest: int
    before: datetime
    removed_at: datetime


class PastRefusal(NamedTuple):
    """A row of quarantine that was there at a time in the past.

    Attributes:
        settled: `retried` or `discarded` if it was by then, else None.
        was_retried_since: whether it was tried again later and refused again, which may have
            changed reason and detail.
    """

    projection: str
    leaf_index: int
    reason: str
    detail: str
    revision: int | None
    quarantined_at: datetime
    event_id: UUID | None
    fingerprint: bytes
    key_hash: bytes
    leaf_hash: bytes
    size: int
    settled: str | None
    was_retried_since: bool


class PastDecision(NamedTuple):
    """A decision about an event in quarantine, with the columns of its table."""

    projection: str
    topic: str
    partition: int
    leaf_index: int
    action: str
    outcome: str
    decided_by: str
    why: str
    decided_at: datetime


class ReaderRecords:
    """The records of a reader's database, which is only read.

    Args:
        url: where it is; see `sinergi_schemas.postgresql.address`.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, "sinergi replay", needed=MATERIALISER)

    def last_receipt(self, tp: TopicPartition, second: int) -> UnverifiedReceipt | None:
        """The receipt of the largest tree that was signed by a time.

        Args:
            second: since 1970; receipts of that second count.
        """
        return self._receipt(_LAST, (*tp, second))

    def following_receipt(self, tp: TopicPartition, size: int) -> UnverifiedReceipt | None:
        """The receipt of the next larger tree."""
        return self._receipt(_FOLLOWING, (*tp, size))

    def removed_receipts(self, tp: TopicPartition) -> RemovedReceipts | None:
        """The receipts of a topic-partition that the database has removed; None if it has none."""
        with self._database.reading() as connection:
            found = connection.execute(_REMOVED_RECEIPTS, tp).fetchone()
        return None if found is None or found[0] is None else RemovedReceipts(*found)

    def removed_events(self, at: datetime) -> list[tuple[str, Retention]]:
        """The histories from which events had been removed by a time, and what of each."""
        with self._database.reading() as connection:
            found = retention.read(connection, at)
        statements = (stored_statements.CHECKPOINTS, stored_statements.RECEIPTS)
        return [(table, each) for table, each in found.items() if table not in statements]

    def refusals(
        self, tp: TopicPartition, leaves: range, at: datetime, size: int
    ) -> list[PastRefusal]:
        """The rows of quarantine that were there at a time, by leaf and projection.

        Args:
            leaves: only those of these leaves.
            at: the time.
            size: how many leaves the database had then.
        """
        with self._database.reading() as connection:
            (before,) = connection.execute(_BEFORE, (*tp, size)).fetchone() or (0,)
            found = connection.execute(
                _REFUSALS,
                {
                    **tp._asdict(),
                    "start": leaves.start,
                    "end": leaves.stop,
                    "at": at,
                    "last_batch": before,
                },
            ).fetchall()
        return [PastRefusal(*row) for row in found]

    def decisions(self, tp: TopicPartition, leaves: range, at: datetime) -> Sequence[PastDecision]:
        """The decisions about some leaves until a time, the oldest first."""
        with self._database.reading() as connection:
            span = (leaves.start, leaves.stop, at)
            found = connection.execute(_DECISIONS, (*tp, *span)).fetchall()
        return [PastDecision(*row) for row in found]

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _receipt(self, question: str, values: tuple[object, ...]) -> UnverifiedReceipt | None:
        with self._database.reading() as connection:
            found = connection.execute(question, values).fetchone()
        return UnverifiedReceipt(*found) if found else None
