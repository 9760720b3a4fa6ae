"""The relay seals only rows that it can send, and holds the others with a reason."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
import tomli_w
from hypothesis import given as given_any
from hypothesis import strategies as st
from structlog.testing import capture_logs

import strategies
from agency_pair import BUS, RELOADING, AgencyPair, agreement, transfer
from avro_schemas import damage
from sinergi_producers.outbox import discarding
from sinergi_producers.relay.registered_schemas import RegisteredSchema, UsableSchemas
from sinergi_producers.relay.rights import RELAY
from sinergi_producers.relay.row_check import (
    TOO_LONG,
    UNKNOWN_AGREEMENT,
    UNKNOWN_SCHEMA,
    RowCheck,
)
from sinergi_producers.relay.sealing import BEHIND, OutboxRow, Sealer, TreeKey
from sinergi_schemas import codec, errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import new_event_id
from sinergi_schemas.codes import Action, Purpose
from sinergi_schemas.limits import MOST_DATUM_BYTES
from sinergi_schemas.postgresql.rights import grants
from sinergi_schemas.seal.key_ring import KeyRing
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.seal.merkle import Frontier
from test_application_rights import GRANTS, PUT, given, user
from test_db import conninfo
from test_relay import held, messages, until_sent, verified
from test_sealing import KEY, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sinergi_schemas.events import Event

AGENCY = "lapas-rekaan"
SHIPPED = Catalog.shipped()
INSTALLED = UsableSchemas(SHIPPED, {}, {})
RELAY_GRANTS = tuple(each.replace('"{role}"', "{role}") for each in grants(RELAY.rights, "{role}"))


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


@pytest.fixture
def brisk(pair: AgencyPair) -> None:
    """A relay that looks each moment for what may be released."""
    pair.timeouts = RELOADING


# Decided


def row_of(event: Event, **changes: Any) -> OutboxRow:
    """The row of an event as it stands in the outbox."""
    schema = SHIPPED.newest(event.event_type)
    made = OutboxRow(
        1,
        str(event.event_id),
        event.event_type,
        event.record_id.encode(),
        event.recorded_at,  # type: ignore[arg-type]
        schema.fingerprint,
        codec.encode(event, schema),
        None,
        event.revision,
    )
    return made._replace(**changes)


def fault(found: OutboxRow, agency: str, schemas: UsableSchemas = INSTALLED) -> str | None:
    return RowCheck(agency, schemas).fault(found)


@given_any(strategies.events())
def test_every_event_that_publish_can_store_is_sent(event: Event) -> None:
    assert fault(row_of(event), event.agency) is None


@given_any(strategies.events(), st.data())
def test_what_the_strict_reader_refuses_or_reads_as_another_event_is_held(
    event: Event, data: st.DataObject
) -> None:
    found = row_of(event)
    found = found._replace(datum=data.draw(damage(found.datum)))
    schema = SHIPPED.newest(event.event_type)
    try:
        document = codec.decode(found.datum, schema)
    except errors.DatumInvalid:
        is_itself = False
    else:
        is_itself = (
            document["event_id"],
            document["agency"],
            document["record_id"],
            document["revision"],
        ) == (event.event_id, event.agency, event.record_id, event.revision)
        is_itself &= (document["action"] == "RECORDED") == (event.revision == 1)
    assert (fault(found, event.agency) is None) == is_itself


def issued(**changes: Any) -> Event:
    event = transfer("P/1", **changes)
    recorded_at = event.occurred_at
    return event.issued(agency=AGENCY, agreement="0" * 64, recorded_at=recorded_at, revision=1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"event_id": str(new_event_id())}, "not the event that its row says"),
        ({"key": b"P/2"}, "not the event that its row says"),
        ({"revision": 2}, "not the event that its row says"),
        ({"event_type": "seizure"}, "schema is one of another event type"),
        ({"fingerprint": bytes(32)}, UNKNOWN_SCHEMA),
        ({"fingerprint": b""}, UNKNOWN_SCHEMA),
        ({"datum": b""}, "not one of transfer/"),
        ({"datum": b"\xff" * 1000}, "not one of transfer/"),
        ({"row_fault": TOO_LONG}, TOO_LONG),
    ],
)
def test_each_fault_has_its_reason(changes: dict[str, Any], why: str) -> None:
    assert why in str(fault(row_of(issued(), **changes), AGENCY))


@pytest.mark.parametrize(("action", "revision"), [("CORRECTED", 1), ("RECORDED", 2)])
def test_an_action_that_does_not_fit_the_revision_is_held(action: str, revision: int) -> None:
    event = issued().model_copy(update={"action": Action[action], "revision": revision})
    assert "does not fit its revision" in str(fault(row_of(event), AGENCY))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"agreement": "f" * 64}, UNKNOWN_AGREEMENT),
        ({"agreement": "no hash"}, UNKNOWN_AGREEMENT),
        ({"purpose": Purpose.STATISTICS}, "does not share it for its purpose"),
        ({"recorded_at": datetime(2019, 12, 31, tzinfo=UTC)}, "was not in force"),
        ({"recorded_at": datetime(2099, 1, 1, tzinfo=UTC)}, "was not in force"),
        ({"recorded_at": datetime(1, 1, 2, tzinfo=UTC)}, "was not in force"),
    ],
)
@pytest.mark.parametrize("record", ["P/1", "P" * 200])
def test_what_the_agreement_that_an_event_names_does_not_allow_is_held(
    tmp_path: Path, changes: dict[str, Any], why: str | None, record: str
) -> None:
    key = SigningKey.generate(f"{BUS}/{AGENCY}")
    receipts = SigningKey.generate(f"{BUS}/bnnk-rekaan/main", Algorithm.COSIGNATURE)
    document = agreement(key.public, receipts.public)
    (tmp_path / "pks.toml").write_text(tomli_w.dumps(document), encoding="utf-8")
    agreements = Agreements.load(tmp_path)
    (agreed,) = agreements
    given_terms = {"agreement": agreed.hash, "record_id": record} | changes
    event = issued().model_copy(update=given_terms)
    found = RowCheck(AGENCY, INSTALLED, agreements).fault(row_of(event))
    assert found is None if why is None else why in str(found)


def test_another_agencys_event_is_held() -> None:
    assert "not the event" in str(fault(row_of(issued()), "bnnk-rekaan"))


def test_the_version_that_has_a_newer_schema_is_named() -> None:
    newer = {bytes(32): RegisteredSchema("transfer", 9, 77, "4.2.0")}
    row = row_of(issued(), fingerprint=bytes(32))
    why = fault(row, AGENCY, UsableSchemas(SHIPPED, newer, {}))
    assert why == f"{UNKNOWN_SCHEMA} transfer/9: install Sinergi 4.2.0 or newer"
    why = fault(row, AGENCY, UsableSchemas(SHIPPED, newer, {bytes(32): "its id is taken"}))
    assert why == (
        f"{UNKNOWN_SCHEMA} transfer/9, and cannot use that of the database (its id is taken):"
        " install Sinergi 4.2.0 or newer"
    )


@given_any(
    st.lists(st.tuples(st.sampled_from("ABC"), st.booleans()), max_size=12),
    st.sets(st.sampled_from("ABC")),
)
def test_a_held_row_keeps_back_the_later_ones_of_its_record_and_no_other(
    rows: list[tuple[str, bool]], behind: set[str]
) -> None:
    bad = {number for number, (_, is_bad) in enumerate(rows) if is_bad}
    sealer = Sealer(
        "b",
        AGENCY,
        [KEY],
        {"transfer": 1},
        lambda _: True,
        lambda *_: KeyRing.of(KEY.public),
        lambda r: "bad" if r.id in bad else None,
    )
    waiting = [
        row(number, key=record)._replace(is_behind=record in behind)
        for number, (record, _) in enumerate(rows)
    ]
    batch = sealer.seal(waiting, {TreeKey("transfer", 0): Frontier.empty()})
    blocked = set(behind)
    expected: dict[int, str | None] = {}
    for number, (record, is_bad) in enumerate(rows):
        expected[number] = BEHIND if record in blocked else "bad" if is_bad else None
        if is_bad:
            blocked.add(record)
    found = {each: why for why, ids in batch.held.items() for each in ids}
    sealed = {each.id for growth in batch.updates for each in growth.rows}
    assert found == {number: why for number, why in expected.items() if why}
    assert sealed == {number for number, why in expected.items() if not why}


# On the bus


def reasons(pair: AgencyPair) -> dict[str, str]:
    """Why each record's row is held."""
    asked = "SELECT record_id, held FROM sinergi_producer.outbox WHERE held IS NOT NULL"
    return dict(pair.ask(asked, pair.producer))


