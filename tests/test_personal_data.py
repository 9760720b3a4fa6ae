"""Persons' names and numbers stand only in the tables made for them, and in the raw events.

The tests put them into good events and into bad ones of every kind, log everything at the lowest
level, and then search every log line, error, quarantine message and status.
"""

from __future__ import annotations

import json
import logging
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import sqlalchemy as sa

from agency_pair import BUS, AgencyPair, transfer
from sinergi import migrate
from sinergi.cli.logs import set_up
from sinergi.cli.root import run
from sinergi_consumers.projections.projection import current, history, projection
from sinergi_consumers.reading.partition import Partition
from sinergi_consumers.testing.tape import Tape, TapeMessage
from sinergi_schemas import codec, errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.codes import PersonRole
from sinergi_schemas.events import Person
from sinergi_schemas.kafka.producer import open_producer
from sinergi_schemas.message import FRAME_LENGTH
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from uuid import UUID

    Datum = tuple[UUID, str, bytes]

NAME = "Kenari Purwaningrum"
NIK = "3510106708450001"
DEBUG = ("--debug", "--log-level", "debug")
# As text, and as PostgreSQL, Python and JSON may write it where it is taken for bytes.
CANARIES = (NAME, "Kenari", NIK, b"Kenari".hex(), NIK.encode().hex())


