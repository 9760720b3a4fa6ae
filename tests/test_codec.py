"""The codec of one event reads what it writes, agrees with the bulk decoder, and answers or refuses
any bytes.
"""

from __future__ import annotations

import io
import json
import math
import traceback
import tracemalloc
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from avro_schemas import (
    DATE,
    DECIMAL,
    TIMESTAMP,
    damage,
    documents,
    enum_of,
    events,
    field,
    record_of,
    schema_of,
)
from avro_schemas import (
    UUID as UUID_TYPE,
)
from sinergi_consumers.decode import frames
from sinergi_schemas import codec, errors
from sinergi_schemas.avro_types.datum import DatumReader
from sinergi_schemas.catalog import Catalog

if TYPE_CHECKING:
    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.events import Event

VECTORS = sorted((Path(__file__).parent / "vectors" / "frames").glob("*.json"))
SECRET = "Slamet Riyadi 3510101708450001"  # a made-up person's


@st.composite
def held(draw: st.DrawFn) -> tuple[dict[str, Any], Schema]:
    """A document and the schema that it is of."""
    schema = schema_of(draw(events()))
    return draw(documents(schema)), schema


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, Schema]:
    """A datum that was damaged, and the schema that it was of."""
    document, schema = draw(held())
    return draw(damage(codec.encode_document(document, schema))), schema


def zigzag(number: int) -> bytes:
    """A number from 0 upwards as an Avro int."""
    rest, encoded = number << 1, bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*encoded, rest])


def by_fastavro(datum: bytes, schema: Schema) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(datum), schema.parsed, None)


def alike(value: Any) -> Any:
    """A value in a form in which decoders can be compared: UUIDs as text, NaN equal to NaN."""
    match value:
        case dict():
            return {name: alike(each) for name, each in value.items()}
        case list() | tuple():
            return [alike(each) for each in value]
        case UUID():
            return str(value)
        case float() if math.isnan(value):
            return "NaN"
        case _:
            return value


# Documents


@given(held())
def test_what_is_written_is_read_again_and_fastavro_reads_the_same(
    case: tuple[dict[str, Any], Schema],
) -> None:
    document, schema = case
    datum = codec.encode_document(document, schema)
    assert codec.decode(datum, schema) == document
    assert by_fastavro(datum, schema) == document


def test_values_come_back_in_the_types_that_people_compute_with() -> None:
    document = {
        "id": UUID("0198e9f0-0000-7000-8000-00000000000a"),
        "day": date(2026, 3, 3),
        "at": datetime(2026, 3, 3, 7, tzinfo=timezone(timedelta(hours=7))),
        "grams": Decimal("12.5"),
        "kind": "A",
        "note": None,
    }
    kinds = [UUID_TYPE, DATE, TIMESTAMP, DECIMAL, enum_of("Kind", "A"), ["null", "string"]]
    schema = schema_of(record_of(*map(field, document, kinds)))
    read = codec.decode(codec.encode_document(document, schema), schema)
    assert read == document
    assert [type(each) for each in read.values()] == [
        UUID,
        date,
        datetime,
        Decimal,
        str,
        type(None),
    ]
    assert read["at"].tzinfo is UTC
    assert str(read["grams"]) == "12.5000"


# Events


@given(strategies.events())
def test_every_event_that_a_publisher_can_issue_is_read_again(event: Event) -> None:
    schema = Catalog.shipped().newest(event.event_type)
    datum = codec.encode(event, schema)
    assert type(event).model_validate(codec.decode(datum, schema)) == event


@given(st.lists(strategies.transfers(), max_size=4))
def test_the_bulk_decoder_reads_what_is_encoded_to_the_same(issued: list[Event]) -> None:
    schema = Catalog.shipped().newest("transfer")
    datums = [codec.encode(each, schema) for each in issued]
    decoded = frames.decode(datums, schema)
    assert decoded.refused == []
    assert alike(decoded.frame.to_dicts()) == [alike(codec.decode(each, schema)) for each in datums]


@given(strategies.events())
def test_head_revision_and_tail_are_the_datum(event: Event) -> None:
    schema = Catalog.shipped().newest(event.event_type)
    head, tail = codec.encode_around_revision(event.model_copy(update={"revision": 0}), schema)
    assert head + zigzag(event.revision) + tail == codec.encode(event, schema)


