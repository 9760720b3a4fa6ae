"""Damaged rows in our tables are named by table, column and row; the others are shown."""

from __future__ import annotations

import copy
import json
import os
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from agency_pair import AgencyPair, transfer
from long_cases import long_after
from sinergi.cli import root
from sinergi.exit_status import ExitStatus
from sinergi_producers.relay.store import OutboxStore
from sinergi_schemas import errors
from sinergi_schemas.postgresql import Database
from sinergi_schemas.postgresql.times import BeyondCalendar
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST = 2**63 - 1
BEYOND = ["infinity", "-infinity", "20000-01-01 00:00:00+00", "4000-01-01 00:00:00+00 BC"]


class Operator:
    """An agency pair that has delivered one event, and the commands of both agencies."""

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair, self._capsys = pair, capsys

    def alter(self, of: sa.Engine, *statements: str) -> None:
        with of.begin() as connection:
            for each in statements:
                connection.execute(sa.text(each))

    def owner(self, *words: str) -> tuple[int, str, str]:
        return self._run(self.pair.agency_settings, words)

    def reader(self, *words: str) -> tuple[int, str, str]:
        return self._run(self.pair.reader_settings, words)

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
def operator(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Operator:
    for name in [each for each in os.environ if each.startswith("SINERGI_")]:
        monkeypatch.delenv(name)
    return Operator(
        AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1), capsys
    )


@pytest.fixture
def filled(operator: Operator) -> Operator:
    pair = operator.pair
    pair.publish(transfer("P/1"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 1)
    return operator


@pytest.mark.parametrize(
    ("change", "column"),
    long_after(
        1,
        [
            (r"frontier = '\x00'", "frontier"),
            (f"tree_size = {MOST}", "frontier"),
            (f"epoch = {MOST}", "epoch"),
        ],
    ),
)
def test_a_position_that_is_none_halts_its_partition_and_status_names_it(
    filled: Operator, change: str, column: str
) -> None:
    """It ended every worker, again and again, and nobody was told of what."""
    pair = filled.pair
    filled.alter(
        pair.consumer,
        f"UPDATE sinergi_consumer.position SET {change} WHERE projection = 'transfer'",
    )
    named = f"sinergi_consumer.position.{column} of the row (transfer"
    if column == "frontier":
        (told,) = filled.problems(filled.reader)
        assert told.startswith(named)
        assert "Restore the database from a backup" in told
    with pair.materialising():
        until(lambda: bool(pair.count("sinergi_consumer.halt")), "it is halted")
    ((reason, detail),) = pair.ask("SELECT reason, detail FROM sinergi_consumer.halt")
    assert reason == "StoredStateInvalid"
    assert detail.startswith(named)
    assert f"{pair.topic.name}, 0)" in detail


def test_an_offset_that_is_none_is_looked_for(filled: Operator) -> None:
    pair = filled.pair
    filled.alter(pair.consumer, "UPDATE sinergi_consumer.position SET next_offset = -7")
    assert filled.reader("status")[0] == ExitStatus.NEGATIVE  # nobody is at work
    pair.publish(transfer("P/2"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 2)


def test_a_tree_that_is_none_is_named_by_every_command(filled: Operator) -> None:
    pair = filled.pair
    filled.alter(pair.producer, r"UPDATE sinergi_producer.tree SET frontier = '\x00'")
    named = "sinergi_producer.tree.frontier of the row (transfer, 0) of size 1"
    assert [each.startswith(named) for each in filled.problems(filled.owner)] == [True]
    for words in (["outbox", "recover"], ["keys", "replace"]):
        status, _, err = filled.owner(*words)
        assert status == ExitStatus.ERROR
        assert f"sinergi: {named} is not what was stored there" in err


def test_a_relay_waits_at_a_tree_that_is_none_and_goes_on_once_it_is_restored(
    filled: Operator,
) -> None:
    pair = filled.pair
    question = "SELECT frontier FROM sinergi_producer.tree"
    ((frontier,),) = pair.ask(question, pair.producer)
    filled.alter(pair.producer, r"UPDATE sinergi_producer.tree SET frontier = '\x00'")
    pair.publish(transfer("P/2"))
    named = "sinergi_producer.tree.frontier of the row (transfer, 0) of size 1"
    with capture_logs() as logs, pair.relaying():
        until(
            lambda: any(str(each.get("why")).startswith(named) for each in list(logs)),
            "it names the tree",
        )
        assert pair.ask("SELECT size FROM sinergi_producer.tree", pair.producer) == [(1,)]
        restored = f"UPDATE sinergi_producer.tree SET frontier = '\\x{bytes(frontier).hex()}'"
        filled.alter(pair.producer, restored)
        sent = "SELECT sent_size FROM sinergi_producer.tree"
        until(lambda: pair.ask(sent, pair.producer) == [(2,)], "it goes on")


def test_a_lease_whose_epoch_cannot_be_raised_is_named(operator: Operator) -> None:
    operator.alter(operator.pair.producer, f"UPDATE sinergi_producer.lease SET epoch = {MOST}")
    with (
        closing(OutboxStore(operator.pair.producer_url)) as store,
        pytest.raises(errors.StoredStateInvalid, match=r"lease\.epoch of the row \(relay\)"),
    ):
        store.take_lease()


def test_a_name_that_is_no_topic_is_told_and_the_rest_is_shown(filled: Operator) -> None:
    pair = filled.pair
    filled.alter(
        pair.consumer,
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
    assert pair.topic.name in filled.reader("status")[1]
    for words in (["retry", "--state", "open", "--why", "x"], ["show", "--leaf", "3", "--hex"]):
        status, _, err = filled.reader("quarantine", *words)
        assert status == ExitStatus.ERROR
        assert "sinergi_consumer.quarantine.topic of the row of id " in err


@pytest.mark.parametrize("moment", BEYOND[1:3])
def test_a_moment_beyond_the_calendar_is_shown_as_it_stands(filled: Operator, moment: str) -> None:
    """Every other row of the answer went with it."""
    pair, name = filled.pair, filled.pair.topic.name
    filled.alter(
        pair.consumer,
        "INSERT INTO sinergi_consumer.halt (topic, partition, reason, detail, halted_at, looks_at)"
        f" VALUES ('{name}', 0, 'x', 'y', '{moment}', '{moment}')",
        "INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index, state,"
        " reason, detail, fingerprint, key_hash, leaf_hash, size, quarantined_at) VALUES"
        rf" ('transfer', '{name}', 0, 3, 'open', 'r', 'd', '\x00', '\x00', '\x00', 5, '{moment}')",
    )
    filled.alter(
        pair.producer,
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
    assert status != ExitStatus.ERROR
    assert "cannot be read" not in out


@pytest.mark.parametrize("moment", [*BEYOND, "9999-12-31 23:59:59+00", "0001-01-01 00:00:00+00"])
def test_a_moment_beyond_the_calendar_stays_one(operator: Operator, moment: str) -> None:
    with (
        closing(Database(operator.pair.producer_url, "a test")) as database,
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