def insert(pair: AgencyPair, record: str, **columns: Any) -> None:
    """A row of the table's owner's making, out of the first one."""
    names = ("event_id", "event_type", "record_id", "revision", "recorded_at", "fingerprint")
    values = {name: name for name in (*names, "datum", "traceparent")}
    values |= {"event_id": "gen_random_uuid()", "record_id": ":record"} | columns
    with pair.producer.begin() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO sinergi_producer.outbox ({', '.join(values)})"
                f" SELECT {', '.join(values.values())} FROM sinergi_producer.outbox WHERE id = 1"
            ),
            {"record": record},
        )


def test_whatever_an_application_puts_the_relay_goes_on_and_says_what_it_holds(
    pair: AgencyPair,
) -> None:
    pair.publish(transfer("P/1"))
    with (
        user(pair.producer_url, *GRANTS) as application,
        psycopg.connect(conninfo(application), autocommit=True) as connection,
    ):
        put: dict[str, dict[str, Any]] = {
            "unknown": {"fingerprint": bytes(32)},
            "rubbish": {"head": b"\xff" * 100},
            "empty": {"head": b"", "tail": b""},
            "large": {"head": bytes(MOST_DATUM_BYTES - 1000), "tail": b""},
            "other": {},
            "type": {"type": "seizure"},
            "nobody": {"type": "nobody-reads"},
        }
        for record, changes in put.items():
            unfit = given(record=record, event_id=new_event_id(), **changes)
            assert connection.execute(PUT.encode(), unfit).fetchone() == ("put",)
    pair.publish(transfer("P/2"))
    with capture_logs() as logs, pair.relaying():
        until_sent(pair, 2)
        pair.until(lambda: held(pair) == 7, "the others are held")
        pair.publish(transfer("P/3"))
        until_sent(pair, 3)
    assert verified(pair) == (3, 0)
    found = reasons(pair)
    assert "discard" in found["unknown"]
    assert found["rubbish"].startswith(
        f"its datum is not one of {SHIPPED.newest('transfer').name}: "
    )
    assert found["nobody"] == found["type"] == "no agreement in force covers it"
    told = [each["why"] for each in logs if each["event"].startswith("rows held")]
    assert set(told) == set(found.values())


