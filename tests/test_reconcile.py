"""`sinergi reconcile` counts outbox, topic and databases against each other, event by event."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from agency_pair import DATABASE, AgencyPair, signs_nothing_else, transfer
from sinergi.cli.root import run
from sinergi_consumers.audit.reconciliation import signed_counts
from verified_database import VerifiedDatabase
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

COUNT = 12
FROZEN = "ALTER TABLE sinergi_producer.outbox {} TRIGGER ALL"


class Desk:
    """A desk that may read the publisher's outbox and the reader's database."""

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair = pair
        self.reader = f"{pair.reader}/{DATABASE}"
        self.capsys = capsys

    def reconcile(self, *options: str, url: str | None = None) -> tuple[int, str, str]:
        self.capsys.readouterr()
        database = ("--database", f"{self.reader}={url or self.pair.consumer_url}")
        settings = ("--config", str(self.pair.agency_settings))
        status = run([*settings, "reconcile", *database, *options])
        return (status, *self.capsys.readouterr())

    def write_counts(self, file: Path, *options: str) -> int:
        """Let the reader sign its counts."""
        settings = self.pair.reader_settings
        if not (key := settings.parent / "keys" / "agency.key").exists():
            signs_nothing_else(self.pair.reader).save(key)
        given = ("--config", str(settings), "reconcile", "--write-counts", str(file))
        return run([*given, *options])

    def compare_counts(self, *files: Path, options: Sequence[str] = ()) -> tuple[int, str, str]:
        """Let the publisher compare them, which may not read the reader's database."""
        self.capsys.readouterr()
        given = [word for file in files for word in ("--counts", str(file))]
        settings = ("--config", str(self.pair.agency_settings))
        status = run([*settings, "reconcile", *given, *options])
        return (status, *self.capsys.readouterr())

    def document(self, *options: str) -> tuple[int, dict[str, Any]]:
        status, out, err = self.reconcile("--json", *options)
        assert out, err
        return status, json.loads(out)

    def differences(self, side: str) -> list[tuple[str, str | None]]:
        """What is wrong at a side, each with the event_id; nothing is wrong elsewhere."""
        status, found = self.document()
        assert status == 1, found
        assert {each["side"] for each in found["differences"]} == {side}
        return [(each["what"], each["event_id"]) for each in found["differences"]]

    def execute(self, engine: sa.Engine, *statements: str) -> None:
        with engine.begin() as connection:
            for each in statements:
                connection.execute(sa.text(each))


@pytest.fixture(scope="module")
def desk_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """A publisher and a reader that has all its events."""
    pair = pair_of_module()
    pair.publish_and_materialise(COUNT)
    return pair


