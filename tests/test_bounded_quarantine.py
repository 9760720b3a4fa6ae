"""The time of a batch does not grow with what quarantine already holds of a record."""

from __future__ import annotations

from contextlib import closing
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.sinks.postgresql import merge
from sinergi_consumers.sinks.postgresql.merge import Merge
from sinergi_consumers.sinks.postgresql.sink import _WITHOUT_BYTES, PostgresqlSink
from sinergi_consumers.testing.sinks import CURRENT, HISTORY, TOPIC, Worker, transfer
from sinergi_schemas import codec, postgresql
from test_bounded_time import ConsumerDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HIGHEST = 2**31 - 1
PROJECTIONS = (CURRENT, HISTORY)

KEPT = """
    INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index, revision,
        reason, detail, fingerprint, key_hash, leaf_hash, size)
    SELECT 'transfer_history', {topic}, 0, n, {revision}, 'revision-conflict', '', '',
        sha256(convert_to('X', 'UTF8')), '', 0 FROM generate_series({first}, {last}) AS n
"""


def revisions(numbers: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
    """Events of one record at some revisions."""
    actions = {1: "RECORDED"}
    return [("X", {"revision": each, "action": actions.get(each, "CORRECTED")}) for each in numbers]


def rows_seen(
    consumer: ConsumerDatabase, statement: sql.Composable, values: Sequence[object] = ()
) -> int:
    """The rows that all steps of a statement see, all revisions that stand having arrived."""
    every = [Merge(each) for each in PROJECTIONS]
    with (
        closing(postgresql.Database(consumer.url, "a test")) as database,
        database.serving() as own,
    ):
        own.execute(merge.create_temporary_tables(every, persistent=True))
        record = HISTORY.record
        names = (merge.incoming(record), merge.columns(record), merge.real(record))
        own.execute(sql.SQL("INSERT INTO {0} ({1}) SELECT {1} FROM {2}").format(*names))
        question = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) {}").format(statement)
        ((plans,),) = own.execute(question, values or None).fetchall()
    return sum(rows_of_steps(plans[0]["Plan"]))


def rows_of_steps(step: Mapping[str, Any]) -> Iterator[int]:
    """The rows that each step of an analysed plan sees, whether it keeps them or not."""
    removed = [found for name, found in step.items() if name.startswith("Rows Removed")]
    yield int(step["Actual Loops"] * (step["Actual Rows"] + sum(removed)))
    for each in step.get("Plans", ()):
        yield from rows_of_steps(each)


@pytest.mark.parametrize("known", ["nothing", "other topics", "all"])
def test_conflicts_of_one_record_that_stay_open_are_not_looked_at_by_later_batches_of_it(
    postgresql: str, known: str
) -> None:
    """Whatever the database knows of the rows when it plans."""
    consumer = ConsumerDatabase(postgresql, PROJECTIONS)
    consumer.take(*revisions(range(1, 101)), *((f"P/{number}", {}) for number in range(100)))
    if known == "other topics":
        consumer.do(KEPT.format(topic="'sinergi.a.' || n", revision="1", first=1, last=3_000))
        consumer.do("ANALYZE sinergi_consumer.quarantine")
    seen = []
    for first, last in ((10_001, 10_500), (10_501, 14_000)):
        revision = f"CASE WHEN n % 2 = 0 THEN {HIGHEST} END"
        consumer.do(KEPT.format(topic=f"'{TOPIC.name}'", revision=revision, first=first, last=last))
        if known == "all":
            consumer.do("ANALYZE sinergi_consumer.quarantine")
        seen.append(rows_seen(consumer, Merge(HISTORY).supersede_by_arrived))
    assert seen[1] < 1.1 * seen[0] < 3_000