def test_rows_that_the_tables_owner_has_spoilt_are_held(pair: AgencyPair) -> None:
    """As rows may stand there from before `put` looked at what it was given."""
    pair.publish(transfer("P/1"))
    spoilt: dict[str, dict[str, str]] = {
        "large": {"datum": "convert_to(repeat('x', 3000000), 'UTF8')"},
        "infinite": {"recorded_at": "'infinity'"},
        "ancient": {"recorded_at": "'0044-03-15 BC'"},
        "trace": {"traceparent": "repeat('x', 2000000)"},
        "r" * 300: {},
        "negative": {"revision": "-5"},
        "prints": {"fingerprint": "convert_to(repeat('x', 1000000), 'UTF8')"},
        "types": {"event_type": "repeat('x', 2000)"},
    }
    for record, columns in spoilt.items():
        insert(pair, record, **columns)
    pair.publish(transfer("P/2"))
    with pair.relaying():
        until_sent(pair, 2)
        pair.until(lambda: held(pair) == len(spoilt), "the others are held")
    found = reasons(pair)
    assert found["large"] == TOO_LONG
    assert "recorded_at" in found["infinite"]
    assert "recorded_at" in found["ancient"]
    assert "traceparent" in found["trace"]
    assert "record_id" in found["r" * 300]
    assert verified(pair) == (2, 0)


def records(pair: AgencyPair) -> list[str]:
    """The records on the topic, in the order of its leaves."""
    return [(each.key() or b"").decode() for each in messages(pair)]


@pytest.mark.usefixtures("brisk")
def test_a_records_order_holds_though_a_revision_is_held_and_mended(pair: AgencyPair) -> None:
    pair.publish(transfer("A"), transfer("B"))
    good = "SELECT datum FROM sinergi_producer.outbox WHERE record_id = 'A' AND revision = 1"
    ((datum,),) = pair.ask(good, pair.producer)
    spoil = "UPDATE sinergi_producer.outbox SET datum = :datum, held = NULL WHERE id = 1"
    with pair.producer.begin() as connection:
        connection.execute(sa.text(spoil), {"datum": b"rubbish"})
    pair.publish(transfer("A", "CORRECTED"))
    with pair.relaying():
        pair.until(lambda: held(pair) == 2, "both revisions are held")
        pair.publish(transfer("A", "CORRECTED"), transfer("C"))
        pair.until(lambda: held(pair) == 3, "a later one too")
        until_sent(pair, 2)
        with pair.producer.begin() as connection:
            connection.execute(sa.text(spoil), {"datum": datum})
        until_sent(pair, 5)
    assert records(pair) == ["B", "C", "A", "A", "A"]
    order = "SELECT revision FROM sinergi_producer.outbox WHERE record_id = 'A' ORDER BY leaf_index"
    assert pair.ask(order, pair.producer) == [(1,), (2,), (3,)]


