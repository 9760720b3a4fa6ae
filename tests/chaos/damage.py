"""Datums of random schemas, valid and damaged: single bytes changed, or a false value of any size
in a place that a decoder relies on (counts, lengths, block sizes, branches).
"""

from __future__ import annotations

import struct
from itertools import count
from typing import TYPE_CHECKING, Any

from sinergi_schemas.avro_types.nodes import ArrayType, EnumType, OptionalType, RecordType

if TYPE_CHECKING:
    from random import Random

    from sinergi_schemas.avro_types.nodes import AvroType

_LIE = 0.25
_PLAIN: tuple[Any, ...] = (
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "bytes",
    "string",
    {"type": "string", "logicalType": "uuid"},
    {"type": "int", "logicalType": "date"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 38},
)
_TEXTS = ("", "a", "Lapas Rekaan", "ꦧꦚꦸꦮꦔꦶ", "x" * 70)


def record(rng: Random) -> dict[str, Any]:
    """A schema of safe shape: a record of up to four fields of any type, named types used twice."""
    return _Schemas(rng).record(2)


class _Schemas:
    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._names = count()
        self._named: list[str] = []

    def record(self, depth: int) -> dict[str, Any]:
        fields = [_field(f"f{at}", self._any(depth)) for at in range(self._rng.randint(1, 4))]
        return {"type": "record", "name": f"R{next(self._names)}", "fields": fields}

    def _any(self, depth: int) -> Any:
        kinds = ["plain", "plain", "enum", "optional", "named"]
        kinds += ["array", "array", "record"] if depth else []
        match self._rng.choice(kinds):
            case "enum":
                self._named.append(f"E{next(self._names)}")
                symbols = [f"S{at}" for at in range(self._rng.randint(0, 3))] + ["UNKNOWN"]
                enum = {"type": "enum", "name": self._named[-1], "symbols": symbols}
                return {**enum, "default": "UNKNOWN"}
            case "named" if self._named:
                return self._rng.choice(self._named)
            case "array":
                return {"type": "array", "items": self._any(depth - 1)}
            case "record":
                found = self.record(depth - 1)
                self._named.append(str(found["name"]))
                return found
            case "optional":
                inner = self._any(depth)
                return inner if isinstance(inner, list) else ["null", inner]
            case _:
                return self._rng.choice(_PLAIN)


def _field(name: str, kind: Any) -> dict[str, Any]:
    found = {"name": name, "type": kind}
    return {**found, "default": None} if isinstance(kind, list) else found


class Writer:
    """Writes datums of one event type (Avro 1.12, "Binary Encoding")."""

    def __init__(self, rng: Random, event: RecordType) -> None:
        self._rng = rng
        self._event = event
        self._lies = 0

    def sound(self) -> bytes:
        """A datum as any producer could write it."""
        self._lies = 0
        return self._value(self._event)

    def damaged(self) -> bytes:
        """A datum in which something may be wrong; it may be sound all the same."""
        self._lies = self._rng.randint(0, 2)
        datum = self._value(self._event)
        return datum if self._rng.random() < 0.4 else self._mutated(datum)

    def _mutated(self, datum: bytes) -> bytes:
        """The datum with some bytes changed, put in, taken out, doubled or cut off."""
        found = bytearray(datum)
        for _ in range(self._rng.randint(1, 3)):
            at, length = self._rng.randint(0, len(found)), self._rng.randint(0, 4)
            match self._rng.randrange(5):
                case 0:
                    found[at : at + length] = self._rng.randbytes(self._rng.randint(0, 4))
                case 1:
                    found[at : at + length] = long(self._magnitude())
                case 2:
                    del found[at:]
                case 3:
                    found += datum
                case _ if at < len(found):
                    found[at] ^= 1 << self._rng.randrange(8)
        return bytes(found)

    def _magnitude(self) -> int:
        """A number near a power of two, of any size and sign that 64 bits hold."""
        number = (1 << self._rng.randint(0, 63)) + self._rng.randint(-1, 1)
        number = min(number, 2**63 - 1)
        return number if self._rng.random() < 0.6 else -number

    def _counted(self, number: int) -> bytes:
        """A count, a length or a branch, or a lie in its place."""
        if self._lies and self._rng.random() < _LIE:
            self._lies -= 1
            return long(self._magnitude())
        return long(number)

    def _value(self, node: AvroType) -> bytes:
        match node:
            case OptionalType(value=value):
                branch = self._rng.randrange(2)
                return self._counted(branch) + (self._value(value) if branch else b"")
            case RecordType(fields=fields):
                return b"".join(self._value(each.type) for each in fields)
            case ArrayType(items=items):
                return self._array(items)
            case EnumType(symbols=symbols):
                return self._counted(self._rng.randrange(len(symbols)))
            case _:
                return self._number(node.kind) or self._counted_bytes(node.kind)

    def _number(self, kind: str) -> bytes:
        """A value of a type without a length; nothing where it has one."""
        match kind:
            case "boolean":
                return self._rng.choice((b"\x00", b"\x01"))
            case "int" | "date":
                return long(self._rng.randint(-(10**4), 10**6))
            case "long" | "timestamp-micros":
                return long(self._rng.randint(-(10**15), 10**15))
            case "float":
                return struct.pack("<f", self._rng.uniform(-1e6, 1e6))
            case "double":
                return struct.pack("<d", self._rng.uniform(-1e9, 1e9))
            case _:
                return b""

    def _counted_bytes(self, kind: str) -> bytes:
        """A value of a type whose length stands in front."""
        match kind:
            case "decimal":
                return self._bytes(self._rng.randint(-999, 999).to_bytes(2, "big", signed=True))
            case "uuid":
                text = self._rng.randbytes(16).hex()
                parts = (text[:8], text[8:12], text[12:16], text[16:20], text[20:])
                return self._bytes("-".join(parts).encode())
            case "string":
                return self._bytes(self._rng.choice(_TEXTS).encode())
            case _:
                return self._bytes(self._rng.randbytes(self._rng.randint(0, 9)))

    def _bytes(self, data: bytes) -> bytes:
        return self._counted(len(data)) + data

    def _array(self, items: AvroType) -> bytes:
        """Blocks of items, some with their size in bytes in front, and the empty block."""
        blocks = []
        for _ in range(self._rng.randint(0, 2)):
            number = self._rng.randint(1, 3)
            block = b"".join(self._value(items) for _ in range(number))
            if self._rng.random() < 0.3:
                blocks.append(self._counted(-number) + self._counted(len(block)) + block)
            else:
                blocks.append(self._counted(number) + block)
        return b"".join(blocks) + self._counted(0)


def long(number: int) -> bytes:
    """A number as an Avro long."""
    rest = ((number << 1) ^ (number >> 63)) & (2**64 - 1)
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)
