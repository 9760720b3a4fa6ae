"""`sinergi received`: who had each revision of a record since when, and how far that is known."""

from __future__ import annotations

import json
import tomllib
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from string import ascii_letters
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
import tomli_w
from confluent_kafka.admin import NewTopic
from sqlalchemy.orm import Session

from agency_pair import BUS, DATABASE, AgencyPair, running, signs_nothing_else, transfer
from sinergi.cli.root import run
from sinergi.records.receipt_tables import OF_OWNER, OF_READER
from sinergi_consumers.audit.records import reading
from sinergi_producers.outbox.publishing import Outbox
from sinergi_producers.relay.factory import build_relay
from sinergi_producers.relay.term import Identity
from sinergi_schemas import topics
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.timeouts import RelayTimeouts, Timeouts
from sinergi_schemas.topics import partition_for
from test_relay import until_sent
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi_producers.relay.factory import RelaySetup

QUICK = Timeouts(relay=RelayTimeouts(receipts=0.1))
SEEN = "sinergi_producer.seen_receipt"


class ReceivedBus:
    """A record with two revisions, of which its reader has the first for longer, and more events.

    The reader's materialiser and the publisher's relay have ended.
    """

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair = pair
        self.capsys = capsys

    def settings(self, **changes: Any) -> Path:
        """Of somebody who has no database."""
        folder = self.pair.folder / "auditor"
        folder.mkdir(exist_ok=True)
        file = folder / "sinergi.toml"
        values = {"agreements": str(self.pair.folder), "kafka": {"bootstrap": self.pair.kafka}}
        file.write_text(tomli_w.dumps(values | changes), encoding="utf-8")
        return file

    def received(self, settings: Path, *arguments: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        status = run(["--config", str(settings), "received", *arguments])
        return (status, *self.capsys.readouterr())

    def revisions(self, settings: Path, record: str = "P/1") -> list[Any]:
        status, out, err = self.received(settings, "transfer", record, "--json")
        assert status == 0, err
        return list(json.loads(out)["revisions"])


@pytest.fixture(scope="module")
def filled(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """What `ReceivedBus` is about."""
    pair = pair_of_module(partitions=1, timeouts=QUICK)

    def seen() -> int:
        return int(pair.ask(f"SELECT count(*) FROM {SEEN}", pair.producer)[0][0])

    with pair.materialising(), running(build_relay(pair.relay_setup).run):
        for number, event in enumerate(
            (transfer("P/1"), transfer("P/2"), transfer("P/1", "CORRECTED"), transfer("P/3"))
        ):
            pair.publish(event)
            pair.until(lambda: seen() > number, "the owner has seen its receipt")  # noqa: B023
    with pair.relaying():
        pair.publish(transfer("P/1", "RETRACTED"))
        sent = "SELECT sum(sent_size)::int FROM sinergi_producer.tree"
        pair.until(lambda: pair.ask(sent, pair.producer) == [(5,)], "sent")
    return pair


@pytest.fixture
def bus(
    filled: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> ReceivedBus:
    """One with copies of both databases. All tests share its topics, and none changes them."""
    return ReceivedBus(filled.copied(tmp_path, databases), capsys)


def test_the_owner_the_reader_and_an_auditor_are_told_what_each_can_know(bus: ReceivedBus) -> None:
    pair = bus.pair
    signed = dict(
        pair.ask("SELECT size, date_trunc('second', signed_at) FROM sinergi_consumer.receipt")
    )
    for settings, source in (
        (pair.agency_settings, "owner's table"),
        (pair.reader_settings, "reader's table"),
    ):
        first, second, third = bus.revisions(settings)
        assert [each["leaf"] for each in (first, second, third)] == [0, 2, 4]
        for revision, size in ((first, 1), (second, 3)):
            (told,) = revision["receipts"]
            assert (told["reader"], told["database"]) == (pair.reader, DATABASE)
            assert (told["size"], told["known_from"]) == (size, source)
            assert datetime.fromisoformat(told["signed_by_reader_at"]) == signed[size]
            assert not told["at_the_latest"]
            assert told["signer"].startswith(f"{BUS}/{pair.reader}/{DATABASE}+")
            assert (told["seen_by_owner_at"] is None) == (source != "owner's table")
        (told,) = third["receipts"]
        assert (told["entitled"], told["received"], told["known_from"]) == (True, False, None)
    first, second, _ = bus.revisions(bus.settings())
    for revision in (first, second):
        (told,) = revision["receipts"]
        assert (told["size"], told["at_the_latest"]) == (4, True)
        assert told["known_from"] == "receipts topic"
        assert datetime.fromisoformat(told["signed_by_reader_at"]) == signed[4]


def test_the_table_is_narrow_and_says_not_yet_and_at_the_latest(bus: ReceivedBus) -> None:
    status, out, err = bus.received(bus.settings(), "transfer", "P/1")
    assert status == 0
    proved, zone, head, *rows = out.splitlines()
    assert proved.startswith("partition 0: ")
    assert zone == "times are in Asia/Jakarta (WIB, +07:00)"
    assert head.split()[:2] == ["rev.", "reader"]
    assert "+07:00" not in "".join(rows)
    assert max(map(len, out.splitlines())) <= 100
    assert "0 to 3" in rows[0]
    assert "at the latest" in rows[0]
    assert "not yet" in rows[-1]
    assert "verdict of partition 0: " in err


def test_with_its_database_away_a_reader_is_told_what_the_receipts_topic_says(
    bus: ReceivedBus,
) -> None:
    settings = tomllib.loads(bus.pair.reader_settings.read_text(encoding="utf-8"))
    settings["consumer"]["database"] = "postgresql://nobody@127.0.0.1:1/none"
    settings["agreements"] = str(bus.pair.folder)
    away = bus.settings(**settings)
    status, out, err = bus.received(away, "transfer", "P/1", "--json")
    assert status == 2
    told = [each["receipts"][0]["known_from"] for each in json.loads(out)["revisions"]]
    assert told == ["receipts topic", "receipts topic", None]
    assert "the reader's table could not be read, so of each database only its newest" in err
    status = run(["--config", str(away), "record", "transfer", "P/1", "--no-related"])
    shown = bus.capsys.readouterr()
    assert status == 2
    assert "at the latest" in shown.out
    assert "the reader's table could not be read" in shown.err


def test_a_stored_receipt_that_was_changed_does_not_count(bus: ReceivedBus) -> None:
    """Whoever may change the owner's table changes neither a time nor a size."""
    pair = bus.pair
    with pair.producer.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE {SEEN} SET signed_by_reader_at = '2020-01-01' WHERE size = 1"
        )
        connection.exec_driver_sql(
            f"UPDATE {SEEN} SET note = (SELECT note FROM {SEEN} WHERE size = 1) WHERE size = 3"
        )
    status, out, err = bus.received(pair.agency_settings, "transfer", "P/1", "--json")
    first, second, _ = json.loads(out)["revisions"]
    assert status == 0
    assert not first["receipts"][0]["signed_by_reader_at"].startswith("2020")
    assert second["receipts"][0]["known_from"] == "receipts topic"
    assert "owner's table has no valid receipt" in err


def test_a_record_that_is_not_there_and_one_that_cannot_be_asked_for_differ(
    bus: ReceivedBus,
) -> None:
    settings = bus.settings()
    for record in ("P/9", "p/1", "P/1 ", "\x1b[31mP/1", "<script>", "x" * 5_000):
        status, out, err = bus.received(settings, "transfer", record)
        assert (status, out) == (1, ""), record
        assert "no such record" in err
        assert "\x1b" not in err
    for arguments, said in (
        (["transfr", "P/1"], "did you mean transfer?"),
        (["seizure", "P/1"], "no topic of the event type 'seizure' may be read here"),
        (["transfer", "P/1", "--agency", "lapas-lain"], "no topic of 'lapas-lain'"),
        (["transfer", "P/1\0"], "it is no text"),
        (["transfer", ""], "it is empty"),
        (["transfer", "P/1", "--agency", ""], "it is empty"),
    ):
        status, out, err = bus.received(settings, *arguments)
        assert (status, out) == (2, ""), arguments
        assert said in err


@pytest.mark.parametrize("command", ["received", "record"])
def test_a_misspelt_record_is_answered_with_the_nearest_keys(
    bus: ReceivedBus, command: str
) -> None:
    for record, hint in (
        ("P/11", "did you mean P/1"),
        ("MUT/2026/0093", "no key that was read is spelt like it"),
        ("P" * 5_000, "no key that was read is spelt like it"),
    ):
        bus.capsys.readouterr()
        assert run(["--config", str(bus.settings()), command, "transfer", record]) == 1
        assert f"  {bus.pair.topic.name}: {hint}" in bus.capsys.readouterr().err


def test_the_nearest_key_is_found_in_whatever_partition_it_is_unless_that_takes_too_long(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    key = "MUT/2026/0093"
    of_key = partition_for(key.encode(), pair.partitions)
    misspelt = next(
        each
        for each in (f"MUT/2026/093{letter}" for letter in ascii_letters)
        if partition_for(each.encode(), pair.partitions) != of_key
    )
    with pair.relaying():
        pair.publish(transfer(key))
        until_sent(pair, 1)
    arguments = ["--config", str(pair.reader_settings), "record", "transfer", misspelt]
    capsys.readouterr()
    assert run(arguments) == 1
    assert f"  {pair.topic.name}: did you mean {key}?" in capsys.readouterr().err
    monkeypatch.setattr(reading, "_MOST_COMPARED", 0)
    assert run(arguments) == 1
    err = capsys.readouterr().err
    assert f"partition {partition_for(misspelt.encode(), pair.partitions)}, where this key" in err
    assert f"`sinergi replay {pair.topic.name} --key {misspelt}` compares the keys of its" in err


def test_a_topic_that_was_changed_is_named_with_exit_status_1(bus: ReceivedBus) -> None:
    """The owner's table has a receipt for a tree that the topic does not show."""
    pair = bus.pair
    with pair.producer.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {SEEN} WHERE size < 3")
    stated = checkpoint.Checkpoint(f"{BUS}/{pair.topic.name}/0", 2, b"\x07" * 32)
    note = checkpoint.cosign(checkpoint.sign(stated, [pair.key]), pair.receipt_key, 1_772_000_000)
    with pair.producer.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {SEEN} (event_type, partition, reader, size, note, signed_by_reader_at)"
            " VALUES ('transfer', 0, %s, 2, %s, now())",
            (f"{pair.reader}/{DATABASE}", note),
        )
    status, out, err = bus.received(pair.agency_settings, "transfer", "P/1")
    assert status == 1
    assert "is not what" in err
    wrong = f"partition 0: {pair.topic.name} is not what {pair.publisher} sealed: 1 finding"
    assert out.splitlines()[:2] == [wrong, "what could not be verified may have further revisions"]
    status, out, _ = bus.received(pair.agency_settings, "transfer", "P/1", "--json")
    found = json.loads(out)
    assert (found["holds"], found["verdict"], len(found["findings"])) == (False, wrong, 1)
    assert found["findings"][0] in err
    page = pair.folder / "life.html"
    settings = str(pair.agency_settings)
    assert run(["--config", settings, "record", "transfer", "P/1", "--html", str(page)]) == 1
    text = page.read_text(encoding="utf-8")
    assert "It is NOT what was sealed" in text
    assert "Proved: it is what was sealed" not in text


@pytest.mark.parametrize("of", ["owner", "reader"])
def test_the_first_covering_receipt_is_found_by_index(postgresql: str, of: str) -> None:
    table, key = {
        "owner": (
            f"{SEEN} (event_type, partition, reader, size, note, signed_by_reader_at)",
            "'transfer', 0, 'bnnk/main'",
        ),
        "reader": (
            "sinergi_consumer.receipt (topic, partition, size, note, signed_at)",
            "'sinergi.lapas.transfer', 0",
        ),
    }[of]
    values = {
        "readers": ["bnnk/main"],
        "leaves": [50, 49_000],
        "event_type": "transfer",
        "topic": "sinergi.lapas.transfer",
        "partition": 0,
    }
    with psycopg.connect(postgresql.replace("+psycopg", "")) as connection:
        connection.execute(
            f"INSERT INTO {table} SELECT {key}, size, 'note', now()"
            " FROM generate_series(10, 50000, 10) AS size"
        )
        connection.execute(
            "INSERT INTO sinergi_consumer.retention"
            " (table_name, topic, partition, largest_size, before, rows, account, why)"
            " SELECT 'sinergi_consumer.receipt', 'sinergi.lapas.transfer', 0, size, now(), 1,"
            " '', '' FROM generate_series(1, 9) AS size"
        )
        connection.execute(f"ANALYZE {table.partition(' ')[0]}")
        statement = OF_OWNER if of == "owner" else OF_READER
        found = connection.execute(statement, values).fetchall()
        plan = "\n".join(
            row[0]
            for row in connection.execute(f"EXPLAIN (ANALYZE, COSTS off) {statement}", values)
        )
    assert len(found) == 2
    assert "Index Scan using" in plan or "Index Only Scan using" in plan
    assert "Seq Scan" not in plan
    assert "Sort" not in plan


@pytest.fixture
def two_publishers(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> AgencyPair:
    """Two agencies that publish transfers and read each other's; the second has sent nothing."""
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    document = deepcopy(pair.agreement)
    both = [pair.publisher, pair.reader]
    document["events"]["transfer"] |= {"publishers": both, "readers": both}
    other = SigningKey.generate(f"{BUS}/{pair.publisher}/{DATABASE}", Algorithm.COSIGNATURE)
    document["parties"][pair.publisher]["receipt_keys"] = [
        {"database": DATABASE, "key": str(other.public)}
    ]
    pair.agree(document)
    pair.publish(transfer("P/1"))
    publish(pair, pair.relay_setup)
    return pair


def publish(pair: AgencyPair, setup: RelaySetup) -> None:
    """Let a relay send all that is in its outbox."""
    engine = sa.create_engine(setup.database, poolclass=sa.NullPool)
    waiting = "SELECT count(*) FROM sinergi_producer.outbox WHERE leaf_index IS NULL"
    unsent = "SELECT count(*) FROM sinergi_producer.tree WHERE sent_size < size"
    with running(build_relay(setup).run):
        pair.until(lambda: pair.ask(waiting, engine) == [(0,)], "sealed")
        pair.until(lambda: pair.ask(unsent, engine) == [(0,)], "sent")


def test_a_record_of_two_agencies_is_asked_back_and_one_of_them_is_shown(
    two_publishers: AgencyPair, databases: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    pair = two_publishers
    names = [f"sinergi.{pair.reader}.transfer", topics.control_topic(pair.reader)]
    names.append(topics.receipts_topic(pair.publisher))
    admin = open_admin(pair.connection)
    for each in admin.create_topics([NewTopic(each, 1, -1) for each in names]).values():
        each.result(PATIENCE_SECONDS)
    url = databases()
    key = signs_nothing_else(pair.reader)
    outbox = Outbox(pair.reader, pair.agreements, Catalog.shipped())
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with Session(engine) as session, session.begin():
        outbox.publish(session, transfer("P/1"))
    identity = Identity(pair.reader, [key], lambda: pair.agreements)
    publish(pair, replace(pair.relay_setup, identity=identity, database=url))
    for command in ("received", "record"):
        for agency in (None, pair.publisher, pair.reader):
            chosen = [] if agency is None else ["--agency", agency]
            capsys.readouterr()
            arguments = ["--config", str(pair.reader_settings), command, "transfer", "P/1"]
            status = run([*arguments, *chosen, "--json"])
            out, err = capsys.readouterr()
            if agency is None:
                assert (status, out) == (2, "")
                assert "name one with --agency" in err
                assert pair.publisher in err
            else:
                assert status == 0, err
                assert json.loads(out)["agency"] == agency


def test_a_topic_that_cannot_be_searched_is_named_and_no_absence_is_claimed(
    two_publishers: AgencyPair, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second agency's topic is not there: what it would have is not known."""
    pair = two_publishers
    for record, expected in (("P/1", 0), ("P/2", 2)):
        capsys.readouterr()
        settings = str(pair.reader_settings)
        status = run(["--config", settings, "received", "transfer", record, "--json"])
        out, err = capsys.readouterr()
        assert status == expected, err
        assert [*json.loads(out)["not_searched"]] == [f"sinergi.{pair.reader}.transfer"]
        assert f"sinergi.{pair.reader}.transfer was not searched" in err
