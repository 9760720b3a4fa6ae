"""Read the signed statements about a topic: its owner's heads and its readers' receipts.

A topic alone does not show that its last messages were deleted, because the rest is still sealed.
Heads and receipts are stored in other topics and state the number of leaves. They are read before
the topic, so the topic has at least the leaves that they state, unless some are missing.

Everybody may have written to those topics as well, so these rules apply:

    1. The largest statement is used, not the newest, because somebody may append an old one again.
       Such a decrease is reported.
    2. A receipt is a statement of the owner only if it has the owner's signature. A tree that only
       a reader has signed is reported as a claim of that reader, unless the topic shows that the
       owner has signed it, because everybody can remove a signature from a receipt.
    3. A message without a valid signature is skipped and counted.
    4. The time of heads that only replaced keys have signed is unknown; see `Agreements.is_dated`.

The topics are read in chunks. Of the statements with the same message key, it verifies the newest
of each chunk, and those that state more leaves than their signer has stated so far. There is no
limit on the number of messages that state nothing (invalid ones, true heads from before the topic,
receipts without the owner's signature); otherwise somebody could hide a true statement behind them.
Such a message is cheap to check, since a note has few bytes and one signature per key, and a copy
of it is recognised by its hash.

An observer also gets the statements that are not the largest. For it every message is verified.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.audit.statements import (
    HEADS,
    Decrease,
    SignedStatement,
    SignedStatements,
    SkippedStatements,
    UnsupportedClaim,
)
from sinergi_schemas import errors, topics
from sinergi_schemas.agreements import receipts
from sinergi_schemas.clock import from_posix_time
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from confluent_kafka import Message

    from sinergi_consumers.audit.statements import StatementObserver
    from sinergi_consumers.bus import Bus
    from sinergi_schemas.topics import Topic

_HEADS_KEY = b"heads"
_MOST_CLAIMS = 1_000
_MOST_REMEMBERED = 20_000  # hashes of notes; without its hash, a note is only verified once more


def gather(bus: Bus, topic: Topic, observer: StatementObserver | None = None) -> SignedStatements:
    """Read the heads of a topic's owner, and the receipts of all that were ever its readers.

    The topics of no other agency are asked for: whoever audits may not have the right to read them.

    Args:
        observer: gets every valid statement.

    Raises:
        NotPermitted: one of these may not be read.
        Unavailable: the broker does not answer.
    """
    found = SignedStatements()
    control = topics.control_topic(topic.agency)
    agreed = [each for each in bus.agreements.readers(topic) if each != topic.agency]
    readers = {topics.receipts_topic(each): each for each in agreed}
    found.databases = [each for reader in agreed for each in _databases(bus, topic, reader)]
    there = bus.source.partition_counts([control, *readers])
    found.missing_topics = [each for each in [control, *readers] if each not in there]
    for name in there:
        reader = readers.get(name)
        reading = _StatementReading(
            name,
            _heads_keys() if reader is None else _receipt_keys(bus, topic, reader),
            _Heads(bus, topic) if reader is None else _Receipts(bus, topic, reader, found),
            observer,
        )
        with bus.source.open_scan(TopicPartition(name, 0)) as scan:
            low, high = scan.bounds()
            if low:  # compaction moves no first offset
                found.beginnings[name] = low
            for chunk in scan.read(low, high):
                reading.add(chunk)
            found.unreadable.add(scan.drain_unreadable())
        found.largest += reading.largest.values()
        found.signed |= reading.signed
        found.decreases += reading.decreases.values()
        if reading.skipped.count:
            found.skipped[name] = reading.skipped
        if reader is None:
            found.has_heads = reading.has_valid
            found.heads_at = reading.newest_at
    return found


def _databases(bus: Bus, topic: Topic, reader: str) -> list[str]:
    """The names of a reader's databases in the agreements; its own name if they name none."""
    keys = bus.agreements.receipt_keys(reader, topic)
    return list(dict.fromkeys(key.name for key in keys)) or [f"{bus.agreements.bus}/{reader}"]


class _MessageKeys(NamedTuple):
    """The message keys of the statements, and a pattern of keys with other valid content."""

    statements: AbstractSet[bytes]
    others: re.Pattern[bytes]


def _heads_keys() -> _MessageKeys:
    return _MessageKeys({_HEADS_KEY}, topics.SCHEMA_KEY)


