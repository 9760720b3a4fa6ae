"""What the operator of the brokers may write: any message to any topic, but no valid signature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agency_pair import BUS
from chaos.foreign_writer import ForeignMessage
from foreign_messages import FINGERPRINTS, INDEXES, NAMES, leaf, strange_messages
from sinergi_schemas import message
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.keys import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from random import Random

    from chaos.foreign_writer import OwnersMessages, Place
    from foreign_messages import Headers, Wire

_MEGABYTE = 900_000
_SEALS = (message.CHECKPOINT, message.FRONTIER)
_FAR = (60, 999, 4_999, 5_000, 10**6, 10**17)


@dataclass
class View:
    """What an operator sees, and has.

    Attributes:
        topic: the honest agency's event topic.
        statements: compacted topics and the keys under which something stands there.
        owner: the name of the honest agency's key.
        member: a key that is valid for other topics.
        sizes: leaves by partition, as far as they are sealed.
    """

    topic: str
    statements: Mapping[str, Sequence[bytes]]
    owner: str
    member: SigningKey
    owners_messages: OwnersMessages
    sizes: dict[int, int] = field(default_factory=dict)

    def place(self, dice: Random) -> Place:
        """Any partition of the event topic."""
        return self.topic, dice.randrange(len(self.sizes))

    def next_leaf(self, place: Place, dice: Random) -> int:
        """A leaf near the end, before it or behind it."""
        return max(0, self.sizes[place[1]] + dice.randrange(-3, 12))


def noise(view: View, dice: Random, count: int) -> Iterator[tuple[str, ForeignMessage]]:
    """So many messages, each with its kind."""
    names = [*KINDS]
    weights = [KINDS[each][0] for each in names]
    for _ in range(count):
        kind = dice.choices(names, weights)[0]
        yield kind, KINDS[kind][1](view, dice)


def _strange(view: View, dice: Random) -> ForeignMessage:
    return ForeignMessage(view.place(dice), strange_messages(dice.randrange(2**32), 1)[0])


def _malformed(view: View, dice: Random) -> ForeignMessage:
    """A true message with one header of ours that is not as it should be."""
    place, (value, key, headers) = _true(view, dice)
    name, said = dice.choice(NAMES), dice.choice((*INDEXES, *FINGERPRINTS, None, b""))
    changed = dice.choice(("set", "double", "drop", "all null"))
    if changed == "set":
        headers = _with(headers, name, said)
    elif changed == "double":
        headers = [*headers, (name, said), (name, said)]
    elif changed == "drop":
        headers = [each for each in headers if each[0] != name]
    else:
        headers = [(each, None) for each, _ in headers]
    return ForeignMessage(place, (value, key, headers))


def _null(view: View, dice: Random) -> ForeignMessage:
    place, (value, key, headers) = _true(view, dice)
    bodies = ((None, key), (value, None), (None, None), (b"", key), (b"\x01" + b"x" * 9, key))
    return ForeignMessage(place, (*dice.choice(bodies), headers))


def _not_text(view: View, dice: Random) -> ForeignMessage:
    place, wire = _true(view, dice)
    return ForeignMessage(place, wire, raw=True)


def _next(view: View, dice: Random) -> ForeignMessage:
    place = view.place(dice)
    return ForeignMessage(
        place, leaf(view.next_leaf(place, dice), dice.randbytes(dice.randrange(80)))
    )


def _far(view: View, dice: Random) -> ForeignMessage:
    place = view.place(dice)
    index = view.sizes[place[1]] + dice.choice(_FAR)
    return ForeignMessage(place, leaf(min(index, 10**18 - 1), dice.randbytes(20)))


def _flood(view: View, dice: Random) -> ForeignMessage:
    place = view.place(dice)
    return ForeignMessage(
        place, leaf(view.next_leaf(place, dice) + dice.randrange(50), bytes(_MEGABYTE))
    )


def _copy(view: View, dice: Random) -> ForeignMessage:
    return ForeignMessage(*_true(view, dice))


def _altered(view: View, dice: Random) -> ForeignMessage:
    """A true message, one byte of it another, under its own leaf or the next."""
    place, (value, key, headers) = _true(view, dice)
    body = bytearray(value or b"\0")
    body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
    if dice.random() < 0.3:
        key = b"M/0"
    return ForeignMessage(place, (bytes(body), key, headers))


def _renumbered(view: View, dice: Random) -> ForeignMessage:
    """A true message, whole, under the next leaf, with or without its checkpoint."""
    place, (value, key, headers) = _true(view, dice)
    if dice.random() < 0.5:
        headers = [each for each in headers if each[0] not in _SEALS]
    index = b"%d" % view.next_leaf(place, dice)
    return ForeignMessage(place, (value, key, _with(headers, message.LEAF, index)))


def _signed_by_others(view: View, dice: Random) -> ForeignMessage:
    """A checkpoint over a tree that nobody has, by a stranger or under a member's key."""
    place = view.place(dice)
    index = view.next_leaf(place, dice)
    origin = f"{BUS}/{place[0]}/{dice.choice((place[1], place[1], 7))}"
    stated = Checkpoint(origin, index + 1, dice.randbytes(32))
    key = dice.choice((SigningKey.generate(view.owner), view.member))
    note = checkpoint.sign(stated, [key])
    if dice.random() < 0.2:
        note = dice.choice(("no note", note[:-9], note * 3, "\0" * 40, "a\n1\nx\n\n— b AAAA\n"))
    hashes = [dice.randbytes(32) for _ in range(dice.randrange(4))]
    return ForeignMessage(place, leaf(index, dice.randbytes(9), SignedCheckpoint(note, hashes)))


