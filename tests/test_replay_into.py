"""A replay into an empty database makes the tables that a materialiser has made."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from agency_pair import AgencyPair
from live_database import LiveReader, integrator
from sinergi.exit_status import ExitStatus
from sinergi_consumers.audit import replay_database, table_replay
from sinergi_consumers.audit.replay_database import ReplayDatabase
from sinergi_consumers.quarantine.batch_merge import MergedBatches, merge_batches
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.testing.sinks import transfer
from sinergi_schemas import errors
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


HOLDS = (
    "SELECT outcome->'verdicts'->0->'holds' FROM sinergi_replay.replay WHERE ended_at > begun_at"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The integrator's projection is installed."""
    with integrator(tmp_path_factory.mktemp("packages")):
        yield


@pytest.fixture
def live(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    installed: None,  # noqa: ARG001 - projections of the reader
) -> LiveReader:
    """A reader whose topic has everything; nothing is materialised yet."""
    folder = tmp_path / "pair"
    folder.mkdir()
    made = LiveReader(AgencyPair(folder, kafka, agency_slug, databases(), databases()))
    made.write_everything("A")
    return made


@pytest.fixture
def empty(databases: Callable[[], str]) -> str:
    """The URL of an empty database."""
    return databases()


def ask(url: str, question: str) -> list[tuple[object, ...]]:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(question))]


def do(url: str, statement: str) -> None:
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        connection.execute(sa.text(statement))


def test_the_tables_are_row_by_row_those_of_the_live_database(live: LiveReader, empty: str) -> None:
    live.materialise()
    status, out, err = live.sinergi("replay", "--into", empty)
    assert (status, out) == (0, ""), err
    replayed, materialised = live.tables(empty), live.tables()
    for name, rows in materialised.items():
        assert replayed[name] == rows, name
    # Nothing was compared with nothing.
    assert len(materialised["sinergi.transfer"]) == 28
    reasons = {row[7] for row in materialised["sinergi_consumer.quarantine"]}
    assert reasons == {"rows-refused", "projection-failed", "datum-invalid", "revision-conflict"}
    assert {row[6] for row in materialised["sinergi_consumer.quarantine"]} == {"open", "superseded"}
    assert materialised["sinergi.guards"]
    # Nobody has signed anything in the reader's name.
    assert ask(empty, "SELECT count(*) FROM sinergi_consumer.receipt") == [(0,)]
    assert f"{sum(live.sizes)} leaves verified" in err
    assert "verdict: " in err


