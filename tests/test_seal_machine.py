"""An owner, an adversary who holds all messages, and a reader."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from seal_tapes import (
    DATUMS,
    KEY,
    ORIGIN,
    STRANGER,
    StubMessage,
    feed,
    finish,
    fresh,
    seal,
)
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.merkle import Frontier, leaf_hash, root_of
from sinergi_schemas.seal.writer import TreeWriter

if TYPE_CHECKING:
    from sinergi_schemas.seal.reader import VerifiedLeaves


class SealMachine(RuleBasedStateMachine):
    """An owner who seals, somebody on the way who holds all messages, and a reader.

    Whatever arrives, what the reader gives out is a beginning of what its owner sealed, and as soon
    as all true messages have arrived it has given out everything.
    """

    tampered = Bundle("tampered")
    mutable: ClassVar = ["index", "key", "datum", "fingerprint", "sealed", "frontier", "note"]

    @initialize()
    def begin(self) -> None:
        self.writer = TreeWriter(ORIGIN, [KEY], Frontier.empty())
        self.sealed: list[StubMessage] = []
        self.foreign = seal([[b"a", b"b"], [b"c"]], origin=ORIGIN[:-1] + "1")
        self.reader = fresh()
        self.given: list[VerifiedLeaves] = []

    @rule(datums=st.lists(DATUMS, min_size=1, max_size=4))
    def the_owner_publishes(self, datums: list[bytes]) -> None:
        for datum in datums:
            sent = StubMessage(self.writer.size, b"record-%d" % self.writer.size, datum)
            self.writer.add(sent.data)
            self.sealed.append(sent)
        self.sealed[-1] = replace(self.sealed[-1], sealed=self.writer.checkpoint())

    def deliver(self, sent: StubMessage) -> None:
        self.given += feed(self.reader, [sent])

    @precondition(lambda self: self.sealed)
    @rule(count=st.integers(min_value=1, max_value=5))
    def the_next_messages_arrive(self, count: int) -> None:
        at = self.reader.size + self.reader.pending
        for sent in self.sealed[at : at + count]:
            self.deliver(sent)

    @precondition(lambda self: self.sealed)
    @rule(data=st.data())
    def any_message_arrives(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(self.sealed)))

    @rule(data=st.data())
    def a_message_of_another_partition_arrives(self, data: st.DataObject) -> None:
        self.deliver(data.draw(st.sampled_from(self.foreign)))

    @precondition(lambda self: self.sealed)
    @rule(target=tampered, data=st.data(), what=st.sampled_from(mutable))
    def a_message_is_tampered_with(self, data: st.DataObject, what: str) -> StubMessage:
        at = min(self.reader.size + self.reader.pending, len(self.sealed) - 1)
        sent = data.draw(st.sampled_from([self.sealed[at], *self.sealed]))
        if what == "index":
            return replace(sent, index=data.draw(st.integers(min_value=0, max_value=30)))
        if what in ("key", "datum", "fingerprint"):
            new = data.draw(st.binary(min_size=32, max_size=32))
            return replace(sent, **{what: new})  # type: ignore[arg-type]
        others = [each.sealed for each in [*self.sealed, *self.foreign] if each.sealed]
        other = data.draw(st.sampled_from(others))
        if what == "sealed":
            return replace(sent, sealed=data.draw(st.sampled_from([None, other])))
        if what == "frontier" and sent.sealed:
            return replace(sent, sealed=SignedCheckpoint(sent.sealed.note, other.frontier))
        size = data.draw(st.integers(min_value=0, max_value=30))
        forged = Checkpoint(ORIGIN, size, root_of([leaf_hash(sent.data)] * size))
        return replace(
            sent, sealed=SignedCheckpoint(checkpoint.sign(forged, [STRANGER]), other.frontier)
        )

    @rule(sent=consumes(tampered))
    def a_tampered_message_arrives(self, sent: StubMessage) -> None:
        self.deliver(sent)

    @invariant()
    def what_is_given_out_is_a_beginning_of_what_was_sealed(self) -> None:
        end = 0
        for each in self.given:
            assert each.start == end < each.end <= len(self.sealed)
            end = each.end
        if self.given:
            leaves = [leaf_hash(sent.data) for sent in self.sealed[:end]]
            assert self.given[-1].root == root_of(leaves) == self.reader.frontier.root()
            sealed = self.sealed[end - 1].sealed
            assert sealed
            assert self.given[-1].note == sealed.note

    def teardown(self) -> None:
        if hasattr(self, "reader"):
            for sent in self.sealed[self.reader.size :]:
                self.deliver(sent)
            self.given += finish(self.reader, [])
            assert self.reader.size == len(self.sealed)
            self.what_is_given_out_is_a_beginning_of_what_was_sealed()


TestSeal = SealMachine.TestCase
TestSeal.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


def test_a_flood_of_copies_before_a_batch_changes_nothing() -> None:
    tape = seal([[b"a"], [b"%d" % number for number in range(300)]])
    flood = [replace(each, datum=b"%d" % turn) for each in tape[1:] for turn in range(70)]
    reader = fresh()
    assert [each.end for each in finish(reader, [tape[0], *flood, *tape[1:]])] == [1, 301]