@given(strategies.events(issued=False))
def test_an_event_that_was_not_issued_is_refused_with_what_it_lacks(event: Event) -> None:
    schema = Catalog.shipped().newest(event.event_type)
    with pytest.raises(errors.EventRefused) as refused:
        codec.encode(event, schema)
    lacking = [each.partition(":")[0] for each in refused.value.problems]
    assert lacking == ["agency", "agreement", "recorded_at", "revision"]
    with pytest.raises(errors.EventRefused) as refused:
        codec.encode_around_revision(event, schema)
    assert "agency: is for publish to fill in" in refused.value.problems
    assert "revision: is for publish to fill in" not in refused.value.problems


@settings(max_examples=5)
@given(strategies.transfers())
def test_an_event_is_not_encoded_as_another_type(event: Event) -> None:
    with pytest.raises(errors.EventRefused, match="was to be encoded as seizure"):
        codec.encode(event, Catalog.shipped().newest("seizure"))


@settings(max_examples=5)
@given(strategies.transfers(), st.sampled_from(["long", "string", ["null", "int"]]))
def test_a_revision_that_the_database_could_not_put_in_is_refused(event: Event, kind: Any) -> None:
    for name in ("revision", "another"):
        schema = schema_of(record_of(field(name, kind)), event_type="transfer")
        with pytest.raises(errors.SchemaRefused, match="revision is not a plain int of the event"):
            codec.encode_around_revision(event, schema)


# What is not written, since no consumer would read it


UNWRITABLE: dict[str, tuple[Any, Any]] = {
    "int-beyond-32-bits": ("int", 2**31),
    "long-beyond-64-bits": ("long", 2**63),
    "decimal-with-too-many-digits": (DECIMAL, Decimal(10**14)),
    "decimal-with-too-many-digits-once-scaled": (DECIMAL, Decimal(12345678901)),
    "decimal-with-too-many-places": (DECIMAL, Decimal("0.00001")),
    "double-that-is-no-number": ("double", math.nan),
    "double-infinite": ("double", math.inf),
    "float-infinite": ("float", -math.inf),
    "decimal-that-is-no-number": (DECIMAL, Decimal("NaN")),
    "decimal-infinite": (DECIMAL, Decimal("Infinity")),
    "decimal-given-as-float": (DECIMAL, 1.5),
    "uuid-in-upper-case": (UUID_TYPE, "0198E9F0-0000-7000-8000-00000000000A"),
    "uuid-that-is-none": (UUID_TYPE, SECRET),
    "moment-before-the-year-1": (
        TIMESTAMP,
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=7))),
    ),
    "moment-without-a-zone": (TIMESTAMP, datetime(2026, 3, 3)),  # noqa: DTZ001 - that is the point
    "moments-in-a-list-without-a-zone": (
        {"type": "array", "items": TIMESTAMP},
        [datetime(2026, 3, 3)],  # noqa: DTZ001 - as above
    ),
    "moment-as-text": (TIMESTAMP, SECRET),
    "date-as-text": (DATE, SECRET),
    "symbol-unknown": (enum_of("E", "A"), SECRET),
    "null-where-none-may-be": ("string", None),
    "number-as-text": ("int", SECRET),
    "text-as-number": ("string", 3510101708450001),
    "text-as-number-where-it-may-be-null": (["null", "string"], 3510101708450001),
    "text-with-a-lone-surrogate": ("string", "\ud800"),
    "list-that-is-none": ({"type": "array", "items": "int"}, 7),
    "record-that-is-none": ({"type": "record", "name": "R", "fields": [field("a", "int")]}, "a"),
    "record-that-lacks-a-field": (
        {"type": "record", "name": "R", "fields": [field("a", "int")]},
        {},
    ),
    "record-with-a-foreign-field": (
        {"type": "record", "name": "R", "fields": [field("a", "int")]},
        {"a": 1, SECRET: 2},
    ),
}


