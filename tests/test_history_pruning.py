"""A history loses its older events, and no other row, while it is written and whatever happens."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import timedelta
from itertools import count
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from killed_statements import run_killed
from long_cases import long_after
from sinergi import migrate
from sinergi_consumers.sinks.postgresql import history_pruning
from sinergi_consumers.sinks.postgresql.partitions import Month
from sinergi_consumers.sinks.postgresql.reader_pruning import ReaderPruning, RetentionPeriods
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.sinks.protocol import Decision
from sinergi_consumers.testing.sinks import BUS, PROJECTIONS, Worker, transfer
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql.address import conninfo
from sinergi_schemas.topics import Topic
from test_clock_differences import ShiftedClock
from test_partitioning import ask
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi_schemas.events import Transfer

YEAR = timedelta(days=365)
OLD, NEW = 100, 0  # days
_numbers = count()
PRUNE = """
from sinergi_consumers.sinks.postgresql import history_pruning
from sinergi_consumers.sinks.postgresql.reader_pruning import ReaderPruning, RetentionPeriods
from sinergi_consumers.sinks.protocol import Decision
from sinergi_consumers.testing.sinks import PROJECTIONS
history_pruning.MOST_BLOCKS = 1
pruning = ReaderPruning(sys.argv[2], PROJECTIONS, RetentionPeriods(1, None, None))
list(pruning.apply(Decision("somebody", "a test")))
"""


def prune(url: str, months: int = 1) -> int:
    periods = RetentionPeriods(months, None, None)
    with closing(ReaderPruning(url, PROJECTIONS, periods)) as pruning:
        planned = pruning.plan().rows
        removed = sum(pruning.apply(Decision("somebody", "a test")))
        assert pruning.plan().rows == 0
        assert removed >= planned
    return removed


def event(record: str, days: int, revision: int = 1) -> Transfer:
    """A transfer that was recorded so many days ago."""
    at = SYSTEM.now() - timedelta(days=days)
    return transfer(record, revision, recorded_at=at, occurred_at=at, departed_at=at)


class Reader(NamedTuple):
    url: str
    sink: PostgresqlSink

    def worker(self, number: int) -> Worker:
        return Worker(self.sink, Tape(BUS, Topic(f"lapas-{number}-a", "transfer")))

    def keys(self, table: str, number: int) -> list[tuple[Any, ...]]:
        where = f"agency = 'lapas-{number}-a'"
        return ask(self.url, f"SELECT record_id, revision FROM {table} WHERE {where} ORDER BY 1, 2")


# Whether a history has a partition for each month, one for all months until now, or none.
KINDS = {"by month": -YEAR, "partitioned lately": timedelta(), "one table": None}


def make(kind: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.upgrade(url, migrate.Role.CONSUMER, PROJECTIONS)
    ahead = KINDS[kind]
    if ahead is not None:
        clock = "sinergi_consumers.sinks.postgresql.partitioning.SYSTEM"
        monkeypatch.setattr(clock, ShiftedClock(ahead))
        migrate.partition(url, PROJECTIONS, lambda _: None, is_wanted=True)


@pytest.fixture(params=KINDS)
def reader(
    request: pytest.FixtureRequest, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Reader]:
    make(request.param, postgresql, monkeypatch)
    with closing(PostgresqlSink(postgresql, PROJECTIONS)) as sink:
        yield Reader(postgresql, sink)


@pytest.fixture
def readers(
    databases: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Reader]]:
    """One of each kind."""
    with ExitStack() as stack:
        found = []
        for kind in KINDS:
            url = databases()
            make(kind, url, monkeypatch)
            found.append(
                Reader(url, stack.enter_context(closing(PostgresqlSink(url, PROJECTIONS))))
            )
        yield found


_EVENTS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from([0, 40, 75, 130, 500])),
    min_size=1,
    max_size=5,
)
_STEPS = st.lists(st.one_of(_EVENTS, st.integers(1, 4)), min_size=1, max_size=6)


@pytest.mark.parametrize("examples", [4, pytest.param(40, marks=pytest.mark.long)])
def test_whatever_the_order_of_events_and_removals_each_history_has_what_is_new_enough(
    readers: list[Reader], examples: int
) -> None:
    late = [[(1, 1, 0), (2, 1, 130)], 2, [(1, 2, 500), (2, 2, 40)], 1]

    @settings(max_examples=examples)
    @example(steps=late)
    @given(steps=_STEPS)
    def hold(steps: list[Any]) -> None:
        assert_same_histories(readers, steps)

    hold()


def assert_same_histories(readers: list[Reader], steps: list[Any]) -> None:
    """A step is a batch of events, or a removal that keeps so many months."""
    number = next(_numbers)
    workers = [each.worker(number) for each in readers]
    expected: dict[tuple[str, int], Any] = {}
    current: dict[str, int] = {}
    for step in steps:
        if isinstance(step, int):
            before = Month.of(SYSTEM.now()).plus(-step).start
            expected = {key: at for key, at in expected.items() if at >= before}
            assert len({prune(each.url, step) for each in readers}) == 1
        else:
            events = [event(f"P/{record}", days, revision) for record, revision, days in step]
            for one in events:
                expected.setdefault((one.record_id, one.revision), one.recorded_at)
                current[one.record_id] = max(current.get(one.record_id, 0), one.revision)
            for worker in workers:
                worker.store(worker.work(events))
        for each in readers:
            for table in ("sinergi.transfer_history", "sinergi.transfer_history_escort"):
                assert each.keys(table, number) == sorted(expected)
            assert each.keys("sinergi.transfer", number) == sorted(current.items())
    recorded = "SELECT sum(rows) FROM sinergi_consumer.retention"
    assert len({str(ask(each.url, recorded)) for each in readers}) == 1


def fill(reader: Reader, rows: int = 300) -> Worker:
    worker = reader.worker(1)
    for first in range(0, rows, 100):
        numbers = range(first, first + 100)
        worker.store(worker.work([event(f"P/{one}", (OLD, NEW)[one % 2]) for one in numbers]))
    return worker


def test_whole_partitions_are_dropped_and_the_others_stay(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("by month", postgresql, monkeypatch)
    with closing(PostgresqlSink(postgresql, PROJECTIONS)) as sink:
        fill(Reader(postgresql, sink))
        names = "SELECT relname FROM pg_class WHERE relname LIKE 'transfer_history%\\_p____\\___'"
        of = Month.of(SYSTEM.now() - timedelta(days=OLD))
        made = {name for (name,) in ask(postgresql, names)}
        assert f"transfer_history_p{of.name}" in made
        assert prune(postgresql) == 150
        left = {name for (name,) in ask(postgresql, names)}
        kept = Month.of(SYSTEM.now()).plus(-1)
        assert left == {each for each in made if each[-7:] >= kept.name}
        late = Reader(postgresql, sink).worker(2)
        late.store(late.work([event("LATE/1", OLD)]))
        assert ask(postgresql, "SELECT record_id FROM sinergi.transfer_history_p_other") == [
            ("LATE/1",)
        ]
        assert prune(postgresql) == 1


STEPS = ("DELETE FROM", "INSERT INTO sinergi_consumer.retention", "LOCK TABLE", "DROP TABLE")


@pytest.mark.parametrize("step", long_after(1, STEPS))
def test_kill_9_leaves_rows_and_the_record_of_their_removal_and_the_next_run_goes_on(
    reader: Reader, step: str, request: pytest.FixtureRequest
) -> None:
    drops = "by month" in request.node.name
    if not drops and step in STEPS[2:]:
        step = STEPS[0]
    if drops and step == STEPS[0]:
        step = STEPS[3]
    fill(reader)
    run_killed(PRUNE, step, reader.url)
    there, removed = (
        "SELECT count(*) FROM sinergi.transfer_history",
        "SELECT coalesce(sum(rows), 0) FROM sinergi_consumer.retention",
    )
    ((rows,),), ((gone,),) = ask(reader.url, there), ask(reader.url, removed)
    assert rows + gone == 300
    assert ask(reader.url, f"{there}_escort") == [(rows,)]
    prune(reader.url)
    assert ask(reader.url, there) == ask(reader.url, f"{there}_escort") == [(150,)]
    assert ask(reader.url, removed) == [(150,)]


def test_a_materialiser_writes_on_while_older_events_are_removed(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_pruning, "MOST_BLOCKS", 1)
    worker = fill(reader)
    stop, written = Event(), count(300)
    done: list[int] = []

    def work() -> None:
        while not stop.is_set():
            one = next(written)
            worker.store(worker.work([event(f"P/{one}", (OLD, NEW)[one % 2])]))
            done.append(one)

    thread = Thread(target=work)
    thread.start()
    try:
        until(lambda: len(done) > 3, "it writes")
        periods = RetentionPeriods(1, None, None)
        with closing(ReaderPruning(reader.url, PROJECTIONS, periods)) as pruning:
            assert sum(pruning.apply(Decision("somebody", "a test"))) >= 150
        after = len(done)
        until(lambda: len(done) > after + 3, "it writes on")
    finally:
        stop.set()
        thread.join()
    prune(reader.url)
    new = [f"P/{one}" for one in range(300 + len(done)) if one % 2]
    for table in ("sinergi.transfer_history", "sinergi.transfer_history_escort"):
        assert [record for record, _ in reader.keys(table, 1)] == sorted(new)
    assert ask(reader.url, "SELECT count(*) FROM sinergi_consumer.quarantine") == [(0,)]


def test_a_lock_that_others_hold_for_long_is_named_and_the_next_run_goes_on(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinergi_consumers.sinks.postgresql.lock_attempts._ATTEMPTS", 1)
    fill(reader)
    with psycopg.connect(conninfo(reader.url)) as other:
        other.execute("LOCK TABLE sinergi.transfer_history IN SHARE MODE")
        with pytest.raises(errors.LockHeld, match=str(other.info.backend_pid)):
            prune(reader.url)
    assert prune(reader.url) == 150


REFERENCING = """
    CREATE TABLE public.noted AS SELECT {key} FROM sinergi.transfer_history WHERE record_id = 'OLD';
    ALTER TABLE public.noted ADD CONSTRAINT noting FOREIGN KEY ({key})
        REFERENCES sinergi.transfer_history ({key}){action}