def _receipt_keys(bus: Bus, topic: Topic, reader: str) -> _MessageKeys:
    """The message keys of the receipts of a reader's databases for a topic."""
    keys = bus.agreements.receipt_keys(reader, topic)
    databases = [each.name.rpartition("/")[2] for each in keys]
    numbers = range(bus.agreements.partitions(topic))
    any_of = "|".join(map(re.escape, databases)) or "(?!)"
    return _MessageKeys(
        {f"{each}/{topic.name}/{number}".encode() for each in databases for number in numbers},
        re.compile(rf"(?:{any_of})/sinergi\.[a-z0-9.-]{{1,200}}/[0-9]{{1,9}}".encode()),
    )


class _StatementReading:
    """The statements of one topic, read chunk by chunk.

    Attributes:
        largest: the largest statement by signer and partition.
        decreases: the first decrease of each signer and partition.
        has_valid: whether at least one statement is valid.
        newest_at: the time of the newest valid statement.
        signed: partition, size and root of the trees in all verified statements.
    """

    def __init__(
        self,
        topic: str,
        keys: _MessageKeys,
        statements: _Heads | _Receipts,
        observer: StatementObserver | None,
    ) -> None:
        self._topic = topic
        self._keys = keys
        self._statements = statements
        self._observer = observer
        self.largest: dict[tuple[str, int], SignedStatement] = {}
        self.decreases: dict[tuple[str, int], Decrease] = {}
        self.has_valid = False
        self.newest_at: datetime | None = None
        self.signed: set[tuple[int, int, bytes]] = set()
        self._remembered: dict[bytes, bool] = {}
        self._observed: dict[bytes, bool] = {}
        self._skipped = (0, 0)

    @property
    def skipped(self) -> SkippedStatements:
        """The skipped messages."""
        return SkippedStatements(*self._skipped)

    def add(self, chunk: Sequence[Message]) -> None:
        """Process the next messages of the topic, the newest of each key first."""
        by_key: dict[bytes, list[Message]] = {}
        for each in chunk:
            key = each.key() or b""
            if key in self._keys.statements:
                by_key.setdefault(key, []).append(each)
            elif not self._keys.others.fullmatch(key):
                self._skip(each)
        for messages in by_key.values():
            self._add_key(messages)

    def _add_key(self, messages: Sequence[Message]) -> None:
        newest: list[SignedStatement] = []
        offset = 0
        for each in reversed(messages):
            value = each.value()
            if not value:
                continue  # a tombstone
            stated = self._read(value, is_newest=not newest)
            if stated is None:
                self._skip(each)
            elif stated:
                if not newest:
                    newest, offset = stated, each.offset() or 0
                self._record(stated)
        self._compare(newest, offset)

    def _read(self, value: bytes, *, is_newest: bool) -> list[SignedStatement] | None:
        """The statements in a note, or None if it is not valid.

        Args:
            value: the note.
            is_newest: whether it is the newest valid one of a chunk. Another is verified only if it
                states more leaves than its signer did so far, or for the observer.
        """
        if len(value) > self._statements.most_bytes:
            return None
        try:
            note = value.decode()
            only_larger = not is_newest and self._observer is None
            if only_larger and not self._statements.states_more(note, self.largest):
                return []
        except (UnicodeDecodeError, errors.SealBroken):
            return None
        digest = hashlib.sha256(value).digest()
        if digest in self._remembered:
            return [] if self._remembered[digest] else None
        if digest in self._observed and not is_newest:
            return []
        try:
            stated = self._statements.verify(note)
        except errors.SealBroken:
            _remember(self._remembered, digest, is_valid=False)
            return None
        if not stated:
            _remember(self._remembered, digest, is_valid=True)
        elif self._observer is not None:
            _remember(self._observed, digest, is_valid=True)
        return stated

    def _record(self, stated: Iterable[SignedStatement]) -> None:
        for each in stated:
            self.has_valid = True
            if self._observer is not None:
                self._observer.add(each)
            self.signed.add((each.partition, each.size, each.root))
            if each.at and (self.newest_at is None or each.at > self.newest_at):
                self.newest_at = each.at
            key = each.name, each.partition
            if key not in self.largest or each.size > self.largest[key].size:
                self.largest[key] = each

    def _compare(self, newest: Iterable[SignedStatement], offset: int) -> None:
        """Record a decrease if the newest statements of a chunk state less than earlier ones."""
        for each in newest:
            larger = self.largest[each.name, each.partition]
            if each.size < larger.size:
                found = Decrease(self._topic, larger, each.size, offset)
                self.decreases.setdefault((each.name, each.partition), found)

    def _skip(self, each: Message) -> None:
        first, count = self._skipped
        self._skipped = (first if count else each.offset() or 0), count + 1