@pytest.mark.parametrize(("kind", "value"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_a_value_that_does_not_fit_is_refused_without_quoting_it(kind: Any, value: Any) -> None:
    schema = schema_of(record_of(field("x", kind)))
    with pytest.raises(errors.EventRefused) as refused:
        codec.encode_document({"x": value}, schema)
    said = "".join(traceback.format_exception(refused.value))
    assert SECRET not in said
    assert "3510101708450001" not in said


@pytest.mark.parametrize("document", [{}, {"x": 1, "y": 2}])
def test_a_document_with_other_fields_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(errors.EventRefused):
        codec.encode_document(document, schema_of(record_of(field("x", "int"))))


def test_a_pair_is_a_list_of_two_and_not_a_branch_with_its_name() -> None:
    schema = schema_of(record_of(field("x", ["null", {"type": "array", "items": "string"}])))
    datum = codec.encode_document({"x": ("string", "b")}, schema)
    assert codec.decode(datum, schema) == {"x": ["string", "b"]}


# Bytes of others


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_extreme_bytes_get_the_verdict_that_their_vector_names(path: Path) -> None:
    vector = json.loads(path.read_text())
    schema, datum = schema_of(record_of(field("x", vector["type"]))), bytes.fromhex(vector["datum"])
    if "refused" in vector:
        with pytest.raises(errors.DatumInvalid):
            codec.decode(datum, schema)
    else:
        value = codec.decode(datum, schema)["x"]
        assert _plain(value) == vector["value"]


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case _:
            return value


@given(damaged())
def test_damaged_bytes_are_refused_or_read_as_the_bulk_decoder_and_fastavro_read_them(
    case: tuple[bytes, Schema],
) -> None:
    datum, schema = case
    bulk = frames.decode([datum], schema)
    try:
        document = codec.decode(datum, schema)
    except errors.DatumInvalid:
        assert bulk.kept == []
        return
    assert alike(bulk.frame.to_dicts()) == [alike(document)]
    _, is_lenient = DatumReader(schema.event).read(datum)
    if not is_lenient:
        assert alike(by_fastavro(datum, schema)) == alike(document)


@given(events(), st.binary(max_size=80))
def test_any_bytes_are_refused_or_read_and_never_raise_otherwise(
    parsed: dict[str, Any], datum: bytes
) -> None:
    schema = schema_of(parsed)
    kept = frames.decode([datum], schema).kept
    try:
        codec.decode(datum, schema)
    except errors.DatumInvalid:
        assert kept == []
    else:
        assert kept == [0]


@given(held())
def test_a_datum_that_lacks_its_end_or_has_more_is_refused(
    case: tuple[dict[str, Any], Schema],
) -> None:
    document, schema = case
    datum = codec.encode_document(document, schema)
    for wrong in (datum[:-1], datum + b"\x00", datum + datum):
        with pytest.raises(errors.DatumInvalid):
            codec.decode(wrong, schema)


HUGE = b"\xfe" + b"\xff" * 8 + b"\x01"  # the highest long


@pytest.mark.parametrize(
    ("kind", "datum"),
    [
        ("string", HUGE),
        ("bytes", HUGE),
        (DECIMAL, HUGE),
        ({"type": "array", "items": "int"}, HUGE),
        ({"type": "array", "items": ["null", "int"]}, b"\xff" * 9 + b"\x01" + HUGE + HUGE),
        ({"type": "array", "items": {"type": "array", "items": "int"}}, HUGE * 3),
    ],
    ids=["string", "bytes", "decimal", "list", "list-by-a-negative-count", "lists"],
)
def test_a_huge_length_is_refused_without_taking_memory_for_it(kind: Any, datum: bytes) -> None:
    schema = schema_of(record_of(field("x", kind)))
    tracemalloc.start()
    with pytest.raises(errors.DatumInvalid):
        codec.decode(datum, schema)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000


def test_a_refusal_names_schema_and_rule_and_nothing_of_the_event() -> None:
    schema = schema_of(record_of(field("name", "string"), field("kind", enum_of("K", "A"))))
    datum = codec.encode_document({"name": SECRET, "kind": "A"}, schema)
    for wrong in (datum[:-1] + b"\x08", datum[:-1], datum.replace(b"S", b"\xff")):
        with pytest.raises(errors.DatumInvalid) as refused:
            codec.decode(wrong, schema)
        assert str(refused.value).startswith("A datum is not one of probe/1: ")
        assert "lamet" not in "".join(traceback.format_exception(refused.value))
