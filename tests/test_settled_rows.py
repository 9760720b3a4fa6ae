"""What people and status ask of the databases costs no more for all that is settled there."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from settled_rows import TOPIC, quarantined, statements
from sinergi import migrate
from sinergi.status import databases
from sinergi_consumers.audit.reader_records import ReaderRecords
from sinergi_consumers.quarantine.admin import (
    UNSETTLED,
    Quarantine,
    QuarantineFilter,
    QuarantineState,
)
from sinergi_consumers.sinks.postgresql import statement_pruning, stored_statements
from sinergi_consumers.sinks.postgresql.reader_pruning import ReaderPruning, RetentionPeriods
from sinergi_consumers.sinks.protocol import Decision
from sinergi_producers.outbox.pending import PendingKind, pending_rows
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.topics import TopicPartition
from test_bounded_quarantine import rows_of_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROWS = 30_000
FEW = 100
WAITING = """
    INSERT INTO sinergi_producer.outbox (event_id, event_type, record_id, revision, recorded_at,
        fingerprint, datum, backfill, held)
    VALUES (gen_random_uuid(), 'transfer', 'Q/1', 1, now(), '', '', true, NULL),
        (gen_random_uuid(), 'transfer', 'Q/2', 1, now(), '', '', false, 'no agreement'),
        (gen_random_uuid(), 'transfer', 'Q/3', 1, now(), '', '', false, NULL)
"""
OPEN = quarantined("CASE n % 2 WHEN 0 THEN 'open' ELSE 'superseded' END", ROWS + 1, ROWS + 6)


@pytest.fixture(scope="module")
def filled(databases_of_module: Callable[[], str]) -> str:
    """A database with much that is settled and little that waits, as autovacuum leaves it.

    No test changes it.
    """
    postgresql = databases_of_module()
    for role in migrate.Role:
        migrate.upgrade(postgresql, role)
    with psycopg.connect(conninfo(postgresql), autocommit=True) as connection:
        for each in (*statements(ROWS), WAITING, OPEN):
            connection.execute(each)
        connection.execute("VACUUM ANALYZE")
    return postgresql


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """The plan of every statement about our tables that this process runs from now on."""
    found: list[Mapping[str, Any]] = []
    execute: Any = psycopg.Connection.execute

    def explained(
        connection: psycopg.Connection, query: Any, values: Any = None, **options: Any
    ) -> Any:
        text = psycopg.sql.SQL(query) if isinstance(query, str) else query
        if isinstance(text, bytes):
            text = psycopg.sql.SQL(text.decode())
        if "sinergi_" in text.as_string(connection):
            question = psycopg.sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) {}").format(text)
            ((plan,),) = execute(connection, question, values).fetchall()
            found.append(plan[0]["Plan"])
        return execute(connection, query, values, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", explained)
    return found


def scanned_whole(step: Mapping[str, Any]) -> Iterator[str]:
    """The tables that a plan reads from their first row to as many as it needs."""
    if step["Node Type"] == "Seq Scan":
        yield step["Relation Name"]
    for each in step.get("Plans", ()):
        yield from scanned_whole(each)


def assert_no_settled_row_was_read(plans: list[Mapping[str, Any]]) -> None:
    assert plans
    assert max(sum(rows_of_steps(each)) for each in plans) < FEW
    tables = {table for each in plans for table in scanned_whole(each)}
    assert not tables & {"outbox", "quarantine", "receipt"}


@pytest.mark.parametrize("kind", [None, *PendingKind])
def test_the_list_of_the_outbox_reads_no_sealed_row(
    filled: str, plans: list[Mapping[str, Any]], kind: PendingKind | None
) -> None:
    rows, count = pending_rows(filled, kind, 2)
    expected = {
        None: ["Q/1", "Q/2", "Q/3"],
        PendingKind.HELD: ["Q/2"],
        PendingKind.UNSEALED: ["Q/1", "Q/3"],
    }[kind]
    assert [each.record_id for each in rows] == expected[:2]
    assert count == len(expected)
    assert_no_settled_row_was_read(plans)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (QuarantineFilter(states=UNSETTLED), 6),
        (QuarantineFilter(states=[QuarantineState.OPEN]), 3),
        (QuarantineFilter(states=[QuarantineState.SUPERSEDED]), 3),
        (QuarantineFilter(states=UNSETTLED, topic=TOPIC), 2),
        (QuarantineFilter(states=UNSETTLED, topic=TOPIC, partition=0), 2),
        (QuarantineFilter(states=UNSETTLED, projection="transfer"), 6),
        (QuarantineFilter(states=UNSETTLED, reason="rows-refused"), 6),
    ],
)
def test_the_list_of_quarantine_reads_no_settled_row(
    filled: str, plans: list[Mapping[str, Any]], wanted: QuarantineFilter, count: int
) -> None:
    assert Quarantine(filled).rows(wanted, 1)[1] == count
    assert_no_settled_row_was_read(plans)


def test_the_names_in_quarantine_are_found_without_reading_its_rows(
    filled: str, plans: list[Mapping[str, Any]]
) -> None:
    quarantine = Quarantine(filled)
    assert quarantine.names("topic") == [f"sinergi.lapas-{n}.transfer" for n in range(3)]
    assert quarantine.names("projection") == ["transfer"]
    assert quarantine.names("reason") == ["rows-refused"]
    assert_no_settled_row_was_read(plans)


def test_the_newest_checkpoint_and_receipt_are_found_without_reading_the_older_ones(
    filled: str, plans: list[Mapping[str, Any]]
) -> None:
    with psycopg.connect(conninfo(filled)) as connection:
        newest = stored_statements.largest_checkpoints(connection)
        assert {tp: each.size for tp, each in newest.items()} == {(TOPIC, 0): ROWS}
        assert stored_statements.largest_published(connection) == {(TOPIC, 0): ROWS}
        stored_statements.newest(connection, "sinergi_consumer.receipt", "signed_at, note")
    assert len(plans) == 3
    assert_no_settled_row_was_read(plans)


def test_what_is_old_is_found_without_reading_what_is_not(
    filled: str, plans: list[Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_pruning, "MOST_ROWS", 10)
    with closing(ReaderPruning(filled, (), RetentionPeriods(None, 1, 1))) as pruning:
        assert pruning.plan().rows == 0
        assert sum(pruning.apply(Decision("somebody", "a test"))) == 0
    assert_no_settled_row_was_read(plans)


def test_the_last_receipt_and_what_was_removed_are_found_by_index(
    filled: str, plans: list[Mapping[str, Any]]
) -> None:
    tp = TopicPartition(TOPIC, 0)
    with closing(ReaderRecords(filled)) as records:
        last = records.last_receipt(tp, int(SYSTEM.now().timestamp()) + 1)
        assert last is not None
        assert last.size == ROWS
        assert records.following_receipt(tp, 7) is not None
        assert records.removed_receipts(tp) is None
        assert records.removed_events(SYSTEM.now()) == []
    assert_no_settled_row_was_read(plans)


@pytest.mark.parametrize(
    "look", [databases.producer_rows, databases.consumer_rows], ids=["publisher", "reader"]
)
def test_status_reads_no_settled_row(
    filled: str, plans: list[Mapping[str, Any]], look: Callable[[str], object]
) -> None:
    look(filled)
    assert_no_settled_row_was_read(plans)
