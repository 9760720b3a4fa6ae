"""Who had each revision of a record, and since when: by the first receipt that covers its leaf.

A receipt states that all leaves below its size were in a database when the database signed. So the
first receipt whose size is above a leaf says since when the database has had it. Where the receipt
comes from decides what is known:

    the reader's own table    it has every receipt of this database: this one is the first. If older
                              receipts that cover the leaf were removed by `sinergi db prune`, the
                              database had it at the latest then
    the owner's table         it has those that the owner's relay has seen: the first of these
    the receipts topic        it has the newest receipt only: the database had the leaf at the
                              latest then, and nothing says since when

All signatures are verified again here. The time is the one under the reader's signature, by the
reader's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sinergi_consumers.audit.statements import RECEIPT, SignedStatement
from sinergi_schemas import errors
from sinergi_schemas.agreements import receipts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sinergi_consumers.audit.records.reading import SealedRecord, SealedRevision
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.agreements.receipts import CosignedReceipt
    from sinergi_schemas.topics import Topic, TopicPartition


class ReceiptSource(StrEnum):
    """Where a receipt was found, the most telling first."""

    READER_TABLE = "reader's table"
    OWNER_TABLE = "owner's table"
    TOPIC = "receipts topic"

    @property
    def is_newest_only(self) -> bool:
        """Whether it has only the newest receipt of each database."""
        return self is ReceiptSource.TOPIC


class StoredReceipt(NamedTuple):
    """A receipt in a database: of those of one reader, the smallest that covers a leaf.

    Attributes:
        reader: `<agency>/<database>`, as the table says.
        seen_by_owner_at: when the owner stored it, by the clock of its database; None in a reader's
            own table. Nothing signs it.
        is_first: whether no earlier receipt that covers the leaf was removed from the table.
    """

    reader: str
    leaf_index: int
    note: str
    seen_by_owner_at: datetime | None
    is_first: bool = True


class ReceiptTable(Protocol):
    """A table of receipts, of the owner or of a reader."""

    @property
    def source(self) -> ReceiptSource:
        """Whose it is."""

    def first_covering(
        self, tp: TopicPartition, readers: Sequence[str], leaves: Sequence[int]
    ) -> list[StoredReceipt]:
        """For each reader and leaf the stored receipt with the smallest size above the leaf."""


@dataclass(frozen=True, slots=True)
class Possession:
    """Since when one database has had one revision of a record.

    Attributes:
        reader: `<agency>/<database>`.
        leaf_index: of the revision.
        is_entitled: whether the agreement that the event names lets the agency read it.
        receipt: the first known one that covers the leaf; None if there is none yet.
        source: where it was found.
        seen_by_owner_at, is_first: see `StoredReceipt`.
    """

    reader: str
    leaf_index: int
    is_entitled: bool
    receipt: CosignedReceipt | None = None
    source: ReceiptSource | None = None
    seen_by_owner_at: datetime | None = None
    is_first: bool = True

    @property
    def at_the_latest(self) -> bool:
        """Whether earlier receipts may be unknown, so that it may have had the leaf earlier."""
        return self.source is not None and (self.source.is_newest_only or not self.is_first)

    @property
    def signed_by_reader_at(self) -> datetime | None:
        """When the reader's database signed, by the reader's clock."""
        return None if self.receipt is None else self.receipt.signed_at


class _KnownReceipt(NamedTuple):
    """The first known receipt of a database that covers a leaf; see `Possession`."""

    receipt: CosignedReceipt
    source: ReceiptSource
    seen_by_owner_at: datetime | None
    is_first: bool = True


@dataclass(frozen=True, slots=True)
class PossessionReport:
    """Since when all databases of the readers have had a record.

    Attributes:
        by_leaf: of each revision by the index of its leaf, by reader.
        remarks: what was found and does not count, and what could not be read, a line each.
        is_complete: whether every table could be read. If not, earlier receipts may be unknown.
    """

    by_leaf: dict[int, list[Possession]]
    remarks: list[str]
    is_complete: bool = True

    def of(self, revision: SealedRevision) -> list[Possession]:
        """Those of one revision."""
        return self.by_leaf.get(revision.leaf_index, [])


def possession(
    agreements: Agreements, record: SealedRecord, tables: Iterable[ReceiptTable]
) -> PossessionReport:
    """Find for each revision and database the first known receipt that covers it.

    A receipt that contradicts the tree of the topic is added to the findings of the audit. If a
    table cannot be read now, the receipts topic tells the rest.

    Args:
        tables: the most telling first.

    Raises:
        Fatal: a table is not what it has to be; see `Database.reading`.
    """
    found: dict[tuple[str, int], _KnownReceipt] = {}
    remarks: list[str] = []
    away: list[str] = []
    readers = databases_of(agreements, record.topic)
    if not record.revisions:
        return PossessionReport({}, [])
    tp = record.revisions[0].tp
    for table in sorted(tables, key=lambda each: [*ReceiptSource].index(each.source)):
        try:
            kept = table.first_covering(tp, readers, record.leaves)
        except errors.Unavailable as why:
            less = "of each database only its newest receipt is known, from the receipts topic"
            away.append(f"the {table.source} could not be read, so {less}: {why}")
            continue
        for stored in kept:
            place = stored.reader, stored.leaf_index
            try:
                receipt = _valid(agreements, record.topic, stored)
            except errors.SealBroken as why:
                remarks.append(
                    f"the {table.source} has no valid receipt of {stored.reader} for leaf"
                    f" {stored.leaf_index}: {why}"
                )
                continue
            known = _KnownReceipt(receipt, table.source, stored.seen_by_owner_at, stored.is_first)
            found.setdefault(place, known)
    for receipt in _newest(agreements, record):
        for leaf in record.leaves:
            if leaf < receipt.size:
                known = _KnownReceipt(receipt, ReceiptSource.TOPIC, None)
                found.setdefault((receipt.reader, leaf), known)
    _compare(record, found.values())
    by_leaf: dict[int, list[Possession]] = {each: [] for each in record.leaves}
    for each in _by_revision(agreements, record, readers, found):
        by_leaf[each.leaf_index].append(each)
    return PossessionReport(by_leaf, [*remarks, *away], is_complete=not away)


def databases_of(agreements: Agreements, topic: Topic) -> list[str]:
    """The databases of all that may ever have read a topic, `<agency>/<database>`, sorted."""
    keys = {
        key.name.partition("/")[2]
        for reader in agreements.readers(topic)
        if reader != topic.agency
        for key in agreements.receipt_keys(reader, topic)
    }
    return sorted(keys)


def _valid(agreements: Agreements, topic: Topic, stored: StoredReceipt) -> CosignedReceipt:
    """Verify a stored receipt, and that it is what its row says.

    Raises:
        SealBroken: it is not.
    """
    agency = stored.reader.partition("/")[0]
    found = receipts.verified(agreements, topic, agency, stored.note)
    if found.reader != stored.reader or found.size <= stored.leaf_index:
        raise errors.NoteMalformed("the note is another than its row says")
    return found


def _newest(agreements: Agreements, record: SealedRecord) -> Iterator[CosignedReceipt]:
    """The largest receipt of each database in the receipts topics; the audit has verified them."""
    for each in record.audit.verdict.statements.of(record.partition):
        if each.kind == RECEIPT:
            agency = each.name.split("/")[1]
            yield receipts.verified(agreements, record.topic, agency, each.note)


def _compare(record: SealedRecord, found: Iterable[_KnownReceipt]) -> None:
    """Compare the receipts out of tables with the tree of the topic; read it again if needed."""
    stated = {
        each.receipt.size: each.receipt for each in found if each.source is not ReceiptSource.TOPIC
    }
    record.audit.compare(
        record.partition,
        [SignedStatement.of_receipt(each) for each in stated.values()],
    )


def _by_revision(
    agreements: Agreements,
    record: SealedRecord,
    readers: Sequence[str],
    found: Mapping[tuple[str, int], _KnownReceipt],
) -> Iterator[Possession]:
    for revision in record.revisions:
        entitled = _entitled(agreements, record.topic, revision)
        for reader in readers:
            place = reader, revision.leaf_index
            is_entitled = reader.partition("/")[0] in entitled
            yield Possession(*place, is_entitled, *found.get(place, ()))


def _entitled(agreements: Agreements, topic: Topic, revision: SealedRevision) -> list[str]:
    """The agencies that the agreement which an event names lets read it."""
    named = str((revision.event or {}).get("agreement", ""))
    agreement = agreements.by_hash(named)
    return [] if agreement is None else list(agreement.readers(topic))
