"""The adoption of a topic's leaves into the agency's database: one transaction under the lease."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_producers.recovery.lost_events import WITHHELD, RelatedRow
from sinergi_producers.relay.store import relay_lease
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from sinergi_producers.recovery.lost_events import Settlement, TopicEvent
    from sinergi_producers.relay.sealing import TreeKey
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.seal.reader import VerifiedLeaves

# Rows by their event, whatever they are, and rows that wait by their record.
_ROWS = """
    SELECT id, event_id, event_type, record_id, revision, fingerprint, datum, held, leaf_index
    FROM sinergi_producer.outbox WHERE id IN (
        SELECT id FROM sinergi_producer.outbox WHERE event_id = ANY(%s)
        UNION SELECT o.id FROM sinergi_producer.outbox AS o
        JOIN (SELECT DISTINCT * FROM unnest(%s::text[], %s::text[]) AS r (event_type, record_id))
            AS shown USING (event_type, record_id)
        WHERE o.leaf_index IS NULL)
"""
# Whoever publishes writes or locks a head: from here on the rows that wait are all there are.
_CLOSE = "LOCK TABLE sinergi_producer.head IN EXCLUSIVE MODE"
_HOLDER = "SELECT coalesce(holder, 'nobody') FROM sinergi_producer.lease WHERE name = 'relay'"
_PLANT = """
    INSERT INTO sinergi_producer.tree (event_type, partition) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""
_GROW = """
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
    """What a tree gains by what its topic shows.

    Attributes:
        known: the tree's size in the database.
        checkpoints: those that follow, in order; the last one is the tree's end.
        sent: how far the topic shows them; behind it the last one is still to be sent.
    """

    tree_key: TreeKey
    known: int
    checkpoints: Sequence[VerifiedLeaves]
    sent: int

    @property
    def after(self) -> Frontier:
        """The tree then."""
        return self.checkpoints[-1].frontier


class RestoreStore:
    """What a recovery reads and writes in the agency's database.

    Args:
        url: an SQLAlchemy URL.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url, "sinergi outbox")
        self._lease = relay_lease()

    def look(self, events: Sequence[TopicEvent]) -> list[RelatedRow]:
        """The rows that have to do with some events, as they are at this moment."""
        with self._database.serving() as connection:
            return _rows(connection, events)

    @contextmanager
    def closed(
        self, events: Sequence[TopicEvent]
    ) -> Iterator[tuple[list[RelatedRow], RestoreTransaction]]:
        """The same rows while nobody publishes and no relay leads, and a hand to write with.

        All that the block does is committed at its end.

        Raises:
            RecoveryRefused: a relay leads.
            DatabaseAway: somebody has been publishing for longer than we may wait.
        """
        with self._database.serving() as connection:
            epoch = self._lease.take(connection)
            if epoch is None:
                holder = connection.execute(_HOLDER).fetchone()
                what = f"the relay {holder[0] if holder else ''} leads; stop it, and every other"
                raise errors.RecoveryRefused(what)
            connection.execute(_CLOSE)
            yield _rows(connection, events), RestoreTransaction(connection, epoch)
            self._lease.release(connection, epoch)

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()


class RestoreTransaction:
    """Writes within the one transaction."""

    def __init__(self, connection: psycopg.Connection, epoch: int) -> None:
        self._connection = connection
        self._epoch = epoch

    def grow(self, grounds: Sequence[TreeExtension]) -> None:
        """Let the trees be what the topics show.

        Raises:
            RecoveryRefused: one of them has grown since it was looked at.
        """
        with self._connection.cursor() as cursor:
            cursor.executemany(_PLANT, [each.tree_key for each in grounds])
            for each in grounds:
                after = each.after
                given = (after.size, after.to_bytes(), each.sent, self._epoch)
                cursor.execute(_GROW, (*given, *each.tree_key, each.known))
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
        """Write what was decided."""
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
