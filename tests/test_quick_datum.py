"""The quick reader gives the strict reader's verdict on all bytes, and never takes long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from avro_schemas import damage, documents, events, schema_of
from sinergi_schemas import codec
from sinergi_schemas.avro_types.datum import DatumReader, NotOne
from sinergi_schemas.avro_types.quick_datum import QuickReader, number, quick_reader, text
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
    except NotOne:
        return "refused"
    return "taken"


def agree(parsed: Any, datum: bytes) -> str:
    """What both readers say of a datum."""
    strict = verdict(DatumReader(parsed).read, datum)
    assert verdict(QuickReader(parsed).check, datum) == strict
    return strict


@given(st.data())
def test_both_readers_agree_on_what_a_schema_holds_and_on_what_was_damaged(
    data: st.DataObject,
) -> None:
    parsed = data.draw(events())
    schema = schema_of(parsed)
    datum = codec.encode_document(data.draw(documents(parsed)), schema)
    assert agree(parsed, datum) == "taken"
    for wrong in (datum[:-1], datum + b"\x00", data.draw(damage(datum))):
        agree(parsed, wrong)


@given(events(), st.binary(max_size=80))
def test_both_readers_agree_on_any_bytes(parsed: dict[str, Any], datum: bytes) -> None:
    agree(parsed, datum)


@given(strategies.events(), st.data())
def test_both_readers_agree_on_every_event_of_the_contract_and_on_its_damage(
    event: Event, data: st.DataObject
) -> None:
    schema = Catalog.shipped().newest(event.event_type)
    datum = codec.encode(event, schema)
    quick_reader(schema).check(datum)
    damaged = data.draw(damage(datum))
    assert verdict(quick_reader(schema).check, damaged) == verdict(
        DatumReader(schema.parsed).read, damaged
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
            return [text(each) for each in texts] + overlong + [number(-1), number(5) + b"abc"]
        case "double":
            tops = [b"\xef\x7f", b"\xf0\x7f", b"\xf8\x7f", b"\xff\xff", b"\x00\xfe", b"\xf0\xff"]
            return [bytes(6) + top for top in tops]
        case "boolean":
            return [b"\x00", b"\x01", b"\x02", b"\x80\x00", b"\x81\x00"]
        case "enum":
            return [number(each) for each in range(-1, 140)] + overlong
        case "uuid":
            good = b"0198e9f0-0000-7000-8000-00000000000a"
            return [text(each) for each in (good, good.upper(), good[:-1], good + b"0")]
        case _:
            return [number(each) for each in numbers] + overlong


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
    alone = {"type": "record", "name": "P", "fields": [{"name": "x", "type": TYPES[kind]}]}
    union = {**alone, "fields": [{"name": "x", "type": ["null", TYPES[kind]]}]}
    items = {"type": "array", "items": TYPES[kind]}
    several = {**alone, "fields": [{"name": "x", "type": items}]}
    for datum in edges(kind):
        agree(alone, datum)
        for index in (b"\x00", b"\x02", b"\x04", b"\x01", b"\x82\x00"):
            agree(union, index + datum)
        for count in (1, 2, 3, 33):
            agree(several, number(count) + datum * count + b"\x00")
            agree(several, number(-count) + number(0) + datum * count + b"\x00")
        agree(several, (number(1) + datum) * 2 + b"\x00")


@pytest.mark.parametrize("value", [0, 1, -1, 63, 64, -64, -65, 2**31 - 1, -(2**63), 2**63 - 1])
def test_a_number_is_written_as_avro_writes_it(value: int) -> None:
    parsed = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "long"}]}
    assert DatumReader(parsed).read(number(value))[0] == {"x": value}


@pytest.mark.parametrize("schema", Catalog.shipped().all(), ids=lambda each: each.name)
@pytest.mark.parametrize(
    "filling", [b"\x00", b"\x02", b"\x40", b"\x7e", b"\x80", b"\xfe\x01", b"\x02\x00", b"H"]
)
def test_no_bytes_take_the_expressions_long(schema: Schema, filling: bytes) -> None:
    """Expressions that try in vain in many ways take a time that grows without measure."""
    head = text("0198e9f0-0000-7000-8000-00000000000a") + text("a") + text("b") + number(1)
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
        parsed = {"type": "record", "name": "P", "fields": [{"name": "x", "type": each["type"]}]}
        agree(parsed, bytes.fromhex(each["datum"]))
