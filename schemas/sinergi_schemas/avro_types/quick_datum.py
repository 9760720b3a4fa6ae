"""The quick reader: the verdict of the strict reader on a datum, at a thirtieth of its cost.

The relay must know of each event whether a reader would accept it, and the strict reader costs more
than everything else that the relay does. So a schema is compiled into regular expressions over
bytes, for the forms that nearly all datums have: ASCII text of up to 127 bytes, numbers of usual
length, short lists. If an expression matches, the strict reader accepts exactly the bytes matched.
If it does not match, the datum may still be valid: the strict reader then reads that part.

The first bytes of every alternative decide it, and every group is atomic. So the time that an
expression takes is proportional to the bytes that it reads, whatever they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from sinergi_schemas.avro_types import bounds
from sinergi_schemas.avro_types.datum import DatumReader, MalformedDatum
from sinergi_schemas.avro_types.nodes import (
    ArrayType,
    DecimalType,
    EnumType,
    OptionalType,
    RecordType,
)
from sinergi_schemas.limits import MOST_DATUM_BYTES, TOO_LARGE, most_items

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_schemas.avro_types.nodes import AvroType, RecordField
    from sinergi_schemas.catalog import Schema

_LONGEST_TEXT = 127
_MOST_TEXTS = 6
_MOST_TEXTS_OF_ITEM = 3
_MOST_ITEMS = 16
_SCHEMAS = 256

_Match = Callable[[bytes, int], "re.Match[bytes] | None"]


class QuickReader:
    """Checks whether bytes are one datum of an event type.

    Args:
        event: the event of a schema.
    """

    def __init__(self, event: RecordType) -> None:
        self._strict = DatumReader(event)
        lists = [each for each in event.fields if isinstance(each.type, ArrayType)]
        self._most_uncounted_items = _MOST_ITEMS * len(lists)
        self._steps = [
            (step.match, step.end)
            for step in (
                _Run(fields) if _is_quick(fields[0].type) else _List(fields[0].type)
                for fields in _runs(event.fields)
            )
        ]

    def check(self, datum: bytes) -> None:
        """Check that it is one datum of the event type and keeps the rules of the contract.

        Raises:
            MalformedDatum: it is not, or breaks a rule.
        """
        if len(datum) > MOST_DATUM_BYTES:
            raise MalformedDatum(TOO_LARGE)
        at, items = 0, self._most_uncounted_items
        for match, end in self._steps:
            found = match(datum, at)
            if found:
                at = found.end()
            else:
                at, more = end(datum, at)
                items += more
        if at != len(datum):
            raise MalformedDatum("bytes are left over")
        if items > most_items(at):
            self._strict.read(datum)  # it counts the items of the quick lists too


@lru_cache(_SCHEMAS)
def quick_reader(schema: Schema) -> QuickReader:
    """The quick reader of a schema. It is made once, which takes some tenths of a second."""
    return QuickReader(schema.event)


class _Run:
    """Fields of a record that follow each other and are matched by one expression."""

    def __init__(self, fields: Sequence[RecordField]) -> None:
        self._fields = fields
        self.match: _Match = _compiled(fields).match

    def end(self, datum: bytes, at: int) -> tuple[int, int]:
        """Where the fields end that begin at `at`, if the expression does not match them.

        Returns:
            The index after them, and how many items the strict reader has counted.

        Raises:
            MalformedDatum: the bytes are not these fields.
        """
        items = 0
        for part in self._parts:
            found = part.match(datum, at)
            if found:
                at = found.end()
            else:
                at, more = part.end(datum, at)
                items += more
        return at, items

    @cached_property
    def _parts(self) -> list[_Part | _List]:
        return [
            _List(fields[0].type) if _holds_list(fields[0].type) else _Part(fields)
            for fields in _parts(self._fields)
        ]


class _Part:
    """Some fields of a run."""

    def __init__(self, fields: Sequence[RecordField]) -> None:
        self.match: _Match = _compiled(fields).match
        self._strict = DatumReader(RecordType("part", tuple(fields)))

    def end(self, datum: bytes, at: int) -> tuple[int, int]:
        """As `_Run.end`, by the strict reader."""
        length, items = self._strict.length(datum[at:])
        return at + length, items


class _List:
    """A field that is a list. One that holds a list further down is left to the strict reader."""

    def __init__(self, node: AvroType) -> None:
        self.match: _Match = re.compile(_NEVER).match
        self._strict = DatumReader(node)
        self._item: _Match | None = None
        if isinstance(node, ArrayType):
            self.match = re.compile(_byte(0)).match  # the list without items
            if not _holds_list(node.items):
                self._item = re.compile(_expression(node.items), re.DOTALL).match

    def end(self, datum: bytes, at: int) -> tuple[int, int]:
        """As `_Run.end`."""
        quick = self._quick_end(datum, at)
        if quick is not None:
            return quick, 0
        length, items = self._strict.length(datum[at:])
        return at + length, items

    def _quick_end(self, datum: bytes, at: int) -> int | None:
        """Where a short list of one block ends; None if the bytes are not surely such a list."""
        item = self._item
        if item is None or at >= len(datum):
            return None
        count = datum[at]
        if count & 1 or count > 2 * _MOST_ITEMS:
            return None
        at += 1
        for _ in range(count >> 1):
            found = item(datum, at)
            if found is None:
                return None
            at = found.end()
        return at + 1 if datum[at : at + 1] == b"\x00" else None


# Which fields share an expression


def _runs(fields: Sequence[RecordField]) -> Iterator[list[RecordField]]:
    """The fields in runs. A list whose items are too large to be written out stands alone."""
    run: list[RecordField] = []
    for field in fields:
        if _is_quick(field.type):
            run.append(field)
            continue
        if run:
            yield run
        yield [field]
        run = []
    if run:
        yield run


def _parts(fields: Sequence[RecordField]) -> list[list[RecordField]]:
    """A run in parts: each list alone, and of the other fields not too many texts together."""
    parts: list[list[RecordField]] = []
    texts = 0
    for field in fields:
        is_list = _holds_list(field.type)
        more = _texts(field.type)
        if not parts or is_list or texts + more > _MOST_TEXTS:
            parts.append([])
            texts = 0
        parts[-1].append(field)
        texts += _MOST_TEXTS + 1 if is_list else more
    return parts


def _is_quick(node: AvroType) -> bool:
    """Whether a type holds no list, or is a list of small items."""
    if isinstance(node, ArrayType):
        return not _holds_list(node.items) and _texts(node.items) <= _MOST_TEXTS_OF_ITEM
    return not _holds_list(node)


def _inner(node: AvroType) -> list[AvroType]:
    """The types that a type is made of, one level down."""
    match node:
        case OptionalType(value=value):
            return [value]
        case ArrayType(items=items):
            return [items]
        case RecordType(fields=fields):
            return [each.type for each in fields]
        case _:
            return []


def _holds_list(node: AvroType) -> bool:
    return isinstance(node, ArrayType) or any(map(_holds_list, _inner(node)))


def _texts(node: AvroType) -> int:
    """How many strings a value holds; those of a list's items once."""
    return 1 if node.kind == "string" else sum(map(_texts, _inner(node)))


