"""The relay's side of the agency's database: what waits, the trees, and what is on its way."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sinergi_producers.sealing import MOST_BYTES, MOST_MESSAGES, Growth, Leaf, Row
from sinergi_schemas import errors
from sinergi_schemas.lease import Lease
from sinergi_schemas.postgresql import Database
from sinergi_schemas.seal.checkpoint import Sealed
from sinergi_schemas.seal.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import psycopg

    from sinergi_producers.sealing import Batch, Share

_TABLES = ("head", "outbox", "tree", "checkpoint", "lease")
_ROW = "id, event_id, event_type, record_id, recorded_at, fingerprint, datum, traceparent"

# At most so many rows, and no more than their bytes allow, but always one.
_WAITING = f"""
    SELECT {_ROW} FROM (
        SELECT {_ROW}, sum(length(datum)) OVER (ORDER BY id) - length(datum) AS bytes_before
        FROM sinergi_producer.outbox AS waiting
        WHERE leaf_index IS NULL AND held IS NULL AND {{which}}
        ORDER BY id LIMIT {MOST_MESSAGES}
    ) AS waiting WHERE bytes_before < {MOST_BYTES} ORDER BY id
"""
_LIVE = _WAITING.format(
    which="""NOT backfill AND id > %s AND NOT EXISTS (
            SELECT FROM sinergi_producer.outbox AS history
            WHERE history.leaf_index IS NULL AND history.held IS NULL AND history.backfill
            AND history.event_type = waiting.event_type
            AND history.record_id = waiting.record_id)"""
)
_HISTORY = _WAITING.format(which="backfill")

_GROW = """
    UPDATE sinergi_producer.tree SET size = %s, frontier = %s
    WHERE event_type = %s AND partition = %s AND size = %s AND epoch = %s
"""
_CHECKPOINT = """
    INSERT INTO sinergi_producer.checkpoint (event_type, partition, size, root, frontier, note)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_MARK = """
    UPDATE sinergi_producer.outbox AS o SET partition = sealed.partition, leaf_index = sealed.leaf
    FROM unnest(%s::bigint[], %s::integer[], %s::bigint[]) AS sealed (id, partition, leaf)
    WHERE o.id = sealed.id AND o.leaf_index IS NULL
"""
_HOLD = "UPDATE sinergi_producer.outbox SET held = %s WHERE id = ANY(%s) AND leaf_index IS NULL"
_RELEASE = """
    UPDATE sinergi_producer.outbox SET held = NULL WHERE held IS NOT NULL AND event_type = ANY(%s)
"""
_SENT = """
    UPDATE sinergi_producer.tree SET sent_size = %s
    WHERE event_type = %s AND partition = %s AND sent_size < %s
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
    SELECT {_ROW}, leaf_index FROM sinergi_producer.outbox
    WHERE event_type = %s AND partition = %s AND leaf_index >= %s AND leaf_index < %s
    ORDER BY leaf_index
"""


