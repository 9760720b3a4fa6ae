"""Steps broken on purpose, one at a time, and the faults that reveal them. The product has none.

A weakness is patched into a process that the harness starts (`worker.py`). So is a trap: a fault
that the unbroken product survives. `make chaos-selftest` shows both to the judge.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from sinergi_consumers.quarantine import isolate
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.sinks.postgresql.transaction import PostgresqlTransaction
from sinergi_producers.relay.store import OutboxStore
from sinergi_producers.relay.watermark import Watermarks
from sinergi_schemas import errors
from sinergi_schemas.kafka import consumer
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.seal.reader import TreeReader, VerifiedLeaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from sinergi_consumers.sinks.protocol import PositionMove
    from sinergi_producers.relay.sealing import SealedBatch, TreeKey
    from sinergi_producers.relay.watermark import UnsealedRows
    from sinergi_schemas.kafka.consumer import ReadingConsumer

_FAILS = 2
_TRUE, _FALSE = b"Lapas ", b"Lapis "


def position_first() -> None:
    """The position is advanced in a transaction of its own, before the rows."""
    begin = PostgresqlSink.transaction

    def transaction(self: PostgresqlSink) -> AbstractContextManager[PostgresqlTransaction]:
        _SINKS.append(self)
        return begin(self)

    def apart(step: Callable[..., Any]) -> Callable[..., Any]:
        def taken(self: PostgresqlTransaction, moves: Sequence[PositionMove]) -> Any:
            own = _SINKS[-1]._database
            other = type(own)(own._conninfo, "sinergi materialise")
            with other.serving() as connection:
                found = step(PostgresqlTransaction(connection, self._merges, 0), moves)
            other.close()
            return found

        return taken

    _replace(PostgresqlSink, "transaction", transaction)
    for each in (PostgresqlTransaction.lock_positions, PostgresqlTransaction.advance):
        _replace(PostgresqlTransaction, each.__name__, apart(each))


_SINKS: list[PostgresqlSink] = []


def marked_first() -> None:
    """What is sealed is marked as sent before it is delivered, and the mark is trusted."""
    commit = OutboxStore.commit_batch

    def committed(self: OutboxStore, batch: SealedBatch, epoch: int) -> None:
        commit(self, batch, epoch)
        self.mark_sent(batch.updates)

    def rewind(
        self: OutboxStore, shown: Mapping[TreeKey, int], epoch: int
    ) -> dict[TreeKey, Frontier]:
        del shown, epoch
        return self.sent()

    _replace(OutboxStore, "commit_batch", committed)
    _replace(OutboxStore, "rewind_sent", rewind)


def cursor() -> None:
    """Rows are read after the highest id that was ever seen, and not by their watermark."""

    def after_read(self: Watermarks, read: UnsealedRows) -> None:
        if read.rows:
            self.live = read.rows[-1].id

    _replace(Watermarks, "after_read", after_read)
    _replace(Watermarks, "reset", lambda _: None)


def no_epoch() -> None:
    """A position is moved whoever has claimed it: under whatever epoch its row bears."""
    lock = PostgresqlTransaction.lock_positions

    def locked(
        self: PostgresqlTransaction, moves: Sequence[PositionMove]
    ) -> Sequence[PositionMove]:
        believed = []
        for each in moves:
            row = self._connection.execute(
                "SELECT epoch FROM sinergi_consumer.position"
                " WHERE projection = %s AND topic = %s AND partition = %s",
                (each.projection, *each.tp),
            ).fetchone()
            epoch = row[0] if row else each.position.epoch
            believed.append(each._replace(position=replace(each.position, epoch=epoch)))
        return lock(self, believed)

    _replace(PostgresqlTransaction, "lock_positions", locked)


def no_seal() -> None:
    """A checkpoint is trusted as it arrives: neither its root nor its signature is compared."""

    def believe(self: TreeReader) -> VerifiedLeaves | None:
        size = min(self._open)
        stated, note, hint, _ = self._open.pop(size)
        count = size - self.size
        leaves = self._candidates._leaves[:count]
        offsets = self._candidates._offsets[:count]
        if len(leaves) < count:
            return None
        start, self._frontier = self.size, Frontier(size, tuple(hint))
        self.size = size
        self._candidates.advance(size)
        return VerifiedLeaves(start, size, stated.root, note, self._frontier, leaves, offsets)

    _replace(TreeReader, "_try_smallest", believe)


def handler_ignored() -> None:
    """The position moves although the rows could not be brought in."""
    merge = isolate.merge_or_halve

    def merged(*args: Any) -> Iterator[Any]:
        try:
            yield from merge(*args)
        except errors.Unavailable:
            return

    _replace(isolate, "merge_or_halve", merged)


def failing_merge() -> None:
    """A trap: the second merge of this process finds no room on the disk."""
    merge, turns = PostgresqlTransaction.merge, count(1)

    def merged(self: PostgresqlTransaction, *args: Any) -> Any:
        if next(turns) == _FAILS:
            raise errors.DatabaseAway("53100")
        return merge(self, *args)

    _replace(PostgresqlTransaction, "merge", merged)


def lying_broker() -> None:
    """A trap: what the broker hands out says something else than what it was given."""
    honest: type[ReadingConsumer] = vars(consumer)["ReadingConsumer"]

    class Liar(honest):  # type: ignore[misc, valid-type] # the class is laid in at run time
        def consume(self, *args: Any, **options: Any) -> list[Any]:
            found: list[Any] = super().consume(*args, **options)
            for each in found:
                if each.error() is None:
                    each.set_value(each.value().replace(_TRUE, _FALSE))
            return found

    _replace(consumer, "ReadingConsumer", Liar)


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


ALL: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        position_first, marked_first, cursor, no_epoch, no_seal, handler_ignored,
        failing_merge, lying_broker,
    )
}  # fmt: skip
