"""An older relay sends events of the schemas that its database has, and of no others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from agency_pair import RELOADING, AgencyPair, running, transfer
from sinergi import migrate
from sinergi_producers.outbox.publishing import Outbox
from sinergi_producers.relay.factory import build_relay
from sinergi_producers.relay.row_check import UNKNOWN_SCHEMA
from sinergi_producers.relay.sealing import BEHIND
from sinergi_schemas.catalog import Catalog, Schema
from test_held_rows import reasons, records
from test_relay import held, messages, until_sent, verified

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi_producers.relay.loop import Relay

SHIPPED = Catalog.shipped()


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


def relaying(pair: AgencyPair, catalog: Catalog) -> Relay:
    return build_relay(replace(pair.relay_setup, catalog=catalog))


@pytest.fixture
def brisk(pair: AgencyPair) -> None:
    """A relay that looks each moment for what may be released."""
    pair.timeouts = RELOADING


def with_newer_transfer(schema_id: int = 77) -> Catalog:
    """The schemas of a later version of Sinergi: it has documented the transfer in other words."""
    text = SHIPPED.newest("transfer").text.replace(b'"doc": "', b'"doc": "Newer. ', 1)
    return Catalog([*SHIPPED.all(), Schema.from_bytes("transfer", 2, schema_id, text)])


def publish_newer(pair: AgencyPair, newer: Catalog, record_id: str) -> None:
    """Publish as an application of the later version does."""
    with Session(pair.producer) as session, session.begin():
        Outbox(pair.publisher, pair.agreements, newer).publish(session, transfer(record_id))


def forget_text(pair: AgencyPair) -> None:
    """Leave of the newer schema what a version before migration 0006 has registered."""
    with pair.producer.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE sinergi_producer.known_schema SET text = NULL, sinergi = '4.2.0'"
            " WHERE version = 2"
        )


@pytest.mark.usefixtures("brisk")
def test_an_older_relay_sends_events_of_a_schema_that_its_database_has(pair: AgencyPair) -> None:
    """An application of a later version publishes before and while an older relay works."""
    newer = with_newer_transfer()
    pair.publish(transfer("A"))
    with running(relaying(pair, SHIPPED).run):
        until_sent(pair, 1)
        publish_newer(pair, newer, "B")
        pair.publish(transfer("B", "CORRECTED"), transfer("C"))
        until_sent(pair, 4)
        pair.until(lambda: held(pair) == 0, "no row is held")
    publish_newer(pair, newer, "D")
    with running(relaying(pair, SHIPPED).run):
        until_sent(pair, 5)
    assert held(pair) == 0
    assert verified(pair) == (5, 0)
    sent = {(each.value() or b"")[1:5] for each in messages(pair)}
    assert sent == {each.id.to_bytes(4) for each in newer.versions("transfer")}


@pytest.mark.usefixtures("brisk")
def test_a_row_of_a_newer_schema_waits_for_the_version_that_has_it(pair: AgencyPair) -> None:
    """The database names the schema, but does not have it."""
    newer = with_newer_transfer()
    pair.publish(transfer("A"))
    publish_newer(pair, newer, "B")
    forget_text(pair)
    pair.publish(transfer("B", "CORRECTED"), transfer("C"))
    with running(relaying(pair, SHIPPED).run):
        until_sent(pair, 2)
        pair.until(lambda: held(pair) == 2, "both revisions of B are held")
    assert reasons(pair)["B"] in {
        f"{UNKNOWN_SCHEMA} transfer/2: install Sinergi 4.2.0 or newer",
        BEHIND,
    }
    newest = "SELECT held FROM sinergi_producer.outbox WHERE record_id = 'B' AND revision = 1"
    ((why,),) = pair.ask(newest, pair.producer)
    assert why == f"{UNKNOWN_SCHEMA} transfer/2: install Sinergi 4.2.0 or newer"
    with running(relaying(pair, newer).run):
        until_sent(pair, 4)
    assert records(pair) == ["A", "C", "B", "B"]
    assert verified(pair) == (4, 0)


@pytest.mark.usefixtures("brisk")
def test_a_registered_schema_with_the_id_of_another_holds_its_rows_until_the_owner_corrects_it(
    pair: AgencyPair,
) -> None:
    taken = SHIPPED.newest("seizure")
    pair.publish(transfer("A"))
    publish_newer(pair, with_newer_transfer(taken.id), "B")
    pair.publish(transfer("C"))
    with running(relaying(pair, SHIPPED).run):
        until_sent(pair, 2)
        pair.until(lambda: held(pair) == 1, "the row of the newer schema is held")
        assert f"(its id {taken.id} is that of {taken.name})" in str(reasons(pair)["B"])
        with pair.producer.begin() as connection:  # as the owner's upgrade does
            corrected = "UPDATE sinergi_producer.known_schema SET id = 77 WHERE version = 2"
            connection.exec_driver_sql(corrected)
        until_sent(pair, 3)
    assert verified(pair) == (3, 0)


def test_where_an_application_has_registered_all_it_may_the_owners_upgrade_still_registers(
    pair: AgencyPair,
) -> None:
    """An application may register schemas; it can change none, nor fill the table for ever."""
    shipped = SHIPPED.newest("transfer")
    with pair.producer.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sinergi_producer.known_schema")
        register = "SELECT sinergi_producer.register_schema('transfer', 1, 9, {0}, '0')"
        many = register.format("n::text::bytea") + " FROM generate_series(1, 300) AS n"
        done = [each for (each,) in connection.exec_driver_sql(many)]
        assert done.count(True) == 256
    migrate.upgrade(pair.producer_url, migrate.Role.PRODUCER)
    rows = (
        "SELECT id, text FROM sinergi_producer.known_schema"
        f" WHERE fingerprint = '\\x{shipped.fingerprint.hex()}'"
    )
    assert pair.ask(rows, pair.producer) == [(shipped.id, shipped.text)]
    with pair.producer.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sinergi_producer.known_schema WHERE id = 9")
        connection.execute(
            sa.text("SELECT sinergi_producer.register_schema('seizure', 7, 9, :text, '0')"),
            {"text": shipped.text},
        )
    assert pair.ask(rows, pair.producer) == [(shipped.id, shipped.text)]


def test_no_publisher_waits_for_a_transaction_that_registers_the_same_schema(
    pair: AgencyPair,
) -> None:
    newer = with_newer_transfer()
    outbox = Outbox(pair.publisher, pair.agreements, newer)
    with Session(pair.producer) as first:
        outbox.publish(first, transfer("A"))
        with Session(pair.producer) as second, second.begin():
            second.execute(sa.text("SET LOCAL lock_timeout = '1ms'"))
            outbox.publish(second, transfer("B"))
        first.rollback()
    publish_newer(pair, newer, "C")
    with running(relaying(pair, SHIPPED).run):
        until_sent(pair, 2)


def test_what_a_newer_relay_has_sealed_an_older_one_sends(pair: AgencyPair) -> None:
    """A standby of the former version takes over in the midst of an upgrade."""
    newer = with_newer_transfer()
    pair.publish(transfer("A"))
    publish_newer(pair, newer, "B")
    with running(relaying(pair, newer).run):
        until_sent(pair, 2)
    forget_text(pair)
    with pair.producer.begin() as connection:
        connection.exec_driver_sql("UPDATE sinergi_producer.tree SET sent_size = 0")
    with running(relaying(pair, SHIPPED).run):
        until_sent(pair, 2)
    first, again = messages(pair)[:2], messages(pair)[2:]
    assert [each.value() for each in first] == [each.value() for each in again]
    assert verified(pair) == (2, 2)
