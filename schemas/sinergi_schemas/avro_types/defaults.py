"""Whether a default is a value of its field's type (Avro 1.12, "Complex Types", field defaults).

A logical type has no default but the null of an optional field.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "bytes": (str,),
    "string": (str,),
}
_LARGEST = {"float": 3.4028234663852886e38, "double": sys.float_info.max}
_BOUNDS = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}


def fits(default: Any, kind: Any, definition: Callable[[str], Any]) -> bool:
    """Whether `default`, as JSON reads it, is a value of the type `kind` of a safe shape.

    Args:
        definition: the type behind a name.
    """
    if isinstance(kind, str) and kind not in _PLAIN:
        kind = definition(kind)
    match kind:
        case ["null", _]:
            return default is None  # a default belongs to a union's first branch
        case {"type": "record", "fields": fields}:
            return isinstance(default, dict) and all(
                each["name"] in default and fits(default[each["name"]], each["type"], definition)
                for each in fields
            )
        case {"type": "array", "items": items}:
            return isinstance(default, list) and all(
                fits(each, items, definition) for each in default
            )
        case {"type": "enum", "symbols": symbols}:
            return default in symbols
        case {"logicalType": _}:
            return False  # nobody meant a moment, an amount or an identity that is always the same
        case _:
            return _is_plain(default, kind if isinstance(kind, str) else kind["type"])


def _is_plain(default: Any, plain: str) -> bool:
    match plain:
        case "int" | "long":
            low, high = _BOUNDS[plain]
            return type(default) is int and low <= default <= high
        case "bytes":
            return isinstance(default, str) and default.isascii()  # one code point a byte
        case "float" | "double":  # JSON can write 1e999, which is infinite
            largest = _LARGEST[plain]
            return type(default) in _PLAIN[plain] and -largest <= default <= largest
        case _:
            return type(default) in _PLAIN[plain]
