"""Quarantine for people: list its events and the decisions about them, and discard events.

The lists contain no content of events. A person reads key and datum of one event at a time.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from psycopg import sql

from sinergi_consumers.sinks.postgresql.quarantine_rows import LOCK_POSITION
from sinergi_consumers.sinks.postgresql.rights import MATERIALISER
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sinergi_consumers.sinks.protocol import Decision

_ROWS = sql.SQL(
    "SELECT id, state, reason, projection, topic, partition, leaf_index, event_id, revision,"
    " quarantined_at, detail, encode(fingerprint, 'hex'), encode(leaf_hash, 'hex'), size,"
    " EXISTS (SELECT FROM sinergi_consumer.quarantined_datum AS d WHERE d.topic = q.topic"
    " AND d.partition = q.partition AND d.leaf_index = q.leaf_index), count(*) OVER ()"
    " FROM sinergi_consumer.quarantine AS q WHERE {} ORDER BY id LIMIT %s"
)
# The least name, then the least one above it, and so on: an index has each at once. DISTINCT would
# read all rows.
_NAMES = sql.SQL(
    "WITH RECURSIVE found (name) AS ("
    " SELECT min({0}) FROM sinergi_consumer.quarantine UNION ALL"
    " SELECT (SELECT min({0}) FROM sinergi_consumer.quarantine WHERE {0} > found.name)"
    " FROM found WHERE found.name IS NOT NULL)"
    " SELECT name FROM found WHERE name IS NOT NULL"
)
_DECISIONS = sql.SQL(
    "SELECT d.action, d.outcome, d.decided_by, d.why, d.decided_at"
    " FROM sinergi_consumer.decision AS d JOIN sinergi_consumer.quarantine AS q"
    " USING (projection, topic, partition, leaf_index) WHERE q.id = %s ORDER BY d.id"
)
_CONTENTS = sql.SQL(
    "SELECT d.key, d.datum FROM sinergi_consumer.quarantined_datum AS d"
    " JOIN sinergi_consumer.quarantine USING (topic, partition, leaf_index) WHERE id = %s"
)
_PARTS = sql.SQL(
    "SELECT DISTINCT projection, topic, partition FROM sinergi_consumer.quarantine"
    " WHERE state IN ('open', 'superseded') AND {} ORDER BY 1, 2, 3"
)
_DISCARD = sql.SQL(
    "WITH done AS (UPDATE sinergi_consumer.quarantine SET state = 'discarded'"
    " WHERE state IN ('open', 'superseded') AND projection = %s AND topic = %s AND partition = %s"
    " AND {} RETURNING projection, topic, partition, leaf_index)"
    " INSERT INTO sinergi_consumer.decision (projection, topic, partition, leaf_index,"
    " action, outcome, decided_by, why)"
    " SELECT done.*, 'discard', 'discarded', %s, %s FROM done RETURNING id"
)


Named = Literal["topic", "projection", "reason"]


class QuarantineState(StrEnum):
    """The state of an event in quarantine."""

    OPEN = "open"
    SUPERSEDED = "superseded"
    RETRIED = "retried"
    DISCARDED = "discarded"


UNSETTLED = (QuarantineState.OPEN, QuarantineState.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Which rows of quarantine to select. A field that is None or empty selects all rows.

    Attributes:
        ids: rows with one of these ids.
        states: rows in one of these states.
    """

    ids: Sequence[int] = ()
    topic: str | None = None
    partition: int | None = None
    leaf_index: int | None = None
    event_id: UUID | None = None
    projection: str | None = None
    reason: str | None = None
    states: Sequence[QuarantineState] = ()

    def where(self) -> tuple[sql.Composed, list[object]]:
        """The condition in SQL, and its parameters."""
        chosen: list[object] = []
        parts: list[sql.Composable] = [sql.SQL("true")]
        for name in ("topic", "partition", "leaf_index", "event_id", "projection", "reason"):
            value = getattr(self, name)
            if value is not None:
                parts.append(sql.SQL("{} = %s").format(sql.Identifier(name)))
                chosen.append(value)
        for name, values in (("id", self.ids), ("state", self.states)):
            if values:
                parts.append(sql.SQL("{} = ANY(%s)").format(sql.Identifier(name)))
                chosen.append([*values])
        return sql.SQL(" AND ").join(parts), chosen


class Quarantined(NamedTuple):
    """A row of quarantine.

    Attributes:
        event_id: from a header of the message, which is only a hint.
        revision: of the record; None if it could not be read.
        fingerprint: of the schema that the event was written with, in hex.
        leaf_hash: the verified hash of the leaf, in hex.
        size: bytes of key and datum.
        kept: whether the database has key and datum; if not, only the topic has them.
    """

    id: int
    state: str
    reason: str
    projection: str
    topic: str
    partition: int
    leaf_index: int
    event_id: UUID | None
    revision: int | None
    quarantined_at: datetime
    detail: str
    fingerprint: str
    leaf_hash: str
    size: int
    kept: bool


class RecordedDecision(NamedTuple):
    """A decision about an event in quarantine, and its outcome."""

    action: str
    outcome: str
    decided_by: str
    why: str
    decided_at: datetime


class Contents(NamedTuple):
    """Key and datum of an event in quarantine. They contain personal data."""

    key: bytes
    datum: bytes


class Quarantine:
    """The quarantine of a database, for people.

    Every method raises `DatabaseAway` if the database is unavailable, and `DatabaseBroken` if it
    refuses a statement.

    Args:
        url: an SQLAlchemy URL of the consumer's database.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(
        self, wanted: QuarantineFilter, most: int | None = None
    ) -> tuple[list[Quarantined], int]:
        """The oldest selected rows, at most `most` of them, and the number of all selected rows."""
        where, values = wanted.where()
        found = self._ask(_ROWS.format(where), [*values, most])
        return [Quarantined(*row[:-1]) for row in found], found[0][-1] if found else 0

    def names(self, column: Named) -> list[str]:
        """The distinct values of a column, of rows in any state."""
        found = self._ask(_NAMES.format(sql.Identifier(column)), [])
        return [name for (name,) in found]

    def decisions(self, id_: int) -> list[RecordedDecision]:
        """The decisions about a row, the oldest first."""
        return [RecordedDecision(*row) for row in self._ask(_DECISIONS, [id_])]

    def contents(self, id_: int) -> Contents | None:
        """Key and datum of a row; None if the database does not have them."""
        rows = self._ask(_CONTENTS, [id_])
        return Contents(*rows[0]) if rows else None

    def discard(self, wanted: QuarantineFilter, decision: Decision) -> int:
        """Mark rows as discarded, with who decided it and why. Returns their number.

        The rows stay in the table. Only open and superseded rows can be discarded. Each position
        has its own transaction, which locks the position first, as a worker and a retry do; so
        there is no deadlock. If the database becomes unavailable, earlier transactions remain
        committed.
        """
        where, values = wanted.where()
        count = 0
        with closing(self._open()) as database:
            with database.reading() as connection:
                parts = connection.execute(_PARTS.format(where), values).fetchall()
            for part in parts:
                with database.serving() as connection:
                    connection.execute(LOCK_POSITION, part)
                    done = connection.execute(_DISCARD.format(where), [*part, *values, *decision])
                    count += done.rowcount
        return count

    def _ask(
        self, question: sql.SQL | sql.Composed, values: Sequence[object]
    ) -> list[tuple[Any, ...]]:
        with closing(self._open()) as database, database.reading() as connection:
            return connection.execute(question, values).fetchall()

    def _open(self) -> Database:
        return Database(self._url, "sinergi quarantine", needed=MATERIALISER)
