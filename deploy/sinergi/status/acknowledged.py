"""How far the readers of an agency's topics are, according to their signed receipts.

A receipt counts only where both signatures are valid: the owner's under the checkpoint, and that of
the reader's database. Anybody who may write to a receipts topic can write other values there, and
old receipts again. So the receipt of the largest tree counts, wherever it lies.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sinergi.status.facts import Acknowledged
from sinergi_schemas import errors, topics
from sinergi_schemas.clock import from_posix_time
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.kafka.unreadable import UnreadableCounts
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.scan import PartitionScan
    from sinergi_schemas.topics import Topic

_MOST_UNVERIFIED = 64


class _Reading(NamedTuple):
    """One of our topic-partitions, and a database that reads it."""

    topic: Topic
    partition: int
    database: str


def readers_at(agreements: Agreements, topic: Topic, at: datetime | None) -> list[str]:
    """The other agencies that read a topic at a time; those that ever did, if nobody does then.

    Args:
        at: None for those that ever did.
    """
    found = agreements.readers(topic, at) or agreements.readers(topic)
    return [each for each in found if each != topic.agency]


def acknowledged(
    connection: Connection,
    agreements: Agreements,
    own: Iterable[Topic],
    silent_seconds: float,
    at: datetime | None = None,
) -> tuple[dict[Topic, list[Acknowledged]], list[str]]:
    """What each database of each reader has acknowledged of some topics, and what is unknown.

    Args:
        silent_seconds: see `RangeReader`.
        at: for the readers and databases of that time only; see `readers_at`.

    Raises:
        Unavailable: the brokers are away.
    """
    found: dict[Topic, list[Acknowledged]] = defaultdict(list)
    unknown: list[str] = []
    unreadable = UnreadableCounts()
    by_reader: dict[str, list[Topic]] = defaultdict(list)
    for topic in own:
        for reader in readers_at(agreements, topic, at):
            by_reader[reader].append(topic)
    for reader, read in sorted(by_reader.items()):
        receipts = TopicPartition(topics.receipts_topic(reader), 0)
        try:
            with open_scan(connection, receipts, silent_seconds) as scan:
                best_of = _read(scan, agreements, reader, read, at)
                unreadable.add(scan.drain_unreadable())
        except (errors.NotPermitted, errors.TopicAway) as why:
            unknown.append(f"how far {reader} is, is not known: {why}")
            continue
        for reading, best in best_of.items():
            found[reading.topic].append(best)
    return found, [*unknown, *unreadable.remarks]


def _read(
    scan: PartitionScan,
    agreements: Agreements,
    reader: str,
    read: Iterable[Topic],
    at: datetime | None,
) -> dict[_Reading, Acknowledged]:
    """The best receipt of each of a reader's databases for each topic-partition.

    Args:
        scan: of the reader's receipts topic.
        read: the topics of ours that it reads.
    """
    best_of = {
        f"{database}/{topic.name}/{number}".encode(): _Best(
            agreements, reader, _Reading(topic, number, database)
        )
        for topic in read
        for key in agreements.receipt_keys(reader, topic, at)
        or agreements.receipt_keys(reader, topic)
        for database in [key.name.rpartition("/")[2]]
        for number in range(agreements.partitions(topic))
    }
    for chunk in scan.read(*scan.bounds()):
        for each in chunk:
            best = best_of.get(each.key() or b"")
            note = each.value() or b""
            if best and len(note) <= checkpoint.MOST_RECEIPT_BYTES:
                best.consider(note.decode(errors="replace"))
    return {best.reading: best.finish() for best in best_of.values()}


class _Best:
    """Finds the largest valid receipt among many; verifies few signatures and keeps few notes."""

    def __init__(self, agreements: Agreements, reader: str, reading: _Reading) -> None:
        self.reading = reading
        self._best = Acknowledged(f"{reader}/{reading.database}", reading.partition, None, None)
        tp = TopicPartition(reading.topic.name, reading.partition)
        self._origin = tp.origin(agreements.bus)
        self._ring = agreements.ring(reading.topic, reading.partition)
        name = f"{agreements.bus}/{reader}/{reading.database}"
        keys = agreements.receipt_keys(reader, reading.topic)
        self._keys = [key for key in keys if key.name == name]
        self._unverified: dict[str, int] = {}

    def consider(self, note: str) -> None:
        """Consider a note that may be a receipt."""
        try:
            size = checkpoint.parse(checkpoint.parse_receipt(note)).size
        except errors.NoteMalformed:
            return
        if size > (self._best.size or 0):
            self._unverified[note] = size
            if len(self._unverified) > _MOST_UNVERIFIED:
                self._verify_largest()

    def finish(self) -> Acknowledged:
        """The largest valid receipt; without a size where there is none."""
        while self._unverified:
            self._verify_largest()
        return self._best

    def _verify_largest(self) -> None:
        """Verify the largest unverified note; where it is valid, drop all smaller ones."""
        note = max(self._unverified, key=self._unverified.__getitem__)
        size = self._unverified.pop(note)
        try:
            checkpoint.verify(note, self._origin, self._ring)
            parsed = checkpoint.parse_receipt(note)
            times = [checkpoint.verify_cosignature(parsed, key) for key in self._keys]
        except errors.SealBroken:
            return
        at = max((each for each in times if each is not None), default=None)
        if at is not None:
            self._best = replace(self._best, size=size, at=from_posix_time(at))
            self._unverified = {each: of for each, of in self._unverified.items() if of > size}
