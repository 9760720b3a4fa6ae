"""A reader that fills its own receipts topic delays no look at it, and makes nobody believe it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from agency_pair import DATABASE, AgencyPair, transfer
from sinergi.cli.root import run
from sinergi.status import acknowledged as module
from sinergi.status.acknowledged import Acknowledgements, acknowledged
from sinergi_schemas.kafka.scan import PartitionScan
from sinergi_schemas.topics import receipts_topic
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from confluent_kafka import Message

MOST = 100


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many messages each chunk had that was read; few are read at most."""
    chunks: list[int] = []
    usual = PartitionScan.read

    def counting(scan: PartitionScan, *where: Any) -> Iterator[list[Message]]:
        for chunk in usual(scan, *where):
            chunks.append(len(chunk))
            yield chunk

    monkeypatch.setattr(PartitionScan, "read", counting)
    monkeypatch.setattr(module, "MOST_MESSAGES", MOST)
    return chunks


def write(pair: AgencyPair, count: int, value: bytes = b"junk", key: str = "") -> None:
    """Write junk to the receipts topic of the reader, each under another key unless it is given."""
    producer = Producer({"bootstrap.servers": pair.kafka})
    for number in range(count):
        producer.produce(receipts_topic(pair.reader), value, key or f"junk/{number}")
        producer.poll(0)
    assert producer.flush(PATIENCE_SECONDS) == 0


def found(pair: AgencyPair) -> Acknowledgements:
    return acknowledged(pair.connection, pair.agreements, [pair.topic], 5.0)


def sizes(pair: AgencyPair) -> list[int | None]:
    return [each.size for each in found(pair).found[pair.topic]]


def test_receipts_at_either_end_of_a_topic_full_of_junk_are_found(
    pair: AgencyPair, read: list[int]
) -> None:
    pair.publish_and_materialise(5)
    write(pair, 1_000)
    read.clear()
    assert sizes(pair) == [5]
    assert 0 < sum(read) <= 2 * MOST
    pair.publish(transfer("Q/1"))
    with pair.relaying(), pair.materialising():
        pair.until(lambda: sizes(pair) == [6], "the newest receipt is found")


def test_where_junk_hides_the_receipts_how_far_the_reader_is_is_unknown(
    pair: AgencyPair, read: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    write(pair, 500)
    pair.publish_and_materialise(5)
    write(pair, 500)
    read.clear()
    capsys.readouterr()
    receipts = found(pair)
    assert sum(read) <= 2 * MOST
    assert not receipts.found
    assert receipts.unread == {pair.reader}
    assert f"{pair.reader} is with {pair.topic.name}, is not known" in receipts.unknown[0]
    assert "only the first and the last 100 of its 1," in receipts.unknown[0]
    settings = ["--config", str(pair.agency_settings), "--set", "producer.prune_days=0"]
    assert run([*settings, "outbox", "prune", "--apply", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["pruned_rows"] == 0
    assert receipts.unknown[0] in document["unknown"]
    run([*settings, "status"])
    assert f"note: {receipts.unknown[0]}" in capsys.readouterr().out


def test_large_messages_are_not_read_to_their_end(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.publish_and_materialise(5)
    monkeypatch.setattr(module, "MOST_BYTES", 1024 * 1024)
    write(pair, 50, b"x" * 100_000)
    receipts = found(pair)
    assert not receipts.found
    assert receipts.unread == {pair.reader}
    assert "its messages have more than 1 MiB" in receipts.unknown[0]


def test_false_receipts_are_verified_a_thousand_times_at_most(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.publish_and_materialise(5)
    monkeypatch.setattr(module, "MOST_FALSE", 10)
    ((note,),) = pair.ask("SELECT note FROM sinergi_consumer.receipt ORDER BY size DESC LIMIT 1")
    key = f"{DATABASE}/{pair.topic.name}/0"
    for size in range(1_000, 1_050):
        write(pair, 1, note.replace("\n5\n", f"\n{size}\n").encode(), key)
    receipts = found(pair)
    assert not receipts.found
    assert receipts.unread == {pair.reader}
    assert "more than 10 of its notes are false" in receipts.unknown[0]
