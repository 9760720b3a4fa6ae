"""`sinergi status` on real services: what is well, what waits, and which service is away."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from confluent_kafka import Producer

from agency_pair import DATABASE, AgencyPair, transfer
from foreign_messages import contradict, leaf, write_all
from sinergi.cli import root
from sinergi.status.facts import (
    Acknowledged,
    Away,
    Facts,
    FactSource,
    ForeignMessages,
    Halt,
    LeaseFacts,
    PublishedTopic,
    PublisherFacts,
    QuarantineUse,
    ReaderFacts,
    ReadPartition,
    ReadTopic,
    Tree,
)
from sinergi.status.judgement import judge, spoken
from sinergi_schemas.kafka.ranges import RangeReader
from test_relay import agree_from_2098_on, messages
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Services
    from sinergi_schemas.events import Transfer
    from sinergi_schemas.kafka import Connection


@dataclass
class Operator:
    """An agency pair, and `sinergi status` as an operator of one of them runs it."""

    pair: AgencyPair
    folder: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, agency: str, *arguments: str, **changes: Any) -> tuple[int, str, str]:
        """Exit status, standard output, standard error; the changes are settings."""
        pair = self.pair
        publishes = agency == pair.publisher
        found: dict[str, Any] = {
            "agency": agency,
            "agreements": str(pair.folder),
            "kafka": {"bootstrap": pair.kafka},
            "producer": {"database": pair.producer_url} if publishes else {},
            "consumer": {"name": DATABASE} | ({} if publishes else {"database": pair.consumer_url}),
        }
        file = self.folder / f"{agency}.toml"
        file.write_text(tomli_w.dumps(found | changes), encoding="utf-8")
        self.capsys.readouterr()
        status = root.run(["--config", str(file), "status", *arguments])
        return status, *self.capsys.readouterr()

    def publisher(self, **changes: Any) -> dict[str, Any]:
        return self._document(self.pair.publisher, **changes)

    def reader(self, **changes: Any) -> dict[str, Any]:
        return self._document(self.pair.reader, **changes)

    def _document(self, agency: str, **changes: Any) -> dict[str, Any]:
        status, out, _ = self.run(agency, "--json", **changes)
        document: dict[str, Any] = json.loads(out)
        assert document["exit_status"] == status
        return document


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
    (tmp_path / "pks").mkdir()
    pair = AgencyPair(tmp_path / "pks", kafka, agency_slug, databases(), databases())
    return Operator(pair, tmp_path, capsys)


def test_a_topic_whose_agreement_is_not_in_force_yet_is_no_problem_and_is_named_with_its_file(
    operator: Operator,
) -> None:
    agree_from_2098_on(operator.pair)
    topic = f"sinergi.{operator.pair.publisher}.seizure"
    said = "later.toml is not in force before 2098-01-01 00:00+00:00"
    for document in (operator.publisher(), operator.reader()):
        assert topic not in {each["topic"] for each in document["problems"]}
        assert [each for each in document["remarks"] if each.startswith(topic)] == [
            f"{topic} is not on the broker, since no agreement on it is in force: {said}"
        ]


def fifty() -> list[Transfer]:
    return [transfer(f"P/{number}") for number in range(50)]


def kinds(document: dict[str, Any]) -> set[str]:
    return {each["kind"] for each in document["problems"]}


def shares(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The partitions of the one topic that is read."""
    (topic,) = document["reading"]["topics"]
    return list(topic["partitions"])


def until_sent(pair: AgencyPair, count: int) -> None:
    pair.until(
        lambda: (
            pair.ask("SELECT sum(sent_size) FROM sinergi_producer.tree", pair.producer)
            == [(count,)]
        ),
        f"{count} leaves sent",
    )


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as once:
        return f"127.0.0.1:{once.getsockname()[1]}"


