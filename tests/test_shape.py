"""Shape rules: each unsafe shape has a vector; every reader can read what is accepted."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avro_schemas import (
    DATE,
    PLAIN,
    UUID,
    WHOLE,
    enum_of,
    events,
    field,
    nodes,
    record_of,
    schema_of,
)
from sinergi_consumers.decode.lowering import lower
from sinergi_schemas import errors
from sinergi_schemas.avro_types import shape
from sinergi_schemas.avro_types.nodes import (
    ArrayType,
    DecimalType,
    EnumType,
    LogicalType,
    OptionalType,
    PrimitiveType,
    RecordField,
    RecordType,
)
from sinergi_schemas.catalog import Schema

VECTORS = sorted((Path(__file__).parent / "vectors" / "shape").glob("*.json"))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_an_unsafe_shape_is_refused_with_its_path_and_rule(path: Path) -> None:
    vector = json.loads(path.read_text())
    with pytest.raises(errors.SchemaRefused) as refusal:
        schema_of(vector["schema"])
    assert refusal.value.what == vector["refused"]
    assert str(refusal.value) == f"The schema probe/1 cannot be used: {vector['refused']}."


def test_there_are_vectors() -> None:
    assert len(VECTORS) > 60


@given(events())
def test_every_schema_of_the_safe_shape_is_accepted(parsed: dict[str, Any]) -> None:
    assert schema_of(parsed).parsed == parsed


def test_the_nodes_say_what_the_schema_says() -> None:
    point = {"type": "record", "name": "Point", "fields": [field("x", "double")], "doc": "Where."}
    parsed = record_of(
        field("at", point, protected=True),
        field("near", ["null", "Point"]),
        field("kinds", {"type": "array", "items": enum_of("Kind", "A")}),
        field("weight", WHOLE),
        field("day", DATE),
        field("count", {"type": "int"}, default=7, doc=""),
    )
    event = schema_of({**parsed, "doc": "An event."}).event
    point_type = RecordType(
        "Point", (RecordField("x", PrimitiveType("double"), "A field."),), "Where."
    )
    assert event.doc == "An event."
    assert event.fields == (
        RecordField("at", point_type, "A field.", protected=True),
        RecordField("near", OptionalType(point_type), "A field.", has_default=True),
        RecordField(
            "kinds",
            ArrayType(EnumType("Kind", ("A", "UNKNOWN"))),
            "A field.",
            has_default=True,
            default=[],
        ),
        RecordField("weight", DecimalType(38, 0), "A field."),
        RecordField("day", LogicalType("date", "int"), "A field."),
        RecordField("count", PrimitiveType("int"), has_default=True, default=7),
    )
    assert event.fields[1].value_type is event.fields[0].type


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A safe schema with a part of it replaced, taken out or doubled."""
    parsed = copy.deepcopy(draw(events()))
    for _ in range(draw(st.integers(1, 3))):
        places = list(nodes(parsed))
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "move", "drop"])):
            case "replace":
                holder[key] = copy.deepcopy(draw(strange))
            case "move":
                other, there = draw(st.sampled_from(places))
                holder[key] = copy.deepcopy(other[there])
            case _:
                del holder[key]
        if not list(nodes(parsed)):
            break
    return parsed


strange: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, 0, -1, 2.5, [], {}, [[]], "", "\ud800"),
        *("UNKNOWN", "Probe", "R0", "E0", "null", "map", "record", "a.b"),
        *(*PLAIN, UUID, ["null", "int"], {"type": "null"}, {"type": []}),
    ]
) | st.recursive(st.text(max_size=3) | st.integers(), lambda inner: st.lists(inner, max_size=2))


@given(mutated())
def test_what_is_accepted_every_reader_can_read(parsed: Any) -> None:
    try:
        schema = schema_of(parsed)
    except errors.SchemaRefused:
        return
    fastavro.parse_schema(schema.parsed)
    lower(schema)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_bytes_that_are_no_schema_are_refused_and_never_raise_otherwise(text: bytes) -> None:
    with pytest.raises(errors.SchemaRefused):
        Schema.from_bytes("probe", 1, 1, text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"type": "record", "name": "P", "name": "Q", "fields": [{"name": "x", "type": "int"}]}',
        b'{"type": "record", "name": "P", "fields": [{"name": "x", "type": "int", "doc": NaN}]}',
        json.dumps(record_of(field("x", "int"))).encode("utf-16"),
        json.dumps(record_of(field("x", "int"))).encode("utf-8-sig"),
        b"[" * 60_000,
        b'{"type":' * 8_000,
    ],
    ids=["name-twice", "nan", "utf-16", "byte-order-mark", "deep-lists", "deep-objects"],
)
def test_json_that_readers_could_take_in_two_ways_is_refused(text: bytes) -> None:
    with pytest.raises(errors.SchemaRefused, match="not JSON in UTF-8, or has a name twice"):
        Schema.from_bytes("probe", 1, 1, text)


def test_a_file_above_64_kib_is_refused_and_one_of_just_that_size_is_not() -> None:
    text = json.dumps(record_of(field("x", "int"))).encode()
    padded = text + b" " * (shape.MOST_BYTES - len(text))
    assert Schema.from_bytes("probe", 1, 1, padded).parsed == json.loads(text)
    with pytest.raises(errors.SchemaRefused, match="it is 65537 bytes, above 65536"):
        Schema.from_bytes("probe", 1, 1, padded + b" ")


def test_a_small_file_that_unfolds_hugely_is_refused_without_unfolding_it() -> None:
    def doubled(at: int) -> dict[str, Any]:
        fields = [field("a", f"R{at - 1}"), field("b", f"R{at - 1}")] if at else [field("a", "int")]
        return {"type": "record", "name": f"R{at}", "fields": fields}

    deep = record_of(*(field(f"f{at}", doubled(at)) for at in range(300)))
    with pytest.raises(errors.SchemaRefused, match="reaches deeper than 8"):
        schema_of(deep)


def test_the_borders_of_depth_columns_and_cells_are_allowed() -> None:
    kind: Any = "int"
    for _ in range(6):
        kind = {"type": "array", "items": kind}
    absent = {"type": "record", "name": "R", "fields": [field(f"f{n}", "int") for n in range(16)]}
    schema_of(record_of(field("x", kind), field("y", {"type": "array", "items": ["null", absent]})))
    schema_of(record_of(*(field(f"f{n}", "int") for n in range(shape.MOST_COLUMNS - 1))))


def test_defaults_of_their_type_are_allowed() -> None:
    record = {"type": "record", "name": "R", "fields": [field("a", "int"), field("b", "E")]}
    schema_of(
        record_of(
            field("e", enum_of("E", "A"), default="A"),
            field("r", record, default={"a": 1, "b": "UNKNOWN"}),
            field("list", {"type": "array", "items": "E"}),
            field("other", {"type": "array", "items": "R"}, default=[]),
            field("int", "int", default=-(2**31)),
            field("long", "long", default=2**63 - 1),
            field("double", "double", default=1),
            field("bytes", "bytes", default="\x00"),
            field("boolean", "boolean", default=False),
            field("string", "string", default=""),
        )
    )
