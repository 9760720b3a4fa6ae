"""The tables as a reader's database had them at a time, by its own receipts."""

from __future__ import annotations

import json
import re
from copy import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from uuid import UUID

import polars as pl
import pytest
from confluent_kafka.admin import NewTopic

from agency_pair import send
from live_database import LiveReader
from long_cases import long_after
from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit.receipt_cuts import NearReceipts
from sinergi_consumers.audit.replay_database import ReplayDatabase
from sinergi_consumers.audit.statements import RECEIPT, SignedStatement
from sinergi_consumers.testing.sinks import transfer
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.plain_text import counted
from test_replay_into import ask, do, empty, installed, live
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agency_pair import AgencyPair

__all__ = ["empty", "installed", "live"]  # fixtures

REFUSING = "ALTER TABLE sinergi.transfer_history ADD CONSTRAINT no_{0} CHECK (movement_id <> '{0}')"
NOTHING = "SELECT to_regclass('sinergi.transfer')"
MENDED = "ALTER TABLE sinergi.transfer_history DROP CONSTRAINT no_{}"


class Past:
    """A live database, and a dump of all its tables that was taken at a time.

    By then it has settled some of its quarantine. After that time new events have come, about the
    same records too, and other rows of quarantine were settled.
    """

    def __init__(self, live: LiveReader) -> None:
        self.live = live
        url = live.pair.consumer_url
        for each in (5, 6, 7):
            do(url, REFUSING.format(each))
        live.write(0, [transfer(f"H/{each}", movement_id=str(each)) for each in range(9)])
        live.materialise()
        self.settle("retry", "--projection", "guards", "--reason", "projection-failed")
        self.settle("discard", "--projection", "transfer", "--reason", "datum-invalid")
        do(url, MENDED.format(6))
        self.settle("retry", *self._leaf_of("6"))
        live.write(1, [transfer("late")])
        self.at = self._full_second()
        self.dump = live.tables()
        self._full_second()
        live.write_everything("A")
        live.write(0, [transfer("H/6", 2), transfer("H/7", 2)])
        live.materialise()
        do(url, MENDED.format(5))
        self.settle("retry", *self._leaf_of("5"))
        self.settle("discard", "--projection", "guards", "--reason", "rows-refused")
        assert live.tables() != self.dump

    def settle(self, *words: str) -> None:
        status, _, err = self.live.sinergi("quarantine", *words, "--why", "a test")
        assert status in (ExitStatus.SUCCESS, ExitStatus.NEGATIVE), err

    def replay(self, *words: str, settings: Path | None = None) -> tuple[int, str, str]:
        return self.live.sinergi("replay", *words, settings=settings)

    @property
    def reader(self) -> str:
        return self.live.pair.reader

    def _leaf_of(self, movement_id: str) -> Sequence[str]:
        """The options for the event of the history that a constraint has refused."""
        ((leaf,),) = ask(
            self.live.pair.consumer_url,
            f"SELECT leaf_index FROM sinergi.transfer WHERE movement_id = '{movement_id}'",
        )
        return ("--partition", "0", "--leaf", str(leaf), "--projection", "transfer_history")

    @staticmethod
    def _full_second() -> datetime:
        """A moment in the next second, when it has come: receipts have whole seconds."""
        found = SYSTEM.now().replace(microsecond=0) + timedelta(seconds=1)
        until(lambda: SYSTEM.now() >= found, "the next second")
        return found


@pytest.fixture(scope="module")
def past_of_module(
    pair_of_module: Callable[..., AgencyPair],
    installed: None,  # noqa: ARG001 - projections of the reader
) -> Past:
    live = LiveReader(pair_of_module())
    live.write_everything("A")
    return Past(live)


@pytest.fixture
def past(past_of_module: Past, tmp_path: Path, databases: Callable[..., str]) -> Past:
    """One with copies of the databases. All tests share its topics, and none changes them."""
    found = copy(past_of_module)
    folder = tmp_path / "pair"
    folder.mkdir()
    found.live = past_of_module.live.copied(folder, databases)
    return found


@pytest.fixture
def auditor(past: Past) -> Path:
    """Settings without an agency and without a database."""
    file = past.live.pair.folder.parent / "auditor.toml"
    text = f'agreements = "{past.live.pair.folder}"\nkafka.bootstrap = "{past.live.pair.kafka}"\n'
    file.write_text(text, "utf-8")
    return file