def test_all_is_well_when_everything_published_is_in_the_tables(operator: Operator) -> None:
    pair = operator.pair
    pair.publish(*fifty())
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 50)
        until_sent(pair, 50)
        # The signed heads travel by themselves, behind what they are the heads of.
        until(lambda: not operator.reader()["remarks"], "the heads are there")
        ours, theirs = operator.publisher(), operator.reader()
        status, out, _ = operator.run(pair.reader)
    assert (ours["exit_status"], ours["problems"], ours["remarks"]) == (0, [], [])
    (topic,) = ours["publishing"]["topics"]
    assert (topic["unsealed"], topic["history"], topic["held"]) == (0, 0, {})
    assert sum(each["sealed"] for each in topic["partitions"]) == 50
    assert sum(each["sent"] for each in topic["partitions"]) == 50
    assert ours["publishing"]["lease"]["is_held"]
    assert ours["reading"] is None
    assert (theirs["exit_status"], theirs["problems"], theirs["remarks"]) == (0, [], [])
    assert theirs["reading"]["workers"] == 1
    assert sum(each["available"] for each in shares(theirs)) == 50
    for each in shares(theirs):
        assert each["materialised"] == {
            "transfer": each["available"],
            "transfer_history": each["available"],
        }
        assert each["signed"] == each["available"]
        assert each["seconds_behind"] == 0
        assert each["worker"]
    assert status == 0
    assert out.splitlines()[0] == f"{pair.reader}: all is well: 1 topic read"
    assert max(map(len, out.splitlines())) <= 100


def test_a_row_that_waits_while_no_relay_leads_is_the_first_thing_said(operator: Operator) -> None:
    operator.pair.publish(transfer("P/1"), transfer("P/2"))
    document = operator.publisher()
    assert document["exit_status"] == 1
    assert kinds(document) == {"no-relay"}
    (topic,) = document["publishing"]["topics"]
    assert topic["unsealed"] == 2
    assert topic["oldest_unsealed_seconds"] > 0
    assert datetime.fromisoformat(topic["oldest_unsealed_at"]).tzinfo is not None
    status, out, _ = operator.run(operator.pair.publisher)
    assert status == 1
    first = out.splitlines()[0]
    assert f"2 rows of {operator.pair.topic.name} waiting for a relay" in first
    assert "sinergi relay" in first


def test_a_side_whose_process_does_not_run_is_not_well_though_nothing_waits(
    operator: Operator,
) -> None:
    document = operator.publisher()
    assert (document["exit_status"], kinds(document)) == (1, {"no-relay"})
    assert document["lines"] == ["no relay runs; nothing waits for one yet: start `sinergi relay`"]
    document = operator.reader()
    assert (document["exit_status"], kinds(document)) == (1, {"no-materialiser"})
    assert "; nothing waits for it yet: start `sinergi materialise`" in document["lines"][0]
    assert [each["available"] for each in shares(document)] == [0, 0]


@pytest.mark.parametrize("database", ["nowhere", "not prepared"])
def test_an_agency_that_reads_nothing_needs_no_database_for_it(
    operator: Operator, database: str, services: Services
) -> None:
    """`sinergi init` names the agency's database for both sides."""
    pair = operator.pair
    nowhere = f"postgresql+psycopg://nobody@{closed_port()}/nothing"
    url = nowhere if database == "nowhere" else services.postgresql
    with pair.relaying():
        pair.publish(transfer("P/1"))
        until_sent(pair, 1)
        document = operator.publisher(consumer={"database": url, "name": DATABASE})
    assert document["away"] == []
    assert document["exit_status"] == 0
    assert document["reading"] is None
    document = operator.reader(producer={"database": url})
    assert document["away"] == []
    assert document["publishing"] is None


def test_a_publisher_sees_how_far_each_reader_is(operator: Operator) -> None:
    pair = operator.pair
    with pair.relaying():
        pair.publish(*fifty())
        until_sent(pair, 50)
        assert received(operator) == {None}
        with pair.materialising():
            pair.until(lambda: None not in received(operator), "the receipts are there")
        pair.publish(*(transfer(f"Q/{number}") for number in range(10)))
        until_sent(pair, 60)
        document = operator.publisher()
        _, out, _ = operator.run(pair.publisher)
    (topic,) = document["publishing"]["topics"]
    assert sum(each["size"] for each in topic["readers"]) == 50
    assert {each["reader"] for each in topic["readers"]} == {f"{pair.reader}/{DATABASE}"}
    assert all(datetime.fromisoformat(each["at"]).tzinfo for each in topic["readers"])
    assert document["exit_status"] == 0
    assert f"{pair.reader}/{DATABASE}" in out
    assert "Received · as the readers' signed receipts say" in out


