"""What a relay reads and writes in the database: rows, trees, checkpoints and the lease."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING, NamedTuple

import structlog

from sinergi_producers.outbox.releasing import release
from sinergi_producers.relay import statements
from sinergi_producers.relay.registered_schemas import RegisteredSchema
from sinergi_producers.relay.rights import RELAY
from sinergi_producers.relay.sealing import (
    OutboxRow,
    TreeKey,
    TreeUpdate,
)
from sinergi_producers.relay.watermark import Horizon, UnsealedRows
from sinergi_schemas import errors
from sinergi_schemas.message import leaf_data
from sinergi_schemas.postgresql import Database, rights, stored
from sinergi_schemas.postgresql.lease import Lease
from sinergi_schemas.seal.checkpoint import SignedCheckpoint
from sinergi_schemas.seal.merkle import leaf_hash
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from sinergi_producers.relay.sealing import SealedBatch
    from sinergi_producers.relay.watermark import Watermarks
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.timeouts import Timeouts

_log = structlog.get_logger(__name__)

_TABLES = ("head", "outbox", "tree", "checkpoint", "lease", "known_schema", "seen_receipt")


class Leader(NamedTuple):
    """The relay that leads, and when its lease ends if it is not renewed, both as text."""

    holder: str
    expires_at: str


def relay_lease(seconds: float) -> Lease:
    """The lease that makes one relay the leader of an outbox. The holder's name is unique."""
    holder = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(4)}"
    return Lease("sinergi_producer.lease", "relay", holder, seconds)


