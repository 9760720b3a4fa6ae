"""Tables that somebody has written over: told by table, column and row, and the rest is shown."""

from __future__ import annotations

import copy
import json
import os
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from sinergi.cli import root
from sinergi_producers.relay.store import Backlog
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database
from sinergi_schemas.postgresql.times import BeyondCalendar
from waiting import until
from world import World, transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST = 2**63 - 1
BEYOND = ["infinity", "-infinity", "20000-01-01 00:00:00+00", "4000-01-01 00:00:00+00 BC"]


class Desk:
    """A world in which one event has come through, and the commands of its two sides."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world, self._capsys = world, capsys

    def alter(self, of: sa.Engine, *statements: str) -> None:
        with of.begin() as connection:
            for each in statements:
                connection.execute(sa.text(each))

    def owner(self, *words: str) -> tuple[int, str, str]:
        return self._run(self.world.agency_settings, words)

    def reader(self, *words: str) -> tuple[int, str, str]:
        return self._run(self.world.reader_settings, words)

    def problems(self, side: Callable[..., tuple[int, str, str]]) -> list[str]:
        """What its status says that is invalid."""
        _, out, _ = side("status", "--json")
        found: dict[str, Any] = json.loads(out)
        assert not found["away"]
        return [each["what"] for each in found["problems"] if each["kind"] == "invalid"]

    def _run(self, settings: Path, words: tuple[str, ...]) -> tuple[int, str, str]:
        settings.chmod(0o600)
        self._capsys.readouterr()
        status = root.run(["--config", str(settings), *words])
        out, err = self._capsys.readouterr()
        assert "this is a bug" not in err
        return status, out, err


@pytest.fixture
def desk(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    for name in [each for each in os.environ if each.startswith("SINERGI_")]:
        monkeypatch.delenv(name)
    return Desk(World(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1), capsys)


@pytest.fixture
def filled(desk: Desk) -> Desk:
    world = desk.world
    world.publish(transfer("P/1"))
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer_history", 1)
    return desk


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (r"frontier = '\x00'", "frontier"),
        (f"tree_size = {MOST}", "frontier"),
        (f"epoch = {MOST}", "epoch"),
    ],
)
def test_a_position_that_is_none_halts_its_partition_and_status_names_it(
    filled: Desk, change: str, column: str
) -> None:
    """It ended every worker, again and again, and nobody was told of what."""
    world = filled.world
    filled.alter(
        world.consumer,
        f"UPDATE sinergi_consumer.position SET {change} WHERE projection = 'transfer'",
    )
    named = f"sinergi_consumer.position.{column} of the row (transfer"
    if column == "frontier":
        (told,) = filled.problems(filled.reader)
        assert told.startswith(named)
        assert "Restore the database from a backup" in told
    with world.materialising():
        until(lambda: bool(world.count("sinergi_consumer.halt")), "it is halted")
    ((reason, detail),) = world.ask("SELECT reason, detail FROM sinergi_consumer.halt")
    assert reason == "StoredStateInvalid"
    assert detail.startswith(named)
    assert f"{world.topic.name}, 0)" in detail


def test_an_offset_that_is_none_is_looked_for(filled: Desk) -> None:
    world = filled.world
    filled.alter(world.consumer, "UPDATE sinergi_consumer.position SET next_offset = -7")
    assert filled.reader("status")[0] == root.NOT_SO  # nobody is at work
    world.publish(transfer("P/2"))
    with world.relaying(), world.materialising():
        world.until_rows("sinergi.transfer_history", 2)


def test_a_tree_that_is_none_is_named_by_every_command(filled: Desk) -> None:
    world = filled.world
    filled.alter(world.producer, r"UPDATE sinergi_producer.tree SET frontier = '\x00'")
    named = "sinergi_producer.tree.frontier of the row (transfer, 0) of size 1"
    assert [each.startswith(named) for each in filled.problems(filled.owner)] == [True]
    for words in (["relay"], ["outbox", "recover"], ["keys", "replace"]):
        status, _, err = filled.owner(*words)
        assert status == root.COULD_NOT
        assert f"sinergi: {named} is not what was stored there" in err


def test_a_lease_whose_epoch_cannot_be_raised_is_named(desk: Desk) -> None:
    desk.alter(desk.world.producer, f"UPDATE sinergi_producer.lease SET epoch = {MOST}")
    with (
        closing(Backlog(desk.world.producer_url)) as backlog,
        pytest.raises(errors.StoredStateInvalid, match=r"lease\.epoch of the row \(relay\)"),
    ):
        backlog.take()


def test_a_name_that_is_no_topic_is_told_and_the_rest_is_shown(filled: Desk) -> None:
    world = filled.world
    filled.alter(
        world.consumer,
        "INSERT INTO sinergi_consumer.skipped (topic, partition, cause, messages, first_offset,"
        " last_offset) VALUES ('no topic', -5, 'c', 1, 1, 2)",
        "INSERT INTO sinergi_consumer.halt (topic, partition, reason, detail)"
        " VALUES ('no topic', 0, 'x', 'y')",
        "INSERT INTO sinergi_consumer.position (projection, topic, partition)"
        " VALUES ('transfer', 'no topic', 7)",
        "INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index, state,"
        " reason, detail, fingerprint, key_hash, leaf_hash, size) VALUES ('transfer', 'no topic',"
        r" 0, 3, 'open', 'r', 'd', '\x00', '\x00', '\x00', 5)",
    )
    tables = sorted(each.partition(" ")[0] for each in filled.problems(filled.reader))
    wanted = ("halt", "position", "quarantine", "skipped")
    assert tables == [f"sinergi_consumer.{each}.topic" for each in wanted]
    assert world.topic.name in filled.reader("status")[1]
    for words in (["retry", "--state", "open", "--why", "x"], ["show", "--leaf", "3", "--hex"]):
        status, _, err = filled.reader("quarantine", *words)
        assert status == root.COULD_NOT
        assert "sinergi_consumer.quarantine.topic of the row of id " in err


@pytest.mark.parametrize("moment", BEYOND[1:3])
def test_a_moment_beyond_the_calendar_is_shown_as_it_stands(filled: Desk, moment: str) -> None:
    """Every other row of the answer went with it."""
    world, name = filled.world, filled.world.topic.name
    filled.alter(
        world.consumer,
        "INSERT INTO sinergi_consumer.halt (topic, partition, reason, detail, halted_at, looks_at)"
        f" VALUES ('{name}', 0, 'x', 'y', '{moment}', '{moment}')",
        "INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index, state,"
        " reason, detail, fingerprint, key_hash, leaf_hash, size, quarantined_at) VALUES"
        rf" ('transfer', '{name}', 0, 3, 'open', 'r', 'd', '\x00', '\x00', '\x00', 5, '{moment}')",
    )
    filled.alter(
        world.producer,
        f"UPDATE sinergi_producer.lease SET expires_at = '{moment}', holder = 'x'",
        "INSERT INTO sinergi_producer.outbox (event_id, event_type, record_id, revision,"
        " recorded_at, fingerprint, datum, backfill) VALUES (gen_random_uuid(), 'transfer', 'x',"
        rf" 1, '{moment}', '\x00', '\x00', false)",
    )
    assert f"is halted since {moment} (x): y" in filled.reader("status")[1]
    assert moment in filled.reader("status", "--json")[1]
    for words in (["list"], ["list", "--json"], ["show", "--leaf", "3"]):
        status, out, _ = filled.reader("quarantine", *words)
        assert (status, moment in out) == (0, True)
    for words in (["list"], ["list", "--json"]):
        status, out, _ = filled.owner("outbox", *words)
        assert (status, moment in out) == (0, True)
    status, out, _ = filled.owner("status")
    assert status != root.COULD_NOT
    assert "cannot be read" not in out


@pytest.mark.parametrize("moment", [*BEYOND, "9999-12-31 23:59:59+00", "0001-01-01 00:00:00+00"])
def test_a_moment_beyond_the_calendar_stays_one(desk: Desk, moment: str) -> None:
    with (
        closing(Database(desk.world.producer_url, "a test")) as database,
        database.reading() as connection,
    ):
        row = connection.execute("SELECT %s::timestamptz", (moment,)).fetchone()
    assert row
    assert isinstance(row[0], BeyondCalendar)
    for each in (row[0], copy.deepcopy(row[0])):
        assert str(each) == moment
        assert f"{each.astimezone():%Y}" == each.astimezone(UTC).isoformat() == moment
        is_past = moment.startswith(("-", "0001")) or moment.endswith("BC")
        assert (each < datetime(2026, 1, 1, tzinfo=UTC)) == is_past