def test_every_topic_is_away_after_the_silence_of_the_settings_for_status(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the topics with the readers' receipts, which are read by another module."""
    waits: list[float] = []
    usual = RangeReader.__init__

    def noting(
        reader: RangeReader, connection: Connection, silent_seconds: float | None = None
    ) -> None:
        usual(reader, connection, silent_seconds)
        waits.append(reader._silent_seconds)

    monkeypatch.setattr(RangeReader, "__init__", noting)
    timeouts = {"status": {"silence": 7.5}, "kafka": {"silence": 8.5}}
    operator.publisher(timeouts=timeouts)
    assert waits == [7.5, 7.5], "the event topics, and the receipts of the one reader"
    operator.reader(timeouts=timeouts)
    assert waits == [7.5] * 3


def test_what_a_reader_has_not_signed_says_nothing_of_how_far_it_is(operator: Operator) -> None:
    """Nor does an old receipt that is appended again hide a newer one."""
    pair = operator.pair
    topic = f"sinergi.{pair.reader}.receipts"
    with pair.relaying(), pair.materialising():
        pair.publish(*fifty())
        pair.until(lambda: sum(each or 0 for each in received(operator)) > 0, "a receipt is there")
        old = {each.key(): each.value() for each in messages(pair, topic)}
        pair.publish(*(transfer(f"Q/{number}") for number in range(50)))
        pair.until(lambda: total(operator) == 100, "all receipts are there")
    producer = Producer({"bootstrap.servers": pair.kafka})
    for key, value in old.items():
        size = b"\n99999999\n".join((value or b"").split(b"\n", 2)[::2])
        for noise in (None, b"", b"\xff", size, value):
            for _ in range(30):
                producer.produce(topic, noise, key)
    assert producer.flush(30) == 0
    assert total(operator) == 100


def received(operator: Operator) -> set[int | None]:
    (topic,) = operator.publisher()["publishing"]["topics"]
    return {each["size"] for each in topic["readers"]}


def total(operator: Operator) -> int:
    (topic,) = operator.publisher()["publishing"]["topics"]
    return sum(each["size"] or 0 for each in topic["readers"])


def test_an_event_that_two_projections_refuse_counts_once(operator: Operator) -> None:
    pair = operator.pair
    pair.publish(*fifty())
    with pair.consumer.begin() as connection:
        for table in ("transfer", "transfer_history"):
            connection.exec_driver_sql(
                f"ALTER TABLE sinergi.{table} ADD CHECK (record_id NOT IN ('P/7', 'P/8'))"
            )
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 48)
        pair.until(lambda: pair.count("sinergi_consumer.quarantine") == 4, "both refuse them")
        document = operator.reader()
    assert sum(each["quarantined_events"] for each in shares(document)) == 2
    lines = [each for each in document["lines"] if "in quarantine" in each]
    assert sum(int(each.split()[0]) for each in lines) == 2


def test_noise_at_the_end_of_a_topic_does_not_change_how_far_it_is(operator: Operator) -> None:
    pair = operator.pair
    pair.publish(*fifty())
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 50)
        until_sent(pair, 50)
        for partition in range(pair.partitions):
            write_all(pair, partition, [leaf(999), (None, b"x", [])] * 300)
        until(lambda: not operator.reader()["problems"], "the heads are there")
        document = operator.reader()
        problems = operator.publisher()["problems"]
    assert sum(each["available"] for each in shares(document)) == 50
    assert document["exit_status"] == 0
    found = {each["partition"] for each in problems if each["kind"] == "foreign-writer"}
    assert found == {*range(pair.partitions)}, "the owner is told that somebody else writes there"


