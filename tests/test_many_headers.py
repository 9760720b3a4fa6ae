"""Messages with very many headers, in batches of a few hundred KB, take bounded memory to read.

librdkafka accepts 100,000 headers a message. As objects they take more than twenty times the bytes
that they have once unpacked, and four thousand times what the broker stores.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from agency_pair import AgencyPair, transfer
from memory_use import measured, peak
from raw_produce import Record, produce_batch
from sinergi_consumers.testing.tape import TapeMessage
from sinergi_schemas import message, topics
from sinergi_schemas.kafka.parts import MOST_AT_ONCE, consume_parts
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.limits import MOST_BATCH_BYTES
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MANY = ((b"ab", b"cd"),) * 99_999
MOST_MIB = 500
COUNT = 30
NOISE = 96  # messages of one batch


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """A topic of one partition that a reader has materialised."""
    made = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    made.publish_and_materialise(COUNT)
    return made


def bomb(pair: AgencyPair, topic: str, key: bytes = b"P/1") -> None:
    """Write batches that no topic refuses: messages without headers, then with very many."""
    small, large = Record(b"junk", b"P/1"), Record(b"junk", key, MANY)
    batch = ([small] * 4 + [large] * 44) * (NOISE // 48)
    assert produce_batch(pair.kafka, topic, 0, batch, times=2) < MOST_BATCH_BYTES


@contextmanager
def relay(pair: AgencyPair) -> Iterator[subprocess.Popen[bytes]]:
    """A relay as a process of its own."""
    command = [sys.executable, "-m", "sinergi", "--config", str(pair.agency_settings), "relay"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.long
def test_a_relay_and_a_materialiser_read_an_event_topic_full_of_headers(pair: AgencyPair) -> None:
    bomb(pair, pair.topic.name)
    with pair.worker("bombed") as worker, relay(pair) as relaying:
        pair.publish(transfer("Q/1"))
        pair.until_rows("sinergi.transfer_history", COUNT + 1)
        assert peak(worker.process.pid) < MOST_MIB
        assert peak(relaying.pid) < MOST_MIB
    assert pair.count("sinergi_consumer.halt") == 0


@pytest.mark.long
@pytest.mark.parametrize("which", ["events", "control", "receipts"])
def test_commands_read_topics_full_of_headers(pair: AgencyPair, which: str) -> None:
    topic, key = {
        "events": (pair.topic.name, b"P/1"),
        "control": (topics.control_topic(pair.publisher), b"heads"),
        "receipts": (
            topics.receipts_topic(pair.reader),
            f"main/{pair.topic.name}/0".encode(),
        ),
    }[which]
    bomb(pair, topic, key)
    for settings, command in (
        (pair.reader_settings, ["replay", pair.topic.name]),
        (pair.reader_settings, ["status"]),
        (pair.agency_settings, ["status"]),
        (pair.agency_settings, ["outbox", "recover"]),
    ):
        done = measured(pair.folder, "--config", str(settings), *command)
        assert done.status in (0, 1), done.err
        assert done.mib < MOST_MIB, command


class SmallMessage(TapeMessage):
    """A message that a consumer delivers."""

    def error(self) -> None:
        return None


@dataclass
class ConsumerOfSmall:
    """A consumer of small messages that notes how many it is asked for."""

    left: int
    asked: list[int] = field(default_factory=list)

    def consume(self, wanted: int, _: float) -> list[SmallMessage]:
        self.asked.append(wanted)
        count = min(wanted, self.left)
        self.left -= count
        return [SmallMessage("topic", 0, 0, b"key", b"value", ())] * count


def test_never_many_messages_are_taken_at_once_however_small_the_last_ones_were() -> None:
    consumer: Any = ConsumerOfSmall(1_000)
    assert sum(len(part) for part, _ in consume_parts(consumer, 0.0)) == 1_000
    assert consumer.asked[0] == 1
    assert max(consumer.asked) == MOST_AT_ONCE < 10


def test_of_very_many_headers_a_message_keeps_the_first_thousand(pair: AgencyPair) -> None:
    first = [("sinergi_leaf", b"0"), *[("x", b"")] * 999]
    producer = Producer({"bootstrap.servers": pair.kafka})
    producer.produce(pair.topic.name, b"junk", b"P/1", 0, headers=[*first, *[("y", b"")] * 5_000])
    assert producer.flush(PATIENCE_SECONDS) == 0
    with open_scan(pair.connection, TopicPartition(pair.topic.name, 0)) as scan:
        (found,) = scan.read(COUNT, COUNT + 1)
        assert message.headers(found[0]) == first
        assert found[0].headers() == first


@dataclass
class SteadyConsumer:
    """A consumer to which messages arrive at a steady rate; it is its own clock."""

    rate: float
    now: float = 0.0
    taken: int = 0

    def consume(self, wanted: int, seconds: float) -> list[SmallMessage]:
        end = self.now + seconds
        due = (self.taken + wanted) / self.rate
        self.now = min(end, max(self.now, due))
        count = min(wanted, int(self.rate * self.now + 1e-6) - self.taken)
        self.taken += count
        return [SmallMessage("topic", 0, 0, b"key", b"value", ())] * count

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("rate", [10, 45, 300, 1_000, 5_000, 50_000])
def test_messages_that_arrive_steadily_are_not_held_back(rate: float) -> None:
    """If each part is waited for until it is full, messages arrive faster than the reading ends."""
    steady: Any = SteadyConsumer(rate)
    for _ in range(20):
        before = steady.now
        arrived = sum(len(part) for part, _ in consume_parts(steady, 0.1, steady))
        assert steady.now - before < 0.7
        assert arrived <= rate * 0.7 + MOST_AT_ONCE


@dataclass
class FetchingConsumer:
    """A consumer that is behind: each fetch takes 8 ms and brings `fetch` messages, and then waits
    until they are taken. It is its own clock.
    """

    fetch: int
    now: float = 0.0
    waiting: int = 0

    def consume(self, wanted: int, seconds: float) -> list[SmallMessage]:
        end, taken = self.now + seconds, 0
        while taken < wanted:
            if not self.waiting:
                self.now += 0.008
                if self.now > end:
                    self.now = end
                    break
                self.waiting = self.fetch
            self.waiting -= 1
            taken += 1
        self.now += taken / 100_000
        return [SmallMessage("topic", 0, 0, b"key", b"value", ())] * taken

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(("fetch", "is_storing"), [(5_000, False), (373, True)])
def test_a_backlog_is_taken_in_batches_of_several_fetches(fetch: int, *, is_storing: bool) -> None:
    """A transaction for each fetch takes half as long again (docs/performance.md)."""
    behind: Any = FetchingConsumer(fetch)
    parts = consume_parts(behind, 0.1, behind, lambda: is_storing)
    assert sum(len(part) for part, _ in parts) > 3 * fetch