@pytest.mark.usefixtures("brisk")
def test_what_cannot_be_mended_is_discarded_and_the_record_goes_on(pair: AgencyPair) -> None:
    pair.publish(transfer("A"))
    with pair.relaying():
        until_sent(pair, 1)
        insert(pair, "A", revision="2", datum="'rubbish'")
        insert(pair, "N", datum="'rubbish'")
        with pair.producer.begin() as connection:
            for each in (
                "UPDATE sinergi_producer.head SET revision = 2, action = 'CORRECTED'",
                "INSERT INTO sinergi_producer.head VALUES ('transfer', 'N', 1, 'RECORDED')",
            ):
                connection.exec_driver_sql(each)
        pair.publish(transfer("A", "CORRECTED"))
        pair.until(lambda: held(pair) == 3, "all three are held")
        ids = dict(
            pair.ask(
                f"SELECT record_id, id FROM sinergi_producer.outbox WHERE held <> '{BEHIND}'",
                pair.producer,
            )
        )
        for wrong in ([1], [ids["A"], 1], [9999]):
            with pytest.raises(errors.DiscardRefused):
                discarding.discard(pair.producer_url, wrong)
        discarding.discard(pair.producer_url, list(ids.values()))
        until_sent(pair, 2)
        pair.publish(transfer("A", "RETRACTED"), transfer("N"))
        until_sent(pair, 4)
    assert verified(pair) == (4, 0)
    rows = "SELECT record_id, revision FROM sinergi_producer.outbox ORDER BY leaf_index"
    assert pair.ask(rows, pair.producer) == [("A", 1), ("A", 3), ("A", 4), ("N", 1)]


@pytest.mark.usefixtures("brisk")
def test_what_another_application_does_to_a_record_with_garbage_discard_mends(
    pair: AgencyPair,
) -> None:
    """It has the right to publish, and the SQL function cannot read what it publishes."""
    pair.publish(transfer("P/0"), transfer("P/1"))
    with (
        user(pair.producer_url, *GRANTS) as rogue,
        psycopg.connect(conninfo(rogue), autocommit=True) as connection,
    ):
        for record, action in (("P/0", "CORRECTED"), ("P/1", "RETRACTED")):
            garbage = given(record=record, action=action, event_id=new_event_id(), head=b"junk")
            assert connection.execute(PUT.encode(), garbage).fetchone() == ("put",)
    pair.publish(transfer("P/0", "CORRECTED"))
    with pytest.raises(errors.EventsRefused, match="was retracted"):
        pair.publish(transfer("P/1", "CORRECTED"))
    with pair.relaying():
        pair.until(lambda: held(pair) == 3, "the garbage is held, and what follows it")
        asked = f"SELECT id FROM sinergi_producer.outbox WHERE held <> '{BEHIND}' ORDER BY id"
        discarding.discard(pair.producer_url, [row for (row,) in pair.ask(asked, pair.producer)])
        pair.publish(transfer("P/1", "CORRECTED"))
        until_sent(pair, 4)
    assert verified(pair) == (4, 0)
    rows = "SELECT record_id, revision FROM sinergi_producer.outbox ORDER BY record_id, revision"
    assert pair.ask(rows, pair.producer) == [("P/0", 1), ("P/0", 3), ("P/1", 1), ("P/1", 2)]


def test_discarding_the_newest_revision_sets_the_record_back(pair: AgencyPair) -> None:
    pair.publish(transfer("A"), transfer("A", "CORRECTED"), transfer("A", "RETRACTED"))
    with pair.producer.begin() as connection:
        connection.exec_driver_sql("UPDATE sinergi_producer.outbox SET held = 'x' WHERE id > 1")
    for left, expected in ((3, (2, "CORRECTED")), (2, (1, "RECORDED"))):
        discarding.discard(pair.producer_url, [left])
        heads = "SELECT revision, action FROM sinergi_producer.head"
        assert pair.ask(heads, pair.producer) == [expected]


# A relay with rights of its own


@contextmanager
def relaying_as_a_user(pair: AgencyPair) -> Iterator[str]:
    owner = pair.producer_url
    with user(owner, *RELAY_GRANTS) as url:
        pair.producer_url = url
        try:
            with pair.relaying():
                yield url
        finally:
            pair.producer_url = owner


def test_a_relay_needs_its_rights_and_no_more(pair: AgencyPair) -> None:
    insert_bad = {"datum": "'rubbish'"}
    pair.publish(transfer("A"))
    insert(pair, "bad", **insert_bad)
    with relaying_as_a_user(pair) as url:
        until_sent(pair, 1)
        pair.until(lambda: held(pair) == 1, "the bad one is held")
        with psycopg.connect(conninfo(url), autocommit=True) as connection:
            for attack in (
                "DELETE FROM sinergi_producer.outbox",
                "DELETE FROM sinergi_producer.checkpoint",
                "UPDATE sinergi_producer.checkpoint SET note = ''",
                "UPDATE sinergi_producer.head SET revision = 1",
                "INSERT INTO sinergi_producer.outbox DEFAULT VALUES",
                "TRUNCATE sinergi_producer.outbox",
                "UPDATE sinergi_producer.outbox SET datum = '' WHERE id = 1",
            ):
                with pytest.raises(psycopg.Error):
                    connection.execute(attack.encode())
    assert verified(pair) == (1, 0)