def test_heads_of_others_and_old_ones_again_do_not_hide_the_newest(operator: Operator) -> None:
    pair = operator.pair
    control = f"sinergi.{pair.publisher}.control"
    with pair.relaying():
        pair.publish(*fifty())
        until_sent(pair, 50)
    known = [each.value() for each in messages(pair, control) if each.key() == b"heads"]
    producer = Producer({"bootstrap.servers": pair.kafka})
    for noise in (b"what I say", None, b"\xff\xfe", known[0]):
        for _ in range(100):
            producer.produce(control, noise, b"heads")
    assert producer.flush(30) == 0
    document = operator.reader()
    assert "heads" not in kinds(document)
    assert sum(each["signed"] for each in shares(document)) == 50


def test_a_row_that_a_leading_relay_leaves_for_a_minute_is_stuck(operator: Operator) -> None:
    pair = operator.pair
    pair.publish(transfer("P/1"))
    with pair.producer.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE sinergi_producer.lease SET holder = 'here 7', epoch = 1,"
            " expires_at = clock_timestamp() + interval '1 hour'"
        )
        connection.exec_driver_sql(
            "UPDATE sinergi_producer.outbox SET recorded_at = recorded_at - interval '2 minutes'"
        )
    document = operator.publisher()
    assert kinds(document) == {"unsealed"}
    assert "although here 7 leads" in document["lines"][0]


def test_held_rows_are_told_with_their_reason(operator: Operator) -> None:
    pair = operator.pair
    pair.publish(transfer("P/1"))
    with pair.producer.begin() as connection:
        connection.exec_driver_sql("UPDATE sinergi_producer.outbox SET held = 'not in force'")
    document = operator.publisher()
    assert document["exit_status"] == 1
    assert kinds(document) == {"held", "no-relay"}
    assert document["publishing"]["topics"][0]["held"] == {"not in force": 1}


@pytest.mark.long
def test_a_reader_without_a_materialiser_is_behind_by_its_first_missing_message(
    operator: Operator,
) -> None:
    pair = operator.pair
    pair.publish(*fifty())
    with pair.relaying():
        with pair.materialising():
            pair.until_rows("sinergi.transfer_history", 50)
        pair.publish(*(transfer(f"Q/{number}") for number in range(30)))
        until_sent(pair, 80)
    document = operator.reader()
    assert document["exit_status"] == 1
    assert kinds(document) == {"no-materialiser"}
    assert document["lines"][0].startswith(f"30 events of {pair.topic.name} waiting")
    for each in shares(document):
        missing = each["available"] - min(each["materialised"].values())
        assert (each["seconds_behind"] > 0) == (missing > 0)
    assert sum(each["available"] for each in shares(document)) == 80
    with pair.materialising():
        pair.until_rows("sinergi.transfer_history", 80)
        assert operator.reader()["exit_status"] == 0


@pytest.mark.long
def test_the_first_missing_message_is_found_on_a_cluster_where_no_offset_holds(
    operator: Operator,
) -> None:
    pair = operator.pair
    pair.publish(*fifty())
    with pair.relaying():
        with pair.materialising():
            pair.until_rows("sinergi.transfer_history", 50)
        known = shares(operator.reader())
        pair.publish(*(transfer(f"Q/{number}") for number in range(50)))
        until_sent(pair, 100)
    with_offset = shares(operator.reader())
    with pair.consumer.begin() as connection:
        connection.exec_driver_sql("UPDATE sinergi_consumer.position SET cluster_id = 'another'")
    looked_for = shares(operator.reader())
    assert [each["available"] for each in known] != [each["available"] for each in looked_for]
    for one, other in zip(with_offset, looked_for, strict=True):
        assert 0 < one["seconds_behind"] < other["seconds_behind"] < one["seconds_behind"] + 30


