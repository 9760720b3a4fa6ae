"""Who else has signed what a topic held: its owner's heads, and its readers' receipts.

A topic alone cannot show that its newest messages were cut off: what is left is still sealed. Heads
and receipts lie in other topics and state how many leaves there were. They are read before the
topic, which therefore shows no less than they state unless something is missing.

Anybody may have written to those topics too, so they are judged like the topic itself:

    1. The largest statement counts, not the newest: an old one that was appended again hides
       nothing. Such a decrease is reported.
    2. A receipt is a witness against the owner only where the owner's own signature is under it. A
       tree that only a reader signs is that reader's claim, and is reported as such, unless the
       topic shows that the owner signed it: anybody can take a signature out of a receipt.
    3. What nobody has signed is passed over and counted.

The topics are read as streams. Of the many statements under one key only those are verified that
state more than what is known, and the newest of each part that is read. What is no statement is not
counted towards any limit: anybody can write it, and would hide a true one behind it. It costs
little, since a note has few bytes and one signature under each key.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.audit.testimony import (
    HEADS,
    RECEIPT,
    Decrease,
    Junk,
    Testimony,
    UnsupportedClaim,
    Witness,
)
from sinergi_schemas import errors, topics
from sinergi_schemas.clock import from_posix_time
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from confluent_kafka import Message

    from sinergi_consumers.bus import Bus
    from sinergi_schemas.topics import Topic

_HEADS_KEY = b"heads"
_SCHEMA = re.compile(rb"schema/[0-9a-f]{64}")
_MOST_CLAIMS = 20
_MOST_BARE = 1_000  # of one key: signed by a reader, without its owner's signature


def gather(bus: Bus, topic: Topic) -> Testimony:
    """Read the heads of a topic's owner, and the receipts that its readers gave for it.

    Raises:
        Unavailable: the broker is away.
    """
    found = Testimony()
    control = topics.control_topic(topic.agency)
    readers = {topics.receipts_topic(each): each for each in bus.agreements.agencies}
    for name in describe(open_admin(bus.connection), [control, *readers]):
        reader = readers.get(name)
        hearing = _Hearing(
            name,
            _heads_wanted() if reader is None else _receipts_wanted(bus, topic, reader),
            _Heads(bus, topic) if reader is None else _Receipts(bus, topic, reader, found.claims),
        )
        with open_scan(bus.connection, TopicPartition(name, 0)) as scan:
            for chunk in scan.read(*scan.bounds()):
                hearing.take(chunk)
        found.witnesses += hearing.best.values()
        found.decreases += hearing.decreases.values()
        if hearing.junk.count:
            found.junk[name] = hearing.junk
        if reader is None:
            found.has_heads = hearing.is_heard
            found.heads_at = hearing.newest_at
    return found


class _Wanted(NamedTuple):
    """Which keys of a topic are looked for, and which are ours and say something else."""

    keys: AbstractSet[bytes]
    others: re.Pattern[bytes]


def _heads_wanted() -> _Wanted:
    return _Wanted({_HEADS_KEY}, _SCHEMA)


def _receipts_wanted(bus: Bus, topic: Topic, reader: str) -> _Wanted:
    """The keys under which a reader's databases publish their receipts for a topic."""
    keys = bus.agreements.receipt_keys(reader, topic)
    databases = [each.name.rpartition("/")[2] for each in keys]
    numbers = range(bus.agreements.partitions(topic))
    any_of = "|".join(map(re.escape, databases)) or "(?!)"
    return _Wanted(
        {f"{each}/{topic.name}/{number}".encode() for each in databases for number in numbers},
        re.compile(rf"(?:{any_of})/sinergi\.[a-z0-9.-]{{1,200}}/[0-9]{{1,9}}".encode()),
    )


