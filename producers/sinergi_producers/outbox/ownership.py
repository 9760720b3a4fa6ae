"""Checks that the owner of an outbox logs in to the outbox that its agency publishes in.

Two addresses of one database need not look alike: other users, hosts or poolers. So a lock that is
taken through one of them is looked for through the other. PostgreSQL keeps an advisory lock for one
database of one running server, so a copy or a restored backup does not have it, and anybody may ask
for it. Its key is chosen at random each time, so that nobody can hold it beforehand. It ends with
its transaction, so a pooler may be on the way.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from sinergi_schemas.timeouts import DatabaseTimeouts

_LOCK = "SELECT pg_catalog.pg_try_advisory_xact_lock(%s)"
_KEY_BITS = 63
_HAS_TREES = "SELECT pg_catalog.to_regclass('sinergi_producer.tree') IS NOT NULL"
_NEWEST_NOTES = """
    SELECT t.event_type, t.partition, c.note FROM sinergi_producer.tree AS t CROSS JOIN LATERAL (
        SELECT note FROM sinergi_producer.checkpoint
        WHERE event_type = t.event_type AND partition = t.partition ORDER BY size DESC LIMIT 1) AS c
    ORDER BY 1, 2
"""


def check_owned_outbox(
    owner_url: str,
    url: str | None,
    agency: str | None,
    timeouts: DatabaseTimeouts = DEFAULT.database,
) -> None:
    """Check the address of the owner, before anything is changed there.

    Args:
        owner_url: where the owner logs in; see `sinergi_schemas.postgresql.address`.
        url: where the agency publishes; None if that is not set.
        agency: whose outbox it must be; None if that is not set.

    Raises:
        OwnerDatabaseRefused: the addresses lead to two databases, or to another agency's outbox.
        DatabaseAway, DatabaseBroken: one of them does not answer.
    """
    with (
        closing(Database(owner_url, "sinergi outbox", timeouts)) as owners,
        owners.reading() as connection,
    ):
        if url is not None and url != owner_url:
            key = secrets.randbits(_KEY_BITS)
            connection.execute(_LOCK, (key,))
            with (
                closing(Database(url, "sinergi outbox", timeouts)) as database,
                database.reading() as other,
            ):
                is_free = other.execute(_LOCK, (key,)).fetchone()
            if is_free != (False,):
                raise errors.OwnerDatabaseRefused("does not lead to that of `producer.database`")
        if agency is None or connection.execute(_HAS_TREES).fetchone() != (True,):
            return
        for event_type, partition, note in connection.execute(_NEWEST_NOTES):
            origin = note.partition("\n")[0]
            if not origin.endswith(f"/{TopicPartition(Topic(agency, event_type).name, partition)}"):
                what = f"leads to the outbox of another agency than {agency}: it has sealed events"
                raise errors.OwnerDatabaseRefused(f"{what} of {origin}")
