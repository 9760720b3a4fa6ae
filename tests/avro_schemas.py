"""Strategies for schemas of the safe shape, for the documents that they hold, and for damage."""

from __future__ import annotations

import json
from datetime import UTC
from decimal import Context, Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from sinergi_schemas.avro_types.nodes import (
    ArrayType,
    DecimalType,
    EnumType,
    OptionalType,
    RecordType,
)
from sinergi_schemas.catalog import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.avro_types.nodes import AvroType

UUID = {"type": "string", "logicalType": "uuid"}
DATE = {"type": "int", "logicalType": "date"}
TIMESTAMP = {"type": "long", "logicalType": "timestamp-micros"}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 14, "scale": 4}
WHOLE = {"type": "bytes", "logicalType": "decimal", "precision": 38}
DIGIT = {"type": "bytes", "logicalType": "decimal", "precision": 1, "scale": 0}
FRACTION = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 38}
LOGICAL = [UUID, DATE, TIMESTAMP, DECIMAL, WHOLE, DIGIT, FRACTION]
PLAIN = ["boolean", "int", "long", "float", "double", "bytes", "string"]

_EXACT = Context(prec=60)


def schema_of(parsed: Any, version: int = 1, event_type: str = "probe") -> Schema:
    """A schema as the catalogue would read it."""
    return Schema.from_bytes(event_type, version, version, json.dumps(parsed).encode())


def record_of(*fields: dict[str, Any]) -> dict[str, Any]:
    """An event with these fields."""
    return {"type": "record", "name": "Probe", "fields": list(fields)}


def event_of(*fields: dict[str, Any]) -> dict[str, Any]:
    """The same with the fields that a reader asks of every event before them."""
    kinds = {"agency": "string", "record_id": "string", "revision": "int", "event_id": UUID}
    kinds |= {"action": enum_of("Action", "RECORDED", "CORRECTED", "RETRACTED")}
    return record_of(*(field(name, kind) for name, kind in kinds.items()), *fields)


def enum_of(name: str, *symbols: str) -> dict[str, Any]:
    """An enum as the contract wants it."""
    return {"type": "enum", "name": name, "symbols": [*symbols, "UNKNOWN"], "default": "UNKNOWN"}


@st.composite
def events(draw: st.DrawFn, depth: int = 3) -> dict[str, Any]:
    """An event with fields of any type of the safe shape, named types used more than once."""
    named: dict[str, int] = {}  # how deep each may reach
    numbers = count()

    def kind(depth: int) -> Any:
        kinds = ["plain", "logical", "enum", "optional", "named"]
        fitting = [name for name, reach in named.items() if reach <= depth]
        match draw(st.sampled_from([*kinds, "array", "record"] if depth else kinds)):
            case "plain":
                return draw(st.sampled_from(PLAIN))
            case "enum":
                symbols = [f"S{at}" for at in range(draw(st.integers(0, 3)))]
                found = enum_of(f"E{next(numbers)}", *draw(st.permutations(symbols)))
                named[found["name"]] = 0
                return found
            case "named" if fitting:
                return draw(st.sampled_from(fitting))
            case "optional":
                inner = kind(depth)
                return inner if isinstance(inner, list) else ["null", inner]
            case "array":
                return {"type": "array", "items": kind(depth - 1)}
            case "record":
                found = record(f"R{next(numbers)}", depth - 1)
                named[found["name"]] = depth
                return found
            case _:
                return draw(st.sampled_from(LOGICAL))

    def record(name: str, depth: int) -> dict[str, Any]:
        fields = [field(f"f{at}", kind(depth)) for at in range(draw(st.integers(1, 4)))]
        return {"type": "record", "name": name, "fields": fields}

    return record("Probe", depth)


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    """A field; an optional one, and a list, has its default."""
    found = {"name": name, "type": kind, "doc": "A field.", **more}
    if isinstance(kind, list):
        found["default"] = None
    elif isinstance(kind, dict) and kind["type"] == "array":
        found["default"] = []
    return found


def documents(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """The documents that a schema can hold, in the types that the codec takes and gives."""
    return _values(schema.event)


def _values(node: AvroType) -> st.SearchStrategy[Any]:
    match node:
        case OptionalType(value=value):
            return st.none() | _values(value)
        case RecordType(fields=fields):
            return st.fixed_dictionaries({each.name: _values(each.type) for each in fields})
        case ArrayType(items=items):
            return st.lists(_values(items), max_size=3)
        case EnumType(symbols=symbols):
            return st.sampled_from(symbols)
        case DecimalType(precision=precision, scale=scale):
            most = 10**precision - 1
            whole = st.integers(-most, most) | st.sampled_from([-most, 0, most])
            return whole.map(lambda number: Decimal(number).scaleb(-scale, _EXACT))
        case _:
            return _SINGLE_VALUES[node.kind]


_SINGLE_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "bytes": st.binary(max_size=20),
    "string": st.text(max_size=20),
    "uuid": st.uuids(),
    "date": st.dates(),
    "timestamp-micros": st.datetimes(timezones=st.just(UTC)),
}


@st.composite
def damage(draw: st.DrawFn, datum: bytes) -> bytes:
    """The datum with a few bytes changed, put in, taken out or cut off at the end."""
    found = bytearray(datum)
    telling = [b"\x80", b"\xff" * 9 + b"\x01", b"\x03\x00", b"\x80" * 9 + b"\x01"]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(found)))
        length = draw(st.integers(0, 3))
        found[at : at + length] = draw(st.binary(max_size=3) | st.sampled_from(telling))
    return bytes(found)


def nodes(parsed: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document of JSON: what holds it, and its key or index there."""
    pairs = parsed.items() if isinstance(parsed, dict) else enumerate(parsed)
    for key, value in list(pairs):
        yield parsed, key
        if isinstance(value, (dict, list)):
            yield from nodes(value)