class _Hearing:
    """One topic of statements, taken in part by part.

    Attributes:
        best: the largest statement by signer and partition.
        decreases: the first one of each signer and partition.
        is_heard: at least one statement holds.
        newest_at: the time of the newest statement that holds.
    """

    def __init__(self, topic: str, wanted: _Wanted, statements: _Heads | _Receipts) -> None:
        self._bare: Counter[bytes] = Counter()
        self._topic = topic
        self._wanted = wanted
        self._statements = statements
        self.best: dict[tuple[str, int], Witness] = {}
        self.decreases: dict[tuple[str, int], Decrease] = {}
        self.is_heard = False
        self.newest_at: datetime | None = None
        self._junk = (0, 0)

    @property
    def junk(self) -> Junk:
        """What was passed over."""
        return Junk(*self._junk)

    def take(self, chunk: Sequence[Message]) -> None:
        """Take the next messages of the topic, the newest of each key first."""
        by_key: dict[bytes, list[Message]] = {}
        for each in chunk:
            key = each.key() or b""
            if key in self._wanted.keys:
                by_key.setdefault(key, []).append(each)
            elif not self._wanted.others.fullmatch(key):
                self._pass_over(each)
        for key, messages in by_key.items():
            self._take_key(key, messages)

    def _take_key(self, key: bytes, messages: Sequence[Message]) -> None:
        newest: list[Witness] = []
        offset = 0
        last: bytes | None = None
        for each in reversed(messages):
            value = each.value()
            if not value or value == last:
                continue  # it was deleted, or was said again
            last = value
            if len(value) > self._statements.most_bytes or self._bare[key] > _MOST_BARE:
                self._pass_over(each)
                continue
            try:
                note = value.decode()
                if newest and not self._statements.states_more(note, self._known(newest)):
                    continue
                stated = self._statements.verify(note)
            except (UnicodeDecodeError, errors.SealBroken):
                self._pass_over(each)
                continue
            self._bare[key] += not stated
            if not newest:
                newest, offset = stated, each.offset() or 0
            self._hear(stated)
        self._compare(newest, offset)

    def _known(self, newest: Sequence[Witness]) -> dict[int, int]:
        """The largest size of each partition that is known of these signers."""
        names = {each.name for each in newest}
        return {
            partition: each.size for (name, partition), each in self.best.items() if name in names
        }

    def _hear(self, stated: Iterable[Witness]) -> None:
        for each in stated:
            self.is_heard = True
            if each.at and (self.newest_at is None or each.at > self.newest_at):
                self.newest_at = each.at
            key = each.name, each.partition
            if key not in self.best or each.size > self.best[key].size:
                self.best[key] = each

    def _compare(self, newest: Iterable[Witness], offset: int) -> None:
        """See whether the newest statements of a part state less than earlier ones."""
        for each in newest:
            larger = self.best[each.name, each.partition]
            if each.size < larger.size:
                found = Decrease(self._topic, larger, each.size, offset)
                self.decreases.setdefault((each.name, each.partition), found)

    def _pass_over(self, each: Message) -> None:
        first, count = self._junk
        self._junk = (first if count else each.offset() or 0), count + 1


class _Heads:
    """Heads notes of a topic's owner.

    Attributes:
        most_bytes: of a note.
    """

    most_bytes = heads.MOST_BYTES

    def __init__(self, bus: Bus, topic: Topic) -> None:
        self._agreements = bus.agreements
        self._topic = topic

    def states_more(self, note: str, known: Mapping[int, int]) -> bool:
        """Whether a note, which nobody has verified, states more leaves than are known."""
        pattern = rf"^{re.escape(self._topic.name)}/(\d{{1,4}}) (\d{{1,18}}) "
        found = re.findall(pattern, note, re.MULTILINE)
        return any(int(size) > known.get(int(number), -1) for number, size in found)

    def verify(self, note: str) -> list[Witness]:
        """What a note states of the topic.

        Raises:
            SealBroken: the owner did not sign it.
        """
        agreements, agency = self._agreements, self._topic.agency
        signed = heads.verify(note, agreements.bus, agency, agreements.keys(agency))
        at = from_posix_time(signed.posix_time)
        name = f"{agreements.bus}/{agency}"
        return [
            Witness(name, HEADS, each.partition, each.size, each.root, at, note)
            for each in agreements.credible(signed).heads
            if each.topic == self._topic.name
        ]


class _Receipts:
    """Receipts of one reader's databases for a topic.

    Args:
        claims: takes the trees that the reader signed and the owner did not.

    Attributes:
        most_bytes: of a receipt.
    """

    most_bytes = checkpoint.MOST_RECEIPT_BYTES

    def __init__(self, bus: Bus, topic: Topic, reader: str, claims: list[UnsupportedClaim]) -> None:
        self._agreements = bus.agreements
        self._topic = topic
        self._reader = reader
        self._claims = claims

    def states_more(self, note: str, known: Mapping[int, int]) -> bool:
        """Whether a note, which nobody has verified, states more leaves than are known."""
        stated = checkpoint.parse(checkpoint.parse_receipt(note))
        number = stated.origin.rpartition("/")[2]
        return not number.isdecimal() or stated.size > known.get(int(number[:9]), -1)

    def verify(self, note: str) -> list[Witness]:
        """What a note states of the topic; nothing where only the reader signed it.

        Raises:
            SealBroken: it is no receipt of this reader for this topic.
        """
        parsed = checkpoint.parse_receipt(note)
        stated = checkpoint.parse(parsed)
        stem, _, number = stated.origin.rpartition("/")
        partitions = map(str, range(self._agreements.partitions(self._topic)))
        if stem != f"{self._agreements.bus}/{self._topic.name}" or number not in partitions:
            raise errors.OriginForeign(self._topic.name, parsed.subject)
        keys = self._agreements.receipt_keys(self._reader, self._topic)
        for key in keys:
            at = checkpoint.verify_cosignature(parsed, key)
            if at is not None:
                break
        else:
            names = ", ".join(key.name for key in keys) or "nobody"
            raise errors.SignatureMissing(f"A receipt for {stated.origin}", names)
        ring = self._agreements.ring(self._topic, int(number))
        try:
            checkpoint.verify(note, stated.origin, ring)
        except errors.SealBroken as why:
            claim = UnsupportedClaim(
                key.name, int(number), stated.size, stated.root, type(why).__name__
            )
            if len(self._claims) < _MOST_CLAIMS and claim not in self._claims:
                self._claims.append(claim)
            return []
        when = from_posix_time(at)
        return [Witness(key.name, RECEIPT, int(number), stated.size, stated.root, when, note)]
