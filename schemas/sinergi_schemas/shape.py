"""Which shapes a schema may have, so that every reader can take it in safely.

Schemas come from other agencies too. A shape that could make a reader recurse without end, allocate
without bound or lose a symbol is refused before a single datum is read with it.
"""

from __future__ import annotations

from typing import Any

from sinergi_schemas import errors

MOST_BYTES = 64 * 1024
MOST_DEPTH = 8
UNKNOWN = "UNKNOWN"

_PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
_LOGICAL = {
    "uuid": "string",
    "date": "int",
    "timestamp-micros": "long",
    "decimal": "bytes",
}


def check_size(name: str, text: bytes) -> None:
    """Refuse a file that is too large to be a contract.

    Raises:
        SchemaRefused: it is above 64 KiB.
    """
    if len(text) > MOST_BYTES:
        raise errors.SchemaRefused(name, f"it is {len(text)} bytes, above {MOST_BYTES}")


def check(name: str, parsed: Any) -> None:
    """Refuse a schema whose shape is not safe.

    Raises:
        SchemaRefused: the first thing that is wrong, with its path.
    """
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise errors.SchemaRefused(name, "an event is a record")
    _Check(name).kind(parsed, "", 1)


class _Check:
    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[str, dict[str, Any]] = {}
        self._open: list[str] = []

    def kind(self, kind: Any, path: str, depth: int) -> None:
        if depth > MOST_DEPTH:
            self._refuse(path, f"it lies deeper than {MOST_DEPTH}")
        match kind:
            case list():
                self._union(kind, path, depth)
            case str() if kind in _PRIMITIVES:
                return
            case str():
                self._reference(kind, path)
            case {"type": "record"}:
                self._record(kind, path, depth)
            case {"type": "enum"}:
                self._enum(kind, path)
            case {"type": "array", "items": items}:
                self._array(items, path, depth)
            case {"type": ("map" | "fixed") as name}:
                self._refuse(path, f"{name} is not used here")
            case {"type": str() as inner} if inner in _PRIMITIVES:
                self._logical(kind, inner, path)
            case _:
                self._refuse(path, "it is no Avro type")

    def _union(self, kind: list[Any], path: str, depth: int) -> None:
        if len(kind) != 2 or kind[0] != "null" or kind[1] == "null" or isinstance(kind[1], list):
            self._refuse(path, 'the only union is the optional ["null", T]')
        self.kind(kind[1], path, depth)

    def _reference(self, name: str, path: str) -> None:
        if name in self._open:
            self._refuse(path, f"{name} contains itself")
        if name not in self._known:
            self._refuse(path, f"{name} is not defined before")

    def _record(self, kind: dict[str, Any], path: str, depth: int) -> None:
        name = self._define(kind, path)
        fields = kind.get("fields")
        if not isinstance(fields, list) or not fields:
            self._refuse(path, "a record has fields")
        self._open.append(name)
        for each in fields:
            self._field(each, path, depth)
        self._open.pop()

    def _field(self, each: Any, path: str, depth: int) -> None:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            self._refuse(path, "a field has a name and a type")
        inner = f"{path}.{each['name']}".lstrip(".")
        if not each["name"].isidentifier() or not each["name"].isascii():
            self._refuse(inner, "a name is ASCII letters, digits and underscores")
        if "type" not in each:
            self._refuse(inner, "a field has a type")
        if isinstance(each["type"], list) and ("default" not in each or each["default"] is not None):
            self._refuse(inner, "an optional field has the default null")
        self.kind(each["type"], inner, depth + 1)

    def _enum(self, kind: dict[str, Any], path: str) -> None:
        self._define(kind, path)
        symbols = kind.get("symbols")
        if not isinstance(symbols, list) or len(set(map(str, symbols))) != len(symbols):
            self._refuse(path, "an enum has distinct symbols")
        if UNKNOWN not in symbols or kind.get("default") != UNKNOWN:
            self._refuse(path, f"an enum has the symbol and default {UNKNOWN} from version 1")

    def _array(self, items: Any, path: str, depth: int) -> None:
        if items == "null":
            self._refuse(path, "items without width would let a few bytes claim any number")
        self.kind(items, f"{path}[]", depth + 1)

    def _logical(self, kind: dict[str, Any], inner: str, path: str) -> None:
        logical = kind.get("logicalType")
        if logical is None:
            return
        if _LOGICAL.get(logical) != inner:
            self._refuse(path, f"{logical} over {inner} is not used here")
        if logical == "decimal":
            precision, scale = kind.get("precision"), kind.get("scale", 0)
            if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision:
                self._refuse(path, "a decimal has a precision and a scale not above it")
            if precision > 38:
                self._refuse(path, "a decimal has at most 38 digits")

    def _define(self, kind: dict[str, Any], path: str) -> str:
        name = kind.get("name")
        if not isinstance(name, str) or name in self._known:
            self._refuse(path, "a named type has a name of its own")
        self._known[name] = kind
        return name

    def _refuse(self, path: str, what: str) -> None:
        raise errors.SchemaRefused(self._name, f"{path or 'the event'}: {what}")
