"""A history is partitioned while it is written, and nothing of it is lost or left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from killed_statements import run_killed
from long_cases import long_after
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.sinks.postgresql.partitions import MONTHS_AHEAD
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.testing.sinks import BUS, PROJECTIONS, TOPIC, Worker, transfer
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.topics import Topic
from test_stored_together import stored
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TABLES = ("transfer_history", "transfer_history_escort")
_numbers = count()
PARTITION = """
from sinergi import migrate
from sinergi_consumers.testing.sinks import PROJECTIONS
migrate.partition(sys.argv[2], PROJECTIONS, print, is_wanted=True)
"""


def partition(url: str) -> int:
    return migrate.partition(url, PROJECTIONS, lambda _: None, is_wanted=True)


def ask(url: str, question: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo(url)) as connection:
        return connection.execute(question.encode()).fetchall()


def do(url: str, *statements: str) -> None:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        for each in statements:
            connection.execute(each.encode())


def rows(url: str) -> list[list[tuple[Any, ...]]]:
    """All that is in the tables of the history, without the column of the partitions."""
    kept = "to_jsonb(t) - 'event_recorded_at'"
    return [
        ask(url, f"SELECT ({kept})::text FROM sinergi.{name} AS t ORDER BY 1") for name in TABLES
    ]


def kinds(url: str) -> list[str]:
    of = "SELECT relkind::text FROM pg_class WHERE relnamespace = 'sinergi'::regnamespace"
    return [kind for (kind,) in ask(url, f"{of} AND relname = ANY('{{{','.join(TABLES)}}}')")]


@pytest.fixture
def database(postgresql: str) -> str:
    migrate.upgrade(postgresql, migrate.Role.CONSUMER, PROJECTIONS)
    return postgresql


@pytest.fixture
def worker(database: str) -> Iterator[Worker]:
    with closing(PostgresqlSink(database, PROJECTIONS)) as sink:
        worker = Worker(sink, Tape(BUS, TOPIC))
        worker.store(worker.work([transfer(f"P/{number}") for number in range(50)]))
        yield worker


def test_a_filled_history_is_partitioned_and_keeps_its_rows(worker: Worker, database: str) -> None:
    before = rows(database)
    partition(database)
    assert kinds(database) == ["p", "p"]
    assert rows(database) == before
    assert ask(database, "SELECT count(*) FROM sinergi.transfer_history_p_older") == [(50,)]
    worker.store(worker.work([transfer("P/50"), transfer("P/0", 2), transfer("P/1", 1)]))
    conflicts = "SELECT reason FROM sinergi_consumer.quarantine"
    assert ask(database, conflicts) == [("revision-conflict",)]
    assert ask(database, "SELECT count(*) FROM sinergi.transfer_history") == [(52,)]
    assert ask(database, "SELECT count(*) FROM sinergi.transfer_history_escort") == [(52,)]


def test_a_materialiser_writes_on_while_its_tables_are_partitioned(
    worker: Worker, database: str
) -> None:
    stop, written = Event(), count(50)
    stored_count: list[int] = []

    def work() -> None:
        while not stop.is_set():
            worker.store(worker.work([transfer(f"P/{next(written)}")]))
            stored_count.append(1)

    thread = Thread(target=work)
    thread.start()
    try:
        until(lambda: len(stored_count) > 3, "it writes")
        partition(database)
        after = len(stored_count)
        until(lambda: len(stored_count) > after + 3, "it writes on")
    finally:
        stop.set()
        thread.join()
    expected = [(50 + len(stored_count),)]
    for name in TABLES:
        assert ask(database, f"SELECT count(*) FROM sinergi.{name}") == expected
    assert ask(database, "SELECT count(*) FROM sinergi_consumer.quarantine") == [(0,)]


STEPS = (
    "ATTACH",
    "ADD COLUMN",
    "CREATE UNIQUE INDEX",
    "NOT VALID",
    "VALIDATE",
    "RENAME TO",
    "GRANT",
)


@pytest.mark.parametrize("step", long_after(1, STEPS))
def test_kill_9_in_any_step_leaves_tables_that_work_and_the_next_run_goes_on(
    worker: Worker, database: str, step: str
) -> None:
    do(database, "GRANT SELECT ON sinergi.transfer_history TO PUBLIC")
    before = rows(database)
    run_killed(PARTITION, step, database)
    assert rows(database) == before
    worker.store(worker.work([transfer("P/50")]))
    partition(database)
    worker.store(worker.work([transfer("P/51")]))
    assert kinds(database) == ["p", "p"]
    assert ask(database, "SELECT count(*) FROM sinergi.transfer_history_escort") == [(52,)]
    assert ask(database, "SELECT count(*) FROM sinergi.transfer_history") == [(52,)]


@pytest.mark.usefixtures("worker")
def test_two_commands_at_once_partition_a_history_once(database: str) -> None:
    before = rows(database)
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(partition, database) for _ in range(2)]:
            assert done.result() == 0
    assert kinds(database) == ["p", "p"]
    assert rows(database) == before


@pytest.mark.usefixtures("worker")
def test_an_index_that_was_left_invalid_is_built_anew(database: str) -> None:
    do(
        database,
        "CREATE UNIQUE INDEX transfer_history_p_key ON sinergi.transfer_history"
        " (agency, record_id, revision, recorded_at)",
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = 'sinergi.transfer_history_p_key'::regclass",
    )
    partition(database)
    assert kinds(database) == ["p", "p"]


def test_what_the_tables_have_beside_rows_is_carried_over(worker: Worker, database: str) -> None:
    do(
        database,
        "CREATE TABLE public.reasons (reason text PRIMARY KEY)",
        "INSERT INTO public.reasons VALUES ('HEALTH')",
        "ALTER TABLE sinergi.transfer_history ADD CONSTRAINT known FOREIGN KEY (reason)"
        " REFERENCES public.reasons, ADD CONSTRAINT positive CHECK (revision > 0)",
        "CREATE INDEX by_reason ON sinergi.transfer_history (reason)",
        "COMMENT ON INDEX sinergi.by_reason IS 'for lists'",
        "CREATE TABLE public.noted (record_id text)",
        "CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
        " $$ BEGIN INSERT INTO public.noted VALUES (NEW.record_id); RETURN NEW; END $$",
        "CREATE TRIGGER noting AFTER INSERT ON sinergi.transfer_history FOR EACH ROW"
        " EXECUTE FUNCTION public.note()",
        "CREATE VIEW public.listed WITH (security_barrier=true) AS SELECT record_id, position"
        " FROM sinergi.transfer_history JOIN sinergi.transfer_history_escort"
        " USING (agency, record_id, revision)",
        "CREATE VIEW public.counted AS SELECT count(*) AS n FROM public.listed",
        "GRANT SELECT ON public.listed TO PUBLIC",
        "GRANT SELECT (record_id, reason) ON sinergi.transfer_history TO PUBLIC",
        "GRANT SELECT ON sinergi.transfer_history_escort TO PUBLIC",
    )
    partition(database)
    worker.store(worker.work([transfer("P/50"), transfer("P/51", reason="SECURITY")]))
    assert ask(database, "SELECT n FROM public.counted") == [(51,)]
    assert ask(database, "SELECT record_id FROM public.noted") == [("P/50",)]
    assert ask(database, "SELECT reason FROM sinergi_consumer.quarantine") == [("rows-refused",)]
    about = ask(
        database,
        "SELECT obj_description('sinergi.by_reason'::regclass),"
        " obj_description('sinergi.transfer_history'::regclass) IS NOT NULL,"
        " col_description('sinergi.transfer_history'::regclass, 1) IS NOT NULL,"
        " (SELECT reloptions FROM pg_class WHERE oid = 'public.listed'::regclass)",
    )
    assert about == [("for lists", True, True, ["security_barrier=true"])]
    allowed = "SELECT has_any_column_privilege('pg_monitor', 'sinergi.{}', 'SELECT')"
    assert ask(database, allowed.format("transfer_history")) == [(True,)]
    assert ask(database, allowed.format("transfer_history_escort")) == [(True,)]
    assert ask(database, allowed.format("transfer_history_p_older")) == [(False,)]
    of_view = "SELECT has_table_privilege('pg_monitor', 'public.listed', 'SELECT')"
    assert ask(database, of_view) == [(True,)]


OBSTACLES = {
    "a foreign key to it": (
        (
            "CREATE TABLE public.noted (a text, r text, n integer,"
            " FOREIGN KEY (a, r, n) REFERENCES sinergi.transfer_history)"
        ),
        "noted_a_r_n_fkey",
    ),
    "another unique index": (
        "CREATE UNIQUE INDEX once ON sinergi.transfer_history (event_id)",
        "sinergi.once",
    ),
    "a materialised view": (
        "CREATE MATERIALIZED VIEW public.kept AS SELECT record_id FROM sinergi.transfer_history",
        "public.kept, which is no view",
    ),
    "row-level security": (
        "ALTER TABLE sinergi.transfer_history_escort ENABLE ROW LEVEL SECURITY",
        "sinergi.transfer_history_escort: it has row-level security",
    ),
    "a publication": (
        "CREATE PUBLICATION sent FOR TABLE sinergi.transfer_history",
        "the publication sent",
    ),
    "a function": (
        (
            "CREATE FUNCTION public.f() RETURNS bigint BEGIN ATOMIC"
            " SELECT count(*) FROM sinergi.transfer_history; END"
        ),
        "the function public.f()",
    ),
    "another column type": (
        "ALTER TABLE sinergi.transfer_history ALTER reason TYPE varchar(99)",
        "reason is character varying(99)",
    ),
}


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("obstacle", long_after(2, OBSTACLES))
def test_what_cannot_be_carried_over_is_named_and_nothing_is_changed(
    database: str, obstacle: str
) -> None:
    statement, named = OBSTACLES[obstacle]
    do(database, statement)
    before = rows(database)
    with pytest.raises(errors.PartitioningRefused) as refused:
        partition(database)
    assert any(named in each for each in refused.value.found), refused.value.found
    assert kinds(database) == ["r", "r"]
    assert rows(database) == before
    left = "SELECT count(*) FROM pg_class WHERE relname LIKE '%\\_p\\_%'"
    assert ask(database, left) == [(0,)]


def test_rows_of_the_far_future_are_refused_and_the_table_takes_rows_as_before(
    worker: Worker, database: str
) -> None:
    at = datetime(2199, 1, 1, tzinfo=UTC)
    worker.store(worker.work([transfer("P/50", recorded_at=at)]))
    with pytest.raises(errors.PartitioningRefused, match="which is in the future"):
        partition(database)
    worker.store(worker.work([transfer("P/51", recorded_at=at)]))
    assert ask(database, "SELECT count(*) FROM sinergi.transfer_history") == [(52,)]


@pytest.mark.usefixtures("worker")
def test_a_lock_that_others_hold_for_long_is_reported_and_the_next_run_goes_on(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinergi_consumers.sinks.postgresql.lock_attempts._ATTEMPTS", 1)
    with psycopg.connect(conninfo(database)) as reader:
        reader.execute("SELECT count(*) FROM sinergi.transfer_history_escort")
        with pytest.raises(errors.LockHeld, match=str(reader.info.backend_pid)):
            partition(database)
    partition(database)
    assert kinds(database) == ["p", "p"]


def test_later_upgrades_make_the_coming_partitions_and_move_rows_out_of_the_default(
    worker: Worker, database: str
) -> None:
    partition(database)
    made = "SELECT count(*) FROM pg_class WHERE relname ~ '^transfer_history_p2' AND relkind = 'r'"
    ((whole,),) = ask(database, made)
    assert MONTHS_AHEAD - 1 <= whole <= MONTHS_AHEAD
    for name in TABLES:
        last = f"SELECT max(relname) FROM pg_class WHERE relname ~ '^{name}_p2' AND relkind = 'r'"
        ((dropped,),) = ask(database, last)
        do(database, f"DROP TABLE sinergi.{dropped}")
    year, month = map(int, dropped.split("_p")[-1].split("_"))
    at = datetime(year, month, 15, tzinfo=UTC)
    worker.store(worker.work([transfer("P/50", recorded_at=at)]))
    assert ask(database, "SELECT count(*) FROM sinergi.transfer_history_p_other") == [(1,)]
    before = rows(database)
    done = migrate.partition(database, PROJECTIONS, lambda _: None, is_wanted=False)
    assert done == len(TABLES)
    assert rows(database) == before
    for name in TABLES:
        assert ask(database, f"SELECT count(*) FROM sinergi.{name}_p_other") == [(0,)]
        assert ask(database, f"SELECT count(*) FROM sinergi.{name}_p{dropped[-7:]}") == [(1,)]
    assert migrate.partition(database, PROJECTIONS, lambda _: None, is_wanted=False) == 0


def test_a_list_that_a_newer_schema_brings_is_partitioned_with_its_history(
    worker: Worker, database: str
) -> None:
    partition(database)
    do(database, "DROP TABLE sinergi.transfer_history_escort")
    migrate.upgrade(database, migrate.Role.CONSUMER, PROJECTIONS)
    assert kinds(database) == ["p", "p"]
    worker.store(worker.work([transfer("P/50")]))
    assert ask(database, "SELECT record_id FROM sinergi.transfer_history_escort") == [("P/50",)]


_DAYS_AHEAD = st.sampled_from([400, 200, 40, 0])
_DRAWN = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3), _DAYS_AHEAD), max_size=6)


@pytest.fixture
def both(databases: Callable[[], str]) -> Iterator[tuple[PostgresqlSink, PostgresqlSink, str, str]]:
    """A database with a partition for each month of two years, and one without partitions."""
    urls = databases(), databases()
    for each in urls:
        migrate.upgrade(each, migrate.Role.CONSUMER, PROJECTIONS)
    migrate.partition(urls[0], PROJECTIONS, lambda _: None, is_wanted=True)
    with (
        closing(PostgresqlSink(urls[0], PROJECTIONS)) as parted,
        closing(PostgresqlSink(urls[1], PROJECTIONS)) as plain,
    ):
        yield parted, plain, *urls


@pytest.mark.parametrize("examples", [5, pytest.param(40, marks=pytest.mark.long)])
def test_of_two_events_with_one_revision_the_first_leaf_wins_across_months_and_batches(
    both: tuple[PostgresqlSink, PostgresqlSink, str, str], examples: int
) -> None:
    # In one batch, and in the next one, with an earlier and a later month.
    twice = [[(1, 1, 40), (1, 1, 400), (2, 1, 0)], [(2, 1, 200), (1, 1, 0), (1, 2, 40)]]

    @settings(max_examples=examples)
    @example(rounds=twice)
    @given(rounds=st.lists(_DRAWN, min_size=1, max_size=3))
    def hold(rounds: Any) -> None:
        assert_same_rows(both, rounds)

    hold()


def assert_same_rows(both: tuple[PostgresqlSink, PostgresqlSink, str, str], rounds: Any) -> None:
    parted, plain, parted_url, plain_url = both
    number = next(_numbers)
    tape = Tape(BUS, Topic(f"lapas-{number}-a", "transfer"))
    workers = Worker(parted, tape), Worker(plain, tape)
    now = SYSTEM.now()
    for drawn in rounds:
        if not drawn:
            continue
        events = [
            transfer(
                f"P/{record}",
                revision,
                recorded_at=now + timedelta(days=days),
            )
            for record, revision, days in drawn
        ]
        messages = tape.write(events)
        for worker in workers:
            worker.store(worker.received(messages))
    assert stored(parted_url, number) == stored(plain_url, number)


@pytest.mark.usefixtures("worker")
def test_the_command_partitions_and_says_so(
    database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    upgrade = ["db", "upgrade", "--role", "consumer", "--database", conninfo_url(database)]
    assert run([*upgrade, "--partitioned"]) == 0
    said = capsys.readouterr().err
    assert "sinergi: transfer_history is partitioned by month" in said
    assert "up to date" in said
    assert run(upgrade) == 0
    assert capsys.readouterr().err.splitlines() == [
        "sinergi: the tables of a consumer are up to date"
    ]
    assert run(["db", "upgrade", "--role", "producer", "--partitioned"]) == 2


def conninfo_url(url: str) -> str:
    return sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
