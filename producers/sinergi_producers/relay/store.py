"""The relay's side of the agency's database: what waits, the trees, and what is on its way."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING

import structlog

from sinergi_producers.outbox.releasing import release
from sinergi_producers.relay.row_check import IS_BEHIND, ROW, KnownSchema
from sinergi_producers.relay.sealing import (
    MOST_BYTES,
    MOST_MESSAGES,
    OutboxRow,
    TreeKey,
    TreeUpdate,
)
from sinergi_producers.relay.watermark import Horizon, UnsealedRows
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database, stored
from sinergi_schemas.postgresql.lease import SECONDS, Lease
from sinergi_schemas.seal.checkpoint import SignedCheckpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from sinergi_producers.relay.sealing import SealedBatch
    from sinergi_producers.relay.watermark import Floors
    from sinergi_schemas.seal.merkle import Frontier

_log = structlog.get_logger(__name__)

_TABLES = ("head", "outbox", "tree", "checkpoint", "lease", "known_schema")
# At most so many rows, and no more than their bytes allow, but always one.
_WAITING = f"""
    SELECT {ROW}, {IS_BEHIND} FROM (
        SELECT *, sum(length(datum)) OVER (ORDER BY id) - length(datum) AS bytes_before
        FROM sinergi_producer.outbox AS waiting
        WHERE leaf_index IS NULL AND held IS NULL AND {{which}}
        ORDER BY id LIMIT {MOST_MESSAGES}
    ) AS waiting WHERE bytes_before < {MOST_BYTES} ORDER BY id
"""  # noqa: S608 - our own names and numbers
_LIVE = _WAITING.format(
    which="""NOT backfill AND id > %s AND NOT EXISTS (
            SELECT FROM sinergi_producer.outbox AS history
            WHERE history.leaf_index IS NULL AND history.held IS NULL AND history.backfill
            AND history.event_type = waiting.event_type
            AND history.record_id = waiting.record_id AND history.id < waiting.id)"""
)
_HISTORY = _WAITING.format(which="backfill AND id > %s")
_LAST_ID = """
    SELECT coalesce(pg_sequence_last_value(
        pg_get_serial_sequence('sinergi_producer.outbox', 'id')::regclass), 0)
"""
# A transaction of our own is begun for its number: a snapshot's xmax is only the number behind the
# newest transaction that has ended, and open ones may be younger.
_SNAPSHOT = """
    SELECT pg_snapshot_xmin(now)::text::bigint, pg_current_xact_id()::text::bigint,
        EXISTS (SELECT FROM sinergi_producer.outbox
            WHERE leaf_index IS NULL AND held IS NULL AND backfill AND id > %s)
    FROM pg_current_snapshot() AS now
"""

_PLANT = """
    INSERT INTO sinergi_producer.tree (event_type, partition, epoch)
    SELECT wanted.*, %s FROM unnest(%s::text[], %s::integer[]) AS wanted
    ON CONFLICT DO NOTHING
"""
_GROW = """
    UPDATE sinergi_producer.tree AS t SET size = grown.size, frontier = grown.frontier
    FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bigint[], %s::bytea[])
        AS grown (event_type, partition, old_size, size, frontier)
    WHERE t.event_type = grown.event_type AND t.partition = grown.partition
    AND t.size = grown.old_size AND t.epoch = %s
"""
_CHECKPOINT = """
    INSERT INTO sinergi_producer.checkpoint (event_type, partition, size, root, frontier, note)
    SELECT * FROM unnest(
        %s::text[], %s::integer[], %s::bigint[], %s::bytea[], %s::bytea[], %s::text[])
"""
# The bounds say again what the ids say, so that the planner never walks through the whole table.
_MARK = """
    UPDATE sinergi_producer.outbox AS o SET partition = %s, leaf_index = %s + sealed.place - 1
    FROM unnest(%s::bigint[]) WITH ORDINALITY AS sealed (id, place)
    WHERE o.id = sealed.id AND o.leaf_index IS NULL AND o.id BETWEEN %s AND %s
"""
_HOLD = "UPDATE sinergi_producer.outbox SET held = %s WHERE id = ANY(%s) AND leaf_index IS NULL"
# What a crash of the server forgets of this is sent once more: not worth waiting for its disk.
_SENT = """
    UPDATE sinergi_producer.tree AS t SET sent_size = sent.size
    FROM unnest(%s::text[], %s::integer[], %s::bigint[]) AS sent (event_type, partition, size),
        set_config('synchronous_commit', 'off', true)
    WHERE t.event_type = sent.event_type AND t.partition = sent.partition
    AND t.sent_size < sent.size
