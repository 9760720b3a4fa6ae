"""Which heads `sinergi status` takes for the newest, among all that others put behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest
import tomli_w

from agency_pair import BUS, agreement
from sinergi.status import signed_heads
from sinergi.status.facts import ReaderFacts
from sinergi.status.judgement import judge
from sinergi.status.signed_heads import FoundHeads, find_heads
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.seal import heads
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.topics import TopicPartition
from test_status import FACTS, READ

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sinergi_schemas.kafka.ranges import RangeReader

AGENCY = "lapas-rekaan"
KEY = SigningKey.generate(f"{BUS}/{AGENCY}")
CONTROL = TopicPartition(f"sinergi.{AGENCY}.control", 0)
AT = 1_800_000_000
SOON = datetime.fromtimestamp(AT + 60, UTC)


@dataclass
class Written:
    """A message of a control topic."""

    note: bytes

    def key(self) -> bytes:
        return b"heads"

    def value(self) -> bytes:
        return self.note


class WrittenTopic:
    """A reader of a control topic that holds some notes."""

    def __init__(self, notes: Sequence[bytes]) -> None:
        self.notes = notes
        self.read = 0

    def messages(
        self, ranges: Mapping[TopicPartition, range]
    ) -> Iterator[tuple[TopicPartition, Written]]:
        for tp, offsets in ranges.items():
            for each in offsets:
                self.read += 1
                yield tp, Written(self.notes[each])


@pytest.fixture(scope="module")
def agreements(tmp_path_factory: pytest.TempPathFactory) -> Agreements:
    folder: Path = tmp_path_factory.mktemp("agreements")
    receipts = SigningKey.generate(f"{BUS}/bnnk-rekaan/main", Algorithm.COSIGNATURE)
    text = tomli_w.dumps(agreement(KEY.public, receipts.public))
    (folder / "pks.toml").write_text(text, encoding="utf-8")
    return Agreements.load(folder)


def signed(at: int, size: int, *keys: SigningKey) -> bytes:
    line = TreeHead(f"sinergi.{AGENCY}.transfer", 0, size, bytes(32))
    return heads.sign(SignedHeads(BUS, AGENCY, at, (line,)), keys or [KEY]).encode()


def found(agreements: Agreements, notes: Sequence[bytes], now: datetime = SOON) -> FoundHeads:
    reader = cast("RangeReader", WrittenTopic(notes))
    offsets = {CONTROL: range(len(notes))}
    return find_heads(reader, agreements, {AGENCY: CONTROL}, offsets, now)[AGENCY]


def sizes(seen: FoundHeads) -> list[int]:
    assert seen.heads is not None
    return [each.size for each in seen.heads.heads]


def test_any_number_of_old_and_invalid_heads_hides_none_of_the_newest(
    agreements: Agreements,
) -> None:
    newest, old = signed(AT, 30), [signed(AT - 60 * back, 20) for back in range(100, 0, -1)]
    stranger = signed(AT + 10**6, 1, SigningKey.generate(f"{BUS}/{AGENCY}"))
    junk = [b"junk %d" % number for number in range(500)]
    later = [b"x\n%d\n%d\n" % (AT + 10**6, number) for number in range(500)]
    for noise in (old[:1] * 1_000, old, junk, later, [stranger] * 100, [b"", b"\xff"] * 100):
        seen = found(agreements, [*old, newest, *noise])
        assert (sizes(seen), seen.fault, seen.unread) == ([30], None, 0)


def test_of_heads_of_the_same_second_those_with_more_leaves_count(agreements: Agreements) -> None:
    assert sizes(found(agreements, [signed(AT, 30), signed(AT, 20)])) == [30]
    assert sizes(found(agreements, [signed(AT, 20), signed(AT, 30)])) == [30]


def test_heads_behind_more_messages_than_are_read_at_first_are_found(
    agreements: Agreements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_heads, "LENGTHS", (50, 500))
    hidden = [signed(AT, 30), *[signed(AT - 86_400, 20)] * 100]
    assert sizes(found(agreements, hidden)) == [30]
    fresh = [*[b"junk"] * 1_000, signed(AT, 30)]
    reader = WrittenTopic(fresh)
    offsets = {CONTROL: range(len(fresh))}
    find_heads(cast("RangeReader", reader), agreements, {AGENCY: CONTROL}, offsets, SOON)
    assert reader.read == 50


def test_where_too_many_messages_hide_the_heads_these_are_unknown_and_nobody_is_blamed(
    agreements: Agreements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_heads, "LENGTHS", (50, 500))
    for noise in (signed(AT - 86_400, 20), b"junk"):
        seen = found(agreements, [signed(AT, 30), *[noise] * 1_000])
        assert seen.unread == 451
        topic = replace(
            READ, heads_at=seen.signed_at, heads_fault=seen.fault, heads_unread=seen.unread
        )
        verdict = judge(replace(FACTS, reading=ReaderFacts("bnnk-rekaan.main", 1, (topic,))))
        assert (verdict.exit_status, verdict.remarks) == (2, ())
        (line,) = verdict.lines
        assert line.startswith("it is not known which heads lapas-rekaan has signed last: ")
        assert "451 older ones were not read" in line


def test_an_agency_without_heads_has_a_fault_only_where_others_have_written_some(
    agreements: Agreements,
) -> None:
    assert found(agreements, []) == FoundHeads()
    seen = found(agreements, [b"what I say"])
    assert seen.heads is None
    assert seen.fault


def test_heads_by_a_key_that_was_replaced_hide_no_others_and_have_no_time(tmp_path: Path) -> None:
    new = SigningKey.generate(KEY.name)
    receipts = SigningKey.generate(f"{BUS}/bnnk-rekaan/main", Algorithm.COSIGNATURE)
    document = agreement(new.public, receipts.public)
    document["parties"][AGENCY]["replaced_keys"] = [
        {"key": str(KEY.public), "until": {"transfer": [20]}}
    ]
    (tmp_path / "pks.toml").write_text(tomli_w.dumps(document), encoding="utf-8")
    replaced = Agreements.load(tmp_path)
    stolen = [signed(AT + number, 20) for number in range(200)]
    for notes in ([signed(AT, 30, new), *stolen], [*stolen, signed(AT, 30, new)]):
        seen = found(replaced, notes)
        assert (sizes(seen), seen.signed_at) == ([30], datetime.fromtimestamp(AT, UTC))
    seen = found(replaced, [signed(AT, 20, KEY, new), *stolen])
    assert (sizes(seen), seen.signed_at) == ([20], datetime.fromtimestamp(AT, UTC))
    seen = found(replaced, stolen)
    assert (sizes(seen), seen.fault, seen.signed_at) == ([20], None, None)
