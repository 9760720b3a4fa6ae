"""Prunes a reader's database: removes what is older than the settings keep.

Histories lose the events that were recorded before the beginning of a month. Of checkpoints and
receipts, those that were seen or signed before it go, except the last one of each topic-partition
and receipts that are not published. Each transaction records what it removes in
`sinergi_consumer.retention`, so a process that is killed leaves both or neither. Current tables and
quarantine are never touched: the rows of quarantine say why an event is no row, which an audit
needs to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sinergi_consumers.sinks.postgresql import history_pruning, retention, statement_pruning
from sinergi_consumers.sinks.postgresql.history_pruning import HistoryPruning
from sinergi_consumers.sinks.postgresql.lock_attempts import LockAttempts
from sinergi_consumers.sinks.postgresql.partitions import Month
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql import Database
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.protocol import Decision
    from sinergi_schemas.timeouts import DatabaseTimeouts

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_IS_OWNER = """
    SELECT current_user, pg_has_role(current_user, c.relowner, 'USAGE')
    FROM pg_class AS c WHERE c.oid = to_regclass('sinergi_consumer.retention')
"""


class TablePruning(Protocol):
    """The removal of older rows from a table, and from those of its lists."""

    @property
    def table(self) -> str:
        """The table with its schema."""

    def count(self, connection: psycopg.Connection) -> int:
        """How many rows there are to remove."""

    def apply(
        self, database: Database, locks: LockAttempts, decided: tuple[str, str]
    ) -> Iterator[int]:
        """Remove them, a transaction at a time; how many rows each has removed.

        Args:
            decided: who has decided it, and why.

        Raises:
            LockHeld: others hold locks for too long. What was removed before is recorded.
        """


class RetentionPeriods(NamedTuple):
    """For how many months each kind of row is kept; None for ever."""

    history: int | None
    checkpoints: int | None
    receipts: int | None


class PrunableTable(NamedTuple):
    """What may be removed from a table.

    Attributes:
        table: with its schema.
        before: rows from before that time may go; None if the table is kept for ever.
        rows: how many there are; rows of the tables of lists go with them and are not counted.
        removed: how many were removed before.
    """

    table: str
    before: datetime | None
    rows: int
    removed: int


@dataclass(frozen=True, slots=True)
class ReaderPrunePlan:
    """What may be removed from a database."""

    tables: Sequence[PrunableTable]

    @property
    def rows(self) -> int:
        """How many rows may be removed."""
        return sum(each.rows for each in self.tables)


class ReaderPruning:
    """Prunes one database.

    Args:
        url: of the reader's database; to apply, with the owner of its tables.
        projections: those of the database.
        periods: how long rows are kept.
    """

    def __init__(
        self,
        url: str,
        projections: Sequence[Projection],
        periods: RetentionPeriods,
        timeouts: DatabaseTimeouts = DEFAULT.database,
    ) -> None:
        self._database = Database(url, "sinergi db", timeouts)
        self._locks = LockAttempts(self._database, url)
        self._histories = [each for each in projections if each.may_be_partitioned]
        self._periods = periods

    def plan(self) -> ReaderPrunePlan:
        """What may be removed now. Nothing is changed.

        Raises:
            DatabaseAway, DatabaseBroken: the database does not answer, or has no such tables.
        """
        with self._database.reading() as connection:
            done, found = retention.read(connection), []
            for before, pruning in self._prunings(connection):
                rows = 0 if before is None else pruning.count(connection)
                removed = done[pruning.table].rows if pruning.table in done else 0
                found.append(PrunableTable(pruning.table, before, rows, removed))
        return ReaderPrunePlan(found)

    def apply(self, decision: Decision) -> Iterator[int]:
        """Remove it, a transaction at a time; how many rows each has removed.

        Raises:
            ReaderPruneRefused: it is not run as the owner of the tables.
            HistoryReferenced: what others have made depends on rows of a history.
            DatabaseAway: the database does not answer, or others hold locks for too long. What was
                removed before is recorded.
        """
        with self._database.reading() as connection:
            found = connection.execute(_IS_OWNER).fetchone()
            prunings = list(self._prunings(connection))
        if found is not None and not found[1]:
            raise errors.ReaderPruneRefused(found[0])
        decided = decision.by, decision.why
        for before, pruning in prunings:
            if before is not None:
                yield from pruning.apply(self._database, self._locks, decided)

    def close(self) -> None:
        """Give the connection back."""
        self._database.close()

    def _prunings(
        self, connection: psycopg.Connection
    ) -> Iterator[tuple[datetime | None, TablePruning]]:
        """Each table that the database has, with the time from which its rows are kept."""
        history, checkpoints, receipts = map(_kept_since, self._periods)
        for each in self._histories:
            if history_pruning.is_there(connection, each):
                yield history, HistoryPruning(each, history or _BEGINNING)
        yield checkpoints, statement_pruning.of_checkpoints(checkpoints or _BEGINNING)
        yield receipts, statement_pruning.of_receipts(receipts or _BEGINNING)


def _kept_since(months: int | None) -> datetime | None:
    """The beginning of the first month that is kept; None for ever."""
    return None if months is None else Month.of(SYSTEM.now()).plus(-months).start
