"""Who else has signed what a topic held: its owner's heads, and its readers' receipts.

A topic alone cannot show that its newest messages were cut off: what is left is still sealed. Heads
and receipts lie in other topics and state how many leaves there were. They are read before the
topic, which therefore shows no less than they state unless something is missing.

Anybody who may write to such a topic can put any amount of anything there. So it is read as a
stream: what is under no key of ours is passed over and counted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.log import open_log
from sinergi_schemas import errors, topics
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.seal.note import MOST_CHARACTERS, parse_note

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from sinergi_consumers.bus import Bus
    from sinergi_schemas.topics import Topic

_HEADS = b"heads"
_SCHEMA = re.compile(rb"schema/[0-9a-f]{64}")
_MOST_BYTES = 4 * MOST_CHARACTERS  # of a note: a character has at most four


@dataclass(frozen=True, slots=True)
class Witness:
    """A signed statement about the tree of one partition, from outside its topic.

    Attributes:
        name: the key's, `<bus>/<agency>` or `<bus>/<agency>/<database>`.
        kind: "heads" or "receipt".
        size, root: the tree.
        at: when it was signed.
        note: the whole signed note.
    """

    name: str
    kind: str
    partition: int
    size: int
    root: bytes
    at: datetime
    note: str

    def __str__(self) -> str:
        return f"the {self.kind} that {self.name} signed at {self.at.isoformat()}"


@dataclass(frozen=True, slots=True)
class Junk:
    """Messages of a topic that were passed over: the offset of the first one, and how many."""

    first: int
    count: int


@dataclass(slots=True)
class Testimony:
    """All that was signed about one topic elsewhere.

    Attributes:
        has_heads: whether its owner's heads were there; without them a missing tail may pass.
        broken: statements that do not hold themselves, each with the topic where it lies.
        junk: the messages that are no statement of anybody's, by the topic where they lie.
    """

    witnesses: list[Witness] = field(default_factory=list)
    has_heads: bool = False
    broken: list[tuple[str, errors.SealBroken]] = field(default_factory=list)
    junk: dict[str, Junk] = field(default_factory=dict)

    def of(self, partition: int) -> list[Witness]:
        """The statements about one partition, that of the largest tree first."""
        found = (each for each in self.witnesses if each.partition == partition)
        return sorted(found, key=lambda each: (-each.size, each.kind, each.name))


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
        wanted = _heads_wanted() if reader is None else _receipts_wanted(bus, topic, reader)
        notes, junk = _newest(bus, name, wanted)
        if junk.count:
            found.junk[name] = junk
        for note in notes:
            try:
                found.witnesses += (
                    _heads(bus, topic, note)
                    if reader is None
                    else _receipt(bus, topic, reader, note)
                )
            except errors.SealBroken as broken:
                found.broken.append((name, broken))
        found.has_heads |= reader is None and bool(notes)
    return found


def objection(
    witness: Witness, origin: str, size: int, roots: Mapping[int, bytes]
) -> errors.SealBroken | None:
    """What a witness holds against a partition that was read to its end, or None.

    Args:
        size: how many of its leaves are verified.
        roots: of its trees, by size, at each checkpoint.
    """
    if witness.size > size:
        return errors.TailMissing(origin, size, witness.size, str(witness))
    if roots.get(witness.size, witness.root) != witness.root:
        return errors.SealFork(origin, witness.size)
    return None


class _Wanted(NamedTuple):
    """Which keys of a topic are looked for, and which are ours and say something else."""

    keys: AbstractSet[bytes]
    others: re.Pattern[bytes]


def _heads_wanted() -> _Wanted:
    return _Wanted({_HEADS}, _SCHEMA)


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


def _newest(bus: Bus, name: str, wanted: _Wanted) -> tuple[list[str], Junk]:
    """The newest value of each key that is looked for, and what is under no key of ours.

    The topic is read as a stream: one value a key is kept, cut where no note is as long, however
    much somebody has written there.
    """
    newest: dict[bytes, bytes] = {}
    first, count = 0, 0
    with open_log(bus.connection, name, 0) as log:
        for chunk in log.read(*log.bounds()):
            for each in chunk:
                key = each.key() or b""
                if key in wanted.keys:
                    newest[key] = (each.value() or b"")[:_MOST_BYTES]
                elif not wanted.others.fullmatch(key):
                    first, count = (first if count else each.offset() or 0), count + 1
    notes = [value.decode(errors="replace") for _, value in sorted(newest.items()) if value]
    return notes, Junk(first, count)


def _heads(bus: Bus, topic: Topic, note: str) -> list[Witness]:
    agreements = bus.agreements
    signed = heads.verify(note, agreements.bus, topic.agency, agreements.keys(topic.agency))
    stated = agreements.credible(signed)
    at = datetime.fromtimestamp(stated.posix_time, UTC)
    name = f"{agreements.bus}/{topic.agency}"
    return [
        Witness(name, "heads", each.partition, each.size, each.root, at, note)
        for each in stated.heads
        if each.topic == topic.name
    ]


def _receipt(bus: Bus, topic: Topic, reader: str, note: str) -> list[Witness]:
    agreements = bus.agreements
    parsed = parse_note(note)
    stem, _, number = checkpoint.parse(parsed).origin.rpartition("/")
    if stem != f"{agreements.bus}/{topic.name}" or not number.isdigit():
        return []
    stated = checkpoint.verify(note, f"{stem}/{number}", agreements.ring(topic, int(number)))
    keys = agreements.receipt_keys(reader, topic)
    for key in keys:
        at = checkpoint.verify_cosignature(parsed, key)
        if at is not None:
            when = datetime.fromtimestamp(at, UTC)
            return [Witness(key.name, "receipt", int(number), stated.size, stated.root, when, note)]
    names = ", ".join(key.name for key in keys) or "nobody"
    raise errors.SignatureMissing(f"A receipt of {reader} for {stated.origin}", names)