def test_the_tables_are_row_by_row_those_of_that_time(past: Past, empty: str) -> None:
    words = ("--as-of", past.at.isoformat(), "--reader", past.reader, "--into", empty)
    status, out, err = past.replay(*words)
    assert (status, out) == (ExitStatus.SUCCESS, ""), err
    found = past.live.tables(empty)
    for name, rows in past.dump.items():
        assert found[name] == rows, name
    states = {(row[0], row[6]) for row in past.dump["sinergi_consumer.quarantine"]}
    assert states >= {
        ("transfer", "discarded"),
        ("transfer_history", "retried"),
        ("transfer_history", "open"),
        ("guards", "superseded"),
    }
    assert len(past.dump["sinergi_consumer.decision"]) == 3
    # Only what the reader itself has signed.
    signed = "SELECT topic, partition, size, note FROM sinergi_consumer.receipt ORDER BY 1, 2, 3"
    assert set(ask(empty, signed)) < set(ask(past.live.pair.consumer_url, signed))
    assert "which projections the database had then" in err


def shown(past: Past, *words: str, settings: Path | None = None) -> set[tuple[str, int, int]]:
    """The record, partition and leaf of each event that a replay shows."""
    status, out, err = past.replay(*words, "--output", "ndjson", settings=settings)
    assert status == ExitStatus.SUCCESS, err
    events = [json.loads(line) for line in out.splitlines()]
    return {(each["record_id"], each["partition"], each["leaf_index"]) for each in events}


def test_events_are_found_by_the_time_at_which_they_arrived_at_the_reader(past: Past) -> None:
    """That is neither when they were recorded, nor another reader's time."""
    at, reader = past.at.isoformat(), ("--reader", f"{past.reader}/main")
    every = shown(past)
    had = {row[2]: row[3] for row in past.dump["sinergi_consumer.position"] if row[0] == "transfer"}
    before = {each for each in every if each[2] < had[each[1]]}
    assert shown(past, "--arrived-to", at, *reader) == before
    assert shown(past, "--arrived-from", at) == every - before
    assert before
    first = past.live.pair.ask("SELECT min(signed_at) FROM sinergi_consumer.receipt")[0][0]
    assert shown(past, "--arrived-from", first.isoformat(), "--arrived-to", at) <= before
    # It was recorded before that time, and arrived after it.
    late = shown(past, "--to", at, "--arrived-from", at)
    assert {record for record, *_ in late} == {"late"}


def test_before_the_first_receipt_nothing_had_arrived_and_that_is_an_answer(past: Past) -> None:
    words = ("--arrived-to", "2026-03-03T17:00+07:00")
    assert shown(past, *words) == set()
    status, _, err = past.replay(*words)
    assert status == ExitStatus.SUCCESS
    assert "had nothing before 2026-03-03T17:00:00+07:00, by its own receipts: the first one" in err
    status, _, err = past.replay(*words, "--key", "late")
    assert (status, "not meet the other conditions" in err) == (ExitStatus.NEGATIVE, True), err


def test_the_receipts_topic_alone_may_tell_when_events_arrived(past: Past, auditor: Path) -> None:
    reader = ("--reader", past.reader)
    later = (SYSTEM.now() + timedelta(days=1)).isoformat()
    assert shown(past, "--arrived-to", later, *reader, settings=auditor) == shown(past)
    words = ("--arrived-from", past.at.isoformat(), *reader)
    status, out, err = past.replay(*words, settings=auditor)
    assert (status, out) == (ExitStatus.ERROR, "")
    assert f"had before {past.at.isoformat()} cannot be told by its receipts:" in err
    assert f"the database itself has every receipt: ask with the settings of {past.reader}/" in err


def test_the_tables_of_then_are_written_to_a_file_each(
    past: Past, empty: str, tmp_path: Path
) -> None:
    words = ("--as-of", past.at.isoformat(), "--into", empty, "--out", str(tmp_path / "then"))
    status, out, err = past.replay(*words, "--output", "parquet")
    assert (status, out) == (ExitStatus.SUCCESS, ""), err
    tables = {name for name in past.dump if name.startswith("sinergi.")}
    own = {"sinergi_consumer.quarantine", "sinergi_consumer.receipt"}
    wanted = {f"{name.removeprefix('sinergi.')}.parquet" for name in tables | own}
    assert {each.name for each in (tmp_path / "then").iterdir()} == wanted
    for name in tables:
        file = tmp_path / "then" / f"{name.removeprefix('sinergi.')}.parquet"
        frame = pl.read_parquet(file)
        columns = ", ".join(frame.columns)
        rows = ask(empty, f"SELECT {columns} FROM {name}")
        assert sorted(map(plain_row, frame.rows()), key=str) == sorted(
            map(plain_row, rows), key=str
        )
        told = f"{counted(len(rows), 'row')}, {file.stat().st_size:,} bytes"
        assert f"sinergi: wrote {file}: {told}" in err
        facts = json.loads(pl.read_parquet_metadata(file)["sinergi"])
        assert facts["asked_for"]["as_of"] == past.at.isoformat()
        assert [each["holds"] for each in facts["verdicts"]] == [True]
    status, _, err = past.replay(*words, "--output", "parquet")
    assert status == ExitStatus.ERROR
    assert "already exists" in err
    status, _, err = past.replay(*words, "--output", "csv")
    assert status == ExitStatus.SUCCESS, err
    header, *lines = (tmp_path / "then" / "transfer.csv").read_text("utf-8").splitlines()
    assert header.startswith("agency,record_id,revision,event_id,topic,partition,leaf_index")
    assert len(lines) == len(past.dump["sinergi.transfer"])


