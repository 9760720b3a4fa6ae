"""Processes that read ahead give the same messages as one process, whatever happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
from confluent_kafka.admin import AclOperation, ResourceType
from structlog.testing import capture_logs

from agency_pair import AgencyPair, send, transfer
from long_cases import long_after
from raw_produce import Record, produce_batch
from secured_kafka import PASSWORD
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay, ReplayCounts
from sinergi_consumers.reading.source import KafkaSource
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import errors, message
from sinergi_schemas.kafka.parsed_block import ParsedBlock
from sinergi_schemas.kafka.parts import MOST_AT_ONCE
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.kafka.read_ahead import ReadAhead, usable_processes
from sinergi_schemas.kafka.scan import PartitionScan
from sinergi_schemas.kafka.unreadable import Unreadable
from sinergi_schemas.seal.checkpoint import SignedCheckpoint
from sinergi_schemas.timeouts import KafkaTimeouts
from sinergi_schemas.topics import TopicPartition
from test_kafka import send as send_numbers
from test_unreadable_batches import BEYOND, CAUSE, bomb, plain
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from secured_kafka import Secured
    from sinergi_schemas.message import Parsed

EVENTS, PART = 300, 40


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """A topic of one partition with sealed events, resends and messages of others."""
    made = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    sealed = Tape(made.bus.agreements.bus, made.topic, key=made.key).write(
        [transfer(f"P/{number}") for number in range(EVENTS)]
    )
    forged = replace(sealed[7], value_bytes=b"\x00\x00\x00\x00\x01forged")
    junk = replace(sealed[8], pairs=())
    noisy = [*sealed[:20], junk, *sealed[10:200], forged, *sealed[200:], *sealed[:5], junk]
    send(made, noisy)
    return made


@pytest.fixture
def ahead(pair: AgencyPair) -> Iterator[ReadAhead]:
    with closing(ReadAhead(pair.connection, 2, fewest=1, part=PART)) as made:
        yield made


def read(pair: AgencyPair, ahead: ReadAhead | None) -> tuple[list[Parsed], list[Unreadable]]:
    """All messages of the topic, and the batches that cannot be read."""
    with closing(RangeReader(pair.connection)) as reader:
        scan = PartitionScan(reader, TopicPartition(pair.topic.name, 0), ahead)
        found = [each for part, _ in scan.parsed_parts(*scan.bounds()) for each in part]
        return found, scan.drain_unreadable()


def contents(found: list[Parsed]) -> list[object]:
    """Messages in a form that can be compared."""
    return [
        (each.offset, each.what) if isinstance(each, errors.MessageMalformed) else tuple(each)
        for each in found
    ]


def pids(ahead: ReadAhead) -> list[int]:
    return [each._process.pid for each in ahead._processes]


def replayed(pair: AgencyPair, ahead: ReadAhead | None) -> tuple[list[str], ReplayCounts]:
    """The records of a replay in their order, and what it counted."""
    source = KafkaSource(pair.connection)
    if ahead is not None:
        source._ahead = ahead
    replay = Replay(replace(pair.bus, source=source), pair.topic)
    records = [each for frame in replay.events(ReplayFilter()) for each in frame["record_id"]]
    return records, replay.partition_counts[0]


def test_several_processes_read_each_message_once_and_in_order(
    pair: AgencyPair, ahead: ReadAhead
) -> None:
    alone, _ = read(pair, None)
    assert len(alone) > EVENTS
    assert contents(read(pair, ahead)[0]) == contents(alone)
    assert len(pids(ahead)) == 2


def test_a_replay_with_several_processes_gives_the_same_rows_and_the_same_verdict(
    pair: AgencyPair, ahead: ReadAhead
) -> None:
    (records, alone), (also, together) = replayed(pair, None), replayed(pair, ahead)
    assert records == also
    assert alone.verified == together.verified == EVENTS
    for name in ("root", "note", "offsets", "unsealed", "resends", "shown", "origins"):
        assert getattr(alone, name) == getattr(together, name), name
    assert vars(alone.skipped) == vars(together.skipped)
    assert alone.skipped.count > 0
    assert alone.resends > 0


def test_batches_that_no_process_can_read_are_reported(pair: AgencyPair, ahead: ReadAhead) -> None:
    bomb(pair, "zstd", [BEYOND] * 3)
    plain(pair, b"behind")
    alone, unreadable = read(pair, None)
    assert [each.cause for each in unreadable] == [CAUSE]
    also, reported = read(pair, ahead)
    assert (contents(also), reported) == (contents(alone), unreadable)


@pytest.mark.parametrize("number", long_after(1, [0, 1]))
def test_a_process_that_is_killed_loses_nothing_and_doubles_nothing(
    pair: AgencyPair, ahead: ReadAhead, number: int
) -> None:
    alone, _ = read(pair, None)
    with closing(RangeReader(pair.connection)) as reader, capture_logs() as logs:
        scan = PartitionScan(reader, TopicPartition(pair.topic.name, 0), ahead)
        parts = scan.parsed_parts(*scan.bounds())
        found = [*next(parts)[0]]
        psutil.Process(pids(ahead)[number]).kill()
        found += [each for part, _ in parts for each in part]
    assert contents(found) == contents(alone)
    assert [each["event"] for each in logs] == ["reading in one process"]
    assert pids(ahead) == []


def test_a_chunk_of_large_messages_ends_after_8_mib_whoever_reads_them(pair: AgencyPair) -> None:
    """Whoever verifies keeps the messages of a chunk."""
    large = [Record(bytes(600_000), b"P/1")]
    produce_batch(pair.kafka, pair.topic.name, 0, large, times=40)
    with (
        closing(ReadAhead(pair.connection, 2, fewest=1, part=PART)) as ahead,
        closing(RangeReader(pair.connection)) as reader,
    ):
        for processes in (ahead, None):
            scan = PartitionScan(reader, TopicPartition(pair.topic.name, 0), processes)
            _, end = scan.bounds()
            chunks, count = [], 0
            for part, ends in scan.parsed_parts(end - 40, end):
                count += len([*part])
                if ends:
                    chunks.append(count)
                    count = 0
            assert sum(chunks) + count == 40
            assert max(chunks) < 14 + MOST_AT_ONCE  # some arrive together


def test_a_process_that_hangs_is_not_waited_for_for_ever(pair: AgencyPair) -> None:
    alone, _ = read(pair, None)
    timeouts = KafkaTimeouts(silence=0.2, answer=0.3)
    with closing(
        ReadAhead(replace(pair.connection, timeouts=timeouts), 2, fewest=1, part=PART)
    ) as ahead:
        ahead._start()
        for pid in pids(ahead):
            psutil.Process(pid).send_signal(signal.SIGSTOP)
        with capture_logs() as logs:
            assert contents(read(pair, ahead)[0]) == contents(alone)
        assert "did nothing for 0.5 s" in logs[0]["why"]


def test_a_reading_that_is_given_up_in_its_middle_leaves_nothing_to_the_next_one(
    pair: AgencyPair, ahead: ReadAhead
) -> None:
    alone, _ = read(pair, None)
    with closing(RangeReader(pair.connection)) as reader:
        scan = PartitionScan(reader, TopicPartition(pair.topic.name, 0), ahead)
        parts = scan.parsed_parts(*scan.bounds())
        next(parts)
        began = pids(ahead)
        parts.close()  # type: ignore[attr-defined]
    assert not [each for each in began if psutil.pid_exists(each)]
    assert contents(read(pair, ahead)[0]) == contents(alone)


def test_the_processes_end_when_the_one_that_began_them_is_killed(
    pair: AgencyPair, tmp_path: Path
) -> None:
    script = tmp_path / "reading.py"
    script.write_text(
        f"""
