"""What the agency's own databases say of a record beside its topic. Nobody has signed it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from sinergi_consumers.audit.records.life import OwnFacts, QuarantineEntry
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from datetime import datetime

    from sinergi.settings.settings import Settings
    from sinergi_consumers.audit.records.reading import SealedRecord

_SEALED = """
    SELECT size, sealed_at FROM sinergi_producer.checkpoint
    WHERE event_type = %s AND partition = %s AND size = ANY(%s::bigint[])
"""
_QUARANTINE = """
    SELECT leaf_index, projection, state, reason, detail, quarantined_at
    FROM sinergi_consumer.quarantine
    WHERE topic = %s AND partition = %s AND leaf_index = ANY(%s::bigint[])
    ORDER BY leaf_index, projection
"""


def own_facts(settings: Settings, record: SealedRecord) -> OwnFacts:
    """What the databases of the settings say of a record.

    Raises:
        Unavailable, Fatal: one of them cannot be read; see `Database.reading`.
    """
    values = settings.values
    if values.agency is None:
        return OwnFacts()
    if record.topic.agency == values.agency:
        if not values.producer.database:
            return OwnFacts()
        return OwnFacts(sealed_at=_sealed_at(settings.producer_database, record))
    if not values.consumer.database:
        return OwnFacts()
    return OwnFacts(quarantine=_quarantine(settings.consumer_database, record))


def _sealed_at(url: str, record: SealedRecord) -> dict[int, datetime]:
    sizes = [each.size for each in record.revisions]
    values = (record.topic.event_type, record.partition, sizes)
    with closing(Database(url, "sinergi record")) as database, database.reading() as connection:
        return dict(connection.execute(_SEALED, values).fetchall())


def _quarantine(url: str, record: SealedRecord) -> list[QuarantineEntry]:
    values = (record.topic.name, record.partition, record.leaves)
    with closing(Database(url, "sinergi record")) as database, database.reading() as connection:
        return [QuarantineEntry(*row) for row in connection.execute(_QUARANTINE, values)]
