"""A topic that is truncated or created again while it is read: nothing is disproved by that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import confluent_kafka
import pytest

from agency_pair import AgencyPair, send, transfer
from foreign_messages import write_all
from long_cases import long_after
from sinergi.cli.root import run
from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import ReplayCounts
from sinergi_consumers.audit.statements import RECEIPT, SignedStatement
from sinergi_consumers.reading.source import KafkaSource
from sinergi_schemas import errors
from sinergi_schemas.kafka import scan
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.read_ahead import ReadAhead
from test_moved_topics import deleted, held, made
from test_relay import until_sent
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi_consumers.testing.tape import TapeMessage
    from sinergi_schemas.kafka.connection import Connection

# The client holds some 64 KiB of messages that were fetched before the topic was changed.
NOISE = 500


@pytest.fixture
def pair(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> AgencyPair:
    """A pair whose topic is read in small chunks."""
    monkeypatch.setattr(scan, "_CHUNK_BYTES", 20_000)
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


def sealed(pair: AgencyPair, batches: int) -> list[TapeMessage]:
    """Batches of fifty events, each with a checkpoint."""
    tape = pair.tape()
    return [
        each
        for batch in range(batches)
        for each in tape.write([transfer(f"P/{batch}/{number}") for number in range(50)])
    ]


def changed_meanwhile(
    pair: AgencyPair,
    change: Callable[[], None],
    processes: int = 0,
    connection: Connection | None = None,
    part: int = 40,
) -> Audit:
    """An audit of the topic, during which something changes after the first events were read.

    Args:
        change: changes it.
        processes: how many read ahead.
        connection: in place of the pair's.
        part: how many messages these take at once.
    """
    source = KafkaSource(connection or pair.connection)
    source._ahead = ReadAhead(source.connection, processes, fewest=1, part=part)
    audit = Audit(replace(pair.bus, source=source), pair.topic, Copies())
    events = audit.events(ReplayFilter())
    try:
        next(frame for frame in events if frame.height)
        change()
        for _ in events:
            pass
    finally:
        source._ahead.close()
    return audit


@pytest.mark.parametrize("processes", long_after(1, [0, 2]))
def test_no_leaf_is_missing_from_a_topic_that_was_restored_while_it_was_read(
    pair: AgencyPair, processes: int
) -> None:
    messages = sealed(pair, 60)
    send(pair, [*[messages[0]] * NOISE, *messages[:2_000]])

    def restore() -> None:
        deleted(pair)
        made(pair)
        send(pair, messages)  # without the resends, so that each leaf has a lower offset

    with pytest.raises(errors.TopicChanged, match="it was deleted and created again"):
        changed_meanwhile(pair, restore, processes)
    assert changed_meanwhile(pair, lambda: None, processes).is_proved


@pytest.mark.parametrize("processes", long_after(1, [2, 0]))
def test_a_topic_that_is_truncated_while_it_is_read_is_named_and_not_disproved(
    pair: AgencyPair, processes: int
) -> None:
    send(pair, sealed(pair, 40))
    with pytest.raises(errors.TopicChanged) as found:
        changed_meanwhile(pair, lambda: truncate(pair), processes)
    assert str(found.value) == (
        f"{pair.topic.name} was changed while it was read: partition 0 lacks the message to read"
        " next. Try again; if it happens again, ask the brokers' operator."
    )


def truncate(pair: AgencyPair) -> None:
    """Have the brokers delete the first messages of its topic, nearly all of 40 batches."""
    admin = open_admin(pair.connection)
    end = confluent_kafka.TopicPartition(pair.topic.name, 0, 1_800)
    for each in admin.delete_records([end]).values():
        each.result(PATIENCE_SECONDS)


def test_a_topic_that_is_truncated_before_it_is_read_again_is_not_disproved(
    pair: AgencyPair,
) -> None:
    """A receipt states a tree whose root was not kept, so the topic is read once more."""
    send(pair, sealed(pair, 40))
    audit = changed_meanwhile(pair, lambda: None)
    receipt = SignedStatement("a reader", RECEIPT, 0, 50, bytes(32), None, "")
    truncate(pair)
    with pytest.raises(errors.TopicChanged, match="partition 0 was whole before"):
        audit.compare(0, [receipt])
    assert audit.is_proved


def change_after_first_batch(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Have the topic changed once a command has verified a batch of it."""
    add = ReplayCounts.add

    def changed(counts: ReplayCounts, *rest: Any) -> None:
        monkeypatch.setattr(ReplayCounts, "add", add)
        add(counts, *rest)
        change()

    monkeypatch.setattr(ReplayCounts, "add", changed)


def archived(pair: AgencyPair, file: Path) -> int:
    return run(["--config", str(pair.reader_settings), "archive", pair.topic.name, "-o", str(file)])


def test_heads_disprove_no_topic_that_was_created_again_while_it_was_read(
    pair: AgencyPair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.publish(transfer("P/0"))
    with pair.relaying():
        until_sent(pair, 1)
    write_all(pair, 0, [(bytes(1_000), b"foreign", [])] * NOISE)
    pair.publish(transfer("P/1"))
    with pair.relaying():
        until_sent(pair, 2)
    first, *_ = messages = held(pair, pair.topic.name, 0)
    copy: Any = first.value(), first.key(), first.headers()

    def restore() -> None:
        deleted(pair)
        made(pair)
        write_all(pair, 0, [copy] * len(messages))

    with pytest.raises(errors.TopicChanged):
        changed_meanwhile(pair, restore)
    change_after_first_batch(monkeypatch, restore)
    file = pair.folder / "archive.zip"
    assert archived(pair, file) == ExitStatus.ERROR
    assert "was changed while it was read" in capsys.readouterr().err
    assert archived(pair, file) == ExitStatus.NEGATIVE  # now it is the topic that lacks a leaf


def test_an_archive_of_a_topic_that_is_created_again_meanwhile_is_not_written(
    pair: AgencyPair, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = sealed(pair, 60)
    send(pair, [*[messages[0]] * NOISE, *messages[:2_000]])

    def restore() -> None:
        deleted(pair)
        made(pair)
        send(pair, messages)

    change_after_first_batch(monkeypatch, restore)
    file = pair.folder / "archive.zip"
    assert archived(pair, file) == ExitStatus.ERROR
    assert "was changed while it was read" in capsys.readouterr().err
    assert not file.exists()
