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
_WHICH = {"held": "held IS NOT NULL", "unsealed": "held IS NULL"}


class PendingKind(StrEnum):
    """Why a row has no leaf yet."""

    HELD = "held"
    UNSEALED = "unsealed"


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
    which = f"leaf_index IS NULL AND {_WHICH[kind] if kind else 'true'}"
    with closing(Database(url, "sinergi outbox")) as database, database.reading() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS}, count(*) OVER () FROM sinergi_producer.outbox"  # noqa: S608 - ours
            f" WHERE {which} ORDER BY id LIMIT %s",
            (most,),
        ).fetchall()
    return [PendingRow(*row[:-1]) for row in rows], rows[0][-1] if rows else 0
