"""Older checkpoints and receipts are removed, and audits say what these can no longer tell."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from agency_pair import AgencyPair, transfer
from long_cases import long_after
from sinergi import migrate
from sinergi_consumers.sinks.postgresql import statement_pruning
from sinergi_consumers.sinks.postgresql.reader_pruning import ReaderPruning, RetentionPeriods
from sinergi_consumers.sinks.protocol import Decision
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.topics import receipts_topic
from test_clock_differences import ShiftedClock
from verified_database import VerifiedDatabase, until_receipted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RECEIPT = "sinergi_consumer.receipt"
CHECKPOINT = "sinergi_consumer.checkpoint"
AGO = (100, 70, 0)  # days
SETTINGS = (
    *("--set", "consumer.retention.checkpoint_months=1"),
    *("--set", "consumer.retention.receipt_months=1"),
)
EACH = 3


class ReceiptedDatabase(VerifiedDatabase):
    """A reader's database that has signed receipts 100 days ago, 70 days ago, and today."""

    @property
    def removed(self) -> int:
        """The largest tree of the receipts that were removed."""
        question = (
            f"SELECT max(largest_size) FROM sinergi_consumer.retention WHERE {{}} = '{RECEIPT}'"
        )
        ((size,),) = self.pair.ask(question.format("table_name"))
        return int(size)

    def as_of(self, days: int, into: str) -> tuple[int, str]:
        at = (SYSTEM.now() - timedelta(days=days)).isoformat()
        status, _, err = self.run("replay", "--as-of", at, "--into", into)
        return status, err

    def receipts_of(self, record: str) -> list[Any]:
        _, found = self.document("received", "transfer", record)
        return [each for one in found["revisions"] for each in one["receipts"]]


@pytest.fixture(scope="module")
def filled(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """One whose reader has signed receipts 100 days ago, 70 days ago, and today."""
    pair = pair_of_module(partitions=1)
    for number, days in enumerate(AGO):
        pair.reader_clock = ShiftedClock(-timedelta(days=days))
        pair.publish(*(transfer(f"P/{number}/{one}") for one in range(EACH)))
        with pair.relaying(), pair.materialising():
            pair.until_rows("sinergi.transfer_history", EACH * (number + 1))
            until_receipted(pair)
    return pair


@pytest.fixture
def database(
    filled: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> ReceiptedDatabase:
    """A copy of that reader's database. Only the last test changes its topics."""
    return ReceiptedDatabase(filled.copied(tmp_path, databases), capsys)


def test_since_when_a_record_was_there_is_at_the_latest_if_earlier_receipts_were_removed(
    database: ReceiptedDatabase,
) -> None:
    (before,) = database.receipts_of("P/0/0")
    database.document(*SETTINGS, "db", "prune", "--apply")
    (old,), (new,) = database.receipts_of("P/0/0"), database.receipts_of("P/2/0")
    assert (before["at_the_latest"], old["at_the_latest"]) == (False, True)
    assert old["signed_by_reader_at"] > before["signed_by_reader_at"]
    assert (new["known_from"], new["at_the_latest"]) == ("reader's table", False)
    _, out, _ = database.run("received", "transfer", "P/0/0")
    assert "at the latest" in out


def test_what_was_sealed_between_two_times_is_still_shown(database: ReceiptedDatabase) -> None:
    database.document(*SETTINGS, "db", "prune", "--apply")
    since, until = (SYSTEM.now() - timedelta(days=days) for days in (90, 50))
    status, found = database.document(
        "withheld", "--from", since.isoformat(), "--to", until.isoformat()
    )
    assert status == 0, found


ROWS = f"""
    INSERT INTO {RECEIPT} (topic, partition, size, note, signed_at, published_at)
    SELECT 'sinergi.a-' || t || '.transfer', p, n, '', now() - make_interval(days => 400 - n),
        CASE WHEN n = ANY (%(unpublished)s) THEN NULL ELSE now() END
    FROM generate_series(1, 2) AS t, generate_series(0, 1) AS p, generate_series(1, %(rows)s) AS n;
"""
OF_CHECKPOINTS = f"""
    INSERT INTO {CHECKPOINT} (topic, partition, size, root, note, seen_at)
    SELECT topic, partition, size, '', '', signed_at FROM {RECEIPT}
"""


@pytest.mark.parametrize("most", long_after(1, [7, 4, 1_000]))
@pytest.mark.parametrize("rows", long_after(1, [100, 400]))
def test_of_each_topic_partition_the_last_older_one_and_the_unpublished_stay(
    postgresql: str, monkeypatch: pytest.MonkeyPatch, most: int, rows: int
) -> None:
    """400 rows reach until today, 100 only until 300 days ago."""
    monkeypatch.setattr(statement_pruning, "MOST_ROWS", most)
    migrate.upgrade(postgresql, migrate.Role.CONSUMER)
    unpublished = [1, 5, 6, 50, 90]
    with psycopg.connect(conninfo(postgresql), autocommit=True) as connection:
        connection.execute(ROWS, {"unpublished": unpublished, "rows": rows}, prepare=False)
        connection.execute(OF_CHECKPOINTS)
    pruning = ReaderPruning(postgresql, (), RetentionPeriods(None, 2, 2))
    planned = {each.table: each.rows for each in pruning.plan().tables}
    removed = sum(pruning.apply(Decision("somebody", "a test")))
    assert removed == sum(planned.values()) > 0
    assert pruning.plan().rows == 0
    pruning.close()
    with psycopg.connect(conninfo(postgresql)) as connection:
        for table, kept in ((CHECKPOINT, []), (RECEIPT, unpublished)):
            question = (
                "SELECT topic, partition, array_agg(size ORDER BY size), min(size)"
                f" FILTER (WHERE NOT size = ANY (%s)), max(size) FROM {table} GROUP BY 1, 2"
            )
            found = connection.execute(question.encode(), (kept,)).fetchall()
            assert len(found) == 4
            for _, _, sizes, first, newest in found:
                assert newest == rows
                assert set(kept) < set(sizes)
                assert sizes == sorted({*kept, *range(first, rows + 1)})
            recorded = connection.execute(
                "SELECT sum(rows), max(largest_size) FROM sinergi_consumer.retention"
                " WHERE table_name = %s",
                (table,),
            ).fetchone()
            assert recorded == (planned[table], min(row[3] for row in found) - 1)


def test_what_the_database_had_before_the_time_is_not_guessed_and_later_times_are_shown(
    database: ReceiptedDatabase, databases: Callable[[], str]
) -> None:
    assert database.as_of(80, databases())[0] == 0
    status, found = database.document(*SETTINGS, "db", "prune", "--apply")
    assert status == 0, found
    assert found["removed_rows"] > 0
    into = databases()
    status, err = database.as_of(80, into)
    assert status == 0, err  # by the receipts topic, which has the older receipts still
    topic = receipts_topic(database.pair.reader)
    database.replace_topic(topic, 1, lambda _, messages: messages[-1:])
    into = databases()
    status, err = database.as_of(80, into)
    assert status == 2
    assert "cannot be told by its receipts" in err
    assert f"its receipts for up to {database.removed}, signed before" in err
    status, err = database.as_of(60, into)
    assert status == 0, err
    with psycopg.connect(conninfo(into)) as connection:
        count = connection.execute("SELECT count(*) FROM sinergi.transfer").fetchone()
    assert count == (2 * EACH,)
    status, _, err = database.run("verify")
    assert status == 0, err