def _remember(known: dict[bytes, bool], digest: bytes, *, is_valid: bool) -> None:
    """Remember a note, so that its copies are not verified."""
    if len(known) >= _MOST_REMEMBERED:
        del known[next(iter(known))]
    known[digest] = is_valid


def _is_more(size: int, known: SignedStatement | None) -> bool:
    return known is None or size > known.size


class _Heads:
    """The heads of a topic's owner.

    Attributes:
        most_bytes: the limit for a note.
    """

    most_bytes = heads.MOST_BYTES

    def __init__(self, bus: Bus, topic: Topic) -> None:
        self._agreements = bus.agreements
        self._topic = topic

    def states_more(self, note: str, largest: Mapping[tuple[str, int], SignedStatement]) -> bool:
        """Whether an unverified note states more leaves than the largest statements so far."""
        name = f"{self._agreements.bus}/{self._topic.agency}"
        pattern = rf"^{re.escape(self._topic.name)}/(\d{{1,4}}) (\d{{1,18}}) "
        found = re.findall(pattern, note, re.MULTILINE)
        return any(_is_more(int(size), largest.get((name, int(number)))) for number, size in found)

    def verify(self, note: str) -> list[SignedStatement]:
        """Verify heads and return their statements about the topic.

        Raises:
            SealBroken: the owner did not sign the heads.
        """
        agreements, agency = self._agreements, self._topic.agency
        signed = heads.verify(note, agreements.bus, agency, agreements.keys(agency))
        at = from_posix_time(signed.posix_time) if agreements.is_dated(signed) else None
        name = f"{agreements.bus}/{agency}"
        return [
            SignedStatement(name, HEADS, each.partition, each.size, each.root, at, note)
            for each in agreements.credible(signed).heads
            if each.topic == self._topic.name
        ]


class _Receipts:
    """The receipts of one reader's databases for a topic.

    Args:
        bus: the agreements.
        topic: the event topic.
        reader: the agency.
        found: `verify` adds the trees that the reader signed and the owner did not.

    Attributes:
        most_bytes: the limit for a receipt.
    """

    most_bytes = checkpoint.MOST_RECEIPT_BYTES

    def __init__(self, bus: Bus, topic: Topic, reader: str, found: SignedStatements) -> None:
        self._agreements = bus.agreements
        self._topic = topic
        self._reader = reader
        self._keys = bus.agreements.receipt_keys(reader, topic)
        self._found = found
        self._claims: set[UnsupportedClaim] = set()

    def states_more(self, note: str, largest: Mapping[tuple[str, int], SignedStatement]) -> bool:
        """Whether an unverified note states more leaves than the largest statements so far.

        It is compared with the statements of the databases whose signatures it has, since anybody
        can put a receipt of one database under the message key of another.
        """
        parsed = checkpoint.parse_receipt(note)
        stated = checkpoint.parse(parsed)
        number = stated.origin.rpartition("/")[2]
        signers = {
            key.name for key in self._keys if any(each.claims(key) for each in parsed.signatures)
        }
        return (
            not signers
            or not number.isdecimal()
            or any(_is_more(stated.size, largest.get((name, int(number[:9])))) for name in signers)
        )

    def verify(self, note: str) -> list[SignedStatement]:
        """Verify a receipt and return its statement, or nothing if the owner did not sign it.

        Raises:
            SealBroken: it is not a receipt of this reader for this topic.
        """
        found = receipts.cosigned(self._agreements, self._topic, self._reader, note)
        name, number = found.key.name, found.tp.partition
        try:
            found.verify_owner(self._agreements)
        except errors.SealBroken as why:
            claim = UnsupportedClaim(name, number, found.size, found.root, type(why).__name__)
            self._add_claim(claim)
            return []
        return [SignedStatement.of_receipt(found)]

    def _add_claim(self, claim: UnsupportedClaim) -> None:
        if claim in self._claims:
            return
        if len(self._claims) < _MOST_CLAIMS:
            self._claims.add(claim)
            self._found.claims.append(claim)
        else:
            self._found.claims_beyond_limit += 1
