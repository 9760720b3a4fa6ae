"""The tables of receipts of an owner and of a reader. Their primary keys find the first covering
one, and the largest one.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from sinergi_consumers.audit.dated_receipts import DatedReceipt
from sinergi_consumers.audit.records.possession import ReceiptSource, StoredReceipt
from sinergi_schemas.postgresql import Database

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi.settings.settings import Settings
    from sinergi_consumers.audit.sealed_interval import TimeInterval
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
    SELECT wanted.leaf, first.note, NOT EXISTS (
        SELECT FROM sinergi_consumer.retention AS gone
        WHERE gone.table_name = 'sinergi_consumer.receipt' AND gone.topic = %(topic)s
        AND gone.partition = %(partition)s AND gone.largest_size > wanted.leaf
    )
    FROM unnest(%(leaves)s::bigint[]) AS wanted (leaf)
    CROSS JOIN LATERAL (
        SELECT kept.note FROM sinergi_consumer.receipt AS kept
        WHERE kept.topic = %(topic)s AND kept.partition = %(partition)s
        AND kept.size > wanted.leaf ORDER BY kept.size LIMIT 1
    ) AS first
"""
# Signatures have whole seconds.
_LARGEST_OF_OWNER = """
    SELECT wanted.partition, each.reader, largest.note
    FROM unnest(%(readers)s::text[]) AS each (reader)
    CROSS JOIN unnest(%(partitions)s::integer[], %(most)s::bigint[]) AS wanted (partition, most)
    CROSS JOIN LATERAL (
        SELECT kept.note FROM sinergi_producer.seen_receipt AS kept
        WHERE kept.event_type = %(event_type)s AND kept.partition = wanted.partition
        AND kept.reader = each.reader AND kept.size <= wanted.most
        AND date_trunc('second', kept.signed_by_reader_at) >= %(since)s
        AND date_trunc('second', kept.signed_by_reader_at) < %(until)s
        ORDER BY kept.size DESC LIMIT 1
    ) AS largest
"""
_LARGEST_OF_READER = """
    SELECT wanted.partition, largest.note
    FROM unnest(%(partitions)s::integer[], %(most)s::bigint[]) AS wanted (partition, most)
    CROSS JOIN LATERAL (
        SELECT kept.note FROM sinergi_consumer.receipt AS kept
        WHERE kept.topic = %(topic)s AND kept.partition = wanted.partition
        AND kept.size <= wanted.most
        AND date_trunc('second', kept.signed_at) >= %(since)s
        AND date_trunc('second', kept.signed_at) < %(until)s
        ORDER BY kept.size DESC LIMIT 1
    ) AS largest
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
        values = _place(tp) | {"readers": list(readers), "leaves": list(leaves)}
        return [StoredReceipt(*row) for row in _rows(self._url, OF_OWNER, values)]

    def largest_signed(
        self, limits: Mapping[TopicPartition, int], readers: Sequence[str], signed: TimeInterval
    ) -> list[DatedReceipt]:
        """As `DatedReceiptTable` says.

        Raises:
            Unavailable, Fatal: see `Database.reading`.
        """
        return [
            DatedReceipt(tp._replace(partition=number), reader, note)
            for tp, values in _limited(limits, signed)
            for number, reader, note in _rows(
                self._url, _LARGEST_OF_OWNER, values | {"readers": list(readers)}
            )
        ]


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
        rows = _rows(self._url, OF_READER, _place(tp) | {"leaves": list(leaves)})
        return [
            StoredReceipt(self._reader, leaf, note, None, is_first=is_first)
            for leaf, note, is_first in rows
        ]

    def largest_signed(
        self, limits: Mapping[TopicPartition, int], readers: Sequence[str], signed: TimeInterval
    ) -> list[DatedReceipt]:
        """As `DatedReceiptTable` says.

        Raises:
            Unavailable, Fatal: see `Database.reading`.
        """
        if self._reader not in readers:
            return []
        return [
            DatedReceipt(tp._replace(partition=number), self._reader, note)
            for tp, values in _limited(limits, signed)
            for number, note in _rows(self._url, _LARGEST_OF_READER, values)
        ]


def _place(tp: TopicPartition) -> dict[str, Any]:
    """The values of a query that name a topic-partition."""
    return tp._asdict() | {"event_type": tp.event_topic.event_type}


def _limited(
    limits: Mapping[TopicPartition, int], signed: TimeInterval
) -> Iterator[tuple[TopicPartition, dict[str, Any]]]:
    """For each topic one of its partitions, and the values of a query about all of them."""
    by_topic: dict[str, list[TopicPartition]] = {}
    for tp in limits:
        by_topic.setdefault(tp.topic, []).append(tp)
    for first, *rest in by_topic.values():
        tps = [first, *rest]
        numbers, most = [each.partition for each in tps], [limits[each] for each in tps]
        yield (
            first,
            _place(first) | signed._asdict() | {"partitions": numbers, "most": most},
        )


def _rows(url: str, question: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a query.

    Raises:
        Unavailable, Fatal: see `Database.reading`.
    """
    with closing(Database(url, "sinergi receipts")) as database, database.reading() as connection:
        return connection.execute(question, values).fetchall()


def tables_of(settings: Settings, topic: Topic) -> Iterator[OwnerReceipts | ReaderReceipts]:
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
