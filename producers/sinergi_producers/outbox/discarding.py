"""Discards rows that the relay holds and that nobody can mend. They were never on the bus."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from sinergi_producers.outbox.releasing import release_behind
from sinergi_schemas import errors
from sinergi_schemas.plain_text import some
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Sequence

# The same order as in `publish`: first the record's head, then its rows.
_HEADS = """
    SELECT FROM sinergi_producer.head AS h WHERE EXISTS (
        SELECT FROM sinergi_producer.outbox AS o WHERE o.id = ANY(%s)
        AND o.event_type = h.event_type AND o.record_id = h.record_id)
    ORDER BY h.event_type, h.record_id FOR UPDATE
"""
_ROWS = """
    SELECT o.id, o.event_type, o.record_id, o.revision, o.held IS NOT NULL AND o.leaf_index IS NULL
    FROM sinergi_producer.outbox AS o WHERE o.id = ANY(%s) ORDER BY o.id DESC FOR UPDATE
"""
_DELETE = "DELETE FROM sinergi_producer.outbox WHERE id = %s"
_NEWEST = """
    SELECT pg_catalog.max(revision) FROM sinergi_producer.outbox
    WHERE event_type = %s AND record_id = %s
"""
_DELETE_HEAD = """
    DELETE FROM sinergi_producer.head WHERE event_type = %s AND record_id = %s AND revision = %s
"""
# An earlier revision was no retraction, since another one followed it.
_REWIND_HEAD = """
    UPDATE sinergi_producer.head
    SET revision = %s, action = CASE %s WHEN 1 THEN 'RECORDED' ELSE 'CORRECTED' END
    WHERE event_type = %s AND record_id = %s AND revision = %s
"""


def discard(url: str, ids: Sequence[int]) -> None:
    """Delete held rows, all of them or none, and set their records back to the revision before.

    If a later revision of the record exists, the discarded number stays unused: readers accept gaps
    between the revisions of a record. Rows that were held because of these are released, and the
    relay finds them within a minute.

    Args:
        url: an SQLAlchemy URL of the agency's database, as its owner.
        ids: those that `sinergi outbox list --held` shows.

    Raises:
        DiscardRefused: one of them is not there, or is not held.
        DatabaseAway, DatabaseBroken: the database does not answer, or does not permit it.
    """
    wanted = sorted(set(ids))
    with closing(Database(url, "sinergi outbox")) as database, database.serving() as connection:
        connection.execute(_HEADS, (wanted,))
        rows = connection.execute(_ROWS, (wanted,)).fetchall()
        unfit = set(wanted) - {row_id for row_id, *_, is_held in rows if is_held}
        if unfit:
            named = some(map(str, sorted(unfit)), ", ")
            raise errors.DiscardRefused(f"the relay holds no row {named}")
        for row_id, event_type, record_id, revision, _ in rows:
            connection.execute(_DELETE, (row_id,))
            record = (event_type, record_id)
            newest = connection.execute(_NEWEST, record).fetchone()
            left = newest[0] if newest else None
            if left is None:
                connection.execute(_DELETE_HEAD, (*record, revision))
            elif left < revision:
                connection.execute(_REWIND_HEAD, (left, left, *record, revision))
        release_behind(connection)