def test_events_in_quarantine_are_counted_by_reason(operator: Operator) -> None:
    pair = operator.pair
    pair.publish(*fifty())
    with pair.consumer.begin() as connection:
        connection.exec_driver_sql(
            "ALTER TABLE sinergi.transfer ADD CHECK (record_id NOT IN ('P/7', 'P/8'))"
        )
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 50)
        document = operator.reader()
        with pair.consumer.begin() as connection:
            connection.exec_driver_sql("UPDATE sinergi_consumer.quarantine SET state = 'discarded'")
        assert operator.reader()["exit_status"] == 0  # what is settled is nobody's work any more
    assert document["exit_status"] == 1
    assert kinds(document) == {"quarantined"}
    assert sum(each["quarantined"].get("rows-refused", 0) for each in shares(document)) == 2
    assert "rows-refused" in document["lines"][0]


def test_a_halted_partition_is_told_with_its_reason_and_the_others_go_on(
    operator: Operator,
) -> None:
    """Also where the message that contradicts is the last one, and nothing comes behind it."""
    pair = operator.pair
    pair.publish(*fifty())
    with pair.relaying():
        until_sent(pair, 50)
        (sealed,) = pair.ask(
            "SELECT size FROM sinergi_producer.tree WHERE partition = 0", pair.producer
        )[0]
        contradict(pair, 0, sealed + 1)
        with pair.materialising():
            pair.until(lambda: pair.count("sinergi_consumer.halt") == 1, "the partition halted")
            pair.publish(*(transfer(f"Q/{number}") for number in range(50)))
            until_sent(pair, 100)
            beyond = (
                "SELECT min(tree_size) FROM sinergi_consumer.position WHERE partition = {}".format
            )
            ends = dict(
                pair.ask("SELECT partition, size FROM sinergi_producer.tree", pair.producer)
            )
            pair.until(lambda: pair.ask(beyond(1)) == [(ends[1],)], "the other one goes on")
            document = operator.reader()
            status, out, _ = operator.run(pair.reader)
    assert document["exit_status"] == status == 1
    assert kinds(document) == {"halted"}
    first, second = shares(document)
    assert first["halt"]["reason"] == "SealMismatch"
    assert datetime.fromisoformat(first["halt"]["looks_at"]).tzinfo is not None
    assert datetime.fromisoformat(first["halt"]["since"]).tzinfo is not None
    assert first["available"] == ends[0] > min(first["materialised"].values()) > 0
    assert first["seconds_behind"] > 0
    assert (second["halt"], second["seconds_behind"]) == (None, 0)
    assert f"{pair.topic.name}/0 is halted since" in out.splitlines()[0]
    assert "SealMismatch" in out.splitlines()[0]


def test_a_cut_off_end_shows_against_the_owners_signed_heads(operator: Operator) -> None:
    from confluent_kafka.admin import NewTopic

    from sinergi_schemas.kafka.admin import describe, open_admin

    pair = operator.pair
    pair.publish(*fifty())
    with pair.relaying():
        until_sent(pair, 50)
    admin = open_admin(pair.connection)
    for gone in admin.delete_topics([pair.topic.name]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    pair.until(lambda: not describe(admin, [pair.topic.name]), "the topic is gone")
    for made in admin.create_topics([NewTopic(pair.topic.name, 2, 1)]).values():
        made.result(timeout=PATIENCE_SECONDS)
    pair.until(lambda: bool(describe(admin, [pair.topic.name])), "the topic is there again")
    document = operator.reader()
    assert document["exit_status"] == 1
    assert "cut" in kinds(document)
    assert sum(each["signed"] for each in shares(document)) == 50


def test_heads_that_their_owner_did_not_sign_are_not_believed(operator: Operator) -> None:
    pair = operator.pair
    producer = Producer({"bootstrap.servers": pair.kafka})
    producer.produce(f"sinergi.{pair.publisher}.control", key=b"heads", value=b"what I say")
    assert producer.flush(PATIENCE_SECONDS) == 0
    document = operator.reader()
    assert document["exit_status"] == 1
    assert kinds(document) == {"heads", "no-materialiser"}
    assert [each["signed"] for each in shares(document)] == [None, None]


@pytest.mark.long
@pytest.mark.parametrize("side", ["publisher", "reader"])
def test_without_the_broker_the_databases_are_shown_and_one_line_says_who_is_away(
    operator: Operator, side: str
) -> None:
    pair = operator.pair
    pair.publish(*fifty())
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 50)
        until_sent(pair, 50)
    nowhere = {"bootstrap": closed_port()}
    document = getattr(operator, side)(kafka=nowhere)
    assert document["exit_status"] == 2
    (away,) = document["away"]
    assert (away["service"], away["where"]) == ("broker", nowhere["bootstrap"])
    assert document["lines"][0].startswith(f"broker {nowhere['bootstrap']} is away: ")
    if side == "publisher":
        trees = document["publishing"]["topics"][0]["partitions"]
        assert sum(each["sent"] for each in trees) == 50
    else:
        stored = [each["materialised"]["transfer"] for each in shares(document)]
        assert sum(stored) == 50
        assert [each["available"] for each in shares(document)] == [None, None]
        assert [each["seconds_behind"] for each in shares(document)] == [None, None]


