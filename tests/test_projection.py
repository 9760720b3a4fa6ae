"""How events become rows: the tables of the contract, and an integrator's own projection."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from contextlib import closing
from itertools import chain, pairwise
from textwrap import dedent
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import contract_vectors
from agency_pair import AgencyPair, transfer
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.projections.projection import (
    PROVENANCE,
    installed,
    projection,
    projections_of,
)
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.testing.sinks import BUS, CURRENT, FEW_ESCORTS, HISTORY, TOPIC, Worker
from sinergi_consumers.testing.sinks import transfer as at_revision
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.testing.tape import TapeMessage
    from sinergi_schemas.events import Transfer

SECRET = "Slamet Riyadi 3510101708450001"  # a made-up person's


# The tables of the contract


def test_the_tables_are_those_that_people_have_written_their_queries_for() -> None:
    assert contract_vectors.tables() == json.loads(contract_vectors.TABLES.read_text("utf-8"))


def test_the_tables_in_a_database_bear_names_types_and_comments(postgresql: str) -> None:
    catalog = Catalog.shipped()
    migrate.upgrade(postgresql, migrate.Role.CONSUMER, projections_of(catalog, catalog.event_types))
    engine = sa.create_engine(postgresql, poolclass=sa.NullPool)
    inspector = sa.inspect(engine)
    for name, table in contract_vectors.tables().items():
        assert inspector.get_table_comment(name, "sinergi")["text"] == table["comment"]
        assert inspector.get_pk_constraint(name, "sinergi")["constrained_columns"] == table["key"]
        columns = {
            each["name"]: [
                each["type"].compile(engine.dialect) + ("" if each["nullable"] else " NOT NULL"),
                each["comment"],
            ]
            for each in inspector.get_columns(name, "sinergi")
        }
        assert columns == table["columns"], name


def test_every_column_says_what_it_means_and_every_name_fits_postgresql() -> None:
    names = []
    for name, table in contract_vectors.tables().items():
        names.append(f"incoming_{name}")
        assert table["comment"], name
        for column, (_, comment) in table["columns"].items():
            assert comment, f"{name}.{column}"
            assert len(column) <= 63
    assert max(map(len, names)) <= 63
    assert len(set(names)) == len(names)


# An integrator's own, as a distribution


GRAMS = """
    import polars as pl
    import sqlalchemy as sa
    from sinergi_consumers.projections.projection import projection

    @projection("{event_type}", table=sa.Table(
        "{table}", sa.MetaData(),
        sa.Column("escort_agency", sa.Text, nullable=False, comment="Who went along."),
        sa.Column("{column}", sa.Integer, nullable=False),
    ))
    def GUARDS(events):
        escorts = events.explode("escort").drop_nulls("escort").unnest("escort")
        return escorts.select("event_id", "escort_agency", pl.col("count").alias("{column}"))