def _stolen_seal(view: View, dice: Random) -> ForeignMessage:
    """The owner's own checkpoint on another leaf, or beside a frontier that is junk."""
    sealed = [
        (place, wire)
        for place in ((view.topic, number) for number in view.sizes)
        for wire in view.owners_messages.at(place)
        if any(name == message.CHECKPOINT for name, _ in wire[2])
    ]
    if not sealed:
        return _next(view, dice)
    place, (value, key, headers) = dice.choice(sealed)
    junk = dice.choice((b"", b"zz", b"00" * 32, b"AB" * 32, b"ab" * 31, b"0" * 9_000))
    match dice.randrange(3):
        case 0:
            return ForeignMessage(place, (value, key, _with(headers, message.FRONTIER, junk)))
        case 1:
            note = dict(headers)[message.CHECKPOINT]
            forged = leaf(view.next_leaf(place, dice), dice.randbytes(9))
            return ForeignMessage(place, (*forged[:2], [*forged[2], (message.CHECKPOINT, note)]))
        case _:
            return ForeignMessage(view.place(dice), (value, key, headers))


def _statement(view: View, dice: Random) -> ForeignMessage:
    """Junk, or nothing, where heads, schemas and receipts stand, or an old statement again."""
    topic = dice.choice([*view.statements])
    place = (topic, 0)
    known = dice.choice((*view.statements[topic], b"schema/" + b"ab" * 32, b"junk", b"", b"\xff"))
    old = view.owners_messages.at(place)
    if old and dice.random() < 0.5:
        return ForeignMessage(place, dice.choice(old))
    junk = (None, b"", b"nonsense", b"\xff" * 30, "a\n1\nx\n\n— b AAAAAAAA\n".encode(), b"{}")
    return ForeignMessage(place, (dice.choice(junk), known, []))


def _true(view: View, dice: Random) -> tuple[Place, Wire]:
    place = view.place(dice)
    seen = view.owners_messages.at(place)
    return place, dice.choice(seen) if seen else leaf(view.sizes[place[1]], dice.randbytes(9))


def _with(headers: Headers, name: str, said: bytes | None) -> Headers:
    return [(each, said if each == name else content) for each, content in headers]


KINDS: Mapping[str, tuple[float, Callable[[View, Random], ForeignMessage]]] = {
    "strange message": (14, _strange),
    "malformed header": (14, _malformed),
    "null key or value": (6, _null),
    "header name not UTF-8": (4, _not_text),
    "forged next leaf": (14, _next),
    "leaf far ahead": (6, _far),
    "unsealed megabyte of zeros": (2, _flood),
    "copy of a message": (8, _copy),
    "altered copy": (10, _altered),
    "old message under the next leaf": (10, _renumbered),
    "checkpoint by another key": (6, _signed_by_others),
    "owner's checkpoint misplaced": (6, _stolen_seal),
    "junk statement": (6, _statement),
}
"""What is written, and how often beside the others."""
