"""Prunes the outbox: takes the contents out of rows that nobody needs any more.

A row may be pruned if the brokers have confirmed its leaf, every database of every reader has
signed a receipt for it, and it was sealed long enough ago. Its datum and its traceparent go, which
are most of its size and all that it says of a person. What stays is some hundred bytes, and each of
them is needed:

- `event_id`: publishing the same event again must find it, and not put it onto the bus twice.
- `fingerprint`, `recorded_at` and the hash of the leaf: by them `publish` tells whether an event
  that is published again is the same one.
- record and revision: `discard` sets a record back to its newest revision; a recovery finds the
  rows of a record.
- partition, leaf index and the hash of the leaf: a relay and a recovery recognise by them whether a
  topic still begins with its own leaves, which somebody else may have copied or replaced.

Heads of records, trees and checkpoints are not touched, so every count and every comparison of
status, relay and recovery stays what it was.

A pruned leaf cannot be sent again. Rows are therefore pruned from the first leaf of a tree up to
one of its checkpoints, and `tree.pruned_size` says how far. If a topic loses leaves, the relay
sends again from there on (`statements.REWIND`), and says that the others are lost; a copy of the
topic, or a backup of this database from before, has them.

A batch is one transaction, in which the tree's row is locked: a relay that rewinds it waits, and a
process that is killed leaves whole batches. Nothing else is locked, so publishing goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sinergi_producers.relay.sealing import TreeKey
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    import psycopg

    from sinergi_schemas.timeouts import DatabaseTimeouts

MOST_LEAVES = 5_000
"""A batch has no more, unless one checkpoint covers more."""

_TREES = """
    SELECT t.event_type, t.partition, t.sent_size, t.pruned_size, coalesce((
        SELECT max(c.size) FROM sinergi_producer.checkpoint AS c
        WHERE (c.event_type, c.partition) = (t.event_type, t.partition)
        AND c.sealed_at < clock_timestamp() - %s * interval '1 day'), 0)
    FROM sinergi_producer.tree AS t WHERE t.size > 0 ORDER BY 1, 2
"""
# The largest checkpoint in reach of one batch, or the next one if none is.
_NEXT = """
    SELECT coalesce(max(c.size) FILTER (WHERE c.size <= t.pruned_size + %s), min(c.size))
    FROM sinergi_producer.tree AS t JOIN sinergi_producer.checkpoint AS c
    USING (event_type, partition)
    WHERE event_type = %s AND partition = %s AND c.size > t.pruned_size
    AND c.size <= least(%s, t.sent_size)
"""
_IS_OWNER = """
    SELECT current_user, pg_has_role(current_user, c.relowner, 'USAGE')
    FROM pg_class AS c WHERE c.oid = to_regclass('sinergi_producer.outbox')
"""
_LOCK = """
    SELECT pruned_size FROM sinergi_producer.tree WHERE event_type = %s AND partition = %s
    FOR UPDATE
"""
_PRUNE = """
    UPDATE sinergi_producer.outbox SET datum = '', traceparent = NULL, leaf_hash = sha256(
        decode('00', 'hex') || fingerprint
        || int4send(octet_length(convert_to(record_id, 'UTF8'))) || convert_to(record_id, 'UTF8')
        || datum)
    WHERE event_type = %s AND partition = %s AND leaf_index >= %s AND leaf_index < %s
    AND leaf_hash IS NULL
"""
_MARK = """
    UPDATE sinergi_producer.tree SET pruned_size = %s WHERE event_type = %s AND partition = %s
"""


class PrunablePartition(NamedTuple):
    """How far one topic-partition may be pruned.

    Attributes:
        sent: leaves that the brokers have confirmed.
        receipted: leaves that every reader's database has; 0 if one of them is unknown.
        old: leaves that were sealed long enough ago.
        pruned: leaves whose rows are pruned already.
    """

    tree_key: TreeKey
    sent: int
    receipted: int
    old: int
    pruned: int

    @property
    def limit(self) -> int:
        """The size up to which rows may be pruned; never below what is pruned."""
        return max(self.pruned, min(self.sent, self.receipted, self.old))


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What may be pruned."""

    partitions: Sequence[PrunablePartition]

    @property
    def leaves(self) -> int:
        """How many rows may be pruned."""
        return sum(each.limit - each.pruned for each in self.partitions)


class Pruning:
    """Prunes one outbox.

    Args:
        url: where the agency's database is; see `sinergi_schemas.postgresql.address`.
        days: how many days ago a leaf must have been sealed.
        receipted: how many leaves of each tree every reader's database has signed for. A tree that
            is missing is not pruned.
    """

    def __init__(
        self,
        url: str,
        days: int,
        receipted: Mapping[TreeKey, int],
        timeouts: DatabaseTimeouts = DEFAULT.database,
    ) -> None:
        self._database = Database(url, "sinergi outbox", timeouts)
        self._days = days
        self._receipted = receipted

    def plan(self) -> PrunePlan:
        """What may be pruned now. Nothing is changed.

        Raises:
            DatabaseAway, DatabaseBroken: the database does not answer, or has no such tables.
        """
        with self._database.reading() as connection:
            rows = connection.execute(_TREES, (self._days,)).fetchall()
        return PrunePlan([self._partition(*row) for row in rows])

    def apply(self, plan: PrunePlan) -> Generator[int]:
        """Prune what a plan shows, batch by batch; how many rows each batch has pruned.

        Raises:
            PruneRefused: it is not run as the owner of the tables.
            DatabaseAway: the database does not answer; the batches before are pruned.
        """
        self._check_owner()
        for each in plan.partitions:
            reached = each.pruned
            while reached < each.limit:
                with self._database.serving() as connection:
                    end, rows = _prune_batch(connection, each)
                if end <= reached:
                    break  # its topic has lost leaves meanwhile, which may have to be sent again
                reached = end
                yield rows

    def _check_owner(self) -> None:
        """The trigger that keeps sealed rows lets the owner through; whoever else gets its text."""
        with self._database.reading() as connection:
            found = connection.execute(_IS_OWNER).fetchone()
        if found is not None and not found[1]:
            raise errors.PruneRefused(found[0])

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def _partition(
        self, event_type: str, partition: int, sent: int, pruned: int, old: int
    ) -> PrunablePartition:
        tree_key = TreeKey(event_type, partition)
        receipted = self._receipted.get(tree_key, 0)
        return PrunablePartition(tree_key, sent, receipted, old, pruned)


def _prune_batch(connection: psycopg.Connection, wanted: PrunablePartition) -> tuple[int, int]:
    """Prune the next batch of a topic-partition: how far it is pruned then, and how many rows."""
    tree_key = wanted.tree_key
    tree = connection.execute(_LOCK, tree_key).fetchone()
    found = connection.execute(_NEXT, (MOST_LEAVES, *tree_key, wanted.limit)).fetchone()
    before, end = (tree[0] if tree else 0), (found[0] if found else None)
    if end is None:
        return before, 0
    rows = connection.execute(_PRUNE, (*tree_key, before, end)).rowcount
    connection.execute(_MARK, (end, *tree_key))
    return end, rows