"""


def distribution(
    folder: Path,
    *,
    table: str = "guards",
    event_type: str = "transfer",
    column: str = "number",
    entry: str = "GUARDS",
    text: str = GRAMS,
) -> str:
    """Lay a distribution into a folder of packages, as pip would; the name of its module."""
    module = f"integrator_{uuid4().hex[:8]}"
    source = dedent(text).format(table=table, event_type=event_type, column=column)
    (folder / f"{module}.py").write_text(source, "utf-8")
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    named = f"[sinergi.projections]\nown = {module}:{entry}\n"
    (metadata / "entry_points.txt").write_text(named, "utf-8")
    return module


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages are found in."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in [each for each in sys.modules if each.startswith("integrator_")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.mark.long
def test_an_installed_projection_is_made_and_filled_by_the_commands_as_they_are(
    tmp_path: Path,
    packages: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    distribution(packages)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    command = [sys.executable, "-m", "sinergi", "--config", str(pair.reader_settings)]
    subprocess.run([*command, "db", "upgrade", "--role", "consumer"], check=True, env=os.environ)
    pair.publish(*(transfer(f"P/{number}") for number in range(20)))
    pair.publish(transfer("P/3", "CORRECTED", escort=({"escort_agency": "TNI", "count": 9},)))
    pair.publish(transfer("P/4", "CORRECTED", escort=()))
    with pair.relaying(), pair.worker("one"):
        pair.until_rows("sinergi.transfer_history", 22)
    question = "SELECT escort_agency, count(*), sum(number) FROM sinergi.guards GROUP BY 1"
    assert pair.ask(f"{question} ORDER BY 1") == [("Brimob", 18, 54), ("TNI", 1, 9)]
    assert pair.ask(
        "SELECT DISTINCT agency, topic, revision FROM sinergi.guards WHERE record_id = 'P/3'"
    ) == [(pair.publisher, pair.topic.name, 2)]
    assert pair.count("sinergi.guards_record") == 20


BAD = {
    "no projection": (
        {"text": "GUARDS = 7\n"},
        r"own cannot be used: .*:GUARDS is not a @projection",
    ),
    "nothing of that name": ({"entry": "OTHER"}, r"own cannot be used: AttributeError: .*OTHER"),
    "code that breaks": (
        {"text": "raise ValueError('one\\ntwo')\n"},
        r"own cannot be used: ValueError: one two",
    ),
    "an unknown event type": (
        {"event_type": "escape"},
        r"guards cannot be used: there is no event type 'escape'; known are seizure, ",
    ),
    "a misspelt event type": (
        {"event_type": "tranfer"},
        r"guards cannot be used: there is no event type 'tranfer'; did you mean transfer\?",
    ),
    "a table of the contract's": (
        {"table": "transfer"},
        r"transfer cannot be used: the projection transfer fills the table transfer already",
    ),
    "a child table of the contract's": (
        {"table": "transfer_escort"},
        r"the projection transfer fills the table transfer_escort already",
    ),
    "a reserved column": (
        {"column": "leaf_index"},
        r"guards cannot be used: its table declares leaf_index itself",
    ),
    "a system column": (
        {"column": "xmin"},
        r"guards cannot be used: xmin is a column that PostgreSQL has in every table",
    ),
    "a name that is none": ({"table": "Guards!"}, r"a table's name is lower-case letters"),
}


@pytest.mark.parametrize(("changes", "said"), BAD.values(), ids=BAD.keys())
def test_a_projection_that_cannot_be_used_is_one_clear_line(
    packages: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], said: str
) -> None:
    distribution(packages, **changes)
    assert run(["db", "upgrade", "--role", "consumer", "--sql"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    with pytest.raises(errors.ProjectionRefused, match=said) as caught:
        projections_of(Catalog.shipped(), ["transfer"])
    assert str(caught.value) in err


def test_two_installed_projections_may_not_fill_one_table(packages: Path) -> None:
    distribution(packages)
    distribution(packages)
    assert len(installed()) == 2
    with pytest.raises(errors.ProjectionRefused, match="guards fills the table guards"):
        projections_of(Catalog.shipped(), ["transfer"])


def test_a_projection_of_an_event_type_that_is_not_read_here_is_left_alone(packages: Path) -> None:
    distribution(packages)
    names = [each.name for each in projections_of(Catalog.shipped(), ["seizure"])]
    assert names == ["seizure", "seizure_history"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"event_type": ["seizure", "transfer"]}, "it reads one event type; declare another"),
        ({"event_type": ("transfer",)}, "it reads one event type"),
        ({"event_type": None}, "it reads one event type"),
        ({"event_type": "seizure,transfer"}, "there is no event type 'seizure,transfer'"),
        ({"event_type": "Transfer"}, "did you mean transfer?"),
        ({"event_type": "suspicious_visit"}, "did you mean suspicious-visit?"),
        ({"table": "own"}, "its table is not a sqlalchemy.Table but str"),
        ({"kind": "history"}, "its kind is ProjectionKind.CURRENT or ProjectionKind.HISTORY"),
    ],
)
def test_a_projection_is_refused_where_it_is_declared(changes: dict[str, Any], said: str) -> None:
    table = sa.Table("own", sa.MetaData(), sa.Column("number", sa.Integer))
    declared: dict[str, Any] = {"event_type": "transfer", "table": table} | changes
    with pytest.raises(errors.ProjectionRefused, match=re.escape(said)):
        projection(**declared)


@pytest.mark.parametrize("column", ["ctid", "xmax", "tableoid", "x" * 64, "é" * 32])
def test_no_column_is_declared_that_no_table_can_have(column: str) -> None:
    table = sa.Table("own", sa.MetaData(), sa.Column(column, sa.Text))
    with pytest.raises(errors.ProjectionRefused, match="column"):
        projection("transfer", table=table)


@pytest.mark.parametrize("column", PROVENANCE)
def test_no_column_of_provenance_can_be_declared(column: str) -> None:
    table = sa.Table("own", sa.MetaData(), sa.Column(column, sa.Text))
    with pytest.raises(errors.ProjectionRefused, match=f"declares {column} itself"):
        projection("transfer", table=table)(_numbers)


# What an integrator's code gives back


OWN = ("position", "checkpoint", "receipt", "quarantine", "halt")


class Database:
    """A consumer's database with the tables of some projections."""

    def __init__(self, url: str, *projections: Projection) -> None:
        self.url = url
        self.projections = projections
        migrate.upgrade(url, migrate.Role.CONSUMER, projections)
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)

    def take(
        self,
        tape: Tape,
        *batches: Sequence[TapeMessage],
        projections: Sequence[Projection] | None = None,
    ) -> None:
        """Materialise messages, as a worker that has just claimed the partition."""
        chosen = projections or self.projections
        with closing(PostgresqlSink(self.url, chosen)) as sink:
            worker = Worker(sink, tape, chosen)
            for each in batches:
                assert isinstance(worker.store(worker.received(each)), Stored)

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(question))]

    def clear(self) -> None:
        """Forget all of it."""
        tables = [f"sinergi.{table.name}" for each in self.projections for table in each.tables]
        tables += [f"sinergi_consumer.{name}" for name in OWN]
        with self._engine.begin() as connection:
            connection.execute(sa.text(f"TRUNCATE {', '.join(tables)}"))

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables, and what was set apart."""
        tables = [table for each in self.projections for table in each.tables]
        found = {each.name: self.ask(f"SELECT t FROM sinergi.{each.name} t") for each in tables}
        found["quarantine"] = self.ask(
            "SELECT projection, partition, leaf_index, reason FROM sinergi_consumer.quarantine"
        )
        return {name: sorted(rows) for name, rows in found.items()}


def own(rows: Callable[[pl.DataFrame], Any]) -> Projection:
    """A projection with one column `number`, and the function under test."""
    table = sa.Table("own", sa.MetaData(), sa.Column("number", sa.Integer, nullable=False))
    return projection("transfer", table=table)(rows)


def _raises(_: pl.DataFrame) -> pl.DataFrame:
    raise KeyError(SECRET)


def _numbers(events: pl.DataFrame) -> pl.DataFrame:
    return events.select("event_id", pl.lit(1).alias("number"))


def _with_number(events: pl.DataFrame, number: pl.Expr) -> pl.DataFrame:
    return events.select("event_id", number.alias("number"))


FAULTS: dict[str, Callable[[pl.DataFrame], Any]] = {
    "raises": _raises,
    "panics": lambda events: events.select(pl.col("escort").map_elements(_raises)),
    "nothing": lambda _: None,
    "a column too few": lambda events: events.select("event_id"),
    "a column too many": lambda events: _numbers(events).with_columns(pl.lit(SECRET).alias("x")),
    "another event's id": lambda events: _numbers(events).with_columns(
        pl.lit(str(uuid4())).alias("event_id")
    ),
    "no id": lambda events: _numbers(events).with_columns(
        pl.lit(None, pl.String).alias("event_id")
    ),
    "a list": lambda events: events.select("event_id", pl.col("escort").alias("number")),
    "bytes": lambda events: _numbers(events).with_columns(pl.lit(b"\x00").alias("number")),
    "a text": lambda events: _numbers(events).with_columns(pl.lit(SECRET).alias("number")),
    "a null": lambda events: _numbers(events).with_columns(pl.lit(None, pl.Int32).alias("number")),
    "a duration": lambda events: _with_number(events, pl.duration(days=1)),
    "an array": lambda events: _with_number(events, pl.lit([1, 2]).cast(pl.Array(pl.Int64, 2))),
    "a struct": lambda events: _with_number(events, pl.struct(a=1)),
    "an object": lambda events: _numbers(events).with_columns(
        pl.Series("number", [object()] * events.height, dtype=pl.Object)
    ),
    "a date beyond the calendar": lambda events: _with_number(
        events, pl.lit(2**31 - 1, pl.Int32).cast(pl.Date)
    ),
    "a time beyond the calendar": lambda events: _with_number(
        events, pl.lit(-(2**63)).cast(pl.Datetime("us", "UTC"))
    ),
    "an endless number": lambda events: _with_number(events, pl.lit(float("nan"))),
    "a number too large": lambda events: _numbers(events).with_columns(
        pl.lit(2**40).alias("number")
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
def test_what_an_integrators_code_does_wrong_costs_its_own_table_that_event(
    postgresql: str, fault: Callable[[pl.DataFrame], Any]
) -> None:
    def rows(events: pl.DataFrame) -> Any:
        bad = events["record_id"].is_in(["P/5"]).any()
        return fault(events) if bad else _numbers(events)

    database = Database(postgresql, CURRENT, own(rows), HISTORY)
    tape = Tape(BUS, TOPIC)
    database.take(tape, tape.write([at_revision(f"P/{number}") for number in range(8)]))
    assert database.ask("SELECT record_id FROM sinergi.own ORDER BY 1") == [
        (f"P/{number}",) for number in range(8) if number != 5
    ]
    assert database.ask("SELECT count(*) FROM sinergi.transfer_history") == [(8,)]
    ((name, leaf, reason, detail),) = database.ask(
        "SELECT projection, leaf_index, reason, detail FROM sinergi_consumer.quarantine"
    )
    assert (name, leaf) == ("own", 5)
    assert reason in {"projection-failed", "rows-refused"}
    assert SECRET not in detail


@pytest.mark.parametrize(
    ("kind", "beyond"),
    [
        (sa.Date(), pl.lit(2**31 - 1, pl.Int32).cast(pl.Date)),
        (sa.Date(), pl.lit(-719_163, pl.Int32).cast(pl.Date)),
        (sa.DateTime(timezone=True), pl.lit(2**63 - 1).cast(pl.Datetime("us", "UTC"))),
        (sa.DateTime(), pl.lit(2**63 - 1).cast(pl.Datetime("ms"))),
        (sa.Interval(), pl.duration(days=1)),
        (sa.ARRAY(sa.Integer), pl.lit([1, 2]).cast(pl.Array(pl.Int64, 2))),
        (sa.JSON(), pl.struct(a=1)),
    ],
    ids=str,
)
def test_a_column_that_cannot_be_written_costs_the_event_that_holds_it(
    postgresql: str, kind: sa.types.TypeEngine[Any], beyond: pl.Expr
) -> None:
    def rows(events: pl.DataFrame) -> pl.DataFrame:
        if events["record_id"].is_in(["P/5"]).any():
            return events.select("event_id", beyond.alias("it"))
        return events.select("event_id", pl.lit(None, pl.String).alias("it"))

    table = sa.Table("own", sa.MetaData(), sa.Column("it", kind))
    database = Database(postgresql, projection("transfer", table=table)(rows))
    tape = Tape(BUS, TOPIC)
    database.take(tape, tape.write([at_revision(f"P/{number}") for number in range(8)]))
    assert database.ask("SELECT count(*) FROM sinergi.own") == [(7,)]
    assert database.ask("SELECT leaf_index, reason FROM sinergi_consumer.quarantine") == [
        (5, "projection-failed")
    ]


NAMES = ["50%", "%s", "%(x)s", "%%", "a b", 'say "it"', "Nama", "select", "position", "é" * 31]
NAMES += ["a:b", ":x", "\\:y", "{}", "stored", "excluded", "replaced", "value", "x" * 63, "$1", "?"]


def test_a_column_of_any_name_is_made_and_filled(postgresql: str) -> None:
    columns = [sa.Column(name, sa.Integer, comment=f"% of {name}") for name in NAMES]
    table = sa.Table("own", sa.MetaData(), *columns)
    given = [pl.lit(at, pl.Int32).alias(name) for at, name in enumerate(NAMES)]
    numbered = projection("transfer", table=table)(lambda events: events.select("event_id", *given))
    database = Database(postgresql, numbered)
    tape = Tape(BUS, TOPIC)
    database.take(tape, tape.write([at_revision("P/1")]), tape.write([at_revision("P/1", 2)]))
    engine = sa.create_engine(postgresql, poolclass=sa.NullPool)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT * FROM sinergi.own").mappings().one()
        comments = {
            each["name"]: each["comment"]
            for each in sa.inspect(connection).get_columns("own", schema="sinergi")
        }
    assert [found[name] for name in NAMES] == list(range(len(NAMES)))
    assert [comments[name] for name in NAMES] == [f"% of {name}" for name in NAMES]
    assert found["revision"] == 2
    assert migrate.upgrade(postgresql, migrate.Role.CONSUMER, [numbered]).tables == []


def test_events_that_share_an_id_get_each_their_own_rows(postgresql: str) -> None:
    """No outbox gives an id out twice; whoever writes without one may."""
    database = Database(postgresql, own(_numbers))
    tape, one = Tape(BUS, TOPIC), uuid4()
    events = [at_revision(f"P/{number}", event_id=one) for number in range(3)]
    database.take(tape, tape.write([*events, at_revision("P/3")]))
    assert database.ask("SELECT record_id, count(*) FROM sinergi.own GROUP BY 1 ORDER BY 1") == [
        (f"P/{number}", 1) for number in range(4)
    ]


@pytest.mark.parametrize("sharing", [2, 400])
def test_events_that_share_an_id_cost_a_call_for_each_of_them_and_no_more(
    postgresql: str, sharing: int
) -> None:
    seen: list[int] = []

    def rows(events: pl.DataFrame) -> pl.DataFrame:
        assert not events["event_id"].is_duplicated().any()
        seen.append(events.height)
        return _numbers(events).group_by("event_id").agg(pl.col("number").sum())

    database = Database(postgresql, own(rows))
    tape, ids = Tape(BUS, TOPIC), [uuid4() for _ in range(400 // sharing)]
    database.take(
        tape, tape.write([at_revision(f"P/{n}", event_id=ids[n // sharing]) for n in range(400)])
    )
    assert seen == [400 // sharing] * sharing
    assert database.ask("SELECT count(DISTINCT record_id), sum(number) FROM sinergi.own") == [
        (400, 400)
    ]


def test_of_events_that_share_an_id_the_one_that_fails_goes_to_quarantine_alone(
    postgresql: str,
) -> None:
    def rows(events: pl.DataFrame) -> pl.DataFrame:
        return _raises(events) if "P/30" in events["record_id"] else _numbers(events)

    database = Database(postgresql, own(rows))
    tape, one = Tape(BUS, TOPIC), uuid4()
    database.take(tape, tape.write([at_revision(f"P/{n}", event_id=one) for n in range(60)]))
    assert database.ask("SELECT leaf_index FROM sinergi_consumer.quarantine") == [(30,)]
    assert database.ask("SELECT count(*) FROM sinergi.own") == [(59,)]


# Living through it and rebuilding


RECORDS = st.sampled_from(["P/1", "P/2", "P/3"])
HISTORIES = st.lists(
    st.tuples(RECORDS, st.integers(1, 4), st.integers(0, 3), st.booleans()),
    min_size=1,
    max_size=24,
)


def told(record_id: str, revision: int, escorts: int, retracted: bool) -> Transfer:  # noqa: FBT001
    escort = tuple({"escort_agency": f"e{at}", "count": 1 + at * 50} for at in range(escorts))
    action = {"action": "RETRACTED"} if retracted and revision > 1 else {}
    return at_revision(record_id, revision, escort=escort, movement_id=f"m{escorts}", **action)


@pytest.mark.long
def test_a_rebuilt_table_is_the_one_that_lived_through_it(databases: Callable[[], str]) -> None:
    """Whatever the order of arrival, conflicts of revisions among it, and the cuts of batches."""
    ready = (CURRENT, HISTORY, FEW_ESCORTS)
    lived, rebuilt = (Database(databases(), *ready) for _ in range(2))

    # The first revision's second claimant is one as long as the second revision is not there.
    conflict = [("P/1", 1, 1, False), ("P/1", 1, 2, False), ("P/1", 2, 1, False)]

    # A table refuses the first revision's rows, which do not stand once the second is there.
    refused = [("P/1", 1, 3, False), ("P/1", 2, 0, False)]

    # Not shrunk: each example fills two databases.
    @settings(max_examples=6, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @example(events=conflict, cuts={1, 2}, late=2)
    @example(events=refused, cuts={1}, late=1)
    @given(events=HISTORIES, cuts=st.sets(st.integers(1, 23)), late=st.integers(1, 24))
    def hold(events: list[Any], cuts: set[int], late: int) -> None:
        lived.clear()
        rebuilt.clear()
        tape = Tape(BUS, TOPIC)
        messages = [tape.write([told(*each)]) for each in events]
        rebuilt.take(tape, together(messages))
        borders = [0, *sorted(each for each in cuts if each < len(messages)), len(messages)]
        lived.take(tape, *(together(messages[start:end]) for start, end in pairwise(borders)))
        assert lived.contents() == rebuilt.contents()

        # A projection that joins later reads all of it again; the others skip what they have.
        lived.clear()
        lived.take(tape, together(messages[:late]), projections=(CURRENT,))
        lived.take(tape, together(messages))
        assert lived.contents() == rebuilt.contents()

    hold()


def together(messages: Sequence[Sequence[TapeMessage]]) -> list[TapeMessage]:
    return list(chain.from_iterable(messages))
