"""What a leaf says, as JSON that any program makes with the same bytes (docs/spec/bundle.md §4).

The text is that of JavaScript's `JSON.stringify(value, null, 2)` and a line feed. So the verifier
in a browser and this one compare texts byte by byte.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sinergi_schemas.avro_types.datum import DatumReader, MalformedDatum
from sinergi_schemas.avro_types.nodes import ArrayType, OptionalType, PrimitiveType, RecordType
from sinergi_schemas.message import FINGERPRINT_LENGTH
from sinergi_schemas.seal.merkle import leaf_hash

if TYPE_CHECKING:
    from sinergi_schemas.avro_types.nodes import AvroType
    from sinergi_schemas.catalog import Schema

_LENGTH = 4
_SCHEMAS = 64  # that are kept ready; a bundle has a few
_MOST_PLAIN_DIGITS = 21
_FEWEST_ZEROS = -6


@dataclass(frozen=True, slots=True)
class SealedLeaf:
    """The parts of a leaf's bytes."""

    data: bytes
    fingerprint: bytes
    key: bytes
    datum: bytes

    @classmethod
    def parse(cls, data: bytes) -> SealedLeaf:
        """Divide the bytes that a leaf hash covers.

        Raises:
            ValueError: they are too short.
        """
        start = FINGERPRINT_LENGTH + _LENGTH
        if len(data) < start:
            raise ValueError("it is too short for a leaf")
        end = start + int.from_bytes(data[FINGERPRINT_LENGTH:start], "big")
        if end > len(data):
            raise ValueError("its key is longer than the leaf")
        return cls(data, data[:FINGERPRINT_LENGTH], data[start:end], data[end:])


def event_of(leaf: SealedLeaf, schema: Schema) -> dict[str, Any]:
    """What the event of a leaf says, as a JSON document.

    Raises:
        ValueError: the leaf does not hold one datum of the schema.
    """
    try:
        value, _ = _reader(schema).read(leaf.datum)
    except MalformedDatum as why:
        raise ValueError(f"it holds no event of its schema: {why}") from None
    document: dict[str, Any] = _plain(value, schema.event)
    return document


@lru_cache(_SCHEMAS)
def _reader(schema: Schema) -> DatumReader:
    return DatumReader(schema.event)


def document(topic: str, partition: int, index: int, leaf: SealedLeaf, event: Any) -> bytes:
    """The readable file of an event.

    Args:
        event: see `event_of`.
    """
    return json_text(
        {
            "topic": topic,
            "partition": partition,
            "leaf_index": index,
            "leaf_hash": leaf_hash(leaf.data).hex(),
            "schema": leaf.fingerprint.hex(),
            "event": event,
        }
    ).encode()


def json_text(value: Any) -> str:
    """A JSON document as JavaScript writes it with an indent of two, and a line feed."""
    return f"{_json(value, '')}\n"


def _plain(value: Any, node: AvroType) -> Any:
    """A decoded value as JSON has it."""
    match value, node:
        case None, _:
            return None
        case _, OptionalType(value=inner):
            return _plain(value, inner)
        case dict(), RecordType(fields=fields):
            return {each.name: _plain(value[each.name], each.type) for each in fields}
        case list(), ArrayType(items=items):
            return [_plain(each, items) for each in value]
        case _, PrimitiveType(kind="long"):
            return str(value)  # a number of JSON has 53 bits in most programs
        case _:
            return _scalar(value)


def _scalar(value: Any) -> Any:
    match value:
        case datetime():
            return value.strftime(f"{value.year:04d}-%m-%dT%H:%M:%S.%fZ")  # it is in UTC
        case date():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case Decimal():
            return f"{value:f}"
        case UUID():
            return str(value)
        case _:
            return value


def _json(value: Any, indent: str) -> str:
    deeper = f"{indent}  "
    match value:
        case dict() if value:
            inside = (
                f"{json.dumps(k, ensure_ascii=False)}: {_json(v, deeper)}" for k, v in value.items()
            )
            return "{\n" + ",\n".join(f"{deeper}{each}" for each in inside) + f"\n{indent}}}"
        case list() | tuple() if value:
            items = (_json(each, deeper) for each in value)
            return "[\n" + ",\n".join(f"{deeper}{each}" for each in items) + f"\n{indent}]"
        case float():
            return _number(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """A number as ECMAScript writes it (ECMA-262, Number::toString)."""
    if value == 0:
        return "0"
    sign, found, exponent = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, found)).lstrip("0")
    point = len(digits) + int(exponent)
    digits = digits.rstrip("0")
    minus = "-" if sign else ""
    if 0 < point <= _MOST_PLAIN_DIGITS:
        whole = digits[:point].ljust(point, "0")
        part = digits[point:]
        return f"{minus}{whole}.{part}" if part else f"{minus}{whole}"
    if _FEWEST_ZEROS < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    power = point - 1
    head = f"{digits[0]}.{digits[1:]}" if digits[1:] else digits
    return f"{minus}{head}e{'+' if power > 0 else '-'}{abs(power)}"