import signal
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.read_ahead import ReadAhead
from sinergi_schemas.topics import TopicPartition
ahead = ReadAhead(Connection({pair.kafka!r}), 2, fewest=1, part={PART})
blocks = ahead.blocks(TopicPartition({pair.topic.name!r}, 0), range({EVENTS}))
next(blocks)
print(*(each._process.pid for each in ahead._processes), flush=True)
signal.pause()
""",
        encoding="utf-8",
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout
        began = [psutil.Process(int(each)) for each in one.stdout.readline().split()]
        one.kill()
    assert len(began) == 2
    until(lambda: not any(map(psutil.Process.is_running, began)), "they have ended")


def test_the_processes_end_with_the_source_that_used_them(pair: AgencyPair) -> None:
    source = KafkaSource(pair.connection, 2)
    source._ahead = ReadAhead(pair.connection, 2, fewest=1, part=PART)
    replay = Replay(replace(pair.bus, source=source), pair.topic)
    assert replay.verify(0).verified == EVENTS
    began = [psutil.Process(each) for each in pids(source._ahead)]
    source._ahead.close()
    assert len(began) == 2
    assert not any(map(psutil.Process.is_running, began))


def test_two_readings_at_the_same_time_do_not_mix(pair: AgencyPair, ahead: ReadAhead) -> None:
    alone, _ = read(pair, None)
    with closing(RangeReader(pair.connection)) as reader:
        scan = PartitionScan(reader, TopicPartition(pair.topic.name, 0), ahead)
        parts = scan.parsed_parts(*scan.bounds())
        found = [*next(parts)[0]]
        assert contents(read(pair, ahead)[0]) == contents(alone)
        found += [each for part, _ in parts for each in part]
    assert contents(found) == contents(alone)


def test_a_short_range_is_read_by_one_process(pair: AgencyPair) -> None:
    with closing(ReadAhead(pair.connection, 2)) as ahead:
        assert contents(read(pair, ahead)[0]) == contents(read(pair, None)[0])
        assert pids(ahead) == []


def test_a_single_processor_reads_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert usable_processes() == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert usable_processes() == 4


def test_a_topic_that_is_away_is_reported_by_the_process_that_verifies(pair: AgencyPair) -> None:
    connection = replace(pair.connection, timeouts=KafkaTimeouts(silence=0.3))
    tp = TopicPartition(f"{pair.topic.name}-away", 0)
    with (
        closing(ReadAhead(connection, 2, fewest=1, part=PART)) as ahead,
        closing(RangeReader(connection)) as reader,
        capture_logs() as logs,
    ):
        scan = PartitionScan(reader, tp, ahead)
        with pytest.raises(errors.SinergiError):
            list(scan.parsed_parts(0, EVENTS))
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == [
        "reading in one process"
    ]


@pytest.mark.long
def test_the_processes_log_in_and_show_the_password_to_nobody(
    broker: Secured, topic_name: Callable[[], str]
) -> None:
    name = topic_name()
    broker.topic(name)
    broker.permit(ResourceType.TOPIC, name, AclOperation.READ)
    send_numbers(broker.bootstrap, name, 90)
    with closing(ReadAhead(broker.connection(), 2, fewest=1, part=30)) as ahead:
        blocks = [*ahead.blocks(TopicPartition(name, 0), range(90))]
        began = [psutil.Process(each) for each in pids(ahead)]
        assert sum(len(each.messages) for each in blocks) == 90
        for each in began:
            shown = [*each.cmdline(), *each.environ().values()]
            assert not [text for text in shown if PASSWORD in text]


def test_a_block_is_the_same_in_the_other_process() -> None:
    tp = TopicPartition("sinergi.lapas.transfer", 3)
    plain_one = message.Message.of_leaf(4, bytes(32), b"P/4", b"datum")
    sealed = plain_one._replace(
        offset=9, sealed=SignedCheckpoint("note", [bytes(32)]), event_id=b"id"
    )
    block = ParsedBlock(
        [plain_one, sealed], 10, [Unreadable(tp, 5, CAUSE)], is_last=True, failure="why"
    )
    assert ParsedBlock.load(block.dump(), tp) == block
    malformed = errors.MessageMalformed(*tp, 7, "no key or no Confluent frame")
    (loaded,) = ParsedBlock.load(ParsedBlock([malformed], 8).dump(), tp).messages
    assert isinstance(loaded, errors.MessageMalformed)
    assert str(loaded) == str(malformed)
