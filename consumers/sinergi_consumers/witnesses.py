"""Who else has signed what a topic held: its owner's heads, and its readers' receipts.

A topic alone cannot show that its newest messages were cut off: what is left is still sealed. Heads
and receipts lie in other topics and state how many leaves there were. They are read before the
topic, which therefore shows no less than they state unless something is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sinergi_consumers.log import open_log
from sinergi_schemas import errors, topics
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.seal.note import parse_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sinergi_consumers.bus import Bus
    from sinergi_schemas.topics import Topic

_HEADS = b"heads"


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


@dataclass(slots=True)
class Testimony:
    """All that was signed about one topic elsewhere.

    Attributes:
        has_heads: whether its owner's heads were there; without them a missing tail may pass.
        broken: statements that do not hold themselves, each with the topic where it lies.
    """

    witnesses: list[Witness] = field(default_factory=list)
    has_heads: bool = False
    broken: list[tuple[str, errors.SealBroken]] = field(default_factory=list)

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
        for note in _newest(bus, name):
            try:
                found.witnesses += (
                    _heads(bus, topic, note)
                    if name == control
                    else _receipt(bus, topic, readers[name], note)
                )
            except errors.SealBroken as broken:
                found.broken.append((name, broken))
            found.has_heads |= name == control
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


def _newest(bus: Bus, name: str) -> Iterator[str]:
    """The newest value of each key that tells of trees."""
    newest: dict[bytes, bytes] = {}
    with open_log(bus.connection, name, 0) as log:
        for chunk in log.read(*log.bounds()):
            for each in chunk:
                newest[each.key() or b""] = each.value() or b""
    for key, value in sorted(newest.items()):
        if value and (key == _HEADS or not key.startswith(b"schema/")):
            yield value.decode(errors="replace")


def _heads(bus: Bus, topic: Topic, note: str) -> list[Witness]:
    agreements = bus.agreements
    stated = heads.verify(note, agreements.bus, topic.agency, agreements.keys(topic.agency))
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
    stated = checkpoint.verify(note, f"{stem}/{number}", agreements.keys(topic.agency))
    keys = agreements.receipt_keys(reader)
    for key in keys:
        at = checkpoint.verify_cosignature(parsed, key)
        if at is not None:
            when = datetime.fromtimestamp(at, UTC)
            return [Witness(key.name, "receipt", int(number), stated.size, stated.root, when, note)]
    names = ", ".join(key.name for key in keys) or "nobody"
    raise errors.SignatureMissing(f"A receipt of {reader} for {stated.origin}", names)