@pytest.mark.parametrize("known", ["nothing", "all"])
def test_unfit_events_are_not_compared_with_every_revision_of_their_record(
    postgresql: str, known: str
) -> None:
    consumer = ConsumerDatabase(postgresql, PROJECTIONS)
    consumer.do(KEPT.format(topic=f"'{TOPIC.name}'", revision="NULL", first=10_001, last=10_200))
    values = [TOPIC.agency, ["X", *(f"Y/{number}" for number in range(100))], TOPIC.name, 0]
    seen = []
    for first, last in ((1, 100), (101, 1_000)):
        consumer.take(*revisions(range(first, last + 1)))
        if known == "all":
            consumer.do("ANALYZE")
        seen.append(rows_seen(consumer, Merge(HISTORY).supersede, values))
    assert seen[1] < 1.1 * seen[0] < 3_000


def test_one_statement_supersedes_whatever_a_batch_brings_to_quarantine(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original: Any = vars(Merge)["supersede"]

    def noted(statements: Merge) -> sql.Composed:
        asked.append(statements.projection.name)
        found: sql.Composed = original.func(statements)
        return found

    monkeypatch.setattr(Merge, "supersede", property(noted))
    consumer = ConsumerDatabase(postgresql, (HISTORY,))
    consumer.take(*revisions([HIGHEST] * 300))
    assert consumer.reasons() == {"revision-conflict": 299}
    assert asked == [HISTORY.name]


@pytest.mark.parametrize("known", ["nothing", "few"])
def test_events_are_not_compared_with_every_datum_that_is_kept(postgresql: str, known: str) -> None:
    consumer = ConsumerDatabase(postgresql, PROJECTIONS)
    if known == "few":
        consumer.do(KEPT.format(topic=f"'{TOPIC.name}'", revision="1", first=1, last=5))
        consumer.do("ANALYZE")
    seen = []
    for first, last in ((10_001, 12_000), (12_001, 14_000)):
        consumer.do(KEPT.format(topic=f"'{TOPIC.name}'", revision="1", first=first, last=last))
        consumer.do(
            "INSERT INTO sinergi_consumer.quarantined_datum (topic, partition, leaf_index, key,"
            " datum) SELECT topic, partition, leaf_index, '', '' FROM sinergi_consumer.quarantine"
            f" WHERE leaf_index BETWEEN {first} AND {last} AND leaf_index % 2 = 0"
        )
        values = [TOPIC.name, 0, [*range(10_001, last + 1)]]
        seen.append(rows_seen(consumer, sql.SQL(_WITHOUT_BYTES), values))
    assert seen[1] < 2.2 * seen[0] < 30_000


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_what_is_superseded_does_not_depend_on_how_events_are_cut_into_batches(
    databases: Callable[[], str], seed: int
) -> None:
    """Though a publisher gives revisions out as it likes, and some of them cannot be read."""
    random = Random(seed)  # noqa: S311 - it chooses events
    chosen = [(random.choice("XYZ"), random.choice([0, 1, 2, 3, 4, 5, 9])) for _ in range(60)]
    found = []
    for size in (60, 1, 7):
        consumer = ConsumerDatabase(databases(), PROJECTIONS)
        with closing(PostgresqlSink(consumer.url, PROJECTIONS)) as sink:
            worker = Worker(sink, consumer.tape, PROJECTIONS)
            for start in range(0, len(chosen), size):
                datums = [_datum(consumer, *each) for each in chosen[start : start + size]]
                messages = consumer.tape.write_datums(datums)
                assert isinstance(worker.store(worker.received(messages)), Stored)
        question = (
            "SELECT projection, leaf_index, reason, state FROM sinergi_consumer.quarantine"
            " ORDER BY projection, leaf_index"
        )
        found.append(consumer.ask(question))
    assert {row[3] for row in found[0]} == {"open", "superseded"}
    assert found[0] == found[1] == found[2]


def _datum(consumer: ConsumerDatabase, record_id: str, revision: int) -> Any:
    """An event; one that cannot be read for revision 0."""
    event = consumer.tape.issued(transfer(record_id, max(revision, 1)))
    datum = codec.encode(event, consumer.tape.schema)
    return event.event_id, record_id, datum if revision else datum[:-3]
