"""`sinergi schemas check` accepts exactly the schemas that readers can make tables of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from avro_schemas import documents, enum_of, event_of, field, record_of, schema_of
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.decode import frames
from sinergi_consumers.decode.layout import POSITION, Layout
from sinergi_consumers.projections import ddl
from sinergi_consumers.projections.projection import PROVENANCE, current, history
from sinergi_consumers.sinks.postgresql.csv_rows import as_csv
from sinergi_consumers.sinks.postgresql.schema_tables import findings, judge
from sinergi_schemas import codec, errors
from sinergi_schemas.catalog import Catalog

if TYPE_CHECKING:
    from pathlib import Path

LONG = "l" * 60


def part(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    """A record inside an event."""
    return {"type": "record", "name": name, "fields": list(fields)}


def many(items: Any) -> dict[str, Any]:
    """A list."""
    return {"type": "array", "items": items}


BAD: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]]]] = {
    "two paths that flatten to one name": (
        [
            field("a", part("A", field("b_c", "int"))),
            field("a_b", part("B", field("c", "int"))),
        ],
        [("a_b.c", "name-clash")],
    ),
    "a path that flattens to the name of a field": (
        [field("a_b", "int"), field("a", part("A", field("b", "int")))],
        [("a.b", "name-clash")],
    ),
    "a path that flattens to a field of every event": (
        [field("record", part("R", field("id", "string")))],
        [("record.id", "name-clash")],
    ),
    "two names in a list": (
        [
            field(
                "l", many(part("A", field("x_y", "int"), field("x", part("B", field("y", "int")))))
            )
        ],
        [("l[].x.y", "name-clash")],
    ),
    "a list and a path of one name": (
        [field("a_b", many("int")), field("a", part("A", field("b", "int")))],
        [("a.b", "name-clash")],
    ),
    "a list in a record": (
        [field("a", part("A", field("b", many("int"))))],
        [("a.b", "list-nested")],
    ),
    "a list in a list": ([field("a", many(many("int")))], [("a[]", "list-nested")]),
    "a list in a record in a list": (
        [field("a", many(part("A", field("b", many("string")))))],
        [("a[].b", "list-nested")],
    ),
    "a long name": ([field("n" * 64, "int")], [("n" * 64, "name-too-long")]),
    "a long path": (
        [field(LONG, part("A", field("four", "int")))],
        [(f"{LONG}.four", "name-too-long")],
    ),
    "a list of a long name": ([field("l" * 50, many("int"))], [("l" * 50, "name-too-long")]),
    **{
        f"a field called {name}": ([field(name, "string")], [(name, "name-reserved")])
        for name in ("topic", "partition", "leaf_index", "xmin", "ctid", "tableoid", "cmax")
    },
    **{
        f"a field of a list called {name}": (
            [field("l", many(part("A", field(name, "string"))))],
            [(f"l[].{name}", "name-reserved")],
        )
        for name in (*PROVENANCE, POSITION, "xmax")
    },
    **{
        f"a list called {name}": ([field(name, many("int"))], [(name, "name-reserved")])
        for name in (POSITION,)
    },
    "a record in a list called position": (
        [field("l", many(part("A", field("position", part("B", field("x", "int"))))))],
        [("l[].position", "name-reserved")],
    ),
}


@pytest.mark.parametrize(("fields", "wanted"), BAD.values(), ids=BAD.keys())
def test_what_no_reader_can_make_a_table_of_is_found(
    fields: list[dict[str, Any]], wanted: list[tuple[str, str]]
) -> None:
    found = findings(schema_of(event_of(*fields)))
    assert [(each.path, each.rule) for each in found] == wanted
    assert all("no reader could make or fill its table" in each.text for each in found)


@pytest.mark.parametrize("name", ["agency", "record_id", "revision", "event_id", "action"])
def test_an_event_without_what_every_reader_asks_for_is_found(name: str) -> None:
    whole = event_of()
    fields = [each for each in whole["fields"] if each["name"] != name]
    (missing,) = findings(schema_of({**whole, "fields": fields}))
    assert (missing.path, missing.rule) == (name, "field-missing")
    optional = [*fields, field(name, ["null", "long"])]
    (other,) = findings(schema_of({**whole, "fields": optional}))
    assert (other.path, other.rule) == (name, "field-missing")


def test_a_list_whose_table_is_the_history_is_found() -> None:
    (judged,) = judge(Catalog([schema_of(event_of(field("history", many("int"))))]))
    assert [(each.path, each.rule) for each in judged.findings] == [("", "name-clash")]
    assert "its table probe_history is also that of" in judged.findings[0].text


def test_two_event_types_that_share_a_table_are_found() -> None:
    one = schema_of(event_of(field("b", many("int"))), event_type="a")
    other = schema_of(event_of(), event_type="a-b")
    found = [each for judged in judge(Catalog([one, other])) for each in judged.findings]
    assert [each.rule for each in found] == ["name-clash"]
    assert "its table a_b is also that of b in the current of a" in found[0].text


def test_the_shipped_schemas_are_tables() -> None:
    assert [each.findings for each in judge(Catalog.shipped())] == [()] * len(
        Catalog.shipped().all()
    )


def test_the_command_names_what_is_in_the_way_and_is_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "probe").mkdir()
    parsed = event_of(field("topic", "string"), field("a", part("A", field("b", many("int")))))
    (tmp_path / "probe/1.avsc").write_text(json.dumps(parsed))
    (tmp_path / "ids.toml").write_text('"probe/1" = 1\n')
    assert run(["schemas", "check", str(tmp_path)]) == 1
    topic, nested = capsys.readouterr().out.splitlines()
    assert topic.startswith("probe/1: topic: topic is a column that each table has of its own;")
    assert nested.startswith("probe/1: a.b: a list stands inside a record")


# What is accepted is made and filled


NAMES = [
    "a",
    "b",
    "a_b",
    "b_c",
    "c",
    "value",
    "position",
    "topic",
    "history",
    "xmin",
    "id",
    "record",
]
NAMES += ["x" * 40, "agency", "Nama", "select", "y" * 64]


@st.composite
def odd_events(draw: st.DrawFn) -> dict[str, Any]:
    """Events of any shape, with names that may clash or be reserved."""
    numbers = iter(range(1000))

    def kind(depth: int) -> Any:
        match draw(st.sampled_from(["plain", "array", "record", "enum"] if depth else ["plain"])):
            case "array":
                return many(kind(depth - 1))
            case "record":
                return part(f"R{next(numbers)}", *fields(depth - 1))
            case "enum":
                return enum_of(f"E{next(numbers)}", "S")
            case _:
                optional = ["null", "string"]
                return (
                    draw(st.sampled_from(["string", "int", "bytes", "boolean"]))
                    if (draw(st.booleans()))
                    else optional
                )

    def fields(depth: int) -> list[dict[str, Any]]:
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
        return [field(name, kind(depth)) for name in names]

    taken = {each["name"] for each in event_of()["fields"]}
    return event_of(*(each for each in fields(3) if each["name"] not in taken))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_what_is_accepted_is_made_by_a_database_and_filled(
    postgresql: str, data: st.DataObject
) -> None:
    parsed = data.draw(odd_events())
    schema = schema_of(parsed)
    (judged,) = judge(Catalog([schema]))
    assert "no-table" not in [each.rule for each in judged.findings]
    event("refused" if judged.findings else "accepted")
    if judged.findings:
        return
    document = data.draw(documents(schema))
    flat = Layout.of(schema).flatten(
        frames.decode([codec.encode_document(document, schema)], schema).frame
    )
    events = flat.with_columns(
        pl.lit("t").alias("topic"),
        pl.lit(0, pl.Int32).alias("partition"),
        pl.lit(0, pl.Int64).alias("leaf_index"),
    )
    engine = sa.create_engine(postgresql, poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS sinergi")
        for projection in (current(schema), history(schema)):
            for statement in ddl.statements([projection], {}):
                connection.exec_driver_sql(statement.replace("%", "%%"))
            rows = projection.rows(events)
            assert rows[projection.record.name].height == 1
            for table in projection.tables:
                assert as_csv(table, rows[table.name]) or rows[table.name].is_empty()
        connection.rollback()


def test_a_list_of_records_with_the_one_field_value_is_a_table_of_it(postgresql: str) -> None:
    schema = schema_of(event_of(field("l", many(part("A", field("value", "int"))))))
    assert findings(schema) == []
    migrate.upgrade(postgresql, migrate.Role.CONSUMER, [current(schema)])
    layout = Layout.of(schema)
    frame = pl.DataFrame({"l": [[{"value": 7}, {"value": 8}]], "agency": ["a"]})
    rows = layout.elements(frame, layout.lists[0], ["agency"])
    assert rows.rows() == [("a", 0, 7), ("a", 1, 8)]


def test_a_schema_that_is_no_event_is_found_and_not_raised() -> None:
    assert findings(schema_of(record_of(field("x", "int"))))
    with pytest.raises(errors.SchemaRefused):
        schema_of({})