"""


@pytest.mark.parametrize("action", ["", " ON DELETE RESTRICT"])
def test_what_leads_to_older_events_from_outside_is_named_and_they_stay(
    reader: Reader, action: str
) -> None:
    worker = reader.worker(next(_numbers))
    worker.store(worker.work([event("OLD", OLD), event("NEW", NEW)]))
    keys = ask(
        reader.url,
        "SELECT string_agg(attname, ', ') FROM pg_index JOIN pg_attribute ON attrelid = indrelid"
        " AND attnum = ANY(indkey) WHERE indrelid = 'sinergi.transfer_history'::regclass"
        " AND indisprimary",
    )
    with psycopg.connect(conninfo(reader.url), autocommit=True) as connection:
        statement = REFERENCING.format(key=keys[0][0], action=action)
        connection.execute(statement.encode())
    with pytest.raises(errors.HistoryReferenced, match="noting") as refused:
        prune(reader.url)
    assert "OLD" not in str(refused.value)
    assert ask(reader.url, "SELECT count(*) FROM sinergi.transfer_history") == [(2,)]
    assert ask(reader.url, "SELECT count(*) FROM sinergi_consumer.retention") == [(0,)]
    with psycopg.connect(conninfo(reader.url), autocommit=True) as connection:
        connection.execute("DROP TABLE public.noted")
    assert prune(reader.url) == 1