# The expressions


def _compiled(fields: Sequence[RecordField]) -> re.Pattern[bytes]:
    return re.compile(b"".join(_expression(each.type) for each in fields), re.DOTALL)


def _expression(node: AvroType) -> bytes:
    """An expression that matches only whole values of a type, and not all of them."""
    match node:
        case OptionalType(value=value):
            return _any_of([_byte(0), _byte(2) + _expression(value)])
        case RecordType(fields=fields):
            return b"".join(_expression(each.type) for each in fields)
        case ArrayType(items=items):  # small ones, and at most two of them
            item = _expression(items)
            return _any_of([_byte(0), *(_byte(2 * n) + item * n + _byte(0) for n in (1, 2))])
        case EnumType(symbols=symbols):
            return b"[%b]" % b"".join(_byte(2 * each) for each in range(min(len(symbols), 64)))
        case DecimalType(precision=precision):
            bound = 10**precision
            lengths = [each for each in range(1, 17) if 1 << (8 * each - 1) < bound]
            return _any_of([_byte(0), *(_byte(2 * each) + b".{%d}" % each for each in lengths)])
        case _:
            return _EXPRESSIONS.get(node.kind, _NEVER)


def _any_of(alternatives: list[bytes]) -> bytes:
    return b"(?>%b)" % b"|".join(alternatives)


def _byte(value: int) -> bytes:
    return b"\\x%02x" % value


def _sized(content: bytes) -> bytes:
    """A length, up to that of the longest text, then `content` as often."""
    short = [_byte(2 * each) + content + b"{%d}" % each for each in range(64)]
    long = [
        _byte(0x80 | 2 * (each - 64)) + b"\\x01" + content + b"{%d}" % each
        for each in range(64, _LONGEST_TEXT + 1)
    ]
    return _any_of(short + long)


_NEVER = rb"(?!)"
# By the kind of a primitive or a logical type.
_EXPRESSIONS: Mapping[str, bytes] = {
    "boolean": rb"[\x00\x01]",
    "int": rb"(?>[\x80-\xff]{0,3}[\x00-\x7f])",
    "long": rb"(?>[\x80-\xff]{0,7}[\x00-\x7f])",
    # The sign and the exponent stand last. An exponent of ones only is not a finite number.
    "double": rb".{6}(?>[\x00-\xef].|.[\x00-\x7e\x80-\xfe])",
    "bytes": _sized(b"."),
    "string": _sized(rb"[\x00-\x7f]"),
    "uuid": _byte(2 * 36) + bounds.UUID.encode(),
    # Two bytes of seven bits and one of six: within 1,400 years of 1970.
    "date": rb"(?>[\x00-\x7f]|[\x80-\xff][\x00-\x7f]|[\x80-\xff]{2}[\x00-\x3f])",
    # Eight bytes of seven bits: within 1,142 years of 1970.
    "timestamp-micros": rb"(?>[\x80-\xff]{0,7}[\x00-\x7f])",
}
