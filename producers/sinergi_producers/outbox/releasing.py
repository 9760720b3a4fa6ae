"""Releases held rows whose reason may no longer hold, so that the relay tries them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_producers.relay.row_check import UNKNOWN_AGREEMENT, UNKNOWN_SCHEMA
from sinergi_producers.relay.sealing import BEHIND, NOT_COVERED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

_COVERED = """
    UPDATE sinergi_producer.outbox SET held = NULL
    WHERE held IS NOT NULL AND pg_catalog.starts_with(held, %s) AND event_type = ANY(%s)
"""
_UNKNOWN_AGREEMENT = "UPDATE sinergi_producer.outbox SET held = NULL WHERE held = %s"
_KNOWN = """
    UPDATE sinergi_producer.outbox SET held = NULL
    WHERE held IS NOT NULL AND pg_catalog.starts_with(held, %s) AND fingerprint = ANY(%s)
"""
_BEHIND = """
    UPDATE sinergi_producer.outbox AS o SET held = NULL
    WHERE o.held = %s AND NOT EXISTS (SELECT FROM sinergi_producer.outbox AS earlier
        WHERE earlier.held IS NOT NULL AND earlier.held <> o.held
        AND earlier.event_type = o.event_type AND earlier.record_id = o.record_id
        AND earlier.id < o.id)
"""


def release(
    connection: psycopg.Connection,
    event_types: Sequence[str],
    fingerprints: Sequence[bytes],
    *,
    has_new_agreements: bool = False,
) -> int:
    """Release rows that an agreement now covers, or whose schema this version has; how many.

    Args:
        event_types: those that an agreement in force covers.
        fingerprints: of the schemas that this version has.
        has_new_agreements: whether to release the rows that name an unknown agreement, too.
    """
    named = 0
    if has_new_agreements:
        named = connection.execute(_UNKNOWN_AGREEMENT, (UNKNOWN_AGREEMENT,)).rowcount
    covered = connection.execute(_COVERED, (NOT_COVERED, list(event_types))).rowcount
    known = connection.execute(_KNOWN, (UNKNOWN_SCHEMA, list(fingerprints))).rowcount
    return named + covered + known + release_behind(connection)


def release_behind(connection: psycopg.Connection) -> int:
    """Release rows of whose record no earlier revision is held any more; how many."""
    return connection.execute(_BEHIND, (BEHIND,)).rowcount
