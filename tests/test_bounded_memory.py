"""The memory of each process is bounded, whatever others have written."""

from __future__ import annotations

import io
import os
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import fastavro
import polars as pl
import pytest
from confluent_kafka import Producer

from agency_pair import BUS, AgencyPair, send, transfer
from memory_use import measured, peak
from sinergi_consumers.audit import statement_reading
from sinergi_consumers.audit.statements import SkippedStatements
from sinergi_consumers.decode import frames
from sinergi_consumers.decode.batches import DecodedBatch
from sinergi_consumers.decode.decoder import DecodedParts, Decoder
from sinergi_consumers.reading.partition import MOST_BYTES, Partition, VerifiedBatch
from sinergi_consumers.testing import sinks
from sinergi_consumers.testing.tape import Tape, TapeMessage
from sinergi_schemas import codec, errors, message, topics
from sinergi_schemas.avro_types.datum import MalformedDatum
from sinergi_schemas.avro_types.quick_datum import quick_reader
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.events.common import RelatedRecord
from sinergi_schemas.kafka.parts import message_bytes
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.limits import (
    BYTES_OF_ITEM,
    FREE_ITEMS,
    MOST_DATUM_BYTES,
    TOO_MANY_ITEMS,
    most_items,
)
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.seal.key_ring import KeyRing
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic, TopicPartition
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from uuid import UUID

    from sinergi_schemas.events import Event

COUNT = 30
MOST_MIB = 400
MEGABYTE = 900_000


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """A topic of one partition that a reader has materialised."""
    made = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    made.publish_and_materialise(COUNT)
    return made


def write(pair: AgencyPair, topic: str, values: Iterable[bytes], compression: str = "none") -> None:
    """Write values to the only partition of a topic, each under a key of its own."""
    producer = Producer(
        {"bootstrap.servers": pair.kafka, "compression.type": compression, "linger.ms": 0}
    )
    for number, value in enumerate(values):
        producer.produce(topic, value, b"%d" % number, 0)  # a batch each: it holds a megabyte
        if number % 50 == 0:
            producer.flush(30)
    assert producer.flush(PATIENCE_SECONDS) == 0


@pytest.mark.long
def test_a_receipts_topic_full_of_junk_is_passed_over_in_bounded_memory(pair: AgencyPair) -> None:
    receipts = topics.receipts_topic(pair.reader)
    noise = os.urandom(MEGABYTE)
    write(pair, receipts, (noise for _ in range(60)))
    write(pair, receipts, (bytes(MEGABYTE) for _ in range(500)), "zstd")

    command = ("--config", str(pair.reader_settings), "replay", pair.topic.name)
    done = measured(pair.folder, *command, "--output", "ndjson")
    assert (done.status, done.out.count("\n")) == (0, COUNT)
    assert "1 receipt" in done.err
    assert done.mib < MOST_MIB

    found = statement_reading.gather(pair.bus, pair.topic)
    assert found.skipped[receipts].count == 560
    assert not found.claims
    assert [each.kind for each in found.of(0)] == ["heads", "receipt"]


def test_what_a_reader_says_of_other_topics_is_no_junk(pair: AgencyPair) -> None:
    receipts = topics.receipts_topic(pair.reader)
    producer = Producer({"bootstrap.servers": pair.kafka})
    for key in (b"main/sinergi.polres-rekaan.visit/3", b"other/x/1", b"\xff"):
        producer.produce(receipts, b"nonsense", key, 0)
    assert producer.flush(PATIENCE_SECONDS) == 0
    found = statement_reading.gather(pair.bus, pair.topic)
    with open_scan(pair.connection, TopicPartition(receipts, 0)) as scan:
        _, end = scan.bounds()
    assert found.skipped == {receipts: SkippedStatements(end - 2, 2)}


@pytest.mark.long
def test_a_status_looks_at_ends_full_of_junk_in_bounded_memory(pair: AgencyPair) -> None:
    for topic in (topics.control_topic(pair.publisher), pair.topic.name):
        write(pair, topic, (bytes(MEGABYTE) for _ in range(200)), "zstd")
    done = measured(pair.folder, "--config", str(pair.reader_settings), "status", "--json")
    assert done.status in (0, 1), done.err
    assert done.mib < MOST_MIB