@pytest.mark.parametrize(("side", "role"), [("publisher", "producer"), ("reader", "consumer")])
def test_without_a_database_the_rest_is_shown_and_no_password_with_it(
    operator: Operator, side: str, role: str
) -> None:
    pair = operator.pair
    pair.publish(*fifty())
    with pair.relaying():
        until_sent(pair, 50)
    nowhere = {"database": f"postgresql://somebody:hush@{closed_port()}/none", "name": DATABASE}
    if role == "producer":
        del nowhere["name"]
    document = getattr(operator, side)(**{role: nowhere})
    status, out, err = operator.run(getattr(pair, side), **{role: nowhere})
    assert document["exit_status"] == status == 2
    assert document["away"][0]["service"] == f"{role} database"
    assert "Connection refused" in out.splitlines()[0]
    assert "hush" not in out + err + json.dumps(document)
    if side == "reader":
        assert sum(each["available"] for each in shares(document)) == 50
        assert [each["materialised"] for each in shares(document)] == [None, None]
        assert [each["quarantined"] for each in shares(document)] == [None, None]


def test_a_database_without_tables_names_the_command_that_makes_them(operator: Operator) -> None:
    with operator.pair.consumer.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA sinergi_consumer CASCADE")
    document = operator.reader()
    assert document["exit_status"] == 2
    assert "sinergi db upgrade --role consumer" in document["lines"][0]
    assert "cannot be read" in document["lines"][0]


def test_a_reader_that_never_publishes_needs_no_tables_for_it(operator: Operator) -> None:
    url = operator.pair.consumer_url
    with operator.pair.consumer.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA sinergi_producer CASCADE")
    document = operator.reader(producer={"database": url})
    assert (kinds(document), document["away"]) == ({"no-materialiser"}, [])


def test_a_projection_that_no_worker_fills_yet_is_behind_where_others_are_not(
    operator: Operator,
) -> None:
    pair = operator.pair
    pair.publish(*fifty())
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 50)
    assert operator.reader()["lines"][0].startswith("no materialiser")
    with pair.consumer.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO sinergi_consumer.position (projection, topic, partition, tree_size,"
            " frontier) SELECT 'newcomer', topic, partition, tree_size, frontier"
            " FROM sinergi_consumer.position WHERE projection = 'transfer' AND partition = 0"
        )
    first, second = shares(operator.reader())
    assert first["materialised"]["newcomer"] == first["available"]
    assert second["materialised"] == {
        "newcomer": 0,
        "transfer": second["available"],
        "transfer_history": second["available"],
    }
    assert first["seconds_behind"] == 0.0 < second["seconds_behind"]


def test_a_topic_that_is_not_there_names_the_command_that_makes_it(operator: Operator) -> None:
    from sinergi_schemas.kafka.admin import describe, open_admin

    pair = operator.pair
    admin = open_admin(pair.connection)
    for gone in admin.delete_topics([pair.topic.name]).values():
        gone.result(timeout=PATIENCE_SECONDS)
    pair.until(lambda: not describe(admin, [pair.topic.name]), "the topic is gone")
    for document in (operator.publisher(), operator.reader()):
        assert document["exit_status"] == 1
        assert kinds(document) - {"no-relay", "no-materialiser"} == {"topic"}
        assert "sinergi provision apply" in document["lines"][0]


