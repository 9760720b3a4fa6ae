"""Messages in the control and receipts topics do not hide true heads and receipts."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest
import tomli_w

from agency_pair import BUS, agreement
from sinergi_consumers.audit import statement_reading
from sinergi_consumers.audit.statements import HEADS, RECEIPT, SignedStatements
from sinergi_consumers.bus import Bus
from sinergi_schemas import topics
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.seal.checkpoint import Checkpoint
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.seal.keys import Algorithm, SigningKey, VerifyingKey
from sinergi_schemas.seal.note import Note, parse_note
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sinergi_consumers.reading.source import TopicSource
    from sinergi_schemas.topics import TopicPartition

CHUNK = 5_000
TOPIC = Topic("lapas-x", "transfer")
CONTROL = topics.control_topic("lapas-x")
RECEIPTS = topics.receipts_topic("bnnk-x")
OWNER = SigningKey.generate(f"{BUS}/lapas-x")
MAIN = SigningKey.generate(f"{BUS}/bnnk-x/main", Algorithm.COSIGNATURE)
OTHER = SigningKey.generate(f"{BUS}/bnnk-x/other", Algorithm.COSIGNATURE)
JUNK = b"junk"


@dataclass(frozen=True)
class StoredMessage:
    """A message of a topic that is only in memory."""

    at: int
    named: bytes
    content: bytes

    def key(self) -> bytes:
        return self.named

    def value(self) -> bytes:
        return self.content

    def offset(self) -> int:
        return self.at


class MemoryTopics:
    """Topics in memory, which the audit reads instead of a broker's."""

    def __init__(self, agreements: Agreements) -> None:
        self.bus = Bus(cast("TopicSource", self), agreements, Catalog.shipped())
        self.messages: dict[str, list[tuple[bytes, bytes]]] = {CONTROL: [], RECEIPTS: []}

    def heads(self, *notes: bytes) -> None:
        self.messages[CONTROL] += [(b"heads", each) for each in notes]

    def receipts(self, *notes: bytes, key: str = f"main/{TOPIC.name}/0") -> None:
        self.messages[RECEIPTS] += [(key.encode(), each) for each in notes]

    def gather(self) -> SignedStatements:
        return statement_reading.gather(self.bus, TOPIC)

    def partition_counts(self, names: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(self.messages.keys() & {*names}, 1)

    @contextmanager
    def open_scan(self, place: TopicPartition) -> Iterator[MemoryScan]:
        yield MemoryScan(self.messages[place.topic])


class MemoryScan:
    """The messages of one topic in chunks, as a broker's scan has them."""

    def __init__(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        self._messages = [StoredMessage(at, *each) for at, each in enumerate(messages)]

    def bounds(self) -> tuple[int, int]:
        return 0, len(self._messages)

    def read(self, low: int, high: int) -> Iterator[list[StoredMessage]]:
        for start in range(low, high, CHUNK):
            yield self._messages[start : start + CHUNK]

    def drain_unreadable(self) -> list[object]:
        return []


@pytest.fixture
def memory(tmp_path: Path) -> MemoryTopics:
    """The topics of one owner, and of one reader with two databases."""
    agreed = agreement(OWNER.public, MAIN.public)
    databases = [{"database": each.name.split("/")[2], "key": str(each.public)} for each in KEYS]
    agreed["parties"]["bnnk-x"]["receipt_keys"] = databases
    (tmp_path / "pks.toml").write_text(tomli_w.dumps(agreed), encoding="utf-8")
    return MemoryTopics(Agreements.load(tmp_path))


KEYS = (MAIN, OTHER)


def heads_note(*sizes: int, at: int = 1_700_000_000) -> bytes:
    """Heads of the owner, which state trees of these sizes of partition 0, or nothing."""
    stated = tuple(TreeHead(TOPIC.name, 0, size, bytes(32)) for size in sizes)
    return heads.sign(SignedHeads(BUS, "lapas-x", at, stated), [OWNER]).encode()


def receipt_note(size: int, key: SigningKey = MAIN, root: bytes = bytes(32)) -> bytes:
    """A receipt for the owner's checkpoint of a tree."""
    note = checkpoint.sign(Checkpoint(f"{BUS}/{TOPIC.name}/0", size, root), [OWNER])
    return checkpoint.cosign(note, key, 1_700_000_000).encode()


def stripped(receipt: bytes) -> bytes:
    """A receipt without its owner's signature; anybody can remove it."""
    note = parse_note(receipt.decode())
    kept = tuple(each for each in note.signatures if not each.claims(OWNER.public))
    return str(Note(note.text, kept)).encode()


def sizes(found: SignedStatements) -> dict[tuple[str, str], int]:
    return {(each.kind, each.name.rpartition("/")[2]): each.size for each in found.largest}


@pytest.mark.parametrize("count", [1, 1_001, 2_600])
@pytest.mark.parametrize("place", ["before", "behind"])
def test_true_heads_count_however_many_silent_heads_and_junk_are_beside_them(
    memory: MemoryTopics, count: int, place: str
) -> None:
    """The owner signed the silent heads before the topic had events; anybody can repeat them."""
    silent = [heads_note(at=1_600_000_000), JUNK] * count
    notes = [heads_note(50), *silent] if place == "behind" else [*silent, heads_note(50)]
    memory.heads(*notes)
    found = memory.gather()
    assert sizes(found) == {(HEADS, "lapas-x"): 50}
    assert found.has_heads


def test_true_heads_count_behind_silent_heads_that_all_differ(memory: MemoryTopics) -> None:
    memory.heads(*(heads_note(at=1_600_000_000 + each) for each in range(1_200)))
    memory.heads(*(heads_note(50 + each) for each in range(20)))
    assert sizes(memory.gather()) == {(HEADS, "lapas-x"): 69}
    memory.heads(*(heads_note(at=1_600_000_000 + each) for each in range(1_200)))
    assert sizes(memory.gather()) == {(HEADS, "lapas-x"): 69}


@pytest.mark.parametrize("count", [1, 1_001, 2_600])
@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_true_receipt_counts_however_many_without_the_owner_are_beside_it(
    memory: MemoryTopics, count: int, place: str
) -> None:
    bare = [stripped(receipt_note(10)), JUNK] * count
    true = receipt_note(50)
    memory.receipts(*([true, *bare] if place == "behind" else [*bare, true]))
    found = memory.gather()
    assert sizes(found) == {(RECEIPT, "main"): 50}
    assert {each.size for each in found.claims} <= {10}


def test_a_receipt_of_another_database_hides_none_under_the_same_message_key(
    memory: MemoryTopics,
) -> None:
    memory.receipts(receipt_note(50), receipt_note(100, OTHER))
    assert sizes(memory.gather()) == {(RECEIPT, "main"): 50, (RECEIPT, "other"): 100}


def test_copies_of_a_note_are_verified_once(
    memory: MemoryTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[bytes] = []
    verify = VerifyingKey.verify

    def counted(key: VerifyingKey, signature: bytes, signed: bytes) -> bool:
        verified.append(signed)
        return verify(key, signature, signed)

    monkeypatch.setattr(VerifyingKey, "verify", counted)
    memory.heads(*[heads_note(at=1), heads_note(at=2)] * 1_000)
    assert not memory.gather().has_heads
    assert len(verified) == 2


def test_a_hash_that_was_forgotten_hides_nothing(
    memory: MemoryTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_reading, "_MOST_REMEMBERED", 2)
    silent = [heads_note(at=each) for each in range(5)]
    memory.heads(*silent, heads_note(50), *silent, *silent)
    found = memory.gather()
    assert sizes(found) == {(HEADS, "lapas-x"): 50}
    assert found.skipped == {}


def test_an_honest_reader_is_not_accused_when_its_receipt_lost_the_owners_line(
    memory: MemoryTopics,
) -> None:
    memory.receipts(stripped(receipt_note(20)))
    found = memory.gather()
    (line,) = [each for each in found.remarks if "claims" in each]
    assert "the receipt bears no owner's signature (anybody can remove it)" in line
    memory.heads(heads_note(20))
    found = memory.gather()
    found.drop_supported_claims(0)
    assert found.claims == []


@pytest.mark.parametrize("root", [bytes(32), b"x" * 32])
def test_a_claim_is_dropped_only_for_a_signed_checkpoint_of_the_same_tree(
    memory: MemoryTopics, root: bytes
) -> None:
    memory.receipts(stripped(receipt_note(20)))
    found = memory.gather()
    found.drop_supported_claims(0, {}, {20: root})
    assert [each.size for each in found.claims] == ([] if root == bytes(32) else [20])


def test_claims_beyond_the_limit_are_counted(
    memory: MemoryTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_reading, "_MOST_CLAIMS", 30)
    memory.receipts(*(stripped(receipt_note(size)) for size in range(1, 41)))
    found = memory.gather()
    assert (len(found.claims), found.claims_beyond_limit) == (30, 10)
    assert found.remarks[-1] == "20 more claims without the owner's signature"


def test_readers_without_a_receipt_and_topics_that_do_not_exist_are_named(
    memory: MemoryTopics,
) -> None:
    memory.receipts(receipt_note(50))
    assert memory.gather().without_receipt == [OTHER.name]
    assert memory.gather().missing_topics == []
    memory.messages.clear()
    found = memory.gather()
    assert found.without_receipt == [MAIN.name, OTHER.name]
    assert found.remarks == [f"there is no topic {each}" for each in (CONTROL, RECEIPTS)]
