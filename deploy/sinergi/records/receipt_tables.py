"""The tables of receipts of an owner and of a reader. Their primary keys find the first covering
one.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from sinergi_consumers.audit.records.possession import ReceiptSource, StoredReceipt
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi.settings.settings import Settings
    from sinergi_consumers.audit.records.possession import ReceiptTable
    from sinergi_schemas.topics import Topic, TopicPartition

OF_OWNER = """
    SELECT each.reader, wanted.leaf, first.note, first.seen_by_owner_at
    FROM unnest(%(readers)s::text[]) AS each (reader)
    CROSS JOIN unnest(%(leaves)s::bigint[]) AS wanted (leaf)
    CROSS JOIN LATERAL (
        SELECT kept.note, kept.seen_by_owner_at FROM sinergi_producer.seen_receipt AS kept
        WHERE kept.event_type = %(event_type)s AND kept.partition = %(partition)s
        AND kept.reader = each.reader AND kept.size > wanted.leaf
        ORDER BY kept.size LIMIT 1
    ) AS first
"""
OF_READER = """
    SELECT wanted.leaf, first.note FROM unnest(%(leaves)s::bigint[]) AS wanted (leaf)
    CROSS JOIN LATERAL (
        SELECT kept.note FROM sinergi_consumer.receipt AS kept
        WHERE kept.topic = %(topic)s AND kept.partition = %(partition)s
        AND kept.size > wanted.leaf ORDER BY kept.size LIMIT 1
    ) AS first
"""


class OwnerReceipts:
    """The receipts that an owner's relay has seen.

    Args:
        url: where the agency publishes; see `sinergi_schemas.postgresql.address`.
    """

    source = ReceiptSource.OWNER_TABLE

    def __init__(self, url: str) -> None:
        self._url = url

    def first_covering(
        self, tp: TopicPartition, readers: Sequence[str], leaves: Sequence[int]
    ) -> list[StoredReceipt]:
        """As `ReceiptTable` says.

        Raises:
            Unavailable, Fatal: see `Database.reading`.
        """
        values = {
            "readers": list(readers),
            "leaves": list(leaves),
            "event_type": tp.event_topic.event_type,
            "partition": tp.partition,
        }
        with (
            closing(Database(self._url, "sinergi received")) as database,
            database.reading() as connection,
        ):
            return [StoredReceipt(*row) for row in connection.execute(OF_OWNER, values)]


class ReaderReceipts:
    """The receipts that a reader's database has signed.

    Args:
        url: where it is; see `sinergi_schemas.postgresql.address`.
        reader: `<agency>/<database>`.
    """

    source = ReceiptSource.READER_TABLE

    def __init__(self, url: str, reader: str) -> None:
        self._url = url
        self._reader = reader

    def first_covering(
        self, tp: TopicPartition, readers: Sequence[str], leaves: Sequence[int]
    ) -> list[StoredReceipt]:
        """As `ReceiptTable` says; the table has the receipts of one reader only.

        Raises:
            Unavailable, Fatal: see `Database.reading`.
        """
        if self._reader not in readers:
            return []
        values = {"leaves": list(leaves), "topic": tp.topic, "partition": tp.partition}
        with (
            closing(Database(self._url, "sinergi received")) as database,
            database.reading() as connection,
        ):
            rows = connection.execute(OF_READER, values).fetchall()
        return [StoredReceipt(self._reader, leaf, note, None) for leaf, note in rows]


def tables_of(settings: Settings, topic: Topic) -> Iterator[ReceiptTable]:
    """The tables that these settings let us read, with receipts for a topic."""
    values = settings.values
    if values.agency is None:
        return
    if topic.agency == values.agency and values.producer.database:
        yield OwnerReceipts(settings.producer_database)
    if topic.agency != values.agency and values.consumer.database:
        yield ReaderReceipts(
            settings.consumer_database, f"{values.agency}/{settings.consumer_name}"
        )
