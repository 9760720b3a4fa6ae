"""What a reader's database no longer keeps is removed by the owner alone, and an audit tells it
from what somebody has deleted.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from agency_pair import AgencyPair, transfer, until
from long_cases import long_after
from sinergi import migrate
from sinergi_producers.outbox.publishing import Outbox
from sinergi_schemas import codec
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from test_clock_differences import ShiftedClock
from verified_database import VerifiedDatabase, copied, until_receipted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HISTORY = "sinergi.transfer_history"
ESCORT = "sinergi.transfer_history_escort"
OLD, NEW = 5, 3
SETTINGS = ("--set", "consumer.retention.history_months=1")
AGO = timedelta(days=100)


def publish_old(pair: AgencyPair, *records: str) -> None:
    """Publish transfers as the publisher did 100 days ago."""
    at = SYSTEM.now() - AGO
    outbox = Outbox(pair.publisher, pair.agreements, Catalog.shipped(), ShiftedClock(-AGO))
    events = [transfer(each, occurred_at=at, departed_at=at) for each in records]
    with Session(pair.producer) as session, session.begin():
        outbox.publish_many(session, events)


class PrunedDatabase(VerifiedDatabase):
    """A reader's database with events that are older than it keeps, and newer ones."""

    def publish_again(self, record: str) -> None:
        """Publish another event as revision 1 of a record, as only its publisher can."""
        pair, schema = self.pair, Catalog.shipped().newest("transfer")
        pair.publish(transfer(record, "CORRECTED", reason="OWN_REQUEST"))
        unsealed = "FROM sinergi_producer.outbox WHERE leaf_index IS NULL"
        ((number, datum),) = pair.ask(f"SELECT id, datum {unsealed}", pair.producer)
        said = codec.decode(bytes(datum), schema) | {"revision": 1, "action": "RECORDED"}
        with pair.producer.begin() as connection:
            connection.execute(
                text("UPDATE sinergi_producer.outbox SET revision = 1, datum = :d WHERE id = :id"),
                {"d": codec.encode_document(said, schema), "id": number},
            )

    def materialise(self, history: int) -> None:
        with self.working():
            self.pair.until_rows(HISTORY, history)
            self.until_receipted()

    def prune(self, *options: str) -> tuple[int, dict[str, Any]]:
        return self.document(*SETTINGS, "db", "prune", *options)

    def count(self, table: str) -> int:
        return self.pair.count(table)

    def of_rows(self, table: str) -> dict[str, Any]:
        """The part of a verification that is about the rows of a table."""
        _, found = self.document("verify")
        return next(each for each in found["parts"] if each["of"] == table)


KINDS = long_after(1, ["one table", "partitioned"])


@contextmanager
def filling(pair: AgencyPair, kind: str) -> Iterator[None]:
    """Let the reader's tables be so, and give it older and newer events."""
    with pytest.MonkeyPatch.context() as patch:
        if kind == "partitioned":
            # So it has a partition for each month since then.
            clock = "sinergi_consumers.sinks.postgresql.partitioning.SYSTEM"
            patch.setattr(clock, ShiftedClock(-2 * AGO))
            migrate.partition(pair.consumer_url, pair.projections, lambda _: None, is_wanted=True)
        publish_old(pair, *(f"P/{number}" for number in range(OLD)))
        pair.publish(*(transfer(f"Q/{number}") for number in range(NEW)))
        with pair.relaying(), pair.materialising():
            pair.until_rows(HISTORY, OLD + NEW)
            until_receipted(pair)
        yield


@pytest.fixture(scope="module", params=KINDS)
def filled(
    request: pytest.FixtureRequest, pair_of_module: Callable[..., AgencyPair]
) -> Iterator[AgencyPair]:
    """A publisher, and a reader with older and newer events."""
    pair = pair_of_module()
    with filling(pair, request.param):
        yield pair


