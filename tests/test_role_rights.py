"""Each role does its work with its rights alone, and each right is used and missed by name."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from threading import Event
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from agency_pair import AgencyPair, transfer
from database_roles import OwnedDatabase, owned_database
from sinergi import migrate
from sinergi.cli.root import run
from sinergi.database_roles import DatabaseRole
from sinergi_consumers.audit.journal import AuditOutcome, AuditRun, Journal
from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.quarantine.admin import Quarantine, QuarantineFilter
from sinergi_consumers.sinks.postgresql import retention
from sinergi_consumers.sinks.postgresql import rights as of_consumer
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.sinks.protocol import Decision, QuarantineKey
from sinergi_consumers.testing.sinks import BUS, CURRENT, PROJECTIONS, Worker
from sinergi_consumers.testing.sinks import transfer as at_revision
from sinergi_consumers.testing.tape import Tape
from sinergi_producers.outbox.publishing import Outbox
from sinergi_producers.outbox.rights import APPLICATION
from sinergi_producers.relay.factory import build_relay
from sinergi_producers.relay.rights import RELAY
from sinergi_producers.relay.store import OutboxStore
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql import Database, rights
from sinergi_schemas.postgresql.rights import DatabaseRight, ObjectKind
from sinergi_schemas.seal.skipped import SkippedMessages
from sinergi_schemas.topics import Topic, TopicPartition
from test_outbox import AGENCY, EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Services
    from sinergi_schemas.postgresql.rights import RoleRights

RELATED = (
    {
        "other_agency": "polres-rekaan",
        "other_event_type": "seizure",
        "other_record_id": "S/1",
        "relation": "SAME_INCIDENT",
    },
)
MATERIALISER = of_consumer.materialiser(PROJECTIONS)


@pytest.fixture(scope="module")
def owned(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnedDatabase]:
    """A database with all tables and roles, also for the projections of an integrator."""
    with owned_database(services.postgresql, tmp_path_factory.mktemp("owned")) as found:
        found.upgrade()
        readers = (of_consumer.reader, of_consumer.verifier)
        needed = (MATERIALISER, *(each(PROJECTIONS) for each in readers))
        roles = [role_of(found, each) for each in needed]
        migrate.upgrade(found.url("owner"), migrate.Role.CONSUMER, PROJECTIONS, roles)
        found.execute("ALTER TABLE sinergi.transfer ADD CHECK (record_id <> 'BAD')")
        yield found


def role_of(owned: OwnedDatabase, needed: RoleRights) -> DatabaseRole:
    name = owned.role(needed.setting.rpartition(".")[2])
    return DatabaseRole(name, needed.setting, needed.rights)


@contextmanager
def without(owned: OwnedDatabase, purpose: str, right: DatabaseRight) -> Iterator[None]:
    """Take a right away from a role while the block lasts."""
    (grant,) = rights.grants([right], owned.role(purpose))
    if right.on.kind is ObjectKind.DATABASE:
        grant = f'GRANT {right.privilege} ON DATABASE {owned.name} TO "{owned.role(purpose)}"'
    owned.execute(grant.replace("GRANT", "REVOKE", 1).replace(" TO ", " FROM "))
    try:
        yield
    finally:
        owned.execute(grant)


# A whole bus


@pytest.fixture
def pair(owned: OwnedDatabase, tmp_path: Path, kafka: str, agency_slug: str) -> AgencyPair:
    """A publisher and a reader in one database, each process with its own role."""
    made = AgencyPair(tmp_path, kafka, agency_slug, owned.url("owner"), owned.url("owner"))
    made.producer = engine(owned.url("application"))
    made.producer_url = owned.url("relay")
    made.consumer_url = owned.url("materialiser")
    return made


def engine(url: str) -> sa.Engine:
    return sa.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool
    )


@pytest.mark.long
def test_every_process_and_person_does_its_work_with_its_own_role_alone(
    pair: AgencyPair, owned: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.publish(*(transfer(f"P/{number}") for number in range(4)))
    pair.publish(transfer("P/1", "CORRECTED"), transfer("BAD"))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 6)
        unpublished = "sinergi_consumer.receipt WHERE published_at IS NULL"
        pair.until(lambda: pair.count(unpublished) == 0, "receipts published")
    assert pair.count("sinergi_consumer.quarantine") == 1
    for settings, command in (
        (pair.agency_settings, "status"),
        (pair.agency_settings, "outbox list"),
        (pair.agency_settings, "outbox recover"),
        (pair.reader_settings, "status"),
        (pair.reader_settings, "quarantine list"),
    ):
        assert run(["--config", str(settings), *command.split()]) in (0, 1), command
        assert "lacks" not in capsys.readouterr().err
    with psycopg.connect(owned.url("reader")) as connection:
        counted = connection.execute("SELECT count(*) FROM sinergi.transfer").fetchone()
    assert counted == (4,)
    as_auditor = ("--set", f"consumer.database={owned.url('auditor')}", "verify", "--json")
    # The database is shared by the tests of this module, and others may have read with it.
    owned.execute(
        "INSERT INTO sinergi_consumer.position (projection, topic, partition)"
        f" VALUES ('few_escorts', '{pair.topic.name}', 0)"
    )
    assert run(["--config", str(pair.reader_settings), *as_auditor]) == 2
    parts = json.loads(capsys.readouterr().out)["parts"]
    (unchecked,) = [each for each in parts if each["verdict"] != "proved"]
    assert (unchecked["of"], "is not installed here" in unchecked["found"]) == ("few_escorts", True)


@pytest.mark.long
@pytest.mark.parametrize("right", RELAY.rights, ids=str)
def test_each_right_of_the_relay_is_used_and_missed_by_name(
    pair: AgencyPair, owned: OwnedDatabase, right: DatabaseRight, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the relay runs: it does not check its rights at the start here."""
    owned.execute("UPDATE sinergi_producer.lease SET expires_at = '-infinity'")
    pair.publish(transfer(f"P/{pair.publisher}"))
    with without(owned, "relay", right):
        with pytest.raises(errors.GrantMissing) as found:
            build_relay(pair.relay_setup).run(Event())
        assert found.value.missing == (str(right),)
        monkeypatch.setattr(OutboxStore, "check", lambda _: None)
        with pytest.raises(errors.GrantMissing) as found:
            build_relay(pair.relay_setup).run(Event())
    assert found.value.missing == (str(right),)
    said = str(found.value)
    assert f"The database user {owned.role('relay')} lacks {right}" in said
    assert "`sinergi db upgrade --role producer`" in said
    assert "producer.database_roles.relay" in said


