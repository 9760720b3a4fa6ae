"""The messages of an owner who seals, and a reader that is fed with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from hypothesis import strategies as st

from sinergi_schemas.message import leaf_data
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.key_ring import KeyRing
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.seal.merkle import Frontier, leaf_hash
from sinergi_schemas.seal.reader import TreeReader, VerifiedLeaves
from sinergi_schemas.seal.writer import TreeWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ORIGIN = "sinergi.example/sinergi.lapas-banyuwangi.transfer/0"

KEY = SigningKey.generate("sinergi.example/lapas-banyuwangi")
STRANGER = SigningKey.generate("sinergi.example/lapas-banyuwangi")
FINGERPRINT = bytes(range(32))


@dataclass(frozen=True)
class StubMessage:
    """A message, as far as a reader sees it."""

    index: int
    key: bytes
    datum: bytes
    fingerprint: bytes = FINGERPRINT
    sealed: SignedCheckpoint | None = None

    @property
    def data(self) -> bytes:
        return leaf_data(self.fingerprint, self.key, self.datum)


def seal(
    batches: Iterable[Sequence[bytes]],
    origin: str = ORIGIN,
    key: SigningKey = KEY,
    tree: Frontier | None = None,
) -> list[StubMessage]:
    """The tape of an honest owner: a checkpoint at the end of each batch."""
    writer = TreeWriter(origin, [key], tree or Frontier.empty())
    tape = []
    for batch in batches:
        for datum in batch:
            sent = StubMessage(writer.size, b"record-%d" % writer.size, datum)
            writer.add(sent.data)
            tape.append(sent)
        if batch:
            tape[-1] = replace(tape[-1], sealed=writer.checkpoint())
    return tape


def fresh(tree: Frontier | None = None) -> TreeReader:
    return TreeReader(ORIGIN, KeyRing.of(KEY.public), tree or Frontier.empty())


def comparing() -> TreeReader:
    return TreeReader(ORIGIN, KeyRing.of(KEY.public), Frontier.empty(), compare=True)


def feed(
    reader: TreeReader, tape: Iterable[StubMessage], *, together: bool = False
) -> list[VerifiedLeaves]:
    """Feed messages at offsets that go on from the last ones; what became verified.

    Args:
        together: they have arrived at once, and others may follow.
    """
    found = []
    for sent in tape:
        at = OFFSETS[reader] = OFFSETS.get(reader, -1) + 1
        verified = reader.feed(sent.index, leaf_hash(sent.data), sent.sealed, at)
        if verified:
            found.append(verified)
        while not together and (verified := reader.try_open_checkpoint()):
            found.append(verified)
    return found


def takes(reader: TreeReader, index: int, leaf: bytes, sealed: SignedCheckpoint | None) -> bool:
    """Whether a message makes leaves verified, if no others are at hand."""
    return bool(reader.feed(index, leaf, sealed) or reader.try_open_checkpoint())


def finish(reader: TreeReader, tape: Iterable[StubMessage]) -> list[VerifiedLeaves]:
    """The same for a topic that ends there; an objection that stands is raised."""
    found = feed(reader, tape)
    while verified := reader.try_open_checkpoint(final=True):
        found.append(verified)
    if reader.unresolved:
        raise reader.unresolved
    return found


def causes(reader: TreeReader) -> dict[str, int]:
    return {each.cause: each.count for each in reader.skipped.causes}


OFFSETS: WeakKeyDictionary[TreeReader, int] = WeakKeyDictionary()
DATUMS = st.binary(max_size=6)
BATCHES = st.lists(st.lists(DATUMS, min_size=1, max_size=6), min_size=1, max_size=5)
FIVE = seal([[b"a", b"b"], [b"c", b"d", b"e"]])


def ends(tape: Sequence[StubMessage]) -> list[int]:
    return [sent.index + 1 for sent in tape if sent.sealed]


def end_before(tape: Sequence[StubMessage], index: int) -> int:
    """The last checkpoint at or before a leaf: what may be verified when that leaf is bad."""
    return max((end for end in ends(tape) if end <= index), default=0)


def false_checkpoints(sizes: Iterable[int]) -> list[StubMessage]:
    """Signed by the owner, over trees that it does not have."""
    stated = [Checkpoint(ORIGIN, size, leaf_hash(b"%d" % size)) for size in sizes]
    return [
        StubMessage(
            each.size - 1, b"k", b"x", sealed=SignedCheckpoint(checkpoint.sign(each, [KEY]), ())
        )
        for each in stated
    ]