@pytest.fixture
def database(
    filled: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> PrunedDatabase:
    """A copy of that reader's database. All tests share its topics, and none changes them."""
    return PrunedDatabase(filled.copied(tmp_path, databases), capsys)


@pytest.fixture(params=KINDS)
def separate(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
) -> Iterator[PrunedDatabase]:
    """As `database`, with topics of its own."""
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    with filling(pair, request.param):
        yield PrunedDatabase(pair, capsys)


def test_nothing_is_removed_without_a_setting_or_without_apply(database: PrunedDatabase) -> None:
    status, found = database.document("db", "prune", "--apply")
    assert (status, found["is_needed"], found["removed_rows"]) == (0, False, 0)
    status, found = database.prune()
    assert (status, found["is_needed"], found["is_applied"]) == (1, True, False)
    table = next(each for each in found["tables"] if each["table"] == HISTORY)
    assert (table["to_remove"], table["removed"]) == (OLD, 0)
    assert database.count(HISTORY) == OLD + NEW
    assert database.count("sinergi_consumer.retention") == 0


def test_what_was_removed_is_recorded_and_the_rest_is_proved(database: PrunedDatabase) -> None:
    current = database.rows("sinergi.transfer")
    status, found = database.prune("--apply", "--why", "regulation 12")
    assert (status, found["removed_rows"]) == (0, OLD)
    assert (database.count(HISTORY), database.count(ESCORT)) == (NEW, NEW)
    assert database.rows("sinergi.transfer") == current
    recorded = database.pair.ask(
        "SELECT table_name, sum(rows), min(why) FROM sinergi_consumer.retention"
        " WHERE rows > 0 GROUP BY 1"
    )
    assert recorded == [(HISTORY, OLD, "regulation 12")]
    status, out, err = database.run("verify")
    assert status == 0, (out, err)
    assert f"{NEW} rows; {OLD} rows of events recorded before" in " ".join(out.split())
    status, out, err = database.run("rebuild", "transfer_history", "--apply")
    assert status == 0, (out, err)
    assert database.count(HISTORY) == NEW
    status, found = database.prune("--apply")
    assert (status, found["removed_rows"], found["is_needed"]) == (0, 0, False)


def test_a_replay_as_of_a_later_time_says_which_events_the_database_had_removed(
    database: PrunedDatabase, databases: Callable[[], str]
) -> None:
    database.prune("--apply")
    at = SYSTEM.now().replace(microsecond=0) + timedelta(seconds=1)
    until(lambda: SYSTEM.now() >= at, "the next second")
    status, _, err = database.run("replay", "--as-of", at.isoformat(), "--into", databases())
    assert status == 0, err
    assert f"which events {HISTORY} had from before" in err
    assert f"by then {OLD} had been removed by retention" in " ".join(err.split())


def test_a_reconciliation_counts_what_was_removed_as_no_difference(
    database: PrunedDatabase,
) -> None:
    database.prune("--apply")
    status, out, err = database.run("reconcile")
    assert f"{OLD} removed by retention" in err, (out, err)
    assert "0 differences" in err
    database.execute(f"DELETE FROM {HISTORY} WHERE record_id = 'Q/1'")
    status, out, err = database.run("reconcile")
    assert status == 1
    assert "1 difference" in err


ATTACKS = {
    "a newer row deleted": (f"DELETE FROM {HISTORY} WHERE record_id = 'Q/1'", HISTORY),
    "an item of a newer row deleted": (f"DELETE FROM {ESCORT} WHERE record_id = 'Q/1'", ESCORT),
    "a row added below the time": (
        copied(HISTORY, "Q/1", record_id="P/0", recorded_at="2001-01-01T00:00:00+00:00"),
        HISTORY,
    ),
    "the record of the removal deleted": ("DELETE FROM sinergi_consumer.retention", HISTORY),
    "the time of the removal moved, and newer rows deleted": (
        f"UPDATE sinergi_consumer.retention SET before = now(); DELETE FROM {HISTORY}",
        HISTORY,
    ),
}


def test_a_removal_hides_no_attack(database: PrunedDatabase) -> None:
    database.prune("--apply")
    kept = "CREATE TABLE public.{} AS SELECT * FROM {}"
    tables = {"h": HISTORY, "e": ESCORT, "r": "sinergi_consumer.retention"}
    database.execute(*(kept.format(name, table) for name, table in tables.items()))
    for attack, (statement, table) in ATTACKS.items():
        database.execute(statement)
        assert database.of_rows(table)["verdict"] == "disproved", attack
        database.execute(
            *(
                f"DELETE FROM {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE"
                f" SELECT * FROM public.{name}"
                for name, table in tables.items()
            )
        )
        assert database.run("verify")[0] == 0, attack


def test_another_event_with_the_revision_of_a_removed_one_is_named_and_gives_way_to_the_first(
    separate: PrunedDatabase,
) -> None:
    separate.prune("--apply")
    separate.publish_again("P/0")
    separate.materialise(NEW + 1)
    status, found = separate.document("verify")
    wrong = [each for each in found["parts"] if each["verdict"] == "disproved"]
    assert (status, [each["of"] for each in wrong]) == (1, [HISTORY, ESCORT, "transfer_history"])
    assert all("or the publisher, by another event" in each["could_be_done_by"] for each in wrong)
    assert {each["key"]["record_id"] for each in found["differences"]} == {"P/0"}
    status, out, err = separate.run("rebuild", "transfer_history", "--apply")
    assert status == 0, (out, err)
    assert separate.count(HISTORY) == NEW + 1
    status, found = separate.prune("--apply")
    assert (status, found["removed_rows"]) == (0, 1)
    assert separate.run("verify")[0] == 0


def test_rows_that_were_deleted_and_not_removed_come_back_by_a_rebuild_and_go_by_the_next_run(
    database: PrunedDatabase,
) -> None:
    database.execute(f"DELETE FROM {HISTORY} WHERE record_id = 'P/0'")
    status, found = database.prune("--apply")
    assert (status, found["removed_rows"]) == (0, OLD - 1)
    part = database.of_rows(HISTORY)
    assert part["verdict"] == "disproved"
    assert f"{OLD} missing" in part["found"]
    assert f"sinergi_consumer.retention records {OLD - 1} as removed" in part["found"]
    status, _, err = database.run("reconcile")
    assert status == 1
    assert f"{OLD} differences" in err
    status, out, err = database.run("rebuild", "transfer_history", "--apply")
    assert status == 0, (out, err)
    assert database.count(HISTORY) == OLD + NEW
    status, found = database.prune("--apply")
    assert (status, found["removed_rows"]) == (0, OLD)
    assert database.run("verify")[0] == 0
    removed = "SELECT counts -> 'removed_rows' FROM sinergi_consumer.journal_end JOIN"
    removed += " sinergi_consumer.journal USING (run) WHERE command = 'verify' ORDER BY ended_at"
    assert [count for (count,) in database.pair.ask(removed)] == [0, OLD * 2]


def test_only_the_owner_of_the_tables_prunes(database: PrunedDatabase) -> None:
    role = f"a_{database.pair.publisher.rpartition('-')[2]}"
    database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD '{role}'",
        f"GRANT USAGE ON SCHEMA sinergi, sinergi_consumer TO {role}",
        f"GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA sinergi, sinergi_consumer TO {role}",
    )
    url = database.pair.consumer.url.set(
        drivername="postgresql", username=role, password=role
    ).render_as_string(hide_password=False)
    owner = ("--set", f"consumer.owner_database={url}")
    try:
        status, _, err = database.run(*SETTINGS, *owner, "db", "prune", "--apply")
    finally:
        database.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    assert status == 2
    assert f"User {role} does not own the tables" in err
    assert database.count(HISTORY) == OLD + NEW


def test_an_older_event_that_arrives_late_is_stored_and_goes_with_the_next_run(
    separate: PrunedDatabase,
) -> None:
    separate.prune("--apply")
    publish_old(separate.pair, "LATE/1")
    separate.materialise(NEW + 1)
    status, out, err = separate.run("verify")
    assert status == 0, (out, err)
    separate.execute(f"UPDATE {HISTORY} SET reason = 'SECURITY' WHERE record_id = 'LATE/1'")
    assert separate.of_rows(HISTORY)["verdict"] == "disproved"
    status, found = separate.prune("--apply")
    assert (status, found["removed_rows"]) == (0, 1)
    assert separate.run("verify")[0] == 0