@pytest.mark.long
@pytest.mark.parametrize("claimed", [0, 10**17])
def test_messages_that_claim_any_leaf_do_not_hide_a_leaf_that_is_looked_for(
    pair: AgencyPair, claimed: int
) -> None:
    name = pair.topic.name
    producer = Producer({"bootstrap.servers": pair.kafka})
    headers: list[Any] = [(message.LEAF, b"%d" % claimed), (message.SCHEMA, b"0" * 64)]
    for number in range(200):
        value = b"\0" * 9 if number % 2 else b"junk"
        producer.produce(name, value, b"P/1", 0, headers=headers)
    assert producer.flush(PATIENCE_SECONDS) == 0
    with open_scan(pair.connection, TopicPartition(name, 0)) as scan:
        _, end = scan.bounds()
        for leaf in range(COUNT):
            (first,) = next(scan.read(scan.find(leaf), end, most=1))
            assert message.parse(first).leaf_index <= leaf
        assert scan.find(10**6) <= end


@pytest.mark.long
def test_thousands_of_unsealed_leaves_do_not_fill_the_memory_of_a_reader(pair: AgencyPair) -> None:
    """They cost the broker some 180 KB, and would take more than 3 GB."""
    producer = Producer(
        {"bootstrap.servers": pair.kafka, "compression.type": "zstd", "linger.ms": 5}
    )
    for number in range(4_000):
        headers: list[Any] = [
            (message.LEAF, b"%d" % (COUNT + number)),
            (message.SCHEMA, b"ab" * 32),
        ]
        value = message.frame(1, bytes(MEGABYTE))
        producer.produce(pair.topic.name, value, b"P/1", 0, headers=headers)
        if number % 50 == 0:
            producer.flush(30)
    assert producer.flush(30) == 0
    with pair.worker("flooded") as worker:
        pair.until(lambda: worker.claimed == {0}, "the topic is claimed")
        with pair.relaying():
            pair.publish(*(transfer(f"Q/{number}") for number in range(COUNT)))
            pair.until_rows("sinergi.transfer_history", 2 * COUNT)
        assert peak(worker.process.pid) < 500  # it would take more than 3 GB
    assert pair.count("sinergi_consumer.halt") == 0


@pytest.mark.long
def test_large_names_of_headers_do_not_fill_the_memory_of_a_reader(pair: AgencyPair) -> None:
    """Librdkafka does not count them among the bytes that it fetches ahead."""
    producer = Producer(
        {"bootstrap.servers": pair.kafka, "compression.type": "zstd", "linger.ms": 5}
    )
    for number in range(2_000):
        producer.produce(pair.topic.name, b"junk", b"P/1", 0, headers=[("x" * MEGABYTE, b"")])
        if number % 50 == 0:
            producer.flush(PATIENCE_SECONDS)
    assert producer.flush(PATIENCE_SECONDS) == 0
    with pair.worker("flooded") as worker, pair.relaying():
        pair.publish(*(transfer(f"Q/{number}") for number in range(COUNT)))
        pair.until_rows("sinergi.transfer_history", 2 * COUNT)
        assert peak(worker.process.pid) < 500


@pytest.mark.parametrize(
    "foreign",
    [
        lambda: [("ce_id", bytes(MEGABYTE))],
        lambda: [("x", bytes(MEGABYTE))],
        lambda: [("x" * MEGABYTE, b"")],
        lambda: [("", b"")] * 2_000,
    ],
    ids=["a large id", "a large header", "a large name", "many headers"],
)
def test_headers_of_others_are_not_kept_with_the_leaves_that_wait_for_a_checkpoint(
    foreign: Callable[[], list[tuple[str, bytes]]],
) -> None:
    """With large ids a reader of 2,000 unsealed leaves took more than 2 GB."""
    topic = Topic("lapas-rekaan", "transfer")
    partition = Partition(BUS, topic, 0, KeyRing(()), Frontier(0, ()))
    tracemalloc.start()
    try:
        for number in range(300):
            headers = (
                (message.LEAF, b"%d" % number),
                (message.SCHEMA, b"ab" * 32),
                *foreign(),
            )
            value = message.frame(1, b"x")
            partition.add([TapeMessage(topic.name, 0, number, b"P/1", value, headers)])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert partition.pending == 300
    assert most < 40_000_000


def test_a_poll_counts_the_names_and_the_number_of_headers_too() -> None:
    def of(*headers: tuple[str, bytes]) -> Any:
        received = Mock(error=lambda: None, value=lambda: b"v" * 10, key=lambda: b"k" * 5)
        received.headers = lambda: list(headers)
        return received

    assert message_bytes(of(("a" * 100, b"b" * 1_000))) == 1_115
    assert message_bytes(of(*[("", b"")] * 10_000)) > 100_000  # of the first 1,000