class Backlog:
    """What a relay reads and writes; everything that it writes is guarded by its epoch.

    Args:
        holder: who holds the lease, for people to read.
        seconds: the lease's term.
    """

    def __init__(self, url: str, holder: str, seconds: float) -> None:
        self._database = Database(url, "sinergi relay")
        self._lease = Lease("sinergi_producer.lease", "relay", holder, seconds)

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

    def take(self, shares: Iterable[Share]) -> int | None:
        """Take the lease, and raise the epoch of every tree with it; None while another has it.

        Args:
            shares: the trees that must be there; missing ones are planted.
        """
        wanted = sorted(shares)
        with self._transaction() as connection:
            epoch = self._lease.take(connection)
            if epoch is not None:
                connection.execute(
                    "INSERT INTO sinergi_producer.tree (event_type, partition)"
                    " SELECT * FROM unnest(%s::text[], %s::integer[]) ON CONFLICT DO NOTHING",
                    ([name for name, _ in wanted], [number for _, number in wanted]),
                )
                connection.execute("UPDATE sinergi_producer.tree SET epoch = %s", (epoch,))
            return epoch

    def renew(self, epoch: int) -> None:
        """Hold the lease for another term; raises `LeaseLost`."""
        with self._database.serving() as connection:
            self._lease.renew(connection, epoch)

    def release(self, epoch: int) -> None:
        """Give the lease back."""
        with self._database.serving() as connection:
            self._lease.release(connection, epoch)

    def trees(self) -> dict[Share, Frontier]:
        """Every tree as it is sealed."""
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT event_type, partition, size, frontier FROM sinergi_producer.tree"
            ).fetchall()
        return {(name, number): Frontier.parse(size, data) for name, number, size, data in rows}

    def sent(self) -> dict[Share, Frontier]:
        """Every tree as far as the broker has it; a sent size is always that of a checkpoint."""
        with self._database.serving() as connection:
            rows = connection.execute(
                "SELECT t.event_type, t.partition, t.sent_size, coalesce(c.frontier, '')"
                " FROM sinergi_producer.tree AS t LEFT JOIN sinergi_producer.checkpoint AS c"
                " ON c.event_type = t.event_type AND c.partition = t.partition"
                " AND c.size = t.sent_size"
            ).fetchall()
        return {(name, number): Frontier.parse(size, data) for name, number, size, data in rows}

    def waiting(self, floor: int) -> list[Row]:
        """The next rows without a leaf, in the order of their ids: live ones, else history.

        Args:
            floor: no unsealed live row has an id at or below it.
        """
        with self._database.serving() as connection:
            rows = connection.execute(_LIVE, (floor,)).fetchall()
            if not rows:
                rows = connection.execute(_HISTORY).fetchall()
        return [Row(*row) for row in rows]

    def horizon(self) -> tuple[int, int, int]:
        """The oldest transaction still open, the next one to begin, and the last id given out."""
        with self._database.serving() as connection:
            row = connection.execute(
                "SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint,"
                " coalesce(pg_sequence_last_value("
                "pg_get_serial_sequence('sinergi_producer.outbox', 'id')::regclass), 0)"
                " FROM pg_current_snapshot() AS now"
            ).fetchone()
        if row is None:
            raise errors.DatabaseAway("none")
        return row

    def seal(self, batch: Batch, epoch: int) -> None:
        """Write a batch's marks, trees and checkpoints: from the commit on they never change.

        Raises:
            LeaseLost: a tree is no longer ours, or a row has a leaf already. Nothing is written.
        """
        with self._transaction() as connection:
            for each in batch.growths:
                self._grow(connection, each, epoch)
            leaves = [(each.share[1], leaf) for each in batch.growths for leaf in each.leaves]
            marked = connection.execute(
                _MARK,
                (
                    [leaf.row.id for _, leaf in leaves],
                    [partition for partition, _ in leaves],
                    [leaf.index for _, leaf in leaves],
                ),
            )
            if marked.rowcount != len(leaves):
                raise errors.LeaseLost("relay", epoch)
            if batch.held:
                connection.execute(_HOLD, ("no agreement in force covers it", batch.held))

    def release_held(self, event_types: Sequence[str]) -> int:
        """Let rows that were held be tried again; how many."""
        with self._database.serving() as connection:
            return connection.execute(_RELEASE, (list(event_types),)).rowcount

    def mark_sent(self, growths: Iterable[Growth]) -> None:
        """Note what the broker has confirmed."""
        sizes = {each.share: each.after.size for each in growths}
        with self._transaction() as connection, connection.cursor() as cursor:
            cursor.executemany(
                _SENT, [(size, *share, size) for share, size in sorted(sizes.items())]
            )

    def unsent(self) -> list[Growth]:
        """For each tree the next batch that is sealed and not confirmed, as it was sealed."""
        with self._database.serving() as connection, connection.transaction():
            sent = dict(
                ((name, number), size)
                for name, number, size in connection.execute(
                    "SELECT event_type, partition, sent_size FROM sinergi_producer.tree"
                )
            )
            return [
                self._growth(connection, (name, number), sent[name, number], size, data, note)
                for name, number, size, data, note in connection.execute(_UNSENT).fetchall()
            ]

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def _grow(self, connection: psycopg.Connection, growth: Growth, epoch: int) -> None:
        after, frontier = growth.after, growth.after.to_bytes()
        grown = connection.execute(
            _GROW, (after.size, frontier, *growth.share, growth.start, epoch)
        )
        if grown.rowcount != 1:
            raise errors.LeaseLost("relay", epoch)
        connection.execute(
            _CHECKPOINT, (*growth.share, after.size, after.root(), frontier, growth.sealed.note)
        )

    def _growth(
        self,
        connection: psycopg.Connection,
        share: Share,
        start: int,
        size: int,
        data: bytes,
        note: str,
    ) -> Growth:
        frontier = Frontier.parse(size, data)
        rows = connection.execute(_LEAVES, (*share, start, size)).fetchall()
        leaves = [Leaf(Row(*row), index) for *row, index in rows]
        return Growth(share, leaves, frontier, Sealed(note, frontier.hashes))

    @contextmanager
    def _transaction(self) -> Iterator[psycopg.Connection]:
        with self._database.serving() as connection, connection.transaction():
            yield connection
