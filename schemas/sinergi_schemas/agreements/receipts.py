"""Receipts as the agreements judge them: whose database has signed that it has which leaves.

Anybody may have written to a receipts topic, so where a receipt lies decides nothing. It counts if
a database of a reader has signed it under a key of the agreements, and the topic's owner has signed
the tree in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.clock import from_posix_time
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from datetime import datetime

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.seal.keys import VerifyingKey


class ClaimedReceipt(NamedTuple):
    """What a note says of itself, before any signature in it is verified.

    Attributes:
        tp: the topic-partition.
        reader: the reading agency and its database, `<agency>/<database>`.
        size: how many leaves the database has.
        note: the receipt.
    """

    tp: TopicPartition
    reader: str
    size: int
    note: str

    @property
    def agency(self) -> str:
        """The agency of the database."""
        return self.reader.partition("/")[0]


@dataclass(frozen=True, slots=True)
class CosignedReceipt:
    """A receipt that a database of a reader has signed. The owner need not have signed its tree.

    Attributes:
        tp: the topic-partition.
        key: of the database, named `<bus>/<agency>/<database>`.
        size, root: of the tree.
        signed_at: when the database signed, by the reader's clock; None if it is out of range.
        note: the receipt.
    """

    tp: TopicPartition
    key: VerifyingKey
    size: int
    root: bytes
    signed_at: datetime | None
    note: str

    @property
    def reader(self) -> str:
        """The reading agency and its database, `<agency>/<database>`."""
        return self.key.name.partition("/")[2]

    def verify_owner(self, agreements: Agreements) -> None:
        """Verify that the owner of the topic has signed the tree.

        Raises:
            SealBroken: it has not, or with a key that may not sign a tree of this size.
        """
        ring = agreements.ring(self.tp.event_topic, self.tp.partition)
        checkpoint.verify(self.note, self.tp.origin(agreements.bus), ring)


def claimed(agreements: Agreements, agency: str, note: str) -> list[ClaimedReceipt]:
    """Of which databases of a reader a note may be a receipt; nothing is verified.

    Args:
        agency: the reader.

    Returns:
        Nothing if it is no receipt of this agency for an agreed topic-partition.
    """
    try:
        parsed = checkpoint.parse_receipt(note)
        stated = checkpoint.parse(parsed)
    except errors.NoteMalformed:
        return []
    tp = _topic_partition(agreements, stated.origin)
    if tp is None:
        return []
    return [
        ClaimedReceipt(tp, key.name.partition("/")[2], stated.size, note)
        for key in agreements.receipt_keys(agency, tp.event_topic)
        if any(each.claims(key) for each in parsed.signatures)
    ]


def cosigned(agreements: Agreements, topic: Topic, agency: str, note: str) -> CosignedReceipt:
    """Verify that a database of a reader has signed a receipt for a topic.

    Raises:
        SealBroken: it is not a receipt of this agency for this topic.
    """
    parsed = checkpoint.parse_receipt(note)
    stated = checkpoint.parse(parsed)
    tp = _topic_partition(agreements, stated.origin)
    if tp is None or tp.topic != topic.name:
        raise errors.OriginForeign(topic.name, parsed.subject)
    keys = agreements.receipt_keys(agency, topic)
    for key in keys:
        at = checkpoint.verify_cosignature(parsed, key)
        if at is not None:
            when = from_posix_time(at)
            return CosignedReceipt(tp, key, stated.size, stated.root, when, note)
    names = ", ".join(key.name for key in keys) or "nobody"
    raise errors.SignatureMissing(f"A receipt for {stated.origin}", names)


def verified(agreements: Agreements, topic: Topic, agency: str, note: str) -> CosignedReceipt:
    """Verify both signatures of a receipt: the reader's, and the owner's on the tree.

    Raises:
        SealBroken: one of them is missing or not valid, or it is a receipt for another topic.
    """
    found = cosigned(agreements, topic, agency, note)
    found.verify_owner(agreements)
    return found


def _topic_partition(agreements: Agreements, origin: str) -> TopicPartition | None:
    """The agreed topic-partition of an origin on this bus; None if it is another text."""
    bus, _, rest = origin.partition("/")
    name, _, number = rest.rpartition("/")
    try:
        topic = Topic.parse(name)
        numbers = map(str, range(agreements.partitions(topic)))
    except (ValueError, errors.NotAgreed):
        return None
    return (
        TopicPartition(name, int(number)) if bus == agreements.bus and number in numbers else None
    )