MANY = 8_000
LARGE_ITEM = b"\x3c" + b"x" * 30 + b"\x00"  # of 32 bytes, of which an event may have 8,000
SLIGHTLY_SMALLER = b"\x3a" + b"x" * 29 + b"\x00"


def with_items(
    tape: Tape, event: Event, count: int, item: bytes = bytes(2)
) -> tuple[UUID, str, bytes]:
    """An event whose last list has so many items, of two bytes as only somebody crafts them."""
    datum = codec.encode(event.model_copy(update={"escort": ()}), tape.schema)
    assert datum[-1] == 0
    number = io.BytesIO()
    fastavro.schemaless_writer(number, "long", count)
    items = number.getvalue() + item * count if count else b""
    return event.event_id, event.record_id, datum[:-1] + items + b"\0"


@pytest.mark.long
def test_events_with_long_lists_are_set_apart_by_a_materialiser_of_bounded_memory(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> None:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    tape = Tape(BUS, pair.topic, key=pair.key)
    for window in range(5):  # 60 of 128 KB are what one checkpoint may cover
        events = [pair.issued(transfer(f"P/{window}/{at}")) for at in range(61)]
        items = [64_000] * 60 + [3]
        crafted = [with_items(tape, *each) for each in zip(events, items, strict=True)]
        send(pair, tape.write_datums(crafted))
    with pair.worker("w") as worker:
        pair.until(lambda: worker.claimed == {0}, "claimed")
        for window in range(5):
            pair.until_rows("sinergi.transfer", window + 1)
        assert peak(worker.process.pid) < MOST_MIB
    reasons = pair.ask("SELECT DISTINCT reason, detail FROM sinergi_consumer.quarantine")
    assert reasons == [("datum-invalid", TOO_MANY_ITEMS)]


@pytest.mark.long
def test_events_just_under_the_limit_become_rows_in_bounded_memory(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> None:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    tape = Tape(BUS, pair.topic, key=pair.key)
    events = [pair.issued(transfer(f"P/{at}")) for at in range(12)]
    crafted = [with_items(tape, each, MANY, LARGE_ITEM) for each in events]
    send(pair, tape.write_datums(crafted))
    with pair.worker("w") as worker:
        pair.until(lambda: worker.claimed == {0}, "claimed")
        pair.until_rows("sinergi.transfer_history_escort", 12 * MANY)
        assert peak(worker.process.pid) < MOST_MIB
    assert pair.count("sinergi_consumer.quarantine") == 0


DECODER = Decoder(Catalog.shipped(), "transfer")


def received(tape: Tape, datums: list[tuple[UUID, str, bytes]]) -> VerifiedBatch:
    """What a reader makes a batch of."""
    partition = Partition(BUS, tape.topic, 0, tape.keys, Frontier.empty())
    batch = partition.receive(tape.write_datums(datums))
    assert batch
    assert [each.events for each in DecodedParts(DECODER, batch)]
    return batch


def one_by_one(batch: VerifiedBatch) -> DecodedBatch:
    """A batch decoded message by message, and put together."""
    alone = [
        part
        for each in batch.messages
        for part in DECODER.parts(replace(batch, start=each.leaf_index, messages=[each]))
    ]
    events = pl.concat([each.events for each in alone])
    return DecodedBatch(events, [one for each in alone for one in each.refused])


def test_a_batch_of_long_lists_falls_into_parts_that_together_are_the_whole() -> None:
    tape = Tape(BUS, sinks.TOPIC)
    events = [tape.issued(sinks.transfer(f"P/{at}")) for at in range(60)]
    items = [MANY if at % 2 else at for at in range(59)] + [0]
    datums = [with_items(tape, *each, LARGE_ITEM) for each in zip(events, items, strict=True)]
    datums[7] = (*datums[7][:2], datums[7][2][:-1])
    datums[58] = with_items(tape, events[58], 2 * FREE_ITEMS)
    batch = received(tape, datums)
    parts, whole = list(DECODER.parts(batch)), one_by_one(batch)
    rows = [each.events["escort"].list.len().sum() + each.events.height for each in parts]
    assert len(parts) > 2
    assert max(rows) <= 110_000
    assert pl.concat([each.events for each in parts]).equals(whole.events)
    refused = [each.message.leaf_index for part in parts for each in part.refused]
    assert refused == [each.message.leaf_index for each in whole.refused] == [7, 58]


def test_an_ordinary_batch_is_one_part() -> None:
    tape = Tape(BUS, sinks.TOPIC)
    events = [tape.issued(sinks.transfer(f"P/{at}")) for at in range(5_000)]
    datums = [(each.event_id, each.record_id, codec.encode(each, tape.schema)) for each in events]
    (part,) = DECODER.parts(received(tape, datums))
    assert part.events.height == 5_000


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"escort": [{"escort_agency": "x", "count": 1}] * 200}, TOO_MANY_ITEMS),
        ({"reason_as_written": "x" * MOST_DATUM_BYTES}, str(MOST_DATUM_BYTES)),
    ],
    ids=["items", "bytes"],
)
def test_what_readers_set_apart_for_its_size_cannot_be_published(
    changes: dict[str, Any], what: str
) -> None:
    tape = Tape(BUS, sinks.TOPIC)
    document = tape.issued(sinks.transfer("P/1")).model_dump()
    datum = codec.encode_document(document, tape.schema)
    assert codec.decode(datum, tape.schema)["record_id"] == "P/1"
    with pytest.raises(errors.EventRefused, match=what):
        codec.encode_document(document | changes, tape.schema)