def test_a_replay_that_is_broken_off_goes_on_from_the_positions(
    live: LiveReader, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.materialise()
    merged: list[MergedBatches] = []

    def broken_off(*arguments: Any, **more: Any) -> Any:
        if merged:
            raise KeyboardInterrupt
        merged.append(merge_batches(*arguments, **more))
        return merged[-1]

    with monkeypatch.context() as patch:
        patch.setattr(table_replay, "merge_batches", broken_off)
        assert live.sinergi("replay", "--into", empty)[0] == ExitStatus.STOPPED
    assert 0 < len(live.tables(empty)["sinergi.transfer"]) < 28
    assert ask(empty, "SELECT ended_at, outcome FROM sinergi_replay.replay") == [(None, None)]
    status, _, err = live.sinergi("replay", "--into", empty)
    assert status == ExitStatus.SUCCESS
    stored = re.search(r", (\d+) stored, (\d+) stored before$", err, re.MULTILINE)
    assert stored
    assert min(map(int, stored.groups())) > 0
    assert sum(map(int, stored.groups())) == sum(live.sizes)
    assert live.tables(empty) == live.tables()
    status, _, err = live.sinergi("replay", "--into", empty)
    assert f" 0 stored, {sum(live.sizes)} stored before" in err
    ((outcome,),) = ask(
        empty, "SELECT outcome FROM sinergi_replay.replay WHERE ended_at > begun_at"
    )
    assert [each["holds"] for each in outcome["verdicts"]] == [True]  # type: ignore[index]


def test_the_same_replay_again_adds_what_has_come_since(live: LiveReader, empty: str) -> None:
    assert live.sinergi("replay", "--into", empty)[0] == ExitStatus.SUCCESS
    live.write_everything("B")
    live.materialise()
    status, _, err = live.sinergi("replay", "--into", empty, "--json")
    assert status == ExitStatus.SUCCESS, err
    assert live.tables(empty) == live.tables()


def test_a_database_with_rows_is_refused_and_left_as_it_is(
    live: LiveReader, empty: str, databases: Callable[[], str]
) -> None:
    live.materialise()
    before = live.tables()
    anonymous = live.pair.folder.parent / "auditor.toml"
    anonymous.write_text(
        f'agreements = "{live.pair.folder}"\nkafka.bootstrap = "{live.pair.kafka}"\n', "utf-8"
    )
    for url, settings, said in (
        (live.pair.consumer_url, None, "it is the one that the setting consumer.database names"),
        (live.pair.consumer_url, anonymous, "sinergi.guards has rows already"),
    ):
        status, out, err = live.sinergi("replay", "--into", url, settings=settings)
        assert (status, out) == (ExitStatus.ERROR, "")
        assert f"sinergi: The replay cannot be written to that database: {said}. Name" in err
    assert live.tables() == before
    assert live.sinergi("replay", "--into", empty)[0] == ExitStatus.SUCCESS
    # An auditor without an agency fills the tables of any reader: that is another replay.
    status, _, err = live.sinergi("replay", "--into", empty, settings=anonymous)
    assert status == ExitStatus.ERROR
    assert "another replay has filled it, which differs in reader." in err
    other = databases()
    assert live.sinergi("replay", "--into", other, settings=anonymous)[0] == ExitStatus.SUCCESS
    assert live.tables(other) == before


def test_who_has_no_right_in_the_database_stops_no_replay(empty: str) -> None:
    """Advisory locks need no right, and this one could be computed."""
    key = "pg_advisory_lock(hashtextextended('sinergi_replay', 0))"
    made = sa.create_engine(empty, poolclass=sa.NullPool)
    with closing(ReplayDatabase(empty)) as database, made.connect() as stranger:
        stranger.execute(sa.text(f"SELECT {key}"))
        database.begin({"topics": ["A"]})
    assert ask(empty, "SELECT asked_for FROM sinergi_replay.replay") == [({"topics": ["A"]},)]


def test_of_two_replays_that_begin_at_once_the_later_one_waits_and_goes_on(empty: str) -> None:
    waits = (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    made = sa.create_engine(empty, poolclass=sa.NullPool)
    with closing(ReplayDatabase(empty)) as database, ThreadPoolExecutor(1) as thread:
        with made.begin() as other:
            other.exec_driver_sql(replay_database._CREATE)
            done = thread.submit(database.begin, {"topics": ["A"]})
            until(lambda: bool(ask(empty, waits)), "the later one waits")
        done.result()
    assert ask(empty, "SELECT asked_for FROM sinergi_replay.replay") == [({"topics": ["A"]},)]


def test_of_two_replays_into_one_database_the_earlier_one_ends_and_no_row_is_doubled(
    live: LiveReader, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.materialise()
    later: list[int] = []

    def overtaken(*arguments: Any, **more: Any) -> Any:
        patch.undo()
        later.append(live.sinergi("replay", "--into", empty)[0])
        return merge_batches(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(table_replay, "merge_batches", overtaken)
        status, _, err = live.sinergi("replay", "--into", empty)
    assert (status, later) == (ExitStatus.ERROR, [ExitStatus.SUCCESS])
    assert "the same replay has begun a second time, and goes on there. Name an empty" in err
    assert live.tables(empty) == live.tables()


def test_no_materialiser_signs_for_what_a_replay_has_stored(live: LiveReader, empty: str) -> None:
    assert live.sinergi("replay", "--into", empty)[0] == ExitStatus.SUCCESS
    status, _, err = live.sinergi("materialise", database=empty)
    assert status == ExitStatus.ERROR
    assert "`sinergi replay` has filled this database, so no materialiser may use it" in err
    with (
        closing(PostgresqlSink(empty, live.projections)) as sink,
        pytest.raises(errors.ReplayedDatabase),
    ):
        sink.check()


def test_an_address_that_does_not_answer_is_ascribed_to_its_option(live: LiveReader) -> None:
    status, _, err = live.sinergi("replay", "--into", "postgresql://auditor@127.0.0.1:1/none")
    assert status == ExitStatus.ERROR
    assert "its address, given by --into." in err
    assert "consumer.database" not in err


def test_a_database_that_has_other_leaves_than_the_topic_is_refused(
    live: LiveReader, empty: str
) -> None:
    assert live.sinergi("replay", "--into", empty)[0] == ExitStatus.SUCCESS
    tree = "UPDATE sinergi_consumer.position SET tree_size = 1, frontier = sha256('x')"
    do(empty, f"{tree} WHERE projection = 'transfer' AND partition = 1")
    status, _, err = live.sinergi("replay", "--into", empty)
    assert status == ExitStatus.ERROR
    assert f"its first 1 leaves of {live.pair.topic.name}/1 are others" in err


def test_a_topic_that_does_not_hold_is_stored_up_to_the_fault(live: LiveReader, empty: str) -> None:
    whole = sum(live.sizes)
    good = live.tapes[0].write([transfer("Z/1"), transfer("Z/2")])
    live.send(0, [replace(good[0], value_bytes=good[1].value_bytes), good[1]])
    status, out, err = live.sinergi("replay", "--into", empty, "--json")
    assert status == ExitStatus.NEGATIVE, err
    (verdict,) = json.loads(out)
    assert verdict["shown"] == whole
    assert ask(empty, "SELECT count(*) FROM sinergi.transfer WHERE record_id LIKE 'Z/%'") == [(0,)]
    assert ask(empty, HOLDS) == [(False,)]