"""
# A topic may lose what it had confirmed: deleted and made anew, or its broker's disk gone.
_REWIND = """
    UPDATE sinergi_producer.tree AS t SET sent_size = (
        SELECT coalesce(max(c.size), 0) FROM sinergi_producer.checkpoint AS c
        WHERE (c.event_type, c.partition) = (t.event_type, t.partition) AND c.size <= shown.size)
    FROM unnest(%s::text[], %s::integer[], %s::bigint[]) AS shown (event_type, partition, size)
    WHERE t.event_type = shown.event_type AND t.partition = shown.partition
    AND t.sent_size > shown.size AND t.epoch = %s
    RETURNING t.event_type, t.partition, shown.size, t.sent_size
"""
_CONFIRMED = """
    SELECT t.event_type, t.partition, t.sent_size, c.sealed_at
    FROM sinergi_producer.tree AS t LEFT JOIN sinergi_producer.checkpoint AS c
    ON (c.event_type, c.partition, c.size) = (t.event_type, t.partition, t.sent_size)
"""
_ROOTS = """
    SELECT size, root FROM sinergi_producer.checkpoint
    WHERE event_type = %s AND partition = %s AND size = ANY(%s)
"""
_UNSENT = """
    SELECT c.event_type, c.partition, c.size, c.frontier, c.note
    FROM sinergi_producer.tree AS t JOIN sinergi_producer.checkpoint AS c
    USING (event_type, partition)
    WHERE c.size > t.sent_size AND c.size = (
        SELECT min(next.size) FROM sinergi_producer.checkpoint AS next
        WHERE (next.event_type, next.partition) = (t.event_type, t.partition)
        AND next.size > t.sent_size)
"""
_LEAVES = f"""
    SELECT {ROW} FROM sinergi_producer.outbox
    WHERE event_type = %s AND partition = %s AND leaf_index >= %s AND leaf_index < %s
    ORDER BY leaf_index
"""  # noqa: S608 - our own names


def relay_lease(seconds: float = SECONDS) -> Lease:
    """The lease of an outbox's one leader, to be taken by a holder of whom there is no second."""
    holder = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(4)}"
    return Lease("sinergi_producer.lease", "relay", holder, seconds)


