"""The rows of an outbox that have no leaf yet, and why, for people to see. It only reads."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

_COLUMNS = "id, event_id, event_type, record_id, revision, recorded_at, backfill, held"
# The conditions are those of the outbox's partial indexes, so that no sealed row is read.
_HELD = "leaf_index IS NULL AND held IS NOT NULL"
_LIVE = "leaf_index IS NULL AND held IS NULL AND NOT backfill"
_BACKFILL = "leaf_index IS NULL AND held IS NULL AND backfill"


class PendingKind(StrEnum):
    """Why a row has no leaf yet."""

    HELD = "held"
    UNSEALED = "unsealed"


_WHICH = {
    None: (_HELD, _LIVE, _BACKFILL),
    PendingKind.HELD: (_HELD,),
    PendingKind.UNSEALED: (_LIVE, _BACKFILL),
}


class PendingRow(NamedTuple):
    """A row without a leaf.

    Attributes:
        backfill: the row is of the past, and is sent when no live row waits.
        held: why the relay does not seal it; None if it is only not sealed yet.
    """

    id: int
    event_id: UUID
    event_type: str
    record_id: str
    revision: int
    recorded_at: datetime
    backfill: bool
    held: str | None


def pending_rows(url: str, kind: PendingKind | None, most: int) -> tuple[list[PendingRow], int]:
    """The oldest rows without a leaf, and how many there are in all.

    Args:
        url: where the agency's database is.
        kind: only rows of this kind; None for all.
        most: the largest number of rows to return.

    Raises:
        DatabaseAway, DatabaseBroken: the database does not answer, or has no such tables.
    """
    waiting = " UNION ALL ".join(
        f"SELECT {_COLUMNS} FROM sinergi_producer.outbox WHERE {which}"  # noqa: S608 - ours
        for which in _WHICH[kind]
    )
    with closing(Database(url, "sinergi outbox")) as database, database.reading() as connection:
        rows = connection.execute(
            f"SELECT *, count(*) OVER () FROM ({waiting}) AS waiting ORDER BY id LIMIT %s",  # noqa: S608 - ours
            (most,),
        ).fetchall()
    return [PendingRow(*row[:-1]) for row in rows], rows[0][-1] if rows else 0
