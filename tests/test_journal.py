"""The journal: who read topics again, when, why, and what came of it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from agency_pair import AgencyPair, agreement, transfer
from signed_agreement import copy_signed, write_signed
from sinergi.cli.decisions import account
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.agreements.file import parse
from sinergi_schemas.topics import Topic
from test_agreement_check import AT, KEY, RECEIPTS, in_force
from verified_database import INMATE, NIK, VerifiedDatabase

if TYPE_CHECKING:
    from collections.abc import Callable

WHY = "12/Pid.Sus/2026"
COUNT = 4
AWAY = ("--set", "consumer.database=postgresql://nobody@127.0.0.1:1/nothing")
COMMANDS = {
    "replay": ("replay",),
    "record": ("record", "transfer", "P/2"),
    "received": ("received", "transfer", "P/2"),
    "verify": ("verify",),
    "reconcile": ("reconcile",),
    "withheld": ("withheld", "--from", "2026-01-01T00:00Z", "--to", "2026-02-01T00:00Z"),
    "rebuild": ("rebuild", "transfer"),
}


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, kafka: str, databases_of_module: Callable[[], str]
) -> AgencyPair:
    """A publisher, and a reader whose database has what was published."""
    made = databases_of_module(), databases_of_module()
    slug = f"lapas-{secrets.token_hex(5)}"
    pair = AgencyPair(tmp_path_factory.mktemp("filled"), kafka, slug, *made)
    pair.publish(*(transfer(f"P/{number}", inmate=INMATE) for number in range(3)))
    pair.publish(transfer("P/2", "CORRECTED", movement_id="m2"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", COUNT)
        unpublished = "sinergi_consumer.receipt WHERE published_at IS NULL"
        pair.until(lambda: pair.count(unpublished) == 0, "receipts published")
    return pair


@pytest.fixture
def reader(filled: AgencyPair, capsys: pytest.CaptureFixture[str]) -> VerifiedDatabase:
    """The reader's database with an empty journal."""
    found = VerifiedDatabase(filled, capsys)
    found.execute("TRUNCATE sinergi_consumer.journal CASCADE")
    return found