def test_a_datum_above_the_contracts_size_is_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = Tape(BUS, sinks.TOPIC)
    event = tape.issued(sinks.transfer("P/1", reason_as_written="x" * 300))
    datum = codec.encode(event, tape.schema)
    large = datum.replace(b"x" * 300, b"x" * MOST_DATUM_BYTES)
    seen: list[int] = []
    read = frames._Container.rows

    def noted(self: Any, datums: Any) -> pl.DataFrame:
        seen.extend(map(len, datums))
        return read(self, datums)

    monkeypatch.setattr(frames._Container, "rows", noted)
    found = frames.decode([datum, large, datum], tape.schema)
    assert found.kept == [0, 2]
    assert found.refused == [frames.Refusal(1, f"it is above {MOST_DATUM_BYTES} bytes")]
    assert max(seen) < MOST_DATUM_BYTES
    with pytest.raises(errors.DatumInvalid, match=str(MOST_DATUM_BYTES)):
        codec.decode(large, tape.schema)


@pytest.mark.long
@pytest.mark.parametrize("item", [bytes(2), b"\x00\x02\x02", b"\x04ab\x00", SLIGHTLY_SMALLER])
@pytest.mark.parametrize("more", [0, 1])
def test_all_readers_draw_the_line_at_the_same_item(item: bytes, more: int) -> None:
    tape = Tape(BUS, sinks.TOPIC)
    event = tape.issued(sinks.transfer("P/1"))
    place = {"other_agency": "a", "other_event_type": "b", "other_record_id": "c"}
    related = (RelatedRecord.model_validate(place | {"relation": "SAME_CASE"}),)
    one = event.model_copy(update={"related": related})

    def crafted(count: int) -> bytes:
        return with_items(tape, one, count, item)[2]

    fits = [at for at in range(8_200) if 1 + at <= most_items(len(crafted(at)))]
    assert fits == [*range(len(fits))]
    assert len(fits) > FREE_ITEMS
    datum = crafted(fits[-1] + more)
    found = frames.decode([datum, crafted(0)], tape.schema)
    if not more:
        assert len(codec.decode(datum, tape.schema)["escort"]) == fits[-1]
        assert found.frame.height == 2
        quick_reader(tape.schema).check(datum)
    else:
        with pytest.raises(errors.DatumInvalid, match=TOO_MANY_ITEMS):
            codec.decode(datum, tape.schema)
        assert found.refused == [frames.Refusal(0, TOO_MANY_ITEMS)]
        with pytest.raises(MalformedDatum, match=TOO_MANY_ITEMS):
            quick_reader(tape.schema).check(datum)


@pytest.mark.parametrize("event_type", Catalog.shipped().event_types)
def test_events_of_short_lists_are_read_by_the_quick_reader_alone(event_type: str) -> None:
    reader = quick_reader(Catalog.shipped().newest(event_type))
    assert reader._most_uncounted_items <= FREE_ITEMS


def test_a_window_of_the_smallest_items_becomes_rows_within_bounds() -> None:
    """What a reader keeps of a batch, 12 MiB and 5,000 events, is less than a million items."""
    assert WINDOW * FREE_ITEMS + MOST_BYTES // BYTES_OF_ITEM < 1_000_000