@projection(
    "transfer",
    table=sa.Table(
        "inmates",
        sa.MetaData(),
        sa.Column("name", sa.Text, sa.CheckConstraint("name <> 'X'"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.UniqueConstraint("name", "number"),
    ),
)
def INMATES(events: pl.DataFrame) -> pl.DataFrame:  # noqa: N802 - a projection is a constant
    """An integrator's: its code and its table may refuse, and would quote what they refuse."""
    for each in events.iter_rows(named=True):
        if each["movement_id"] == "raise":
            raise ValueError(each["inmate_name"])
    number = pl.when(pl.col("movement_id") == "text").then(pl.col("inmate_name"))
    return events.drop_nulls("inmate_name").select(
        "event_id",
        pl.col("inmate_name").alias("name"),
        number.otherwise(pl.col("leaf_index").cast(pl.String)).alias("number"),
    )


PROJECTIONS = (
    current(Catalog.shipped().newest("transfer")),
    history(Catalog.shipped().newest("transfer")),
    INMATES,
)


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    found = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    migrate.upgrade(found.consumer_url, migrate.Role.CONSUMER, PROJECTIONS)
    return found


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> None:
    """All that is logged goes out as JSON lines, as of a process that was asked for all of it."""
    caplog.set_level(logging.DEBUG)
    set_up("debug", as_json=True)


@pytest.mark.usefixtures("everything_logged")
def test_what_a_library_logs_is_a_line_of_ours_without_its_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    why = ValueError(NAME)
    logging.getLogger("psycopg").warning("error ignored: %s", why, exc_info=why)
    said = json.loads(capsys.readouterr().err)
    del said["timestamp"]
    assert said == {
        "event": "error ignored: %s",
        "library": "psycopg",
        "level": "warning",
        "why": "ValueError",
    }


def found_in(text: str) -> list[str]:
    return [each for each in CANARIES if each in text]


def datum(tape: Tape, record_id: str, **changes: Any) -> Datum:
    """An event about the person, which no model has checked."""
    person = Person(role=PersonRole.CONVICT, name=NAME, nik=NIK)
    event = tape.issued(transfer(record_id, inmate=person, movement_id="m"))
    key = changes.pop("key", changes.get("record_id", record_id))
    document = event.model_dump() | changes
    return event.event_id, key, codec.encode_document(document, tape.schema)


def events(tape: Tape) -> list[Datum]:
    """Good ones, and one of each kind of bad one."""
    event_id, key, whole = datum(tape, "P/1")
    at = whole.index(NIK.encode())
    person = {"role": "CONVICT", "name": NAME, "nik": NIK}
    return [
        (event_id, key, whole),
        datum(tape, "P/1"),  # revision-conflict
        (event_id, NAME, whole[: at + len(NIK)]),  # cut off
        (event_id, NIK, whole + NAME.encode()),  # bytes left over
        (event_id, key, whole[:at] + b"\xff" + whole[at + 1 :]),  # not UTF-8
        datum(tape, "P/2", agency=NAME),  # foreign-agency
        datum(tape, "P/3", key=NIK),  # foreign-key
        datum(tape, NIK, revision=-5),  # revision-invalid
        datum(tape, "P/4", inmate=person | {"name": f"{NAME}\0"}),  # refused by PostgreSQL
        datum(tape, "P/5", movement_id="raise"),
        datum(tape, "P/6", movement_id="text"),
        datum(tape, f"{NAME}/{NIK}"),
    ]


def send(pair: AgencyPair, messages: Sequence[TapeMessage]) -> None:
    producer = open_producer(pair.connection)
    for each in messages:
        producer.produce(
            each.topic(),
            key=each.key(),
            value=each.value(),
            headers=[*each.headers()],
            partition=each.partition(),
        )
    assert producer.flush(PATIENCE_SECONDS) == 0


@pytest.mark.usefixtures("everything_logged")
def test_no_name_and_no_number_leaves_the_tables_made_for_it(
    pair: AgencyPair, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tape = pair.tape()
    written = tape.write_datums(events(tape))
    with pair.materialising(PROJECTIONS):
        send(pair, written)
        size = f"SELECT 1 FROM sinergi_consumer.position WHERE tree_size = {len(written)}"
        pair.until(lambda: len(pair.ask(size)) == len(PROJECTIONS), "all taken in")
        (altered,) = tape.write([transfer(NIK)])
        frame = (altered.value_bytes or b"")[:FRAME_LENGTH]
        send(pair, [replace(altered, value_bytes=frame + NAME.encode())])
        pair.until(lambda: pair.count("sinergi_consumer.halt") == 1, "a share halted")

    reasons = pair.ask("SELECT DISTINCT reason FROM sinergi_consumer.quarantine ORDER BY 1")
    assert [each for (each,) in reasons] == [
        "datum-invalid",
        "foreign-agency",
        "foreign-key",
        "projection-failed",
        "revision-conflict",
        "revision-invalid",
        "rows-refused",
    ]
    assert pair.ask(f"SELECT 1 FROM sinergi.transfer WHERE inmate_name = '{NAME}'")
    said = [capfd.readouterr(), caplog.text]
    assert "events quarantined" in str(said)
    assert "topic-partition halted" in str(said)
    said += pair.ask("SELECT reason, detail FROM sinergi_consumer.quarantine")
    said += pair.ask("SELECT * FROM sinergi_consumer.halt")
    said += pair.ask("SELECT * FROM sinergi_consumer.checkpoint")
    said += pair.ask("SELECT * FROM sinergi_consumer.receipt")

    assert run(["--config", str(pair.reader_settings), "status", "--json"]) in {0, 1}
    said.append(capfd.readouterr())
    assert run(["--config", str(pair.reader_settings), "--debug", "replay", pair.topic.name]) != 0
    said.append(capfd.readouterr().err)
    for each in (
        ["list", "--json"],
        ["show", "--limit", "99"],
        ["retry", "--projection", "transfer", "--why", "to see"],
        ["retry", "--projection", "inmates", "--why", "to see"],  # which is not installed
        ["discard", "--state", "open", "--why", "to see"],
    ):
        run([*DEBUG, "--config", str(pair.reader_settings), "quarantine", *each])
        said.append(capfd.readouterr())
        assert said[-1] != ("", "")
    said.append(caplog.text)
    assert found_in(str(said)) == []


REGISTER = f"""Nomor,Tanggal,Nama,NIK,Tujuan
1,03/02/2026,{NAME},{NIK},Lapas Rekaan
2,{NAME},{NAME},{NIK},Lapas Rekaan
3,03/02/2026,{NAME},{NIK}0,Lapas Rekaan
4,03/02/2026,{NAME},{NIK},
5,03/02/2026,"{NAME}\x07",{NIK},Lapas Rekaan
6,03/02/2026,{NAME},{NIK},Lapas Rekaan,{NIK}
"""
MAPPING = """
event_type = "transfer"
[fields]
record_id = "Nomor"
action.constant = "RECORDED"
purpose.constant = "PRISON_SECURITY"
handling.constant = "R"
zone.constant = "Asia/Jakarta"
occurred_at = { column = "Tanggal", format = "%d/%m/%Y" }
departed_at = { column = "Tanggal", format = "%d/%m/%Y" }
origin.name.constant = "Lapas Rekaan"
destination.name = "Tujuan"
reason.constant = "OTHER"
inmate.role.constant = "CONVICT"
inmate.name = "Nama"
inmate.nik = "NIK"
"""


@pytest.mark.usefixtures("everything_logged")
def test_no_name_and_no_number_is_told_on_the_road_onto_the_bus(
    pair: AgencyPair,
    databases: Callable[[], str],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Intake, publish, relay, what waits, status, and what a restored database takes back."""
    register = pair.folder / "register" / "register.csv"
    register.parent.mkdir()
    mapping = register.with_name("mapping.toml")
    register.write_text(REGISTER, "utf-8")
    mapping.write_text(MAPPING, "utf-8")
    said: list[object] = []

    def sinergi(*arguments: object) -> int:
        capfd.readouterr()
        status = run([*DEBUG, "--config", str(pair.agency_settings), *map(str, arguments)])
        said.append(capfd.readouterr())
        return status

    assert sinergi("publish", register, "--mapping", mapping) == 1
    refused = register.with_name(f"{register.name}.refused.ndjson").read_text("utf-8")
    assert [json.loads(each)["line"] for each in refused.splitlines()] == [3, 4, 5, 6, 7]
    said.append(refused)
    person = Person(role=PersonRole.CONVICT, name=NAME, nik=NIK)
    for unfit in (
        transfer("P/1", "CORRECTED", inmate=person),
        transfer("P/1", "RETRACTED", inmate=person),
        transfer("1", inmate=person),
    ):
        with pytest.raises(errors.Refused) as caught:
            pair.publish(unfit)
        said.append(traceback.format_exception(caught.value))
    assert sinergi("outbox", "list") == 0
    with pair.relaying():
        pair.publish(transfer("P/2", inmate=person))
        told = "SELECT 1 FROM sinergi_producer.outbox WHERE leaf_index IS NULL"
        pair.until(lambda: pair.ask(told, pair.producer) == [], "all sealed")
        sent = "SELECT sum(sent_size) FROM sinergi_producer.tree"
        pair.until(lambda: pair.ask(sent, pair.producer) == [(2,)], "all sent")
    assert sinergi("status", "--json") in {0, 1}
    old, pair.producer_url = pair.producer_url, databases()  # a backup from before all events
    settings = pair.agency_settings.read_text("utf-8")
    assert old in settings
    pair.agency_settings.write_text(settings.replace(old, pair.producer_url), "utf-8")
    assert sinergi("relay") == 2
    assert sinergi("outbox", "recover") == 1
    assert sinergi("outbox", "recover", "--apply", "--json") == 0
    said.append(caplog.text)
    assert "topic" in str(said)
    assert found_in(str(said)) == []


@pytest.mark.parametrize("header", [None, "sinergi_leaf", "sinergi_checkpoint", "sinergi_frontier"])
def test_what_is_skipped_or_halts_a_share_is_told_without_what_was_in_it(
    header: str | None,
) -> None:
    topic = Topic("lapas-rekaan", "transfer")
    tape = Tape(BUS, topic)
    first, last = tape.write_datums([datum(tape, NIK), datum(tape, NAME)])
    if header is None:
        broken = replace(last, value_bytes=(last.value_bytes or b"") + NAME.encode())
    else:
        broken = last.with_header(header, f"{NAME}\n{NIK}".encode())
    partition = Partition(BUS, topic, 0, tape.keys, Frontier.empty())
    partition.receive([first, broken])
    assert partition.unresolved or partition.skipped.count
    assert found_in(str(partition.unresolved)) == []
    assert found_in(str(partition.skipped.causes)) == []
