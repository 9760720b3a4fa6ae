"""Writes the leaves of a topic into the agency's database, in one transaction under the lease."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from sinergi_producers.recovery.lost_events import WITHHELD, RelatedRow
from sinergi_producers.relay.store import relay_lease
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_producers.recovery.lost_events import Settlement, TopicEvent
    from sinergi_producers.relay.sealing import TreeKey
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.seal.reader import VerifiedLeaves
    from sinergi_schemas.timeouts import Timeouts

# All rows with one of these event_ids, and the rows without a leaf of these records.
_ROWS = """
    SELECT id, event_id, event_type, record_id, revision, fingerprint, datum, held, leaf_index
    FROM sinergi_producer.outbox WHERE id IN (
        SELECT id FROM sinergi_producer.outbox WHERE event_id = ANY(%s)
        UNION SELECT o.id FROM sinergi_producer.outbox AS o
        JOIN (SELECT DISTINCT * FROM unnest(%s::text[], %s::text[]) AS r (event_type, record_id))
            AS shown USING (event_type, record_id)
        WHERE o.leaf_index IS NULL)
"""
# Publishing writes or locks a head, so from here on no row is added.
_LOCK_HEADS = "LOCK TABLE sinergi_producer.head IN EXCLUSIVE MODE"
_HOLDER = "SELECT coalesce(holder, 'nobody') FROM sinergi_producer.lease WHERE name = 'relay'"
_ENSURE_TREE = """
    INSERT INTO sinergi_producer.tree (event_type, partition) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""
_EXTEND_TREE = """
    UPDATE sinergi_producer.tree SET size = %s, frontier = %s, sent_size = %s, epoch = %s
    WHERE event_type = %s AND partition = %s AND size = %s
"""
_CHECKPOINT = """
    INSERT INTO sinergi_producer.checkpoint (event_type, partition, size, root, frontier, note)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_COPY = """
    COPY sinergi_producer.outbox (event_id, event_type, record_id, revision, recorded_at,
        fingerprint, datum, partition, leaf_index) FROM STDIN
"""
_MARK = """
    UPDATE sinergi_producer.outbox SET revision = %s, recorded_at = %s, fingerprint = %s,
        datum = %s, held = NULL, partition = %s, leaf_index = %s WHERE id = %s
"""
_RENUMBER = "UPDATE sinergi_producer.outbox SET revision = %s, datum = %s WHERE id = %s"
_WITHHOLD = "UPDATE sinergi_producer.outbox SET held = %s WHERE id = %s"
_HEAD = """
    INSERT INTO sinergi_producer.head (event_type, record_id, revision, action)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::integer[], %s::text[])
    ON CONFLICT (event_type, record_id)
    DO UPDATE SET revision = excluded.revision, action = excluded.action
"""


@dataclass(frozen=True, slots=True)
class TreeExtension:
    """How a tree grows to what its topic has.

    Attributes:
        known: the tree's size in the database.
        checkpoints: those that are added, in order; the last one is for the whole tree.
        sent: the size up to which the topic has them. A last checkpoint beyond it is still to be
            sent.
    """

    tree_key: TreeKey
    known: int
    checkpoints: Sequence[VerifiedLeaves]
    sent: int

    @property
    def after(self) -> Frontier:
        """The tree after that."""
        return self.checkpoints[-1].frontier


class RestoreStore:
    """What a recovery reads and writes in the agency's database.

    Args:
        url: where the agency's database is; see `sinergi_schemas.postgresql.address`.
        timeouts: how long the lease lasts, and what its transactions wait for.
    """

    def __init__(self, url: str, timeouts: Timeouts) -> None:
        self._database = Database(url, "sinergi outbox", timeouts.database)
        self._lease = relay_lease(timeouts.relay.lease)

    def related_rows(self, events: Sequence[TopicEvent]) -> list[RelatedRow]:
        """The rows with the same event_id or record as these events, as they are now."""
        with self._database.serving() as connection:
            return _rows(connection, events)

    @contextmanager
    def exclusive(
        self, events: Sequence[TopicEvent]
    ) -> Iterator[tuple[list[RelatedRow], RestoreTransaction]]:
        """The same rows, and a transaction, while nobody publishes and no relay leads.

        The transaction is committed at the end of the block.

        Raises:
            RecoveryRefused: a relay leads, or a transaction that has published was open for longer
                than a lock is waited for.
        """
        with self._database.serving() as connection:
            epoch = self._lease.take(connection)
            if epoch is None:
                holder = connection.execute(_HOLDER).fetchone()
                what = f"the relay {holder[0] if holder else ''} leads; stop it, and every other"
                raise errors.RecoveryRefused(what)
            try:
                connection.execute(_LOCK_HEADS)
            except psycopg.errors.LockNotAvailable:
                what = "a transaction that has published is still open; run it again when it ended"
                raise errors.RecoveryRefused(what) from None
            yield _rows(connection, events), RestoreTransaction(connection, epoch)
            self._lease.release(connection, epoch)

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()


class RestoreTransaction:
    """The writes of a recovery, in its one transaction."""

    def __init__(self, connection: psycopg.Connection, epoch: int) -> None:
        self._connection = connection
        self._epoch = epoch

    def extend_trees(self, extensions: Sequence[TreeExtension]) -> None:
        """Extend the trees to what the topics have.

        Raises:
            RecoveryRefused: one of them has grown since it was read.
        """
        with self._connection.cursor() as cursor:
            cursor.executemany(_ENSURE_TREE, [each.tree_key for each in extensions])
            for each in extensions:
                after = each.after
                given = (after.size, after.to_bytes(), each.sent, self._epoch)
                cursor.execute(_EXTEND_TREE, (*given, *each.tree_key, each.known))
                if cursor.rowcount != 1:
                    raise errors.RecoveryRefused("a tree has grown meanwhile; run it again")
                cursor.executemany(
                    _CHECKPOINT,
                    [
                        (*each.tree_key, one.end, one.root, one.frontier.to_bytes(), one.note)
                        for one in each.checkpoints
                    ],
                )

    def settle(self, settlement: Settlement) -> None:
        """Write what becomes of events and rows."""
        with self._connection.cursor() as cursor:
            cursor.executemany(
                _MARK,
                [
                    (
                        *(event.revision, event.recorded_at, event.fingerprint, event.datum),
                        *(event.tree_key[1], event.leaf_index, row.id),
                    )
                    for row, event in settlement.known
                ],
            )
            with cursor.copy(_COPY) as copy:
                for event in settlement.forgotten:
                    copy.write_row(
                        (
                            *(event.event_id, *event.record, event.revision, event.recorded_at),
                            *(event.fingerprint, event.datum, event.tree_key[1], event.leaf_index),
                        )
                    )
            cursor.executemany(
                _RENUMBER,
                [(each.revision, each.datum, each.row.id) for each in settlement.renumbered],
            )
            cursor.executemany(_WITHHOLD, [(WITHHELD, row.id) for row in settlement.withheld])
            heads = [(*record, *head) for record, head in settlement.heads.items()]
            cursor.execute(_HEAD, [[each[at] for each in heads] for at in range(4)])


def _rows(connection: psycopg.Connection, events: Sequence[TopicEvent]) -> list[RelatedRow]:
    given = (
        [each.event_id for each in events],
        *([each.record[at] for each in events] for at in range(2)),
    )
    return [RelatedRow(*row) for row in connection.execute(_ROWS, given).fetchall()]
