"""How far the readers of an agency's topics are, according to their signed receipts.

A receipt counts only where both signatures are valid: the owner's under the checkpoint, and that of
the reader's database. Anybody who may write to a receipts topic can write other values there, and
old receipts again. So the receipt of the largest tree counts, wherever it lies.

A reader may write any number of messages to its own receipts topic. So only the newest and the
oldest ones are read: compaction leaves the receipts of quiet topic-partitions at the beginning. If
none of a topic-partition is found there although more lies between, it is unknown how far that
reader is.
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
from sinergi_schemas.plain_text import some
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.kafka.scan import PartitionScan
    from sinergi_schemas.topics import Topic

MOST_MESSAGES = 100_000
"""So many messages are read at the end of a receipts topic, and as many at its beginning."""

MOST_BYTES = 256 * 1024 * 1024
MOST_FALSE = 1_000
"""So many notes of a reader are verified in vain."""

_MOST_UNVERIFIED = 64


class Acknowledgements(NamedTuple):
    """What readers have acknowledged.

    Attributes:
        found: by topic, for each of its readers that is known.
        unknown: what could not be read, and why, a line each.
        unread: the readers of whom something is unknown.
    """

    found: dict[Topic, list[Acknowledged]]
    unknown: list[str]
    unread: frozenset[str]


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
) -> Acknowledgements:
    """What each database of each reader has acknowledged of some topics, and what is unknown.

    Args:
        silent_seconds: see `RangeReader`.
        at: for the readers and databases of that time only; see `readers_at`.

    Raises:
        Unavailable: the brokers are away.
    """
    found: dict[Topic, list[Acknowledged]] = defaultdict(list)
    unknown: list[str] = []
    unread: set[str] = set()
    unreadable = UnreadableCounts()
    by_reader: dict[str, list[Topic]] = defaultdict(list)
    for topic in own:
        for reader in readers_at(agreements, topic, at):
            by_reader[reader].append(topic)
    for reader, read in sorted(by_reader.items()):
        receipts = TopicPartition(topics.receipts_topic(reader), 0)
        try:
            with open_scan(connection, receipts, silent_seconds) as scan:
                known, left = _read(scan, agreements, reader, read, at)
                unreadable.add(scan.drain_unreadable())
        except (errors.NotPermitted, errors.TopicAway) as why:
            unknown.append(f"how far {reader} is, is not known: {why}")
            unread.add(reader)
            continue
        if left is not None:
            unknown.append(f"how far {reader} is with {left.topics}, is not known: {left.why}")
            unread.add(reader)
        for topic, those in known.items():
            found[topic] += those
    return Acknowledgements(found, [*unknown, *unreadable.remarks], frozenset(unread))


class _Unread(NamedTuple):
    """What of a reader is unknown, because too much lies in its receipts topic."""

    topics: str
    why: str


def _read(
    scan: PartitionScan,
    agreements: Agreements,
    reader: str,
    read: Iterable[Topic],
    at: datetime | None,
) -> tuple[dict[Topic, list[Acknowledged]], _Unread | None]:
    """The best receipts of a reader's databases for all partitions of each topic that is known.

    Args:
        scan: of the reader's receipts topic.
        read: the topics of ours that it reads.
    """
    best_of = {
        f"{database}/{topic.name}/{number}".encode(): _Best(
            agreements, reader, _Reading(topic, number, database), at
        )
        for topic in read
        for key in agreements.receipt_keys(reader, topic, at)
        or agreements.receipt_keys(reader, topic)
        for database in [key.name.rpartition("/")[2]]
        for number in range(agreements.partitions(topic))
    }
    why = _consider_all(scan, best_of)
    known: dict[Topic, list[Acknowledged]] = defaultdict(list)
    lacking: set[Topic] = set()
    for best in best_of.values():
        found = best.finish()
        known[best.reading.topic].append(found)
        if best.is_stopped or (why is not None and (found.size is None or why.is_newest)):
            lacking.add(best.reading.topic)
    # Of a topic all databases count or none: the slowest of them may be the one that is unknown.
    known = {topic: those for topic, those in known.items() if topic not in lacking}
    if not lacking:
        return known, None
    named = some(sorted(each.name for each in lacking))
    text = why.text if why else f"more than {MOST_FALSE:,} of its notes are false"
    return known, _Unread(named, f"{topics.receipts_topic(reader)}: {text}")


class _Rest(NamedTuple):
    """Messages of a receipts topic that were not read.

    Attributes:
        is_newest: whether they may be the newest ones.
    """

    text: str
    is_newest: bool


def _consider_all(scan: PartitionScan, best_of: Mapping[bytes, _Best]) -> _Rest | None:
    """Consider the newest messages, and the oldest ones if that is needed; what was not read."""
    low, high = scan.bounds()
    newest, oldest = max(low, high - MOST_MESSAGES), low + MOST_MESSAGES
    size = 0
    for start, end in ((newest, high), (low, min(newest, oldest))):
        if end == newest and all(each.is_found for each in best_of.values()):
            break
        for chunk in scan.read(start, end):
            for each in chunk:
                note = each.value() or b""
                size += len(note)
                best = best_of.get(each.key() or b"")
                if best and len(note) <= checkpoint.MOST_RECEIPT_BYTES:
                    best.consider(note.decode(errors="replace"))
            if size > MOST_BYTES:
                text = f"its messages have more than {MOST_BYTES // 1024**2} MiB"
                return _Rest(text, is_newest=end == high)
    if newest <= oldest:
        return None
    text = f"only the first and the last {MOST_MESSAGES:,} of its {high - low:,} messages are read"
    return _Rest(text, is_newest=False)


class _Best:
    """Finds the largest valid receipt among many; verifies few signatures and keeps few notes.

    Attributes:
        is_stopped: whether so many notes were false that the others were not verified.
    """

    def __init__(
        self, agreements: Agreements, reader: str, reading: _Reading, at: datetime | None
    ) -> None:
        self.reading = reading
        self._best = Acknowledged(f"{reader}/{reading.database}", reading.partition, None, None)
        tp = TopicPartition(reading.topic.name, reading.partition)
        self._origin = tp.origin(agreements.bus)
        self._ring = agreements.ring(reading.topic, reading.partition)
        name = f"{agreements.bus}/{reader}/{reading.database}"
        keys = agreements.receipt_keys(reader, reading.topic)
        # What is decided at a time, as what may be pruned, rests on the keys of that time alone.
        replaced = agreements.replaced_receipt_keys(reader, at) if at else set()
        self._keys = [key for key in keys if key.name == name and key not in replaced]
        self._unverified: dict[str, int] = {}
        self._false = 0
        self.is_stopped = False

    @property
    def is_found(self) -> bool:
        """Whether there is a valid receipt among the notes that were considered."""
        while self._unverified and self._best.size is None:
            self._verify_largest()
        return self._best.size is not None

    def consider(self, note: str) -> None:
        """Consider a note that may be a receipt."""
        if self.is_stopped:
            return
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
            self._count_false()
            return
        at = max((each for each in times if each is not None), default=None)
        if at is not None:
            self._best = replace(self._best, size=size, at=from_posix_time(at))
            self._unverified = {each: of for each, of in self._unverified.items() if of > size}
        else:
            self._count_false()

    def _count_false(self) -> None:
        self._false += 1
        if self._false > MOST_FALSE:
            self.is_stopped = True
            self._unverified.clear()