def test_settings_without_any_database_are_refused(operator: Operator) -> None:
    status, out, err = operator.run(operator.pair.reader, consumer={})
    assert (status, out) == (2, "")
    assert "sets producer.database or consumer.database" in err
    assert "neither is set in" in err


def test_a_side_that_the_agreements_want_and_the_settings_lack_is_noted(operator: Operator) -> None:
    document = operator.publisher(producer={}, consumer={"database": operator.pair.consumer_url})
    assert document["publishing"] is None
    assert any(each.startswith("producer.database is not set") for each in document["remarks"])


# The judgement alone

NOW = datetime(2026, 3, 3, 3, tzinfo=UTC)
TOPIC = "sinergi.lapas-rekaan.transfer"
TREE = Tree(0, 10, 10, 0.0)
PUBLISHED = PublishedTopic(TOPIC, 1, 1, 0, 0, None, 0.0, {}, (TREE,))
SHARE = ReadPartition(0, 10, 10, {"transfer": 10, "transfer_history": 10}, 0.0, "host", {}, None)
READ = ReadTopic(TOPIC, 1, 1, NOW, None, (SHARE,))
FACTS = Facts(
    "bnnk-rekaan",
    NOW,
    PublisherFacts(LeaseFacts("here 7", NOW, is_held=True), (PUBLISHED,)),
    ReaderFacts("bnnk-rekaan.main", 1, (READ,)),
    (),
    (),
)


def reading(**changes: Any) -> Facts:
    topic = replace(READ, partitions=(replace(SHARE, **changes),))
    return replace(FACTS, reading=ReaderFacts("bnnk-rekaan.main", 1, (topic,)))


def publishing(**changes: Any) -> Facts:
    topic = replace(PUBLISHED, partitions=(replace(TREE, **changes),))
    return replace(
        FACTS, publishing=PublisherFacts(LeaseFacts("here 7", NOW, is_held=True), (topic,))
    )


def test_facts_without_fault_are_well() -> None:
    verdict = judge(FACTS)
    assert (verdict.exit_status, verdict.problems, verdict.remarks) == (0, (), ())
    assert verdict.lines == ["all is well: 1 topic published, 1 topic read"]


@pytest.mark.parametrize(("seconds", "status"), [(60.0, 0), (61.0, 1)])
def test_what_waits_is_a_problem_after_a_minute(seconds: float, status: int) -> None:
    late = reading(available=12, seconds_behind=seconds)
    assert judge(late).exit_status == status
    unsent = publishing(sent=3, unsent_seconds=seconds)
    assert judge(unsent).exit_status == status
    if status:
        assert judge(late).lines == [
            f"2 events of {TOPIC}/0 not in the tables for 61 s; host reads it: see its log"
        ]
        assert judge(unsent).lines[0].startswith(f"7 leaves of {TOPIC}/0 sealed and not on the")


def test_a_projection_that_lags_behind_the_others_counts() -> None:
    lagging = reading(materialised={"transfer": 10, "grams": 4}, seconds_behind=3600.0)
    assert judge(lagging).lines[0].startswith(f"6 events of {TOPIC}/0 not in the tables for 60 min")


def test_an_outbox_that_has_fewer_leaves_than_a_reader_has_acknowledged_was_restored() -> None:
    ahead = Acknowledged("bnnk/main", 0, TREE.sealed + 1, NOW)
    topic = replace(PUBLISHED, readers=(replace(ahead, size=TREE.sealed), ahead))
    facts = replace(
        FACTS, publishing=PublisherFacts(LeaseFacts(None, None, is_held=False), (topic,))
    )
    said = f"bnnk/main has {TREE.sealed + 1} leaves of {TOPIC}/0 under your seal, and this outbox"
    assert judge(facts).lines[0].startswith(f"{said} has {TREE.sealed}: its database was rest")
    leading = PublisherFacts(LeaseFacts("here 7", NOW, is_held=True), (topic,))
    assert judge(replace(FACTS, publishing=leading)).exit_status == 0  # it seals meanwhile


