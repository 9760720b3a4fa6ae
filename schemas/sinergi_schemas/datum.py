"""Reading one datum strictly, one byte after another (Avro 1.12, "Binary Encoding").

fastavro takes more than the contract allows (a decimal beyond its precision, an enum index below
zero, bytes behind the datum) and the bulk decoder of the consumers, by its nature, takes two things
that fastavro does not: a union index that is not the null's means the other branch, and a boolean
may be an overlong 0 or 1. A verdict must not depend on which of the two reads an event, so this
reader draws the line where the bulk decoder draws it.
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_NUMBER_BYTES = 10
_MOST_DECIMAL_BYTES = 16
_LONG = 2**64 - 1
_LOWEST_LONG = -(2**63)
_EXACT = Context(prec=60)
# One spelling only, or an event_id written in upper case would be another event's.
_UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_DAYS = tuple(each.toordinal() - _EPOCH_DAY for each in (date.min, date.max))
_MICROSECONDS = tuple(
    (each - _EPOCH) // timedelta(microseconds=1)
    for each in (
        datetime.combine(date.min, time.min, UTC),
        datetime.combine(date.max, time.max, UTC),
    )
)
# The method that reads a kind of type: a logical type, or else a plain one.
_READERS = {
    "record": "_record",
    "array": "_array",
    "enum": "_enum",
    "boolean": "_boolean",
    "int": "_int",
    "long": "_long",
    "float": "_float",
    "double": "_double",
    "bytes": "_bytes",
    "string": "_string",
    "uuid": "_uuid",
    "date": "_date",
    "timestamp-micros": "_moment",
    "decimal": "_decimal",
}


class NotOne(ValueError):
    """The bytes are not one datum of the schema."""


class Datum:
    """One datum being read.

    Attributes:
        liberties: whether it used one of the two freedoms that fastavro does not give.
    """

    def __init__(self, datum: bytes, named: Mapping[str, Any]) -> None:
        self._datum = datum
        self._at = 0
        self._named = named
        self.liberties = False

    @classmethod
    def read(
        cls, datum: bytes, parsed: Any, named: Mapping[str, Any] | None = None
    ) -> tuple[Any, bool]:
        """The value under a schema of safe shape, and whether a liberty was taken.

        Args:
            named: the types that the schema defines, if they are known already.

        Raises:
            NotOne: it is not one datum of the schema, or breaks a rule of the contract.
        """
        reader = cls(datum, named_types(parsed) if named is None else named)
        value = reader.value(parsed)
        if reader._at != len(datum):
            raise NotOne("bytes are left over")
        return value, reader.liberties

    def value(self, parsed: Any) -> Any:
        """The value of type `parsed` that comes next."""
        if isinstance(parsed, list):
            return self._union(parsed)
        if isinstance(parsed, str):
            parsed = self._named.get(parsed, {"type": parsed})
        kind = parsed.get("logicalType") or parsed["type"]
        return getattr(self, _READERS[kind])(parsed)

    def _take(self, length: int) -> bytes:
        if length < 0 or self._at + length > len(self._datum):
            raise NotOne("it ends too early")
        self._at += length
        return self._datum[self._at - length : self._at]

    def _number(self) -> int:
        number = 0
        for shift in range(0, 7 * _MOST_NUMBER_BYTES, 7):
            if self._at == len(self._datum):
                raise NotOne("it ends too early")
            byte = self._datum[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                number &= _LONG
                return (number >> 1) ^ -(number & 1)
        raise NotOne(f"a number of more than {_MOST_NUMBER_BYTES} bytes")

    def _within(self, low: int, high: int) -> int:
        number = self._number()
        if not low <= number <= high:
            raise NotOne("a number out of bounds")
        return number

    def _union(self, branches: list[Any]) -> Any:
        index = self._number()
        self.liberties |= not 0 <= index <= 1
        first, second = branches
        null_is_next = (index == 0) if first == "null" else (index != 0)
        return None if null_is_next else self.value(second if first == "null" else first)

    def _record(self, parsed: Any) -> dict[str, Any]:
        return {field["name"]: self.value(field["type"]) for field in parsed["fields"]}

    def _array(self, parsed: Any) -> list[Any]:
        items: list[Any] = []
        while count := self._number():
            if count < 0:  # then the block's length in bytes follows, for those who would skip it
                self._number()
            # The lowest long has no positive counterpart in 64 bits; the bulk decoder reads none.
            number = abs(count) if count != _LOWEST_LONG else 0
            items.extend(self.value(parsed["items"]) for _ in range(number))
        return items

    def _enum(self, parsed: Any) -> str:
        symbols: list[str] = parsed["symbols"]
        return symbols[self._within(0, len(symbols) - 1)]

    def _boolean(self, _: Any) -> bool:
        start = self._at
        number = self._within(-1, 0)  # as a long, the byte 0x01 is -1
        self.liberties |= self._at - start > 1
        return number == -1

    def _int(self, _: Any) -> int:
        return self._within(-(2**31), 2**31 - 1)

    def _long(self, _: Any) -> int:
        return self._number()

    def _date(self, _: Any) -> date:
        return date.fromordinal(_EPOCH_DAY + self._within(*_DAYS))

    def _moment(self, _: Any) -> datetime:
        return _EPOCH + timedelta(microseconds=self._within(*_MICROSECONDS))

    def _bytes(self, _: Any) -> bytes:
        return self._take(self._number())

    def _string(self, _: Any) -> str:
        try:
            return self._take(self._number()).decode()
        except UnicodeDecodeError:
            raise NotOne("it is not UTF-8") from None  # which would quote the bytes

    def _uuid(self, parsed: Any) -> UUID:
        text = self._string(parsed)
        if _UUID_FORM.fullmatch(text) is None:
            raise NotOne("it is no UUID in canonical form")
        return UUID(text)

    def _decimal(self, parsed: Any) -> Decimal:
        data = self._take(self._number())
        number = int.from_bytes(data, "big", signed=True)
        if len(data) > _MOST_DECIMAL_BYTES or abs(number) >= 10 ** parsed["precision"]:
            raise NotOne("too many digits")
        return Decimal(number).scaleb(-parsed.get("scale", 0), _EXACT)

    def _float(self, _: Any) -> float:
        return float(struct.unpack("<f", self._take(4))[0])

    def _double(self, _: Any) -> float:
        return float(struct.unpack("<d", self._take(8))[0])


def named_types(parsed: Any) -> dict[str, Any]:
    """The records and enums that a schema of safe shape defines, by name."""
    found: dict[str, Any] = {}
    rest = [parsed]
    while rest:
        match rest.pop():
            case list() as branches:
                rest += branches
            case {"type": "record" | "enum", "name": name} as kind:
                found[name] = kind
                rest += (each["type"] for each in kind.get("fields", ()))
            case {"type": "array", "items": items}:
                rest.append(items)
    return found
