"""Replay: shows what verifies, refuses what does not, and names the leaf that a copy changed."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import tomli_w
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from agency_pair import AgencyPair, transfer
from sinergi_consumers.audit.comparison import first_difference
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.decode import frames
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from confluent_kafka import Message

    from sinergi_schemas.catalog import Schema

COUNT = 40


def fill(pair: AgencyPair) -> AgencyPair:
    """Publish some transfers and a correction."""
    pair.publish(*(transfer(f"P/{number}") for number in range(COUNT - 1)))
    pair.publish(transfer("P/3", "CORRECTED"))
    sent = "SELECT sum(sent_size) FROM sinergi_producer.tree"
    with pair.relaying():
        pair.until(lambda: pair.ask(sent, pair.producer) == [(COUNT,)], "all sent")
    return pair


@pytest.fixture(scope="module")
def pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """A topic of one partition with transfers. All tests share it, and none changes it."""
    return fill(pair_of_module(partitions=1))


@pytest.fixture
def own(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """As `pair`, for a test that changes it."""
    return fill(AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1))


def copied(
    pair: AgencyPair, change: Callable[[list[Message]], list[Message | MessageWithOtherValue]]
) -> str:
    """A copy of the topic in another one, after a change."""
    name = f"copy-{secrets.token_hex(4)}.{pair.topic.name}"
    admin = open_admin(pair.connection)
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(PATIENCE_SECONDS)
    with open_scan(pair.connection, TopicPartition(pair.topic.name, 0)) as scan:
        messages = [each for chunk in scan.read(*scan.bounds()) for each in chunk]
    producer = Producer({"bootstrap.servers": pair.kafka})
    for each in change(messages):
        headers: Any = each.headers()
        producer.produce(name, each.value(), each.key(), 0, headers=headers)
    assert producer.flush(PATIENCE_SECONDS) == 0
    return name


class MessageWithOtherValue:
    """A message with another value."""

    def __init__(self, message: Message, value: bytes) -> None:
        self._message = message
        self._value = value

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes | None:
        return self._message.key()

    def headers(self) -> Any:
        return self._message.headers()


def one_byte_changed(leaf: int) -> Callable[[list[Message]], list[Message | MessageWithOtherValue]]:
    def change(messages: list[Message]) -> list[Message | MessageWithOtherValue]:
        value = bytearray(messages[leaf].value() or b"")
        value[-1] ^= 1
        return [
            *messages[:leaf],
            MessageWithOtherValue(messages[leaf], bytes(value)),
            *messages[leaf + 1 :],
        ]

    return change


def replayed(
    pair: AgencyPair, wanted: ReplayFilter, copy: str | None = None
) -> list[dict[str, Any]]:
    run = Replay(pair.bus, pair.topic, copy)
    return [row for frame in run.events(wanted) for row in frame.to_dicts()]


@pytest.mark.parametrize("partitions", [0, 1, 3])
def test_a_copy_that_is_no_whole_copy_is_told_without_advice_to_change_it(
    pair: AgencyPair, partitions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinergi_schemas.agreements.collection.Agreements.partitions", lambda *_: 2)
    name = f"{pair.topic.name}.copy-{partitions}"
    if partitions:
        admin = open_admin(pair.connection)
        admin.create_topics([NewTopic(name, partitions)])[name].result()
        until(lambda: name in describe(admin, [name]), "the copy is there")
    run = Replay(pair.bus, pair.topic, name)
    if partitions > 2:
        assert len(run.partitions()) == 2
        told = run.added or ""
    else:
        with pytest.raises(errors.ReplayRefused) as refused:
            run.partitions()
        told = str(refused.value)
    assert name in told
    assert not any(advice in told for advice in ("provision", "--alter", "make", "add the"))


def test_a_record_is_shown_with_all_its_revisions(pair: AgencyPair) -> None:
    found = replayed(pair, ReplayFilter(record_id="P/3"))
    assert [(row["revision"], row["action"]) for row in found] == [
        (1, "RECORDED"),
        (2, "CORRECTED"),
    ]


def test_a_record_is_found_without_decoding_any_other(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    decode = frames.decode

    def counting(datums: Sequence[bytes], schema: Schema) -> frames.DecodedFrame:
        decoded.extend(datums)
        return decode(datums, schema)

    monkeypatch.setattr(frames, "decode", counting)
    run = Replay(pair.bus, pair.topic)
    found = [row for frame in run.events(ReplayFilter(record_id="P/3")) for row in frame.to_dicts()]
    assert len(decoded) == len(found) == 2
    assert sum(each.verified for each in run.partition_counts) == COUNT


def test_an_interval_is_open_at_its_end(pair: AgencyPair) -> None:
    every = replayed(pair, ReplayFilter())
    times = sorted({row["recorded_at"] for row in every})
    assert len(every) == COUNT
    last = times[-1]
    assert [row["recorded_at"] for row in replayed(pair, ReplayFilter(since=last))] == [last]
    assert len(replayed(pair, ReplayFilter(until=last))) == COUNT - 1
    elsewhere = last.astimezone(ZoneInfo("Asia/Makassar"))
    assert len(replayed(pair, ReplayFilter(until=elsewhere))) == COUNT - 1


@pytest.mark.parametrize("leaf", [0, 17, COUNT - 2])
def test_one_changed_byte_refuses_its_batch_and_a_second_copy_names_the_leaf(
    pair: AgencyPair, leaf: int
) -> None:
    copy = copied(pair, one_byte_changed(leaf))
    with pytest.raises(errors.SealMismatch) as caught:
        replayed(pair, ReplayFilter(), copy)
    batch = range(caught.value.start, caught.value.end)
    assert leaf in batch
    original = Replay(pair.bus, pair.topic, keeps_leaves=True).verify(0)
    difference = first_difference(pair.bus, copy, original, batch)
    assert difference
    assert (difference.leaf, difference.is_missing) == (leaf, False)
    assert first_difference(pair.bus, pair.topic.name, original, batch) is None


def test_a_copy_that_lacks_a_message_is_a_gap(pair: AgencyPair) -> None:
    copy = copied(pair, lambda messages: [*messages[:5], *messages[6:]])
    with pytest.raises(errors.SealGap, match=r"lacks leaf 5, though"):
        replayed(pair, ReplayFilter(), copy)


def test_a_tail_that_was_cut_off_before_a_checkpoint_is_not_shown(pair: AgencyPair) -> None:
    copy = copied(pair, lambda messages: list(messages[:-1]))
    run = Replay(pair.bus, pair.topic, copy)
    shown = sum(frame.height for frame in run.events(ReplayFilter()))
    (tally,) = run.partition_counts
    assert shown == tally.verified < COUNT - 1 or tally.unsealed == 0
    assert tally.verified + tally.unsealed == COUNT - 1


def test_messages_sent_twice_are_shown_once(pair: AgencyPair) -> None:
    copy = copied(pair, lambda messages: [*messages, *messages])
    assert len(replayed(pair, ReplayFilter(), copy)) == COUNT


def test_a_message_of_a_stranger_is_skipped_and_counted(own: AgencyPair) -> None:
    producer = Producer({"bootstrap.servers": own.kafka})
    producer.produce(own.topic.name, b"anything", b"key", 0)
    assert producer.flush(PATIENCE_SECONDS) == 0
    run = Replay(own.bus, own.topic)
    assert sum(frame.height for frame in run.events(ReplayFilter())) == COUNT
    (tally,) = run.partition_counts
    assert [(each.count, each.first) for each in tally.skipped.causes] == [(1, COUNT)]


def test_every_output_holds_every_event(
    pair: AgencyPair, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from sinergi.cli.root import run

    config = tmp_path / "reader" / "sinergi.toml"
    config.parent.mkdir()
    settings = {
        "agency": pair.reader,
        "agreements": str(pair.folder),
        "kafka": {"bootstrap": pair.kafka},
    }
    config.write_text(tomli_w.dumps(settings), encoding="utf-8")

    def shown(*options: str) -> bytes:
        status = run(["--config", str(config), "replay", pair.topic.name, *options])
        assert status == 0
        return capfdbinary.readouterr().out

    lines = [json.loads(line) for line in shown("--output", "ndjson").splitlines()]
    assert len({line["event_id"] for line in lines}) == COUNT
    assert lines[0]["escort"] == [{"escort_agency": "Brimob", "count": 3}]
    table = pl.read_csv(shown("--output", "csv"))
    assert table.height == COUNT
    assert json.loads(table["escort"][0]) == lines[0]["escort"]
    is_list = [isinstance(lines[0][name], list) for name in table.columns]
    assert is_list == sorted(is_list), "lists come last"
    assert table["recorded_at"][0].endswith("+07:00")
    parquet = tmp_path / "events.parquet"
    shown("--output", "parquet", "--out", str(parquet))
    assert pl.read_parquet(parquet).height == COUNT
    assert shown("--key", "P/3").count(b"P/3") == 2


def test_an_agreement_of_another_bus_is_named_before_anybody_alters_a_topic(
    own: AgencyPair,
) -> None:
    """Partitions that were added for a wrong agreement can never be removed."""
    terms = own.agreement["events"]["transfer"] | {"partitions": 7}
    file = own.folder / "pks.toml"
    own.agree(own.agreement | {"events": {"transfer": terms}}, file.name)
    with pytest.raises(errors.PartitionsDiffer) as raised:
        Replay(replace(own.bus, agreements=Agreements.load(own.folder)), own.topic).partitions()
    said = str(raised.value)
    assert "Either this file is not the agreement of this bus" in said
    assert said.index(str(file)) < said.index("kafka-topics --alter")


def test_a_topic_that_is_gone_is_not_made_anew_for_an_auditor(own: AgencyPair) -> None:
    admin = open_admin(own.connection)
    admin.delete_topics([own.topic.name])[own.topic.name].result(PATIENCE_SECONDS)
    until(lambda: not describe(admin, [own.topic.name]), "it is gone")
    with pytest.raises(errors.TopicMissing) as raised:
        Replay(own.bus, own.topic).partitions()
    assert str(raised.value) == (
        f"{own.topic.name} is not on these brokers (none of them has it). Ask its owner and the "
        "brokers' operator; a file of `sinergi archive` is read with --archive FILE, a copy of it "
        f"under another name by `sinergi replay {own.topic.name} --copy NAME`."
    )
