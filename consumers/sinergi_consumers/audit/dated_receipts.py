"""Receipts in the tables of a database, chosen by when they were signed.

The owner's table has the receipts that its relay has seen, and a reader's own table all of its own.
The time in a row only finds the receipt: the one that counts stands under the reader's signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from sinergi_consumers.audit.statements import SignedStatement
from sinergi_schemas import errors
from sinergi_schemas.agreements import receipts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinergi_consumers.audit.records.possession import ReceiptSource
    from sinergi_consumers.audit.sealed_interval import TimeInterval
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.topics import Topic, TopicPartition


class DatedReceipt(NamedTuple):
    """A receipt in a table of a database; nothing of it is verified.

    Attributes:
        reader: `<agency>/<database>`.
    """

    tp: TopicPartition
    reader: str
    note: str


class DatedReceiptTable(Protocol):
    """A table of receipts, of an owner or of a reader."""

    @property
    def source(self) -> ReceiptSource:
        """Whose it is."""

    def largest_signed(
        self, limits: Mapping[TopicPartition, int], readers: Sequence[str], signed: TimeInterval
    ) -> list[DatedReceipt]:
        """The receipt of the largest tree that each reader signed in an interval.

        Args:
            limits: the largest tree of each topic-partition that is of use.
            readers: `<agency>/<database>`.
            signed: when it was signed, by the table, in whole seconds.

        Raises:
            SinergiError: the table cannot be read.
        """


def verified(agreements: Agreements, topic: Topic, stored: DatedReceipt) -> SignedStatement:
    """A stored receipt, if it is what its row says.

    Raises:
        SealBroken: it is not, or one of its signatures is not valid.
    """
    agency = stored.reader.partition("/")[0]
    receipt = receipts.verified(agreements, topic, agency, stored.note)
    if (receipt.reader, receipt.tp) != (stored.reader, stored.tp):
        raise errors.NoteMalformed("the note is another than its row says")
    return SignedStatement.of_receipt(receipt)
