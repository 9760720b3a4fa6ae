"""Which shapes a schema may have, so that every reader can take it in safely.

Schemas come from other agencies too. A shape that could make a reader recurse without end, allocate
out of all proportion, lose a symbol or read a name in two ways is refused before a single datum is
read with it. What is accepted here, fastavro parses and the bulk decoder lowers.

Beyond what the contract needs, three things of Avro are left out because readers disagree on them:
aliases (ours find a field by its name), namespaces below the event, and references by full name.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.avro_types import defaults

MOST_BYTES = 64 * 1024
MOST_DEPTH = 8
MOST_COLUMNS = 1024  # with every reference unfolded: a small file could unfold hugely
MOST_CELLS_PER_BYTE = 16  # of a list's item: an absent record is one byte and many empty cells
MOST_DIGITS = 38  # of a decimal: what 128 bits hold
UNKNOWN = "UNKNOWN"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMESPACE = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern})*")
_UNSAID = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # what no table's comment can hold
_WIDTHS = {"boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1}
_RESERVED = {*_WIDTHS, "null", "record", "error", "enum", "array", "map", "fixed", "union"}
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
    namespace = parsed.get("namespace", "sinergi")
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise errors.SchemaRefused(name, "a namespace is names joined by dots")
    columns = _Check(name).kind(parsed, "", 1).columns
    if columns > MOST_COLUMNS:
        raise errors.SchemaRefused(name, f"it unfolds to {columns} columns, above {MOST_COLUMNS}")


class _Extent(NamedTuple):
    """How far a type reaches with its references unfolded.

    `width`: its fewest bytes; `cells`: the columns that one value fills at most.
    """

    height: int = 1
    columns: int = 1
    width: int = 1
    cells: int = 1


class _Check:
    def __init__(self, name: str) -> None:
        self._name = name
        self._known: dict[str, tuple[dict[str, Any], _Extent]] = {}
        self._open: list[str] = []

    def kind(self, kind: Any, path: str, depth: int) -> _Extent:
        """The extent of a type that stands `depth` types below the file, itself included."""
        if depth > MOST_DEPTH:
            raise self._refused(path, f"it lies deeper than {MOST_DEPTH}")
        match kind:
            case list():
                return self._union(kind, path, depth)
            case str() if kind in _WIDTHS:
                return _Extent(width=_WIDTHS[kind])
            case str():
                return self._reference(kind, path, depth)
            case {"type": "record"}:
                return self._record(kind, path, depth)
            case {"type": "enum"}:
                return self._enum(kind, path, depth)
            case {"type": "array", "items": items}:
                return self._array(kind, items, path, depth)
            case {"type": ("map" | "fixed") as name}:
                raise self._refused(path, f"{name} is not used here")
            case {"type": str() as inner} if inner in _WIDTHS:
                return self._plain(kind, inner, path)
            case _:
                raise self._refused(path, "it is no Avro type")

    def _union(self, kind: list[Any], path: str, depth: int) -> _Extent:
        if len(kind) != 2 or kind[0] != "null" or isinstance(kind[1], list):
            raise self._refused(path, 'the only union is the optional ["null", T]')
        inner = self.kind(kind[1], path, depth)
        return inner._replace(columns=inner.columns + 1, width=1)

    def _reference(self, name: str, path: str, depth: int) -> _Extent:
        if name == "null":
            raise self._refused(path, 'null stands only in the optional ["null", T]')
        if name in self._open:
            raise self._refused(path, f"{name} contains itself")
        if name not in self._known:
            raise self._refused(
                path, f"the type {name!r} is not defined before, under this simple name"
            )
        _, extent = self._known[name]
        if depth + extent.height - 1 > MOST_DEPTH:
            raise self._refused(path, f"{name} reaches deeper than {MOST_DEPTH}")
        return extent._replace(columns=extent.columns + 1)

    def _record(self, kind: dict[str, Any], path: str, depth: int) -> _Extent:
        name = self._named(kind, path, depth)
        fields = kind.get("fields")
        if not isinstance(fields, list) or not fields:
            raise self._refused(path, "a record has fields")
        self._open.append(name)
        found: dict[str, _Extent] = {}
        for each in fields:
            field = self._field_name(each, path)
            inner = f"{path}.{field}".lstrip(".")
            if field in found:
                raise self._refused(inner, "there is a field of this name already")
            found[field] = self._field(each, inner, depth)
        self._open.pop()
        extent = _Extent(
            1 + max(each.height for each in found.values()),
            1 + sum(each.columns for each in found.values()),
            sum(each.width for each in found.values()),
            sum(each.cells for each in found.values()),
        )
        self._known[name] = (kind, extent)
        return extent

    def _field_name(self, each: Any, path: str) -> str:
        match each:
            case {"name": str() as name, "type": _} if _NAME.fullmatch(name):
                return name
        raise self._refused(
            path, "a field has a type and a name of ASCII letters, digits and underscores"
        )

    def _field(self, each: dict[str, Any], path: str, depth: int) -> _Extent:
        self._attributes(each, path)
        if type(each.get("protected", False)) is not bool:
            raise self._refused(path, "protected is true or false")
        extent = self.kind(each["type"], path, depth + 1)
        if isinstance(each["type"], list) and each.get("default", "none") is not None:
            raise self._refused(path, "an optional field has the default null")
        if "default" in each and not defaults.fits(each["default"], each["type"], self._definition):
            raise self._refused(path, "its default is not of its type")
        return extent

    def _definition(self, name: str) -> Any:
        return self._known[name][0]

    def _enum(self, kind: dict[str, Any], path: str, depth: int) -> _Extent:
        name = self._named(kind, path, depth)
        symbols = kind.get("symbols")
        if not isinstance(symbols, list) or not all(map(_is_name, symbols)):
            raise self._refused(
                path, "an enum has symbols of ASCII letters, digits and underscores"
            )
        if len(set(symbols)) != len(symbols):
            raise self._refused(path, "an enum has distinct symbols")
        if UNKNOWN not in symbols or kind.get("default") != UNKNOWN:
            raise self._refused(
                path, f"an enum has the symbol and default {UNKNOWN} from version 1"
            )
        self._known[name] = (kind, _Extent())
        return _Extent()

    def _array(self, kind: dict[str, Any], items: Any, path: str, depth: int) -> _Extent:
        self._attributes(kind, path)
        item = self.kind(items, f"{path}[]", depth + 1)
        if item.cells > MOST_CELLS_PER_BYTE * item.width:
            raise self._refused(
                path, f"a byte of an item can fill more than {MOST_CELLS_PER_BYTE} cells"
            )
        return _Extent(item.height + 1, item.columns + 1)

    def _plain(self, kind: dict[str, Any], inner: str, path: str) -> _Extent:
        logical = kind.get("logicalType")
        if "logicalType" in kind and _LOGICAL.get(str(logical)) != inner:
            raise self._refused(path, f"the logical type {logical!r} over {inner} is not used here")
        if logical == "decimal":
            self._decimal(kind, path)
        return _Extent(width=_WIDTHS[inner])

    def _decimal(self, kind: dict[str, Any], path: str) -> None:
        precision, scale = kind.get("precision"), kind.get("scale", 0)
        if type(precision) is not int or type(scale) is not int:
            raise self._refused(path, "a decimal has a precision and a scale")
        if not 1 <= precision <= MOST_DIGITS or not 0 <= scale <= precision:
            raise self._refused(
                path, f"a decimal has 1 to {MOST_DIGITS} digits and no larger scale"
            )

    def _named(self, kind: dict[str, Any], path: str, depth: int) -> str:
        """The name of a record or enum that is being defined."""
        self._attributes(kind, path)
        name = kind.get("name")
        if not _is_name(name) or name in _RESERVED:
            raise self._refused(
                path, "a record or enum has a name of ASCII letters, digits, underscores"
            )
        if name in self._known or name in self._open:
            raise self._refused(path, f"the name {name} is given twice")
        if depth > 1 and "namespace" in kind:
            raise self._refused(path, "only the event has a namespace")
        return str(name)

    def _attributes(self, kind: dict[str, Any], path: str) -> None:
        if "aliases" in kind:
            raise self._refused(path, "aliases are not used here: a field is found by its name")
        if "logicalType" in kind:
            raise self._refused(path, "a logical type stands over a plain type only")
        doc = kind.get("doc", "")
        if not isinstance(doc, str) or _UNSAID.search(doc):
            raise self._refused(path, "a doc is text without control characters")

    def _refused(self, path: str, what: str) -> errors.SchemaRefused:
        return errors.SchemaRefused(self._name, f"{path or 'the event'}: {what}")


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
