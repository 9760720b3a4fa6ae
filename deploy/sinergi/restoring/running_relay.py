"""Whether a relay leads for an outbox, by its lease.

Only its owner's relay and a restore write to a topic. A relay compares the topic with its outbox
when its term begins, so the topic must not change during a term.
"""

from __future__ import annotations

from contextlib import closing

from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database

_LEADER = """
    SELECT holder FROM sinergi_producer.lease
    WHERE name = 'relay' AND expires_at > clock_timestamp()
"""


def check_none_leads(url: str) -> None:
    """Refuse while a relay leads.

    Args:
        url: where the agency publishes; see `sinergi_schemas.postgresql.address`.

    Raises:
        RestoreRefused: one does.
        Unavailable, Fatal: see `Database.reading`.
    """
    with (
        closing(Database(url, "sinergi archive restore")) as database,
        database.reading() as connection,
    ):
        found = connection.execute(_LEADER).fetchone()
    if found is not None:
        what = f"the relay {found[0]} leads; stop every relay of this agency first"
        raise errors.RestoreRefused(what)
