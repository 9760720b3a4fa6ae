"""How many leaves of each partition a reader's database had at a time, by its own receipts.

A receipt states that all leaves below its size were in the tables of one database, with the time of
that database's clock in whole seconds. So the database had the leaves of the largest receipt of
that second or of an earlier one. (Not of the newest: a projection that is added later reads the
topic again, and signs smaller trees at later times.)

Receipts come from two places. The reader's database keeps every receipt, unless `sinergi db prune`
has removed older ones. Its receipts topic keeps the newest of each partition, and perhaps some
before it: there a later receipt shows that earlier ones may be gone. What cannot be told is not
guessed: the cut is then refused.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.audit.statements import SignedStatement
from sinergi_schemas import errors, topics
from sinergi_schemas.agreements import receipts
from sinergi_schemas.plain_text import counted, listing
from sinergi_schemas.seal.checkpoint import MOST_RECEIPT_BYTES
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sinergi_consumers.audit.reader_records import (
        ReaderRecords,
        RemovedReceipts,
        UnverifiedReceipt,
    )
    from sinergi_consumers.reading.source import TopicSource
    from sinergi_schemas.agreements.collection import Agreements


class ReaderName(NamedTuple):
    """A database of an agency on the bus."""

    agency: str
    database: str

    def __str__(self) -> str:
        return f"{self.agency}/{self.database}"


@dataclass(slots=True)
class NearReceipts:
    """The verified receipts of one partition that are nearest to a time.

    Attributes:
        last: the largest one that was signed by then.
        following: the smallest larger one that was signed later.
        removed: those that were removed from the database, if one of them may be the last.
    """

    last: SignedStatement | None = None
    following: SignedStatement | None = None
    removed: RemovedReceipts | None = None

    @property
    def is_exact(self) -> bool:
        """Whether they leave one number of leaves, where not every receipt is known."""
        least = self.last.size if self.last else 0
        return self.following is None or self.following.size == least + 1

    def add(self, receipt: SignedStatement, second: int) -> None:
        """Take another receipt into account."""
        if receipt.at is None:
            return
        if receipt.at.timestamp() <= second:
            if self.last is None or receipt.size > self.last.size:
                self.last = receipt
        elif self.following is None or receipt.size < self.following.size:
            self.following = receipt


@dataclass(slots=True)
class ReceiptCuts:
    """How many leaves of each partition a database had at a time.

    Attributes:
        reader: the database.
        at: the time.
        receipts: the receipt that says so, for each partition with leaves.
        remarks: what was noticed, one per line.
    """

    reader: ReaderName
    at: datetime
    receipts: dict[TopicPartition, SignedStatement] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def size(self, tp: TopicPartition) -> int:
        """How many leaves of a partition it had."""
        return self.receipts[tp].size if tp in self.receipts else 0


class ReceiptReading:
    """Finds the receipts of a reader's database.

    Args:
        reader: the database.
        agreements: they have the keys.
        source: where the receipts topic is read.
        records: the database itself, or None where it is out of reach.
    """

    def __init__(
        self,
        reader: ReaderName,
        agreements: Agreements,
        source: TopicSource,
        records: ReaderRecords | None,
    ) -> None:
        self.reader = reader
        self.records = records
        self._agreements = agreements
        self._source = source

    def cuts(
        self,
        tps: Sequence[TopicPartition],
        at: datetime,
        *,
        is_before: bool = False,
    ) -> ReceiptCuts:
        """How many leaves of some partitions the database had at a time.

        Before its first receipt it had none; a remark says so then.

        Args:
            tps: the topic-partitions.
            at: the time.
            is_before: whether a receipt that is signed at that very time does not count.

        Raises:
            ReceiptsMissing: the receipts do not say it, or there are none.
            ReceiptFalse: a receipt in the database is not what it signed.
            Unavailable: the brokers or the database do not answer.
        """
        # Receipts have whole seconds.
        second = ceil(at.timestamp()) - 1 if is_before else int(at.timestamp())
        found = ReceiptCuts(self.reader, at)
        published = self._published(tps, second)
        near = {tp: self._near(tp, second, published[tp], found) for tp in tps}
        when = f"{'before' if is_before else 'at'} {at.isoformat(timespec='seconds')}"
        self._check(found, near, when)
        found.receipts = {tp: each.last for tp, each in near.items() if each.last is not None}
        return found

    def _near(
        self, tp: TopicPartition, second: int, published: NearReceipts, found: ReceiptCuts
    ) -> NearReceipts:
        """The receipts of a partition that are nearest to a time, of both places."""
        if self.records is None:
            return published
        near = NearReceipts()
        last = self.records.last_receipt(tp, second)
        following = self.records.following_receipt(tp, last.size if last else 0)
        for each in (last, following):
            if each is not None:
                near.add(self._verified(tp, each), second)
        removed = self.records.removed_receipts(tp)
        if published.last and (near.last is None or published.last.size > near.last.size):
            if removed is None or published.last.size > removed.largest:
                more = counted(published.last.size, "leaf", "leaves")
                what = f"the database lacks the receipt for {more} of {tp} that it has published"
                found.remarks.append(what)
            near.last = published.last
        if removed is not None and removed.largest > (near.last.size if near.last else 0):
            near.removed = removed
        return near

    def _verified(self, tp: TopicPartition, stored: UnverifiedReceipt) -> SignedStatement:
        """A receipt of the database, if it is what the database signed.

        Raises:
            ReceiptFalse: it is not.
        """
        try:
            receipt = self._receipt(tp, stored.note)
        except errors.SealBroken as why:
            raise errors.ReceiptFalse(*tp, stored.size, type(why).__name__) from None
        second = int(stored.signed_at.timestamp())
        signed = None if receipt.at is None else int(receipt.at.timestamp())
        if (receipt.partition, receipt.size, signed) != (tp.partition, stored.size, second):
            what = "its row and its note differ"
            raise errors.ReceiptFalse(*tp, stored.size, what)
        return receipt

    def _receipt(self, tp: TopicPartition, note: str) -> SignedStatement:
        """A receipt of the database for a topic.

        Raises:
            SealBroken: the database has not signed it, or the owner has not signed its tree.
        """
        found = receipts.verified(self._agreements, tp.event_topic, self.reader.agency, note)
        if found.reader != str(self.reader):
            raise errors.SignatureMissing(f"A receipt for {tp.topic}", str(self.reader))
        return SignedStatement.of_receipt(found)

    def _published(
        self, tps: Iterable[TopicPartition], second: int
    ) -> dict[TopicPartition, NearReceipts]:
        """The receipts on the receipts topic that are nearest to a time; it need not exist."""
        found: dict[TopicPartition, NearReceipts] = defaultdict(NearReceipts)
        wanted = {f"{self.reader.database}/{tp.topic}/{tp.partition}".encode(): tp for tp in tps}
        name = topics.receipts_topic(self.reader.agency)
        if not self._source.partition_counts([name]):
            return found
        with self._source.open_scan(TopicPartition(name, 0)) as scan:
            for chunk in scan.read(*scan.bounds()):
                for each in chunk:
                    tp, value = wanted.get(each.key() or b""), each.value()
                    if tp is not None and value and len(value) <= MOST_RECEIPT_BYTES:
                        self._add_published(found[tp], tp, value, second)
        return found

    def _add_published(
        self, near: NearReceipts, tp: TopicPartition, value: bytes, second: int
    ) -> None:
        """Take a message of the receipts topic into account, if it is a valid receipt."""
        try:
            receipt = self._receipt(tp, value.decode())
        except (UnicodeDecodeError, errors.SealBroken):
            return  # the audit of the topic counts and reports it
        if receipt.partition == tp.partition:
            near.add(receipt, second)

    def _check(
        self, found: ReceiptCuts, near: Mapping[TopicPartition, NearReceipts], when: str
    ) -> None:
        """Refuse if the receipts do not say what the database had.

        Raises:
            ReceiptsMissing: they do not.
        """
        reader = str(self.reader)
        if not any(each.last or each.following for each in near.values()):
            what = "no receipt of it was found for these topics"
            raise errors.ReceiptsMissing(reader, when, f"\n  {what}")
        if self.records is None:
            unknown = [_unknown(tp, each) for tp, each in near.items() if not each.is_exact]
            if unknown:
                every = f"the database itself has every receipt: ask with the settings of {reader}"
                raise errors.ReceiptsMissing(reader, when, listing([*unknown, every]))
        elif removed := [
            _of_removed(tp, each.last, gone) for tp, each in near.items() if (gone := each.removed)
        ]:
            raise errors.ReceiptsMissing(reader, when, listing(removed))
        if not any(each.last for each in near.values()):
            first = min(
                each.following.at for each in near.values() if each.following and each.following.at
            )
            with suppress(OverflowError):  # another offset may need the year 10000
                first = first.astimezone(found.at.tzinfo)
            why = f"by its own receipts: the first one is of {first.isoformat()}"
            found.remarks.append(f"{reader} had nothing {when}, {why}")


def _of_removed(tp: TopicPartition, last: SignedStatement | None, removed: RemovedReceipts) -> str:
    """Between which sizes a database was, where receipts of it were removed."""
    least = last.size if last else 0
    return (
        f"{tp}: at least {least} leaves; its receipts for up to"
        f" {removed.largest}, signed before {removed.before:%Y-%m-%d}, were removed by"
        f" `sinergi db prune`, the last on {removed.removed_at:%Y-%m-%d}"
    )


def _unknown(tp: TopicPartition, near: NearReceipts) -> str:
    """Between which sizes a database was, where only its topic is known."""
    least = near.last.size if near.last else 0
    most = near.following.size if near.following else least
    where = f"{tp.topic}/{tp.partition}"
    return f"{where}: at least {least} and fewer than {most} leaves, by its receipts topic"
