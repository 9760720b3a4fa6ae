"""The default of a field (Avro 1.12, "Complex Types", attribute `default`).

An optional field has the default null, and a field of a logical type can have no default at all.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sinergi_schemas.avro_types import bounds
from sinergi_schemas.avro_types.nodes import (
    ArrayType,
    EnumType,
    OptionalType,
    PrimitiveType,
    RecordType,
)

if TYPE_CHECKING:
    from sinergi_schemas.avro_types.nodes import AvroType

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "bytes": (str,),
    "string": (str,),
}
_LARGEST = {"float": 3.4028234663852886e38, "double": sys.float_info.max}
_BOUNDS = {"int": bounds.INT, "long": bounds.LONG}


def fits(default: Any, node: AvroType) -> bool:
    """Whether `default`, as JSON reads it, is a value of a type."""
    match node:
        case OptionalType():
            return default is None  # the default of a union is of its first branch
        case RecordType(fields=fields):
            return isinstance(default, dict) and all(
                each.name in default and fits(default[each.name], each.type) for each in fields
            )
        case ArrayType(items=items):
            return isinstance(default, list) and all(fits(each, items) for each in default)
        case EnumType(symbols=symbols):
            return default in symbols
        case PrimitiveType(kind=kind):
            return _fits_primitive(default, kind)
        case _:  # no date, amount or identity is the same for all events that lack one
            return False


def value(default: Any, node: AvroType) -> Any:
    """The value that a default stands for: as JSON reads it, but for bytes.

    Args:
        default: a default that fits the type.
    """
    match node:
        case RecordType(fields=fields):
            return {each.name: value(default[each.name], each.type) for each in fields}
        case ArrayType(items=items):
            return [value(each, items) for each in default]
        case PrimitiveType(kind="bytes"):
            return default.encode("latin-1")  # JSON holds one code point for each byte
        case _:
            return default


def _fits_primitive(default: Any, kind: str) -> bool:
    match kind:
        case "int" | "long":
            low, high = _BOUNDS[kind]
            return type(default) is int and low <= default <= high
        case "bytes":
            return isinstance(default, str) and default.isascii()
        case "float" | "double":  # JSON can write 1e999, which is read as infinite
            largest = _LARGEST[kind]
            return type(default) in _JSON_TYPES[kind] and -largest <= default <= largest
        case _:
            return type(default) in _JSON_TYPES[kind]