@pytest.fixture(scope="module")
def demanding(filled: AgencyPair, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The option that names agreements of which the later one demands a reason."""
    folder = tmp_path_factory.mktemp("demanding")
    copy_signed(filled.folder / "pks.toml", folder)
    (first,) = filled.agreements
    later = {
        "audit_needs_reason": True,
        "replaces": [first.hash],
        "in_force": filled.agreement["in_force"] | {"from": AT},
    }
    write_signed(folder / "later.toml", filled.agreement | later, filled.party_keys)
    return "--set", f"agreements={folder}"


def entries(reader: VerifiedDatabase) -> list[dict[str, Any]]:
    status, found = reader.document("journal")
    assert status == 0
    assert found["count"] == len(found["rows"])
    rows: list[dict[str, Any]] = found["rows"]
    return rows


def test_the_journal_says_who_read_what_why_and_what_came_of_it(
    reader: VerifiedDatabase, tmp_path: Path
) -> None:
    bundle = ("evidence", "create", "--key", "P/2", "-o", str(tmp_path / "e.zip"))
    for command in (*COMMANDS.values(), bundle):
        status, _, err = reader.run(*command, "--why", WHY)
        assert status == 0, err
    found = entries(reader)
    assert [each["command"] for each in found] == ["evidence create", *reversed(COMMANDS)]
    topic = reader.pair.topic.name
    for each in found:
        assert (each["why"], each["topics"]) == (WHY, [topic])
        assert (each["outcome"], each["exit_status"], each["error"]) == ("ended", 0, None)
        assert each["account"] == account()
        assert each["database_user"] == each["end_database_user"] == "postgres"
        assert each["principals"] == ["User:ANONYMOUS"]
        assert each["agreements"] == sorted(reader.pair.agreements.versions)
        assert each["begun_at"] < each["ended_at"]
        assert all(len(tree["root"]) == 64 and tree["topic"] == topic for tree in each["trees"])
        # A record is in one partition; the other commands read both.
        leaves = {tree["partition"]: tree["leaves"] for tree in each["trees"]}
        is_of_one = each["command"] in ("record", "received")
        assert (len(leaves) == 1) if is_of_one else (sum(leaves.values()) == COUNT)
        assert each["verdict"] or each["command"] == "rebuild"
    by_command = {each["command"]: each for each in found}
    assert by_command["replay"]["counts"]["events_shown"] == COUNT
    assert by_command["evidence create"]["counts"]["events"] == 2
    assert by_command["record"]["counts"]["revisions"] == 2
    assert by_command["verify"]["counts"]["differing_rows"] == 0
    assert by_command["record"]["asked_for"] == {"event_type": "transfer", "key": "P/2"}


def test_a_person_who_was_looked_for_stands_in_the_journal_and_no_address(
    reader: VerifiedDatabase, databases: Callable[[], str]
) -> None:
    assert reader.run("replay", "--nik", NIK, "--name", "Contoh Satu")[0] == 0
    assert reader.run("replay", "--into", databases(), "--reader", reader.pair.reader)[0] == 0
    filled, asked = entries(reader)
    assert asked["asked_for"]["nik"] == NIK
    assert asked["asked_for"]["name"] == "Contoh Satu"
    assert "postgresql" not in json.dumps(filled)
    status, out, _ = reader.run("journal")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    assert f"nik: {NIK}" in out


def test_where_an_agreement_demands_a_reason_nothing_is_read_without_one(
    reader: VerifiedDatabase, demanding: tuple[str, str]
) -> None:
    topic = reader.pair.topic.name
    for command in COMMANDS.values():
        for given in ((), ("--why", " ")):
            status, out, err = reader.run(*demanding, *command, *given)
            assert (status, out) == (2, ""), command
            line = err.splitlines()[-1]
            what = f"later.toml demands a reason of whoever reads {topic} again. State the reason"
            assert ("--why says nothing" if given else what) in line
    assert entries(reader) == []
    assert reader.run(*demanding, "replay", "--why", WHY)[0] == 0
    (entry,) = entries(reader)
    assert entry["why"] == WHY
    folder = Path(demanding[1].partition("=")[2])
    status, out, _ = reader.run("agreement", "show", str(folder / "later.toml"))
    assert "whoever reads its topics again to audit them has to say why" in out


def test_where_a_reason_is_demanded_nothing_is_read_that_the_journal_does_not_have(
    reader: VerifiedDatabase, demanding: tuple[str, str]
) -> None:
    status, out, err = reader.run(*demanding, *AWAY, "replay", "--why", WHY)
    assert (status, out) == (2, "")
    assert "The database is not available" in err


def test_a_journal_that_cannot_be_written_keeps_nobody_else_from_reading(
    reader: VerifiedDatabase,
) -> None:
    status, out, err = reader.run(*AWAY, "replay")
    assert (status, "P/2" in out) == (0, True)
    assert "this run is not in the journal: The database is not available" in err


def test_without_a_database_a_reason_is_demanded_all_the_same(
    reader: VerifiedDatabase, demanding: tuple[str, str], tmp_path: Path
) -> None:
    auditor = tmp_path / "auditor.toml"
    auditor.write_text(f'kafka = {{ bootstrap = "{reader.pair.kafka}" }}\n', encoding="utf-8")
    settings = ("--config", str(auditor), *demanding)
    status, _, err = reader.run(*settings, "replay")
    assert (status, "State the reason by --why" in err) == (2, True)
    assert reader.run(*settings, "replay", "--why", WHY)[0] == 0
    assert entries(reader) == []


def test_an_archive_is_recorded_and_not_written_without_the_reason_that_is_demanded(
    reader: VerifiedDatabase, demanding: tuple[str, str], tmp_path: Path
) -> None:
    file, topic = tmp_path / "transfers.zip", reader.pair.topic.name
    create = (*demanding, "archive", "create", topic, "-o", str(file))
    status, out, err = reader.run(*create)
    assert (status, out, "State the reason by --why" in err) == (2, "", True)
    assert not file.exists()
    assert entries(reader) == []
    assert reader.run(*create, "--why", WHY)[0] == 0
    (entry,) = entries(reader)
    assert (entry["command"], entry["why"], entry["topics"]) == ("archive create", WHY, [topic])
    assert (entry["exit_status"], entry["asked_for"]) == (0, {"topics": [topic]})
    assert entry["counts"]["messages"] >= COUNT  # heads and receipts too
    status, manifest = reader.document("archive", "show", str(file))
    sealed = [each for each in manifest["partitions"] if each["tree"]]
    assert [(each["partition"], each["leaves"], each["root"]) for each in entry["trees"]] == [
        (each["partition"], each["tree"]["leaves"], each["tree"]["root"]) for each in sealed
    ]
    assert sum(each["leaves"] for each in entry["trees"]) == COUNT
    assert {(each["topic"], each["read"]) for each in entry["trees"]} == {(topic, topic)}


def test_a_run_that_fails_or_finds_nothing_is_recorded_with_its_end(
    reader: VerifiedDatabase, tmp_path: Path
) -> None:
    (tmp_path / f"{reader.pair.topic.name}.0.checkpoint.txt").touch()
    assert reader.run("replay", "--notes", str(tmp_path))[0] == 2
    assert reader.run("record", "transfer", "P/404")[0] == 1
    absent, refused = entries(reader)
    assert (absent["outcome"], absent["exit_status"]) == ("ended", 1)
    assert absent["counts"]["revisions"] == 0
    assert (refused["outcome"], refused["exit_status"]) == ("failed", None)
    assert refused["error"] == "OutputExists"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_broken_off_is_in_the_journal(
    reader: VerifiedDatabase, how: signal.Signals
) -> None:
    pair = reader.pair
    command = [sys.executable, "-m", "sinergi", "--config", str(pair.reader_settings), "verify"]
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sinergi verify'"
        " AND wait_event_type = 'Lock' AND datname = current_database()"
    )
    with pair.consumer.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE sinergi.transfer")
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            pair.until(lambda: pair.ask(waiting) == [(1,)], "verify waits for a lock")
            process.send_signal(how)
            process.wait()
    (entry,) = entries(reader)
    assert entry["command"] == "verify"
    if how == signal.SIGKILL:
        assert entry["outcome"] is None
        assert "  verify   none" in reader.run("journal")[1]
    else:
        assert (entry["outcome"], entry["error"]) == ("stopped", "KeyboardInterrupt")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_archive_that_is_broken_off_is_in_the_journal_with_its_reason(
    reader: VerifiedDatabase, how: signal.Signals, tmp_path: Path
) -> None:
    pair, pipe = reader.pair, tmp_path / "archive"
    os.mkfifo(pipe)  # nobody reads from it, so the command waits to write
    settings, topic = str(pair.reader_settings), pair.topic.name
    create = ("archive", "create", topic, "-o", str(pipe), "--why", WHY)
    with subprocess.Popen(
        [sys.executable, "-m", "sinergi", "--config", settings, *create], stderr=subprocess.DEVNULL
    ) as process:
        begun = f"sinergi_consumer.journal WHERE why = '{WHY}'"
        pair.until(lambda: pair.count(begun) == 1, "the archive is begun")
        process.send_signal(how)
        process.wait()
    (entry,) = entries(reader)
    assert (entry["command"], entry["why"], entry["topics"]) == ("archive create", WHY, [topic])
    assert not entry["trees"]
    if how == signal.SIGKILL:
        assert (entry["outcome"], entry["ended_at"]) == (None, None)
        assert "none" in reader.run("journal")[1]
    else:
        assert (entry["outcome"], entry["error"]) == ("stopped", "KeyboardInterrupt")


def test_the_journal_of_a_time_is_shown_and_a_wrong_time_is_refused(
    reader: VerifiedDatabase,
) -> None:
    assert reader.run("received", "transfer", "P/1")[0] == 0
    assert reader.document("journal", "--to", "2020-01-01T00:00+07:00")[1]["count"] == 0
    assert reader.document("journal", "--from", "2020-01-01T00:00+07:00")[1]["count"] == 1
    status, out, err = reader.run("journal", "--from", "2020-01-01")
    assert (status, out) == (2, "")
    assert "lacks a zone offset" in err


def test_an_agreement_that_has_ended_demands_a_reason_until_another_stands_in_its_place() -> None:
    topic = Topic(KEY.name.split("/")[1], "transfer")
    past = in_force(AT.replace(year=2010), AT.replace(year=2020))
    document = agreement(KEY.public, RECEIPTS.public, **past, audit_needs_reason=True)
    ended = parse(Path("ended.toml"), tomli_w.dumps(document).encode())
    assert Agreements([ended]).demanding_reason(topic, AT) == ended
    later = agreement(KEY.public, RECEIPTS.public, replaces=[ended.hash])
    standing = parse(Path("standing.toml"), tomli_w.dumps(later).encode())
    assert Agreements([ended, standing]).demanding_reason(topic, AT) is None
    assert Agreements([ended, standing]).demanding_reason(topic, AT.replace(year=2015)) == ended
