"""What stands in quarantine and what was decided about it, for people to see, and to discard.

What an event says is not among it: its key and its bytes are asked for one event at a time.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from psycopg import sql

from sinergi_consumers.sinks.postgresql.quarantine_rows import HOLD_POSITION
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
_NAMES = sql.SQL("SELECT DISTINCT {0} FROM sinergi_consumer.quarantine ORDER BY {0}")
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
    """What has become of an event in quarantine."""

    OPEN = "open"
    SUPERSEDED = "superseded"
    RETRIED = "retried"
    DISCARDED = "discarded"


UNSETTLED = (QuarantineState.OPEN, QuarantineState.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class QuarantineFilter:
    """Which rows of quarantine; what is None or empty does not choose.

    Attributes:
        ids: these rows.
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
        """The condition in SQL, and its values."""
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
        event_id: as a header of the message says it: a hint.
        revision: the record's, where it could be read.
        fingerprint: of the schema that the event was written with, in hex.
        leaf_hash: as it was verified under the seal, in hex.
        size: bytes of key and datum.
        kept: whether they are kept here; else the topic has them.
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
    """What was done about an event in quarantine."""

    action: str
    outcome: str
    decided_by: str
    why: str
    decided_at: datetime


class Contents(NamedTuple):
    """What an event in quarantine consists of: personal data, for whoever has asked for it."""

    key: bytes
    datum: bytes


class Quarantine:
    """The quarantine of a database, for people.

    Args:
        url: an SQLAlchemy URL of the consumer's database.

    Every method raises `DatabaseAway` or `DatabaseBroken` where it does not serve us.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(
        self, wanted: QuarantineFilter, most: int | None = None
    ) -> tuple[list[Quarantined], int]:
        """The oldest rows, at most so many, and how many there are in all."""
        where, values = wanted.where()
        found = self._ask(_ROWS.format(where), [*values, most])
        return [Quarantined(*row[:-1]) for row in found], found[0][-1] if found else 0

    def names(self, column: Named) -> list[str]:
        """The names that stand in a column, of rows in any state."""
        found = self._ask(_NAMES.format(sql.Identifier(column)), [])
        return [name for (name,) in found]

    def decisions(self, id_: int) -> list[RecordedDecision]:
        """What was done about a row, the oldest first."""
        return [RecordedDecision(*row) for row in self._ask(_DECISIONS, [id_])]

    def contents(self, id_: int) -> Contents | None:
        """Key and datum of a row; None where they are not kept."""
        rows = self._ask(_CONTENTS, [id_])
        return Contents(*rows[0]) if rows else None

    def discard(self, wanted: QuarantineFilter, decision: Decision) -> int:
        """State that somebody gives rows up, and who and why; how many. They stay where they are.

        Only what is unsettled can be discarded. Each position is held in its turn, as a worker and
        a retry hold it before they touch its quarantine, so that nobody waits for the other's rows.
        Where the database goes away in between, what belongs to the positions before is done.
        """
        where, values = wanted.where()
        count = 0
        with closing(self._open()) as database:
            with database.reading() as connection:
                parts = connection.execute(_PARTS.format(where), values).fetchall()
            for part in parts:
                with database.serving() as connection:
                    connection.execute(HOLD_POSITION, part)
                    done = connection.execute(_DISCARD.format(where), [*part, *values, *decision])
                    count += done.rowcount
        return count

    def _ask(
        self, question: sql.SQL | sql.Composed, values: Sequence[object]
    ) -> list[tuple[Any, ...]]:
        with closing(self._open()) as database, database.reading() as connection:
            return connection.execute(question, values).fetchall()

    def _open(self) -> Database:
        return Database(self._url, "sinergi quarantine")