@pytest.fixture
def desk(
    desk_pair: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    """One with copies of both databases. All tests share the topics, and none changes them."""
    return Desk(desk_pair.copied(tmp_path, databases), capsys)


@pytest.fixture
def own_desk(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    """As `desk`, with topics of its own."""
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    pair.publish_and_materialise(COUNT)
    return Desk(pair, capsys)


def totals(found: dict[str, Any], side: str, kind: str) -> int:
    return sum(each["sides"][side][kind] for each in found["counts"])


def test_what_is_in_outbox_topic_and_database_is_equal(desk: Desk) -> None:
    status, found = desk.document()
    assert (status, found["equal"], found["difference_count"]) == (0, True, 0)
    assert sum(each["topic"] for each in found["counts"]) == COUNT
    assert totals(found, "outbox", "events") == COUNT
    assert totals(found, desk.reader, "events") == COUNT
    status, out, err = desk.reconcile()
    assert status == 0
    assert desk.pair.publisher in out
    assert max(map(len, out.splitlines())) <= 100
    assert "0 differences" in err


def test_a_row_deleted_from_a_database_is_named_with_its_event(desk: Desk) -> None:
    ((event, partition, leaf),) = desk.pair.ask(
        "SELECT event_id, partition, leaf_index FROM sinergi.transfer_history"
        " WHERE record_id = 'P/3'"
    )
    desk.execute(
        desk.pair.consumer,
        "DELETE FROM sinergi.transfer_history_escort WHERE record_id = 'P/3'",
        "DELETE FROM sinergi.transfer_history WHERE record_id = 'P/3'",
    )
    assert desk.differences(desk.reader) == [("missing", str(event))]
    status, out, _ = desk.reconcile()
    assert status == 1
    heading, head, row = out.splitlines()[-3:]
    assert heading == f"{desk.reader}, of {desk.pair.topic.name}"
    assert head.split() == ["what", "leaf", "day", "event_id"]
    assert row.split()[:2] == ["missing", f"{partition}/{leaf}"]
    assert row.endswith(str(event))


def test_a_row_of_another_event_is_found(desk: Desk) -> None:
    desk.execute(
        desk.pair.consumer,
        "UPDATE sinergi.transfer_history SET event_id = gen_random_uuid() WHERE record_id = 'P/3'",
    )
    ((event,),) = desk.pair.ask(
        "SELECT event_id FROM sinergi_producer.outbox WHERE record_id = 'P/3'", desk.pair.producer
    )
    assert desk.differences(desk.reader) == [("another event", str(event))]


@pytest.mark.parametrize(
    ("place", "what"), [("leaf_index", "there twice"), ("leaf_index + 9", "on its way")]
)
def test_a_row_added_to_a_database_is_found(desk: Desk, place: str, what: str) -> None:
    columns = [
        name
        for (name,) in desk.pair.ask(
            "SELECT column_name::text FROM information_schema.columns"
            " WHERE table_schema = 'sinergi' AND table_name = 'transfer_history'"
        )
    ]
    copied = {"record_id": "'P/added'", "leaf_index": place}
    desk.execute(
        desk.pair.consumer,
        f"INSERT INTO sinergi.transfer_history ({', '.join(columns)})"
        f" SELECT {', '.join(copied.get(each, each) for each in columns)}"
        " FROM sinergi.transfer_history WHERE (partition, leaf_index) ="
        " (SELECT partition, max(leaf_index) FROM sinergi.transfer_history"
        " GROUP BY 1 ORDER BY 1 LIMIT 1)",
    )
    if what == "there twice":
        assert [each for each, _ in desk.differences(desk.reader)] == [what]
    else:  # no position covers it
        _, found = desk.document()
        assert totals(found, desk.reader, "on_their_way") == 1


def test_a_row_that_only_the_database_has_below_its_position_is_found(desk: Desk) -> None:
    """As after an operator has put other leaves in place of the topic's, or somebody added it."""
    desk.execute(
        desk.pair.consumer,
        "UPDATE sinergi.transfer_history SET leaf_index = -1 WHERE record_id = 'P/3'",
    )
    found = desk.differences(desk.reader)
    assert [what for what, _ in found] == ["not in the topic", "missing"]
    assert found[0][1] == found[1][1]


def test_events_that_have_not_arrived_are_on_their_way_and_no_difference(own_desk: Desk) -> None:
    own_desk.pair.publish(transfer("P/waiting"))
    status, found = own_desk.document()
    assert (status, totals(found, "outbox", "on_their_way")) == (0, 1)
    with own_desk.pair.relaying():
        until(lambda: sent(own_desk.pair), "all is sent")
    status, found = own_desk.document()
    assert (status, totals(found, "outbox", "on_their_way")) == (0, 0)
    assert totals(found, own_desk.reader, "on_their_way") == 1
    status, _, err = own_desk.reconcile()
    assert "1 on their way" in err


def test_a_row_lost_from_the_outbox_is_named(desk: Desk) -> None:
    ((event,),) = desk.pair.ask(
        "SELECT event_id FROM sinergi_producer.outbox WHERE record_id = 'P/5'", desk.pair.producer
    )
    desk.execute(
        desk.pair.producer,
        FROZEN.format("DISABLE"),
        "DELETE FROM sinergi_producer.outbox WHERE record_id = 'P/5'",
        FROZEN.format("ENABLE"),
    )
    assert desk.differences("outbox") == [("missing", str(event))]


def test_a_leaf_that_was_sent_and_is_not_in_the_topic_is_named(desk: Desk) -> None:
    desk.execute(
        desk.pair.producer,
        FROZEN.format("DISABLE"),
        "ALTER TABLE sinergi_producer.tree DISABLE TRIGGER ALL",
        "UPDATE sinergi_producer.tree SET size = size + 1, sent_size = sent_size + 1"
        " WHERE partition = 0",
        "INSERT INTO sinergi_producer.outbox (event_id, event_type, record_id, revision,"
        " recorded_at, fingerprint, datum, backfill, partition, leaf_index)"
        " SELECT '0190a000-0000-7000-8000-000000000001', event_type, 'P/gone', 1, recorded_at,"
        " fingerprint, datum, backfill, 0, (SELECT size - 1 FROM sinergi_producer.tree"
        " WHERE partition = 0) FROM sinergi_producer.outbox LIMIT 1",
        FROZEN.format("ENABLE"),
        "ALTER TABLE sinergi_producer.tree ENABLE TRIGGER ALL",
    )
    expected = ("not in the topic", "0190a000-0000-7000-8000-000000000001")
    assert desk.differences("outbox") == [expected]


def test_leaves_that_a_topic_does_not_prove_accuse_no_side(own_desk: Desk) -> None:
    pair = own_desk.pair
    VerifiedDatabase(pair, own_desk.capsys).replace_topic(
        pair.topic.name, 2, lambda number, all_: [] if number == 1 else all_
    )
    status, out, err = own_desk.reconcile()
    assert status == 1
    assert "not in the topic" in out
    rest = r"/1 proves 0 of \d+ leaves: of the others, `not in the topic` accuses no side$"
    assert re.search(rf"^  {re.escape(pair.topic.name)}{rest}", err, re.MULTILINE)
    assert f"{pair.topic.name}/0 proves" not in err


def test_a_held_row_is_left_to_do(desk: Desk) -> None:
    desk.pair.publish(transfer("P/held"))
    desk.execute(
        desk.pair.producer,
        "UPDATE sinergi_producer.outbox SET held = 'not agreed' WHERE record_id = 'P/held'",
    )
    assert [what for what, _ in desk.differences("outbox")] == ["held"]


def test_an_event_in_quarantine_is_counted_apart(desk: Desk) -> None:
    desk.execute(
        desk.pair.consumer,
        "INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index,"
        " reason, detail, fingerprint, key_hash, leaf_hash, size)"
        " SELECT 'transfer_history', topic, partition, leaf_index, 'rows-refused', 'x',"
        " '\\x00', '\\x00', '\\x00', 1 FROM sinergi.transfer_history WHERE record_id = 'P/3'",
        "DELETE FROM sinergi.transfer_history_escort WHERE record_id = 'P/3'",
        "DELETE FROM sinergi.transfer_history WHERE record_id = 'P/3'",
    )
    status, found = desk.document()
    assert status == 0, found
    assert totals(found, desk.reader, "quarantined") == 1
    assert totals(found, desk.reader, "events") == COUNT - 1
    assert "1 in quarantine" in desk.reconcile()[1]


def test_a_database_that_is_away_is_not_counted_as_equal(desk: Desk) -> None:
    gone = "postgresql+psycopg://nobody:secret-of-nobody@127.0.0.1:1/none"
    status, out, err = desk.reconcile("--json", url=gone)
    found = json.loads(out)
    assert (status, found["equal"]) == (2, None)
    assert [*found["not_read"]] == [desk.reader]
    assert totals(found, "outbox", "events") == COUNT
    assert "secret-of-nobody" not in out + err
    assert f"its address, given by --database {desk.reader}." in found["not_read"][desk.reader]


def test_days_begin_in_the_zone_that_is_asked_for(desk: Desk) -> None:
    days = {}
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):  # 25 hours apart
        _, found = desk.document("--zone", zone)
        days[zone] = {each["day"] for each in found["counts"]}
    assert not days["Pacific/Kiritimati"] & days["Pacific/Niue"]


def test_all_differences_go_to_a_file_and_the_first_to_the_table(
    desk: Desk, tmp_path: Path
) -> None:
    desk.execute(
        desk.pair.consumer,
        "DELETE FROM sinergi.transfer_history_escort",
        "DELETE FROM sinergi.transfer_history",
    )
    file = tmp_path / "differences.ndjson"
    status, out, err = desk.reconcile("--limit", "2", "--out", str(file))
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert (status, len(lines)) == (1, COUNT)
    assert {each["what"] for each in lines} == {"missing"}
    assert out.count(" missing ") == 2
    assert f"{COUNT - 2} more differences" in err
    assert f"sinergi: wrote {file}: {COUNT} differences, {file.stat().st_size:,} bytes" in err


def test_agencies_compare_signed_counts_without_opening_their_databases(
    own_desk: Desk, tmp_path: Path
) -> None:
    file = tmp_path / "counts.note"
    own_desk.pair.publish(transfer("P/later"))
    assert own_desk.write_counts(file) == 0
    with own_desk.pair.relaying():
        until(lambda: sent(own_desk.pair), "all is sent")
    status, out, err = own_desk.compare_counts(file, options=["--json"])
    found = json.loads(out)
    assert (status, found["equal"]) == (0, True), err
    assert totals(found, own_desk.reader, "events") == COUNT
    assert totals(found, own_desk.reader, "on_their_way") == 1


def test_each_of_three_sides_has_a_row_of_its_own_in_100_columns(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "counts.note"
    assert desk.write_counts(file) == 0
    told = f"sinergi: wrote {file}: the signed counts, {file.stat().st_size:,} bytes"
    assert told in capsys.readouterr().err
    status, out, err = desk.reconcile("--counts", str(file))
    assert status == 0, err
    assert max(map(len, out.splitlines())) <= 100
    head, *rows = out.splitlines()
    assert head.split()[-3:] == ["side", "events", "there"]
    # The reader's database is two sides: itself, and what it has signed.
    names = ("outbox", desk.reader, f"{desk.reader} (signed)")
    for row, name in zip(rows, names, strict=True):
        assert re.search(rf" {re.escape(name)} +{COUNT}$", row)


def test_a_row_that_another_agency_lost_shows_in_its_signed_counts(
    desk: Desk, tmp_path: Path
) -> None:
    desk.execute(
        desk.pair.consumer,
        "DELETE FROM sinergi.transfer_history_escort WHERE record_id = 'P/3'",
        "DELETE FROM sinergi.transfer_history WHERE record_id = 'P/3'",
    )
    file = tmp_path / "counts.note"
    assert desk.write_counts(file) == 1
    status, out, _ = desk.compare_counts(file)
    assert status == 1
    assert f"another count: {COUNT - 1} there, {COUNT} in the topic" in out
    assert f"{COUNT - 1}, 1 difference" in out


def test_counts_with_another_event_of_the_same_number_differ(desk: Desk, tmp_path: Path) -> None:
    file, key = tmp_path / "counts.note", signs_nothing_else(desk.pair.reader)
    assert desk.write_counts(file) == 0
    keys = {desk.pair.reader: [key.public]}
    stated = signed_counts.verify(file.read_text("utf-8"), desk.pair.agreements.bus, keys)
    ((day, count),) = stated.days.items()
    forged = replace(stated, days={day: count._replace(digest=bytes(32))})
    file.write_text(signed_counts.sign(forged, [key]), "utf-8")
    status, out, _ = desk.compare_counts(file)
    assert status == 1
    assert f"{COUNT}, 1 difference" in out
    assert "as many events, but others" in out


def test_counts_that_were_changed_or_are_of_another_zone_are_refused(
    desk: Desk, tmp_path: Path
) -> None:
    file, zoned = tmp_path / "counts.note", tmp_path / "zoned.note"
    assert desk.write_counts(file) == 0
    assert desk.write_counts(zoned, "--zone", "Asia/Jayapura") == 0
    changed = tmp_path / "changed.note"
    text = file.read_text("utf-8").replace(f" {COUNT} 0 ", f" {COUNT + 1} 0 ")
    changed.write_text(text, "utf-8")
    for files, said in (
        ([changed], "signature"),
        ([zoned], "say --zone Asia/Jayapura"),
        ([file, file], "is counted in two files"),
        ([desk.pair.folder / "pks.toml"], "pks.toml holds no signed counts"),
        ([tmp_path / "none.note"], "(No such file or directory); check its name and folder"),
        ([tmp_path], "(Is a directory); name a file in it"),
    ):
        status, out, err = desk.compare_counts(*files)
        assert (status, out) == (2, ""), files
        assert said in err


def sent(pair: AgencyPair) -> bool:
    """Whether the relay has sent everything."""
    return not pair.ask(
        "SELECT FROM sinergi_producer.tree WHERE sent_size < size"
        " UNION ALL SELECT FROM sinergi_producer.outbox WHERE leaf_index IS NULL",
        pair.producer,
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--zone", "Banyuwangi"], "no zone"),
        (["--database", "bnnk=postgresql://x/y"], "is not AGENCY/NAME=URL"),
        (["--database", "bnnk/other=here"], "--database bnnk/other: the address is no PostgreSQL"),
        (["--database", "nobody/main=postgresql://x/y"], "no agreement lets nobody read"),
        (["sinergi.x"], "sinergi.x"),
        (["--json", "--out", "-"], "both go to standard output"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_reconciled(
    desk: Desk, options: list[str], said: str
) -> None:
    status, out, err = desk.reconcile(*options)
    assert (status, out) == (2, "")
    assert said in err
    assert sum(each.startswith("sinergi: ") for each in err.splitlines()) == 1


def test_a_database_that_signs_as_another_one_is_not_taken_for_the_named_one(desk: Desk) -> None:
    other = f"{desk.pair.reader}/other={desk.pair.consumer_url}"
    status, out, err = desk.reconcile("--database", other)
    assert status == 2, out
    assert f"that database signs its receipts as {desk.reader}, and not as" in err