class Backlog:
    """What a relay reads and writes; everything that it writes is guarded by its epoch.

    Args:
        url: where the agency's database is.
        seconds: the lease's term.
    """

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        self._database = Database(url, "sinergi relay")
        self._lease = relay_lease(seconds)
        self.term_seconds = seconds

    def check(self) -> None:
        """See that the tables are there.

        Raises:
            TablesMissing: one of them is not.
        """
        with self._database.serving() as connection:
            for name in _TABLES:
                found = connection.execute(
                    "SELECT to_regclass(%s)", (f"sinergi_producer.{name}",)
                ).fetchone()
                if found is None or found[0] is None:
                    raise errors.TablesMissing(f"sinergi_producer.{name}", "producer")

    def take(self) -> int | None:
        """Take the lease, and raise the epoch of every tree with it; None while another has it."""
        with self._database.serving() as connection:
            epoch = self._lease.take(connection)
            if epoch is not None:
                connection.execute("UPDATE sinergi_producer.tree SET epoch = %s", (epoch,))
            return epoch

    def plant(self, tree_keys: Iterable[TreeKey], epoch: int) -> None:
        """Begin the trees among these that are not there yet, under our epoch.

        Raises:
            LeaseLost: the lease is no longer ours.
        """
        names, numbers = _columns(sorted(tree_keys), 2)
        with self._database.serving() as connection:
            self._lease.renew(connection, epoch)
            connection.execute(_PLANT, (epoch, names, numbers))

    def renew(self, epoch: int) -> None:
        """Hold the lease for another term; raises `LeaseLost`."""
        with self._database.serving() as connection:
            self._lease.renew(connection, epoch)

    def release(self, epoch: int) -> None:
        """Give the lease back."""
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
        """Every tree as far as the broker has it; a sent size is always that of a checkpoint."""
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT t.event_type, t.partition, t.sent_size, coalesce(c.frontier, '')"
                " FROM sinergi_producer.tree AS t LEFT JOIN sinergi_producer.checkpoint AS c"
                " ON c.event_type = t.event_type AND c.partition = t.partition"
                " AND c.size = t.sent_size"
            ).fetchall()
        return _frontiers(rows, "sinergi_producer.checkpoint")

    def confirmed(self) -> dict[TreeKey, tuple[int, datetime | None]]:
        """How many leaves of every tree the broker has, and when the last one was sealed."""
        with self._database.serving() as connection:
            rows = connection.execute(_CONFIRMED).fetchall()
        return {TreeKey(name, number): (size, at) for name, number, size, at in rows}

    def roots(self, tree_key: TreeKey, sizes: Iterable[int]) -> dict[int, bytes]:
        """The roots of one tree at those of some sizes at which it was signed."""
        with self._database.serving() as connection:
            return dict(connection.execute(_ROOTS, (*tree_key, list(sizes))).fetchall())

    def rewind(self, shown: Mapping[TreeKey, int], epoch: int) -> dict[TreeKey, Frontier]:
        """Send again what a topic no longer shows; `sent` as it is then.

        Args:
            shown: how many leaves each topic and partition shows.
        """
        columns = _columns([(*tree_key, size) for tree_key, size in sorted(shown.items())], 3)
        with self._database.serving() as connection:
            rewound = connection.execute(_REWIND, (*columns, epoch)).fetchall()
        for name, number, size, start in rewound:
            _log.warning(
                "topic has lost what it had: sending again",
                event_type=name,
                partition=number,
                shown=size,
                start=start,
            )
        return self.sent()

    def waiting(self, floors: Floors) -> UnsealedRows:
        """The next rows without a leaf, from the floors on: live ones, else history."""
        from_live, from_history = floors.live, floors.history
        with self._database.serving() as connection:
            live = connection.execute(_LIVE, (from_live,), binary=True).fetchall()
            found = live or connection.execute(_HISTORY, (from_history,), binary=True).fetchall()
        return UnsealedRows(list(map(OutboxRow._make, found)), not live, from_live, from_history)

    def horizon(self, floors: Floors) -> Horizon:
        """How far ids are given out, and then which transactions are open.

        In this order: whoever was given one of these ids has written its record's head before, and
        so is an older transaction than the one that is begun here.
        """
        with self._database.serving() as connection:
            last_id = connection.execute(_LAST_ID).fetchone()
            snapshot = connection.execute(_SNAPSHOT, (floors.history,)).fetchone()
        if last_id is None or snapshot is None:
            raise errors.DatabaseAway("none")
        xmin, next_xid, history_waits = snapshot
        return Horizon(xmin, next_xid, last_id[0], history_waits)

    def seal(self, batch: SealedBatch, epoch: int) -> None:
        """Write a batch's marks, trees and checkpoints: from the commit on they never change.

        Raises:
            LeaseLost: a tree is no longer ours, or a row has a leaf already. Nothing is written.
        """
        with self._database.serving() as connection:
            if batch.growths:
                self._grow(connection, batch.growths, epoch)
                self._mark(connection, batch.growths, epoch)
            for why, ids in batch.held.items():
                connection.execute(_HOLD, (why, ids))

    def release_held(self, event_types: Sequence[str], fingerprints: Sequence[bytes]) -> int:
        """Let rows be tried again whose reason may be gone; how many.

        Args:
            event_types: those that an agreement in force covers.
            fingerprints: of the schemas that this version has.
        """
        with self._database.serving() as connection:
            return release(connection, event_types, fingerprints)

    def known_schemas(self) -> dict[bytes, KnownSchema]:
        """The schemas of all versions of Sinergi that have upgraded this database."""
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT fingerprint, event_type, version, id, sinergi"
                " FROM sinergi_producer.known_schema"
            ).fetchall()
        return {fingerprint: KnownSchema(*rest) for fingerprint, *rest in rows}

    def mark_sent(self, growths: Iterable[TreeUpdate]) -> None:
        """Note what the broker has confirmed."""
        sizes = {each.tree_key: each.after.size for each in growths}
        sent = [(*tree_key, size) for tree_key, size in sorted(sizes.items())]
        with self._database.serving() as connection:
            connection.execute(_SENT, _columns(sent, 3))

    def unsent(self) -> list[TreeUpdate]:
        """For each tree the next batch that is sealed and not confirmed, as it was sealed."""
        with self._database.serving() as connection:
            sent = {
                (name, number): size
                for name, number, size in connection.execute(
                    "SELECT event_type, partition, sent_size FROM sinergi_producer.tree"
                )
            }
            return [
                self._growth(
                    connection, TreeKey(name, number), sent[name, number], size, data, note
                )
                for name, number, size, data, note in connection.execute(_UNSENT).fetchall()
            ]

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def _grow(
        self, connection: psycopg.Connection, growths: Sequence[TreeUpdate], epoch: int
    ) -> None:
        trees = [
            (*each.tree_key, each.start, each.after.size, each.after.to_bytes()) for each in growths
        ]
        grown = connection.execute(_GROW, (*_columns(trees, 5), epoch))
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
            for each in growths
        ]
        connection.execute(_CHECKPOINT, _columns(checkpoints, 6))

    def _mark(
        self, connection: psycopg.Connection, growths: Sequence[TreeUpdate], epoch: int
    ) -> None:
        """Leaves of one growth follow each other, so that their ids in order say all."""
        marks = [
            (
                each.tree_key[1],
                each.start,
                f"{{{','.join(str(row.id) for row in each.rows)}}}",
                each.rows[0].id,
                each.rows[-1].id,
            )
            for each in growths
        ]
        with connection.cursor() as cursor:
            cursor.executemany(_MARK, marks)
            if cursor.rowcount != sum(len(each.rows) for each in growths):
                raise errors.LeaseLost("relay", epoch)

    def _growth(
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
        rows = connection.execute(_LEAVES, (*tree_key, start, size)).fetchall()
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
    """Rows as the arrays that `unnest` puts together again."""
    return [[row[at] for row in rows] for at in range(width)]