def plain_row(row: Sequence[object]) -> tuple[object, ...]:
    """A row whose ids are texts and whose times are of one zone, as from either library."""
    return tuple(
        each.astimezone(UTC).isoformat()
        if isinstance(each, datetime)
        else str(each)
        if isinstance(each, UUID)
        else each
        for each in row
    )


def test_an_as_of_replay_that_is_broken_off_goes_on_and_no_other_time_does(
    past: Past, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--as-of", past.at.isoformat(), "--into", empty)
    with monkeypatch.context() as patch:
        patch.setattr(ReplayDatabase, "restore", interrupt)
        assert past.replay(*words)[0] == ExitStatus.STOPPED
    later = (past.at + timedelta(seconds=1)).isoformat()
    status, _, err = past.replay("--as-of", later, "--into", empty)
    assert status == ExitStatus.ERROR
    assert "another replay has filled it, which differs in as_of." in err
    for offset in UTC, timezone(timedelta(hours=7)):
        same = past.at.astimezone(offset).isoformat()
        assert past.replay("--as-of", same, "--into", empty)[0] == ExitStatus.SUCCESS
        assert past.live.tables(empty) == past.dump


@pytest.mark.parametrize(
    ("last", "following", "is_exact"),
    [(None, 1, True), (None, 2, False), (3, 4, True), (3, 5, False), (3, None, True)],
)
def test_the_next_receipt_of_one_more_leaf_leaves_nothing_open(
    last: int | None, following: int | None, *, is_exact: bool
) -> None:
    def receipt(size: int | None) -> SignedStatement | None:
        return None if size is None else SignedStatement("", RECEIPT, 0, size, b"", None, "")

    assert NearReceipts(receipt(last), receipt(following)).is_exact == is_exact


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_without_the_database_the_receipts_topic_tells_what_it_can(
    past: Past, empty: str, auditor: Path
) -> None:
    words = ("--reader", past.reader, "--into", empty, "--as-of")
    status, out, err = past.replay(*words, past.at.isoformat(), settings=auditor)
    assert (status, out) == (ExitStatus.ERROR, "")
    topic, size = past.live.pair.topic.name, past.live.sizes[0]
    said = f"What {past.reader}/main had at {past.at.isoformat()} cannot be told by its receipts:"
    assert said in err
    found = re.search(rf"{topic}/0: at least (\d+) and fewer than (\d+) leaves, by its", err)
    assert found
    had = ask(
        past.live.pair.consumer_url,
        "SELECT max(size) FROM sinergi_consumer.receipt WHERE partition = 0"
        f" AND signed_at < '{past.at.isoformat()}'",
    )
    assert int(found[1]) <= int(str(had[0][0])) < int(found[2]) <= size
    assert ask(empty, NOTHING) == [(None,)]

    now = SYSTEM.now().isoformat()
    status, _, err = past.replay(*words, now, settings=auditor)
    assert status == ExitStatus.SUCCESS, err
    live = past.live.tables()
    found_now = past.live.tables(empty)
    for name in ("position", "checkpoint"):
        assert found_now[f"sinergi_consumer.{name}"] == live[f"sinergi_consumer.{name}"]
    assert found_now["sinergi.transfer"] == live["sinergi.transfer"]
    assert "which events were in quarantine then, and what was decided about them: only" in err
    assert "receipts that the reader has signed since the last one that it has published" in err


FORGERIES = {
    "a later tree than was signed": (
        "UPDATE sinergi_consumer.receipt SET size = size + 1000",
        "its row and its note differ",
    ),
    "an earlier time than was signed": (
        "UPDATE sinergi_consumer.receipt SET signed_at = signed_at - interval '1 hour'",
        "its row and its note differ",
    ),
    "a changed note": (
        "UPDATE sinergi_consumer.receipt SET note = replace(note, E'\\n— ', E'x\\n— ')",
        "NoteMalformed",
    ),
    "another's signature": (
        "UPDATE sinergi_consumer.receipt SET note = replace(note, '/main ', '/other ')",
        "SignatureMissing",
    ),
}


@pytest.mark.parametrize(
    ("forgery", "said"), long_after(2, FORGERIES.values()), ids=FORGERIES.keys()
)
def test_a_forged_receipt_tells_nothing(
    live: LiveReader, empty: str, forgery: str, said: str
) -> None:
    live.materialise()
    now = SYSTEM.now().isoformat()
    do(live.pair.consumer_url, forgery)
    status, out, err = live.sinergi("replay", "--as-of", now, "--into", empty)
    assert (status, out) == (ExitStatus.ERROR, "")
    assert f"in the reader's database is not what the database signed ({said})" in err
    assert ask(empty, NOTHING) == [(None,)]


def test_a_receipt_that_the_database_lacks_is_taken_from_the_topic_and_reported(
    live: LiveReader, empty: str
) -> None:
    live.materialise()
    before = live.tables()
    do(live.pair.consumer_url, "DELETE FROM sinergi_consumer.receipt WHERE partition = 1")
    now = SYSTEM.now().isoformat()
    status, _, err = live.sinergi("replay", "--as-of", now, "--into", empty)
    assert status == ExitStatus.SUCCESS, err
    assert live.tables(empty) == before
    where = f"{live.pair.topic.name}/1"
    assert f"the database lacks the receipt for 5 leaves of {where} that it has published" in err


def test_before_the_first_receipt_the_reader_had_nothing(live: LiveReader, empty: str) -> None:
    status, _, err = live.sinergi("replay", "--as-of", "2026-03-03T17:00+07:00", "--into", empty)
    assert status == ExitStatus.ERROR
    assert "no receipt of it was found for these topics" in err
    live.materialise()
    status, _, err = live.sinergi("replay", "--as-of", "2026-03-03T17:00+07:00", "--into", empty)
    assert status == ExitStatus.SUCCESS, err
    filled = {name for name, rows in live.tables(empty).items() if rows}
    assert filled == {"sinergi_consumer.position"}
    had_nothing = r"had nothing at 2026-03-03T17:00:00\+07:00, by its own receipts: the first one"
    assert re.search(rf"{had_nothing} is of \S+\+07:00$", err, re.MULTILINE)


def test_a_topic_with_another_history_than_the_reader_had_is_disproved(
    live: LiveReader, empty: str
) -> None:
    """The reader signed a tree of the owner; the topic was written anew with the same key."""
    live.materialise()
    now = SYSTEM.now().isoformat()
    other = f"copy.{live.pair.topic.name}"
    make_topic(live, other)
    for number in range(live.pair.partitions):
        tape = live.pair.tape(number)
        written = [tape.write([transfer(f"X/{each}")]) for each in range(live.sizes[number])]
        send(live.pair, [replace(each, topic_name=other) for one in written for each in one])
    words = ("--as-of", now, "--into", empty, "--copy", other)
    status, _, err = live.sinergi("replay", live.pair.topic.name, *words)
    assert status == ExitStatus.NEGATIVE, err
    assert f"verdict: {other} is not what {live.pair.publisher} sealed" in err


def make_topic(live: LiveReader, name: str) -> None:
    admin = open_admin(live.pair.connection)
    topic = NewTopic(name, live.pair.partitions, -1)
    admin.create_topics([topic])[name].result(PATIENCE_SECONDS)


def test_events_that_were_rows_and_are_none_here_are_not_guessed(past: Past, empty: str) -> None:
    """As where a projection was changed since: its rows of that time cannot be made."""
    do(
        past.live.pair.consumer_url,
        "DELETE FROM sinergi_consumer.quarantine WHERE projection = 'guards'"
        " AND reason = 'projection-failed'",
    )
    words = ("--as-of", past.at.isoformat(), "--into", empty, "--json")
    status, out, err = past.replay(*words)
    assert status == ExitStatus.ERROR
    assert "1 event not as then: guards had it not in quarantine then, and refuses it here" in err
    (verdict,) = json.loads(out)
    assert verdict["holds"] is None
    assert "1 event is not in the tables as it was then" in verdict["verdict"]
