"""The time of a batch grows with its size alone, whatever its events hold."""

from __future__ import annotations

from contextlib import closing
from time import process_time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import sqlalchemy as sa

from sinergi import migrate
from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.sinks.postgresql import row_refusals
from sinergi_consumers.sinks.postgresql.csv_rows import as_csv
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.testing.sinks import (
    BUS,
    CURRENT,
    FEW_ESCORTS,
    HISTORY,
    TOPIC,
    Worker,
    transfer,
)
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import codec, errors
from sinergi_schemas.limits import MOST_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinergi_consumers.projections.projection import Projection

PROJECTIONS = (CURRENT, HISTORY)
NEIGHBOURS = 300
LINE_FEEDS = "\n" * 220_000 + "\0"
LONG_LIST = [{"escort_agency": "\0" * 30, "count": None}] * 7_000

Crafted = tuple[str, dict[str, Any]]


class ConsumerDatabase:
    """A consumer's database and a worker on it, which is given whatever somebody has crafted."""

    def __init__(self, url: str, projections: Sequence[Projection]) -> None:
        migrate.upgrade(url, migrate.Role.CONSUMER, projections)
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        self.projections = projections
        self.url = url
        self.tape = Tape(BUS, TOPIC)

    def take(self, *crafted: Crafted) -> float:
        """Materialise events as one batch; the seconds of this process's own work."""
        with closing(PostgresqlSink(self.url, self.projections)) as sink:
            worker = Worker(sink, self.tape, self.projections)
            messages = self.tape.write_datums([self._datum(*each) for each in crafted])
            begun = process_time()
            assert isinstance(worker.store(worker.received(messages)), Stored)
            return process_time() - begun

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(question))]

    def do(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement))

    def reasons(self) -> dict[str, int]:
        return dict(
            self.ask("SELECT reason, count(*) FROM sinergi_consumer.quarantine GROUP BY reason")
        )

    def _datum(self, record_id: str, values: dict[str, Any]) -> Any:
        issued = self.tape.issued(transfer("P/0"))
        document = issued.model_dump() | {"record_id": record_id} | values
        return (
            issued.event_id,
            record_id,
            codec.encode_document(document, self.tape.schema),
        )


@pytest.fixture
def consumer(postgresql: str) -> ConsumerDatabase:
    return ConsumerDatabase(postgresql, PROJECTIONS)


def neighbours(count: int = NEIGHBOURS) -> list[Crafted]:
    return [(f"P/{number}", {}) for number in range(count)]


@pytest.mark.parametrize(
    ("crafted", "reason"),
    [
        (("P/x", {"reason_as_written": LINE_FEEDS}), "rows-refused"),
        (("P/x", {"reason_as_written": '"\n' * 120_000}), ""),
        (("P/x", {"reason_as_written": '"' * 200_000 + "\0"}), "rows-refused"),
        (("P/x", {"escort": LONG_LIST}), "rows-refused"),
        (("P/" + "x" * 200_000, {}), "key-too-long"),
    ],
    ids=["line feeds", "quotes and line feeds", "quotes", "a list", "a key"],
)
def test_one_crafted_event_does_not_hold_up_its_neighbours(
    consumer: ConsumerDatabase, crafted: Crafted, reason: str
) -> None:
    assert consumer.take(*neighbours(), crafted, ("P/last", {})) < 10
    through = NEIGHBOURS + 1 + (not reason)
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [(through,)]
    assert consumer.reasons() == ({reason: 2} if reason else {})


@pytest.mark.long
def test_a_batch_in_which_every_event_is_bad_in_several_ways_takes_seconds(
    consumer: ConsumerDatabase,
) -> None:
    bad = {"reason_as_written": "\0" * 9, "movement_id": "\0", "escort": LONG_LIST[:20]}
    assert consumer.take(*((f"P/{number}", bad) for number in range(2_000))) < 20
    assert consumer.reasons() == {"rows-refused": 4_000}


REFUSING = {
    "index": "CREATE UNIQUE INDEX ON sinergi.transfer_history (movement_id)",
    "trigger": """
        CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.movement_id = 'worse' THEN RAISE SQLSTATE '54001'; END IF;
            IF NEW.movement_id = 'bad' THEN RAISE EXCEPTION 'no'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER refuses BEFORE INSERT ON sinergi.transfer_history
            FOR EACH ROW EXECUTE FUNCTION refuses()
    """,
}


@pytest.mark.long
@pytest.mark.parametrize("refuses", REFUSING)
@pytest.mark.parametrize("bad", [1, 400, 2_500])
def test_many_events_that_an_integrators_index_or_trigger_refuses_take_seconds(
    postgresql: str, refuses: str, bad: int
) -> None:
    consumer = ConsumerDatabase(postgresql, (HISTORY,))
    consumer.do(REFUSING[refuses])
    good = [{"movement_id": None if refuses == "trigger" else f"m{at}"} for at in range(2_500)]
    crafted = [(f"P/{at}", each) for at, each in enumerate(good)]
    crafted[0] = ("P/0", {"movement_id": "bad"})
    crafted += [(f"Q/{at}", {"movement_id": "bad"}) for at in range(bad)]
    assert consumer.take(*crafted) < 10
    # Of those with one value a unique index takes the first.
    refused = bad + (refuses == "trigger")
    assert consumer.reasons() == {"rows-refused": refused}
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [
        (len(crafted) - refused,)
    ]