def test_skipped_messages_are_told_with_offset_and_count_and_are_no_problem() -> None:
    verdict = judge(reading(strays=(ForeignMessages("no key or no Confluent frame", 3, 17),)))
    assert verdict.exit_status == 0
    said = f"3 messages of {TOPIC}/0 skipped from offset 17 on: no key or no Confluent frame"
    assert f"note: {said}" in verdict.lines


@pytest.mark.parametrize(
    ("kept", "quota", "noted"),
    [(1, 10**6, False), (900_000, 10**6, True), (1_100_000, 10**6, True), (5, 0, True)],
)
def test_an_owner_that_has_used_up_its_room_in_quarantine_is_noted(
    kept: int, quota: int, *, noted: bool
) -> None:
    use = QuarantineUse("lapas-rekaan", kept, quota)
    verdict = judge(replace(FACTS, reading=ReaderFacts("bnnk-rekaan.main", 1, (READ,), (use,))))
    assert verdict.exit_status == 0
    assert any("has room for" in each for each in verdict.remarks) == noted
    assert noted == any("sinergi quarantine discard" in each for each in verdict.lines)


def test_the_worst_is_said_first_and_an_away_service_before_all() -> None:
    halt = Halt("SealGap", "It lacks leaf 10.", NOW, NOW)
    facts = reading(halt=halt, quarantined={"datum-invalid": 2}, available=12, seconds_behind=90.0)
    assert [each.kind.value for each in judge(facts).problems] == ["halted", "quarantined"]
    assert judge(facts).exit_status == 1
    away = Away(FactSource.PRODUCER, "postgresql://x/y", "it does not answer")
    verdict = judge(replace(facts, publishing=None, away=(away,)))
    assert verdict.exit_status == 2
    assert verdict.lines[0] == "producer database postgresql://x/y is away: it does not answer"
    assert "SealGap" in verdict.lines[1]


def test_a_service_that_answers_and_refuses_is_not_told_as_away() -> None:
    away = Away(FactSource.PRODUCER, "postgresql://x/y", "permission denied", answers=True)
    verdict = judge(replace(FACTS, publishing=None, away=(away,)))
    assert verdict.exit_status == 2
    assert (
        verdict.lines[0] == "producer database postgresql://x/y cannot be read: permission denied"
    )


@pytest.mark.parametrize("unread", ["materialised", "available"])
def test_that_nothing_waits_is_said_only_where_it_is_known(unread: str) -> None:
    for change, said in ({}, True), ({unread: None}, False):
        facts = reading(**change)
        assert facts.reading is not None
        idle = replace(facts, reading=replace(facts.reading, workers=0))
        (problem,) = judge(idle).problems
        assert problem.kind == "no-materialiser"
        assert ("nothing waits" in problem.what) is said


@pytest.mark.parametrize(("minutes", "noted"), [(2, False), (4, True)])
def test_an_owner_that_signs_no_more_heads_is_noted(minutes: int, noted: bool) -> None:  # noqa: FBT001
    silent = replace(READ, heads_at=NOW - timedelta(minutes=minutes))
    verdict = judge(replace(FACTS, reading=ReaderFacts("bnnk-rekaan.main", 1, (silent,))))
    assert verdict.exit_status == 0
    assert (
        any("lapas-rekaan has signed no heads since" in each for each in verdict.remarks) == noted
    )


def test_lengths_of_time_are_spoken_in_the_unit_that_says_most() -> None:
    lengths = (0.4, 99, 100, 5999, 6000, 172_000, 200_000)
    assert [spoken(each) for each in lengths] == [
        *("0 s", "99 s", "2 min", "100 min", "2 h", "48 h", "2 days"),
    ]


def test_status_starts_without_polars() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import sinergi.cli.status, sinergi.status.gathering;"
        "print('polars' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
