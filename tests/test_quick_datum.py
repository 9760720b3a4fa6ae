"""The quick reader gives the strict reader's verdict on all bytes, in bounded time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from avro_schemas import damage, documents, events, field, record_of, schema_of
from sinergi_schemas import codec
from sinergi_schemas.avro_types.datum import DatumReader, MalformedDatum
from sinergi_schemas.avro_types.encoding import encode_bytes, encode_long
from sinergi_schemas.avro_types.quick_datum import quick_reader
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.events import Event

VECTORS = sorted(Path(__file__).with_name("vectors").glob("**/*.json"))


def verdict(read: Callable[[bytes], object], datum: bytes) -> str:
    try:
        read(datum)
    except MalformedDatum:
        return "refused"
    return "taken"


def agree(schema: Schema, datum: bytes) -> str:
    """What both readers say of a datum."""
    strict = verdict(DatumReader(schema.event).read, datum)
    assert verdict(quick_reader(schema).check, datum) == strict
    return strict


@given(st.data())
def test_both_readers_agree_on_what_a_schema_holds_and_on_what_was_damaged(
    data: st.DataObject,
) -> None:
    schema = schema_of(data.draw(events()))
    datum = codec.encode_document(data.draw(documents(schema)), schema)
    assert agree(schema, datum) == "taken"
    for wrong in (datum[:-1], datum + b"\x00", data.draw(damage(datum))):
        agree(schema, wrong)


@given(events(), st.binary(max_size=80))
def test_both_readers_agree_on_any_bytes(parsed: dict[str, Any], datum: bytes) -> None:
    agree(schema_of(parsed), datum)


@given(strategies.events(), st.data())
def test_both_readers_agree_on_every_event_of_the_contract_and_on_its_damage(
    event: Event, data: st.DataObject
) -> None:
    schema = Catalog.shipped().newest(event.event_type)
    datum = codec.encode(event, schema)
    quick_reader(schema).check(datum)
    damaged = data.draw(damage(datum))
    assert verdict(quick_reader(schema).check, damaged) == verdict(
        DatumReader(schema.event).read, damaged
    )


def edges(kind: str) -> list[bytes]:
    """Bytes at the borders of what the expressions take."""
    lengths = [0, 1, 63, 64, 126, 127, 128, 129, 8191, 8192]
    numbers = [2**shift + more for shift in range(6, 64) for more in (-1, 0, 1)]
    numbers = [sign * each for each in numbers for sign in (1, -1) if abs(each) < 2**63]
    overlong = [b"\x80\x00", b"\x82\x80\x00", b"\x80" * 9 + b"\x01", b"\xff" * 10]
    match kind:
        case "string" | "bytes" | "decimal":
            texts = [b"a" * each for each in lengths] + [b"\xc3\xa9" * 20, b"\xff", b"\x00"]
            return (
                [encode_bytes(each) for each in texts]
                + overlong
                + [encode_long(-1), encode_long(5) + b"abc"]
            )
        case "double":
            tops = [b"\xef\x7f", b"\xf0\x7f", b"\xf8\x7f", b"\xff\xff", b"\x00\xfe", b"\xf0\xff"]
            return [bytes(6) + top for top in tops]
        case "boolean":
            return [b"\x00", b"\x01", b"\x02", b"\x80\x00", b"\x81\x00"]
        case "enum":
            return [encode_long(each) for each in range(-1, 140)] + overlong
        case "uuid":
            good = b"0198e9f0-0000-7000-8000-00000000000a"
            return [encode_bytes(each) for each in (good, good.upper(), good[:-1], good + b"0")]
        case _:
            return [encode_long(each) for each in numbers] + overlong


TYPES: dict[str, Any] = {
    "boolean": "boolean",
    "int": "int",
    "long": "long",
    "double": "double",
    "bytes": "bytes",
    "string": "string",
    "uuid": {"type": "string", "logicalType": "uuid"},
    "date": {"type": "int", "logicalType": "date"},
    "timestamp-micros": {"type": "long", "logicalType": "timestamp-micros"},
    "decimal": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4},
    "enum": {
        "type": "enum",
        "name": "E",
        "symbols": [f"S{each}" for each in range(130)] + ["UNKNOWN"],
        "default": "UNKNOWN",
    },
}


@pytest.mark.parametrize("kind", TYPES)
def test_both_readers_agree_at_the_borders_of_each_type(kind: str) -> None:
    alone, union, several = (
        schema_of(record_of(field("x", each)))
        for each in (TYPES[kind], ["null", TYPES[kind]], {"type": "array", "items": TYPES[kind]})
    )
    for datum in edges(kind):
        agree(alone, datum)
        for index in (b"\x00", b"\x02", b"\x04", b"\x01", b"\x82\x00"):
            agree(union, index + datum)
        for count in (1, 2, 3, 33):
            agree(several, encode_long(count) + datum * count + b"\x00")
            agree(several, encode_long(-count) + encode_long(0) + datum * count + b"\x00")
        agree(several, (encode_long(1) + datum) * 2 + b"\x00")


@pytest.mark.parametrize("value", [0, 1, -1, 63, 64, -64, -65, 2**31 - 1, -(2**63), 2**63 - 1])
def test_a_number_is_written_as_avro_writes_it(value: int) -> None:
    schema = schema_of(record_of(field("x", "long")))
    assert DatumReader(schema.event).read(encode_long(value))[0] == {"x": value}


@pytest.mark.parametrize("schema", Catalog.shipped().all(), ids=lambda each: each.name)
@pytest.mark.parametrize(
    "filling", [b"\x00", b"\x02", b"\x40", b"\x7e", b"\x80", b"\xfe\x01", b"\x02\x00", b"H"]
)
def test_no_bytes_take_the_expressions_long(schema: Schema, filling: bytes) -> None:
    """Expressions that try in vain in many ways take a time that grows without measure."""
    head = (
        encode_bytes(b"0198e9f0-0000-7000-8000-00000000000a")
        + encode_bytes(b"a")
        + encode_bytes(b"b")
        + encode_long(1)
    )
    check = quick_reader(schema).check
    verdict(check, head)
    start = SYSTEM.monotonic()
    verdict(check, head + filling * (100_000 // len(filling)))
    assert SYSTEM.monotonic() - start < 10


def test_the_vectors_of_the_strict_reader_hold_for_the_quick_one() -> None:
    known = [json.loads(path.read_text("utf-8")) for path in VECTORS]
    probes = [each for each in known if isinstance(each, dict) and {"type", "datum"} <= each.keys()]
    assert probes
    for each in probes:
        schema = schema_of(record_of(field("x", each["type"])))
        agree(schema, bytes.fromhex(each["datum"]))