# A materialiser's work in the database


def materialise(url: str, agency: str) -> None:
    """All that a materialiser, `sinergi quarantine` and the journal do in a database."""
    topic = Topic(agency, "transfer")
    tp = TopicPartition(topic.name, 0)
    with closing(PostgresqlSink(url, PROJECTIONS)) as sink:
        worker = Worker(sink, Tape(BUS, topic), PROJECTIONS)
        for events in (
            [
                at_revision("P/1", related=RELATED),
                at_revision("P/2"),
                at_revision("BAD"),
                at_revision("BAD", 2),
            ],
            [at_revision("P/1", 2, related=RELATED)],
        ):
            assert isinstance(worker.store(worker.work(events)), Stored)
        worker.claim_partition()
        sink.progress([topic.name])
        sink.mark_published(sink.unpublished_receipts(), SYSTEM.now())
        for _ in range(2):
            sink.record_halt(tp, errors.OffsetGone(*tp, 1), SYSTEM.now())
            sink.record_skipped(tp, [SkippedMessages("unsealed", 1, 2, 3)])
        sink.clear_halts([tp])
        assert sink.with_waiting([tp]) == set()
        entry = QuarantineKey("transfer", tp, 2)
        decision = Decision("clerk", "tried")
        with sink.transaction() as transaction:
            assert transaction.quarantined(CURRENT, tp, [2])
            transaction.mark_retried([entry])
            transaction.record_decisions([(entry, "retried")], decision)
    quarantine = Quarantine(url)
    assert quarantine.discard(QuarantineFilter(topic=topic.name), decision) == 1
    quarantine.decisions(1)
    with (
        closing(Database(url, "test", needed=of_consumer.MATERIALISER)) as database,
        database.reading() as connection,
    ):
        assert retention.read(connection) == {}
    journal, number = Journal(url), uuid4()
    journal.begin(AuditRun(number, [], "clerk", "replay", None, {}, [topic.name], [], "test"))
    journal.end(AuditOutcome(number, "ended", 0, None, [], {}, None))
    assert journal.entries(None, None, 1)[0][0].run == number


def test_a_materialiser_does_its_work_with_its_rights(
    owned: OwnedDatabase, agency_slug: str
) -> None:
    materialise(owned.url("materialiser"), agency_slug)


@pytest.mark.parametrize("right", MATERIALISER.rights, ids=str)
def test_each_right_of_the_materialiser_is_used_and_missed_by_name(
    owned: OwnedDatabase, agency_slug: str, right: DatabaseRight
) -> None:
    with without(owned, "materialiser", right):
        with (
            closing(PostgresqlSink(owned.url("materialiser"), PROJECTIONS)) as sink,
            pytest.raises(errors.GrantMissing, match="before anything was done") as found,
        ):
            sink.check()
        assert found.value.missing == (str(right),)
        with pytest.raises(errors.GrantMissing) as found:
            materialise(owned.url("materialiser"), agency_slug)
    assert found.value.missing == (str(right),)
    said = str(found.value)
    assert f"The database user {owned.role('materialiser')} lacks {right}" in said
    assert "`sinergi db upgrade --role consumer`" in said


# The application


@pytest.mark.parametrize("right", APPLICATION.rights, ids=str)
def test_each_right_of_the_application_is_used_and_missed_by_name(
    owned: OwnedDatabase, right: DatabaseRight
) -> None:
    outbox = Outbox(AGENCY, Agreements.load(EXAMPLE), Catalog.shipped())
    # As if the application were of a newer version than the database.
    owned.execute("UPDATE sinergi_producer.known_schema SET text = NULL")
    for by in (sqlalchemy_session, psycopg_connection):
        with without(owned, "application", right), by(owned.url("application")) as transaction:
            with pytest.raises(errors.GrantMissing) as found:
                outbox.publish(transaction, transfer("P/1"))
            assert found.value.missing == (str(right),)
            assert f"{owned.role('application')} lacks {right}" in str(found.value)
            assert "producer.database_roles.application" in str(found.value)


@contextmanager
def sqlalchemy_session(url: str) -> Iterator[Session]:
    with Session(engine(url)) as session:
        yield session


@contextmanager
def psycopg_connection(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url) as connection:
        yield connection


@pytest.mark.parametrize("purpose", ["application", "relay", "materialiser", "reader", "auditor"])
def test_who_may_not_connect_is_told_so(owned: OwnedDatabase, purpose: str) -> None:
    with (
        without(owned, purpose, rights.CONNECT),
        closing(Database(owned.url(purpose), "a test")) as database,
        pytest.raises(errors.DatabaseLoginRefused, match="does not have CONNECT privilege"),
        database.serving(),
    ):
        pass
