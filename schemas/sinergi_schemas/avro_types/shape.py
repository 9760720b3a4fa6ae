"""Which shapes a schema may have, so that every reader can use it safely.

Schemas come from other agencies too. `parse` refuses a schema before anything is read with it, if
it could make a reader recurse without end or take memory out of all proportion, if it could lose a
symbol, or if a name in it could be understood in two ways. What it accepts becomes typed nodes;
fastavro parses it, and the bulk decoder lowers it.

Three parts of Avro are not used, because readers treat them differently: aliases (our decoders find
a field by its name), namespaces below the event, and references by full name.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.avro_types import defaults
from sinergi_schemas.avro_types.nodes import (
    UNKNOWN,
    ArrayType,
    AvroType,
    DecimalType,
    EnumType,
    LogicalType,
    OptionalType,
    PrimitiveType,
    RecordField,
    RecordType,
    ValueType,
)

MOST_BYTES = 64 * 1024
MOST_DEPTH = 8
MOST_COLUMNS = 1024  # with every reference unfolded: a small file could unfold to a huge type
MOST_CELLS_PER_BYTE = 16  # of a list's item: an absent record is one byte, and many empty cells
MOST_DIGITS = 38  # of a decimal: the digits that 128 bits hold

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMESPACE = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern})*")
# What the comment of a table cannot hold: control characters and lone surrogates.
_NOT_IN_COMMENTS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Of the primitive types: how many bytes a value takes at least.
_WIDTHS = {"boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1}
_RESERVED = {*_WIDTHS, "null", "record", "error", "enum", "array", "map", "fixed", "union"}
# Of the logical types: the type that is written.
_BASES = {
    "uuid": "string",
    "date": "int",
    "timestamp-micros": "long",
    "decimal": "bytes",
}


def check_size(name: str, text: bytes) -> None:
    """Refuse a file that is larger than a schema may be.

    Args:
        name: the schema's name, for the error.

    Raises:
        SchemaRefused: it is above 64 KiB.
    """
    if len(text) > MOST_BYTES:
        raise errors.SchemaRefused(name, f"it is {len(text)} bytes, above {MOST_BYTES}")


def parse(name: str, parsed: Any) -> RecordType:
    """The event that a schema describes, as nodes.

    Args:
        name: the schema's name, for the error.
        parsed: the schema as `json` reads it.

    Raises:
        SchemaRefused: its shape is not safe. The error names the first fault and its path.
    """
    if not isinstance(parsed, dict) or parsed.get("type") != "record":
        raise errors.SchemaRefused(name, "an event is a record")
    namespace = parsed.get("namespace", "sinergi")
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise errors.SchemaRefused(name, "a namespace is names joined by dots")
    event, extent = _Parser(name).record(parsed, "", 1)
    if extent.columns > MOST_COLUMNS:
        what = f"it unfolds to {extent.columns} columns, above {MOST_COLUMNS}"
        raise errors.SchemaRefused(name, what)
    return event


class _Extent(NamedTuple):
    """How large a type is with its references unfolded.

    Attributes:
        height: how many types lie below each other, the type itself included.
        columns: how many types there are in all.
        width: how many bytes a value takes at least.
        cells: how many columns a value fills at most.
    """

    height: int = 1
    columns: int = 1
    width: int = 1
    cells: int = 1


class _Parser:
    """One pass over a schema. It knows the named types that are defined so far.

    Every method takes the path of the type, and its depth: how many types it lies below the file,
    itself included.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._defined: dict[str, tuple[RecordType | EnumType, _Extent]] = {}
        self._open: list[str] = []

    def record(self, kind: dict[str, Any], path: str, depth: int) -> tuple[RecordType, _Extent]:
        """A record and its extent.

        Raises:
            SchemaRefused: its shape is not safe.
        """
        name = self._define(kind, path, depth)
        fields = kind.get("fields")
        if not isinstance(fields, list) or not fields:
            raise self._refused(path, "a record has fields")
        self._open.append(name)
        found: dict[str, RecordField] = {}
        extents: list[_Extent] = []
        for each in fields:
            field = self._field_name(each, path)
            inner = f"{path}.{field}".lstrip(".")
            if field in found:
                raise self._refused(inner, "there is a field of this name already")
            found[field], extent = self._field(each, inner, depth)
            extents.append(extent)
        self._open.pop()
        record = RecordType(name, tuple(found.values()), kind.get("doc", ""))
        whole = _Extent(
            1 + max(each.height for each in extents),
            1 + sum(each.columns for each in extents),
            sum(each.width for each in extents),
            sum(each.cells for each in extents),
        )
        self._defined[name] = (record, whole)
        return record, whole

    def _type(self, kind: Any, path: str, depth: int) -> tuple[AvroType, _Extent]:
        if depth > MOST_DEPTH:
            raise self._refused(path, f"it lies deeper than {MOST_DEPTH}")
        if not isinstance(kind, list):
            return self._value_type(kind, path, depth)
        if len(kind) != 2 or kind[0] != "null" or isinstance(kind[1], list):
            raise self._refused(path, 'the only union is the optional ["null", T]')
        value, extent = self._value_type(kind[1], path, depth)
        return OptionalType(value), extent._replace(columns=extent.columns + 1, width=1)

    def _value_type(self, kind: Any, path: str, depth: int) -> tuple[ValueType, _Extent]:
        match kind:
            case str() if kind in _WIDTHS:
                return PrimitiveType(kind), _Extent(width=_WIDTHS[kind])
            case str():
                return self._reference(kind, path, depth)
            case {"type": "record"}:
                return self.record(kind, path, depth)
            case {"type": "enum"}:
                return self._enum(kind, path, depth)
            case {"type": "array", "items": items}:
                return self._array(kind, items, path, depth)
            case {"type": ("map" | "fixed") as name}:
                raise self._refused(path, f"{name} is not used here")
            case {"type": str() as base} if base in _WIDTHS:
                return self._annotated(kind, base, path), _Extent(width=_WIDTHS[base])
            case _:
                raise self._refused(path, "it is no Avro type")

    def _reference(self, name: str, path: str, depth: int) -> tuple[RecordType | EnumType, _Extent]:
        if name == "null":
            raise self._refused(path, 'null stands only in the optional ["null", T]')
        if name in self._open:
            raise self._refused(path, f"{name} contains itself")
        if name not in self._defined:
            raise self._refused(
                path, f"the type {name!r} is not defined before, under this simple name"
            )
        node, extent = self._defined[name]
        if depth + extent.height - 1 > MOST_DEPTH:
            raise self._refused(path, f"{name} reaches deeper than {MOST_DEPTH}")
        return node, extent._replace(columns=extent.columns + 1)

    def _field_name(self, each: Any, path: str) -> str:
        match each:
            case {"name": str() as name, "type": _} if _NAME.fullmatch(name):
                return name
        raise self._refused(
            path, "a field has a type and a name of ASCII letters, digits and underscores"
        )

    def _field(self, each: dict[str, Any], path: str, depth: int) -> tuple[RecordField, _Extent]:
        self._check_attributes(each, path)
        protected = each.get("protected", False)
        if type(protected) is not bool:
            raise self._refused(path, "protected is true or false")
        node, extent = self._type(each["type"], path, depth + 1)
        if isinstance(node, OptionalType) and each.get("default", "none") is not None:
            raise self._refused(path, "an optional field has the default null")
        default = each.get("default")
        if "default" in each and not defaults.fits(default, node):
            raise self._refused(path, "its default is not of its type")
        doc = each.get("doc", "")
        return RecordField(each["name"], node, doc, protected, "default" in each, default), extent

    def _enum(self, kind: dict[str, Any], path: str, depth: int) -> tuple[EnumType, _Extent]:
        name = self._define(kind, path, depth)
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
        enum, extent = EnumType(name, tuple(symbols)), _Extent()
        self._defined[name] = (enum, extent)
        return enum, extent

    def _array(
        self, kind: dict[str, Any], items: Any, path: str, depth: int
    ) -> tuple[ArrayType, _Extent]:
        self._check_attributes(kind, path)
        item, extent = self._type(items, f"{path}[]", depth + 1)
        if extent.cells > MOST_CELLS_PER_BYTE * extent.width:
            raise self._refused(
                path, f"a byte of an item can fill more than {MOST_CELLS_PER_BYTE} cells"
            )
        return ArrayType(item), _Extent(extent.height + 1, extent.columns + 1)

    def _annotated(self, kind: dict[str, Any], base: str, path: str) -> ValueType:
        """A primitive type that is written as a JSON object: with a logical type, or without."""
        if "logicalType" not in kind:
            return PrimitiveType(base)
        logical = kind["logicalType"]
        if _BASES.get(str(logical)) != base:
            raise self._refused(path, f"the logical type {logical!r} over {base} is not used here")
        return self._decimal(kind, path) if logical == "decimal" else LogicalType(logical, base)

    def _decimal(self, kind: dict[str, Any], path: str) -> DecimalType:
        precision, scale = kind.get("precision"), kind.get("scale", 0)
        if type(precision) is not int or type(scale) is not int:
            raise self._refused(path, "a decimal has a precision and a scale")
        if not 1 <= precision <= MOST_DIGITS or not 0 <= scale <= precision:
            raise self._refused(
                path, f"a decimal has 1 to {MOST_DIGITS} digits and no larger scale"
            )
        return DecimalType(precision, scale)

    def _define(self, kind: dict[str, Any], path: str, depth: int) -> str:
        """The name of a record or an enum that is defined here."""
        self._check_attributes(kind, path)
        name = kind.get("name")
        if not _is_name(name) or name in _RESERVED:
            raise self._refused(
                path, "a record or enum has a name of ASCII letters, digits, underscores"
            )
        if name in self._defined or name in self._open:
            raise self._refused(path, f"the name {name} is given twice")
        if depth > 1 and "namespace" in kind:
            raise self._refused(path, "only the event has a namespace")
        return str(name)

    def _check_attributes(self, kind: dict[str, Any], path: str) -> None:
        if "aliases" in kind:
            raise self._refused(path, "aliases are not used here: a field is found by its name")
        if "logicalType" in kind:
            raise self._refused(path, "a logical type stands over a plain type only")
        doc = kind.get("doc", "")
        if not isinstance(doc, str) or _NOT_IN_COMMENTS.search(doc):
            raise self._refused(path, "a doc is text without control characters")

    def _refused(self, path: str, what: str) -> errors.SchemaRefused:
        return errors.SchemaRefused(self._name, f"{path or 'the event'}: {what}")


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None