@pytest.mark.long
def test_merged_one_by_one_events_become_the_tables_that_they_become_each_in_a_batch_of_its_own(
    databases: Callable[[], str],
) -> None:
    """Revisions, lists and conflicts too, though an index refuses some of them."""
    whole, single = (ConsumerDatabase(databases(), (*PROJECTIONS, FEW_ESCORTS)) for _ in range(2))
    crafted: list[Crafted] = []
    for at in range(60):
        revision = 1 + at // 20
        crowd = [{"escort_agency": f"e{at}/{item}", "count": item} for item in range(at % 4)]
        values = {"revision": revision, "movement_id": f"m{at % 13 or at}", "escort": crowd}
        values["action"] = "RECORDED" if revision == 1 else "CORRECTED"
        crafted.append((f"P/{at % 20}", values))
    crafted += [(f"P/{at}", {"movement_id": f"other{at}"}) for at in range(3)]
    for consumer in (whole, single):
        for table in ("transfer", "transfer_history"):
            consumer.do(f"CREATE UNIQUE INDEX ON sinergi.{table} (movement_id)")
        consumer.do("CREATE UNIQUE INDEX ON sinergi.few_escorts (escort_agency)")
    whole.take(*crafted)
    for each in crafted:
        single.take(each)
    assert single.reasons()["rows-refused"] > 3
    assert single.reasons()["revision-conflict"] == 3
    for made in (table for each in (*PROJECTIONS, FEW_ESCORTS) for table in each.tables):
        told = [name for name in ("movement_id", "escort_agency", "count") if name in made.columns]
        columns = ", ".join(["record_id", "revision", "leaf_index", *told])
        question = f"SELECT {columns} FROM sinergi.{made.name} ORDER BY {columns}"
        assert whole.ask(question) == single.ask(question), made.name
    question = (
        "SELECT projection, leaf_index, reason, state FROM sinergi_consumer.quarantine"
        " ORDER BY projection, leaf_index"
    )
    assert whole.ask(question) == single.ask(question)


def test_a_trigger_that_speaks_of_no_row_is_not_taken_for_a_refusal_of_one(
    postgresql: str,
) -> None:
    consumer = ConsumerDatabase(postgresql, (HISTORY,))
    consumer.do(REFUSING["trigger"])
    with pytest.raises(errors.DatabaseBroken, match="54001"):
        consumer.take(*((f"P/{each}", {"movement_id": each}) for each in ("bad", "worse")))
    assert consumer.ask("SELECT count(*) FROM sinergi.transfer_history") == [(0,)]


def test_an_event_with_a_long_list_of_bad_elements_costs_one_copy_and_not_one_an_element(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = ConsumerDatabase(postgresql, (FEW_ESCORTS,))
    attempts: list[int] = []
    attempt = row_refusals._Copy.attempt

    def counted(self: Any, texts: Sequence[bytes]) -> Any:
        attempts.append(len(texts))
        return attempt(self, texts)

    monkeypatch.setattr(row_refusals._Copy, "attempt", counted)
    crowd = [{"escort_agency": "Brimob" * 5, "count": 100}] * 3_000
    consumer.take(("P/1", {"escort": crowd}), ("P/2", {}), ("P/3", {"escort": crowd}))
    assert consumer.reasons() == {"rows-refused": 2}
    assert consumer.ask("SELECT DISTINCT record_id FROM sinergi.few_escorts") == [("P/2",)]
    assert len(attempts) < 20


@pytest.mark.parametrize("text", ["\n" * 99, '"', '"\n', 'a"b\n"', "", "\r\n", ",", "a,\n", "é\n"])
def test_a_csv_falls_into_the_rows_that_it_was_made_of(text: str) -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("a", sa.Text), sa.Column("b", sa.Text))
    rows = pl.DataFrame({"a": [text, "plain", None, text], "b": [text, None, text, "x"]})
    texts = row_refusals._texts(as_csv(table, rows))
    assert texts == [as_csv(table, rows[at]) for at in range(rows.height)]


def test_a_text_of_line_feeds_falls_into_rows_in_a_time_that_grows_with_its_size() -> None:
    def seconds(size: int, text: str) -> float:
        csv = b'1,"' + text.encode() * size + b'"\n'
        begun = process_time()
        assert row_refusals._texts(csv) == [csv]
        return process_time() - begun

    for text in ("\n", '""', '"" \n', "x"):
        assert seconds(1_000_000, text) < 2, text


def test_projections_that_fail_on_every_event_do_not_let_the_database_end_the_session(
    postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = ConsumerDatabase(postgresql, (FEW_ESCORTS,))
    asked: list[str] = []
    monkeypatch.setattr(
        "sinergi_consumers.sinks.postgresql.transaction._IDLE_SECONDS", 0.0, raising=True
    )
    monkeypatch.setattr(
        "sinergi_consumers.sinks.postgresql.transaction.PostgresqlTransaction.keep_alive",
        _noted(asked),
    )
    fails = {"escort": [{"escort_agency": "Meledak", "count": 1}]}
    consumer.take(*((f"P/{number}", fails) for number in range(30)))
    assert consumer.reasons() == {"projection-failed": 30}
    assert len(asked) > 30


def _noted(asked: list[str]) -> Callable[..., None]:
    from sinergi_consumers.sinks.postgresql.transaction import PostgresqlTransaction

    original = PostgresqlTransaction.keep_alive

    def noted(self: PostgresqlTransaction) -> None:
        asked.append("")
        original(self)

    return noted


def test_a_key_as_long_as_the_contract_allows_is_taken_in(consumer: ConsumerDatabase) -> None:
    consumer.take(("x" * MOST_KEY_BYTES, {}), ("é" * (MOST_KEY_BYTES // 2), {}))
    assert consumer.reasons() == {}
    consumer.take(("y" * (MOST_KEY_BYTES + 1), {}), ("é" * (MOST_KEY_BYTES // 2) + "y", {}))
    assert consumer.reasons() == {"key-too-long": 4}