class OutboxStore:
    """The outbox as its relay sees it. Every write names the epoch of the lease.

    Args:
        url: where the agency's database is; see `sinergi_schemas.postgresql.address`.
        timeouts: how long the lease lasts, and what its transactions wait for.
    """

    def __init__(self, url: str, timeouts: Timeouts = DEFAULT) -> None:
        self._database = Database(url, "sinergi relay", timeouts.database, needed=RELAY)
        self._lease = relay_lease(timeouts.relay.lease)

    def check(self) -> None:
        """Check that the tables are there, and that the user may do with them what a relay does.

        Raises:
            TablesMissing: one of them is not.
            GrantMissing: the user lacks rights.
        """
        with self._database.serving() as connection:
            for name in _TABLES:
                found = connection.execute(
                    "SELECT to_regclass(%s)", (f"sinergi_producer.{name}",)
                ).fetchone()
                if found is None or found[0] is None:
                    raise errors.TablesMissing(f"sinergi_producer.{name}", "producer")
            rights.check(connection, RELAY)

    def take_lease(self) -> int | None:
        """Take the lease, and give every tree its new epoch; None while another relay holds it.

        Raises:
            StoredStateInvalid: the epoch cannot be raised.
        """
        with self._database.serving() as connection:
            epoch = self._lease.take(connection)
            if epoch is not None:
                connection.execute("UPDATE sinergi_producer.tree SET epoch = %s", (epoch,))
            return epoch

    def leader(self) -> Leader | None:
        """Which relay holds the lease; None if none does."""
        with self._database.serving() as connection:
            found = connection.execute(statements.LEADER).fetchone()
        return None if found is None else Leader(*found)

    def ensure_trees(self, tree_keys: Iterable[TreeKey], epoch: int) -> None:
        """Insert those of these trees that are not there yet, empty and under our epoch.

        Raises:
            LeaseLost: the lease is no longer ours.
        """
        names, numbers = _columns(sorted(tree_keys), 2)
        with self._database.serving() as connection:
            self._lease.renew(connection, epoch)
            connection.execute(statements.ENSURE_TREES, (epoch, names, numbers))

    def renew_lease(self, epoch: int) -> None:
        """Extend the lease; the term and its epoch stay the same.

        Raises:
            LeaseLost: another relay has taken it.
        """
        with self._database.serving() as connection:
            self._lease.renew(connection, epoch)

    def release_lease(self, epoch: int) -> None:
        """Give the lease back, so that another relay need not wait for its end."""
        with self._database.serving() as connection:
            self._lease.release(connection, epoch)

    def trees(self) -> dict[TreeKey, Frontier]:
        """Every tree as it is sealed."""
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT event_type, partition, size, frontier FROM sinergi_producer.tree"
            ).fetchall()
        return _frontiers(rows, "sinergi_producer.tree")

    def sent(self) -> dict[TreeKey, Frontier]:
        """Every tree as far as the broker has confirmed it, which is always up to a checkpoint."""
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT t.event_type, t.partition, t.sent_size, coalesce(c.frontier, '')"
                " FROM sinergi_producer.tree AS t LEFT JOIN sinergi_producer.checkpoint AS c"
                " ON c.event_type = t.event_type AND c.partition = t.partition"
                " AND c.size = t.sent_size"
            ).fetchall()
        return _frontiers(rows, "sinergi_producer.checkpoint")

    def confirmed(self) -> dict[TreeKey, tuple[int, datetime | None]]:
        """How many leaves of every tree the broker has confirmed, and when the last was sealed."""
        with self._database.serving() as connection:
            rows = connection.execute(statements.CONFIRMED).fetchall()
        return {TreeKey(name, number): (size, at) for name, number, size, at in rows}

    def roots(self, tree_key: TreeKey, sizes: Iterable[int]) -> dict[int, bytes]:
        """The root of one tree at each of these sizes at which it was signed."""
        with self._database.serving() as connection:
            return dict(connection.execute(statements.ROOTS, (*tree_key, list(sizes))).fetchall())

    def leaf_hashes(self, tree_key: TreeKey, indexes: Iterable[int]) -> dict[int, bytes]:
        """The leaf hashes of those of these leaf indexes that one tree has."""
        with self._database.serving() as connection:
            rows = connection.execute(statements.LEAVES_AT, (*tree_key, list(indexes))).fetchall()
        return {
            index: leaf_hash(leaf_data(*rest)) if pruned is None else pruned
            for index, pruned, *rest in rows
        }

    def pruned(self) -> dict[TreeKey, int]:
        """The first leaf of each tree that can be sent again; see `outbox.pruning`."""
        with self._database.serving() as connection:
            rows = connection.execute(statements.PRUNED).fetchall()
        return {TreeKey(name, number): size for name, number, size in rows}

    def rewind_sent(self, shown: Mapping[TreeKey, int], epoch: int) -> dict[TreeKey, Frontier]:
        """Mark as not sent what a topic no longer shows, so that it is sent again.

        Args:
            shown: how many leaves each topic-partition shows.

        Returns:
            Every tree as far as it is sent after that; see `sent`.
        """
        columns = _columns([(*tree_key, size) for tree_key, size in sorted(shown.items())], 3)
        with self._database.serving() as connection:
            rewound = connection.execute(statements.REWIND, (*columns, epoch)).fetchall()
        for name, number, size, start, pruned in rewound:
            if size < pruned:
                _log.error(
                    "topic has lost leaves that are pruned here: they are not sent again",
                    event_type=name,
                    partition=number,
                    pruned=pruned,
                    mend="docs/runbooks.md, 'The outbox grows'",
                )
            _log.warning(
                "topic has lost what it had: sending again",
                event_type=name,
                partition=number,
                shown=size,
                start=start,
            )
        return self.sent()

    def unsealed_rows(self, watermarks: Watermarks) -> UnsealedRows:
        """The next rows without a leaf, above the watermarks: live ones, or else a backfill's."""
        from_live, from_backfill = watermarks.live, watermarks.backfill
        with self._database.serving() as connection:
            live = connection.execute(statements.LIVE, (from_live,), binary=True).fetchall()
            found = (
                live
                or connection.execute(statements.BACKFILL, (from_backfill,), binary=True).fetchall()
            )
        return UnsealedRows(list(map(OutboxRow._make, found)), not live, from_live, from_backfill)

    def has_unsealed_rows(self, watermarks: Watermarks) -> bool:
        """Whether a row without a leaf lies above the watermarks: one query, for an idle relay."""
        values = (watermarks.live, watermarks.backfill)
        with self._database.serving() as connection:
            found = connection.execute(statements.HAS_UNSEALED, values).fetchone()
        return found is not None and found[0]

    def horizon(self, watermarks: Watermarks) -> Horizon:
        """Read which ids are given out, and after that which transactions are open.

        The order matters: a transaction writes its record's head before it is given an id. So every
        transaction with one of these ids is older than the one that is begun here.
        """
        with self._database.serving() as connection:
            last_id = connection.execute(statements.LAST_ID).fetchone()
            snapshot = connection.execute(statements.SNAPSHOT, (watermarks.backfill,)).fetchone()
        if last_id is None or snapshot is None:
            raise errors.DatabaseAway("none")
        xmin, next_xid, backfill_waits = snapshot
        return Horizon(xmin, next_xid, last_id[0], backfill_waits)

    def commit_batch(self, batch: SealedBatch, epoch: int) -> None:
        """Commit the leaves, trees and checkpoints of a batch. They never change again.

        Raises:
            LeaseLost: another relay has written the tree, or given a row its leaf. Nothing is
                written.
        """
        with self._database.serving() as connection:
            if batch.updates:
                self._update_trees(connection, batch.updates, epoch)
                self._mark_rows(connection, batch.updates, epoch)
            for why, ids in batch.held.items():
                connection.execute(statements.HOLD, (why, ids))

    def release_held(
        self,
        event_types: Sequence[str],
        fingerprints: Sequence[bytes],
        *,
        has_new_agreements: bool = False,
    ) -> int:
        """Release the held rows whose reason may no longer hold; how many.

        Args:
            event_types: those that an agreement in force covers.
            fingerprints: of the schemas that this version has.
            has_new_agreements: whether to release the rows that name an unknown agreement, too.
        """
        with self._database.serving() as connection:
            return release(
                connection, event_types, fingerprints, has_new_agreements=has_new_agreements
            )

    def registered_schemas(self) -> dict[bytes, RegisteredSchema]:
        """The schemas of all versions of Sinergi that have used this database, the oldest first."""
        with self._database.serving() as connection:
            rows = connection.execute(statements.REGISTERED_SCHEMAS).fetchall()
        return {fingerprint: RegisteredSchema(*rest) for fingerprint, *rest in rows}

    def mark_sent(self, updates: Iterable[TreeUpdate]) -> None:
        """Record what the broker has confirmed."""
        sizes = {each.tree_key: each.after.size for each in updates}
        sent = [(*tree_key, size) for tree_key, size in sorted(sizes.items())]
        with self._database.serving() as connection:
            connection.execute(statements.SENT, _columns(sent, 3))

    def unsent(self) -> list[TreeUpdate]:
        """The next batch of each tree that is sealed and not confirmed, as it was sealed."""
        with self._database.serving() as connection:
            sent = {
                (name, number): size
                for name, number, size in connection.execute(
                    "SELECT event_type, partition, sent_size FROM sinergi_producer.tree"
                )
            }
            return [
                self._stored_update(
                    connection, TreeKey(name, number), sent[name, number], size, data, note
                )
                for name, number, size, data, note in connection.execute(
                    statements.UNSENT
                ).fetchall()
            ]

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def _update_trees(
        self, connection: psycopg.Connection, updates: Sequence[TreeUpdate], epoch: int
    ) -> None:
        trees = [
            (*each.tree_key, each.start, each.after.size, each.after.to_bytes()) for each in updates
        ]
        grown = connection.execute(statements.UPDATE_TREES, (*_columns(trees, 5), epoch))
        if grown.rowcount != len(trees):
            raise errors.LeaseLost("relay", epoch)
        checkpoints = [
            (
                *each.tree_key,
                each.after.size,
                each.after.root(),
                each.after.to_bytes(),
                each.sealed.note,
            )
            for each in updates
        ]
        connection.execute(statements.CHECKPOINT, _columns(checkpoints, 6))

    def _mark_rows(
        self, connection: psycopg.Connection, updates: Sequence[TreeUpdate], epoch: int
    ) -> None:
        """Give rows their leaves: those of one update are consecutive, in the order of ids."""
        marks = [
            (
                each.tree_key[1],
                each.start,
                f"{{{','.join(str(row.id) for row in each.rows)}}}",
                each.rows[0].id,
                each.rows[-1].id,
            )
            for each in updates
        ]
        with connection.cursor() as cursor:
            cursor.executemany(statements.MARK, marks)
            if cursor.rowcount != sum(len(each.rows) for each in updates):
                raise errors.LeaseLost("relay", epoch)

    def _stored_update(
        self,
        connection: psycopg.Connection,
        tree_key: TreeKey,
        start: int,
        size: int,
        data: bytes,
        note: str,
    ) -> TreeUpdate:
        row = f"({', '.join(map(str, tree_key))}, {size})"
        frontier = stored.frontier(size, data, "sinergi_producer.checkpoint", row)
        rows = connection.execute(statements.LEAVES, (*tree_key, start, size)).fetchall()
        return TreeUpdate(
            tree_key,
            [OutboxRow(*row) for row in rows],
            frontier,
            SignedCheckpoint(note, frontier.hashes),
        )


def _frontiers(rows: Iterable[tuple[str, int, int, bytes]], table: str) -> dict[TreeKey, Frontier]:
    return {
        TreeKey(name, number): stored.frontier(
            size, data, table, f"({name}, {number}) of size {size}"
        )
        for name, number, size, data in rows
    }


def _columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    """Rows as one array for each column, which `unnest` turns into rows again."""
    return [[row[at] for row in rows] for at in range(width)]
