"""Which database of a reader is meant, and where its receipts are found."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from sinergi.cli import terminal
from sinergi_consumers.audit.arrival import arrived
from sinergi_consumers.audit.reader_records import ReaderRecords
from sinergi_consumers.audit.receipt_cuts import ReaderName, ReceiptReading
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sinergi.cli.reading_place import ReadingPlace
    from sinergi.settings.settings import Settings
    from sinergi_consumers.audit.arrival import ArrivalCondition
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.topics import Topic


def named(text: str | None, settings: Settings, agreements: Agreements) -> ReaderName:
    """The database that `--reader` means, or else that of the settings.

    Raises:
        ReplayRefused: no agreement has a key of such a database, or several are possible.
    """
    own = settings.values.agency
    agency, _, database = (text or own or "").partition("/")
    if not agency:
        raise errors.ReplayRefused("say whose database: --reader AGENCY or AGENCY/DATABASE")
    keys = agreements.receipt_keys(agency)
    known = sorted({each.name.rpartition("/")[2] for each in keys})
    if not known:
        agencies = (each for each in agreements.agencies if agreements.receipt_keys(each))
        what = f'the agreements have no receipt key of a database of "{agency}"'
        raise errors.ReplayRefused(f"{what}; they have keys of {', '.join(agencies) or 'nobody'}")
    if not database and agency == own and settings.consumer_name in known:
        database = settings.consumer_name
    if not database and len(known) == 1:
        (database,) = known
    if database not in known:
        what = f"{agency} has several databases" if not database else f"{agency} has no {database}"
        raise errors.ReplayRefused(f"{what} in the agreements; say --reader {agency}/{known[0]}")
    return ReaderName(agency, database)


def arrival(
    interval: tuple[datetime | None, datetime | None],
    reader: ReaderName,
    place: ReadingPlace,
    topics: Sequence[Topic],
) -> ArrivalCondition:
    """The events of some topics that arrived at a database in an interval, by its receipts.

    What was noticed in the receipts is said on standard error.

    Raises:
        ReceiptsMissing, ReceiptFalse, Unavailable: see `arrived`.
    """
    since, until = interval
    with reading(reader, place) as receipts:
        tps = partitions(topics, place.agreements)
        found = arrived(receipts, tps, since, until or SYSTEM.now())
    for each in found.remarks:
        terminal.note(f"sinergi: {each}")
    return found


def partitions(topics: Sequence[Topic], agreements: Agreements) -> list[TopicPartition]:
    """The topic-partitions of some topics."""
    return [
        TopicPartition(each.name, number)
        for each in topics
        for number in range(agreements.partitions(each))
    ]


@contextmanager
def reading(reader: ReaderName, place: ReadingPlace) -> Iterator[ReceiptReading]:
    """Its receipts: those in its database if the settings name it, and those on its topic.

    Raises:
        SettingsRefused: no setting says where the brokers are.
    """
    settings, source = place.settings, place.receipts_source
    values = settings.values
    is_own = reader == (values.agency, settings.consumer_name)
    if not is_own or values.consumer.database is None:
        yield ReceiptReading(reader, place.agreements, source, None)
        return
    with closing(ReaderRecords(settings.consumer_database)) as records:
        yield ReceiptReading(reader, place.agreements, source, records)
