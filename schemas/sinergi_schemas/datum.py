"""Reading one datum strictly, one byte after another (Avro 1.12, "Binary Encoding").

fastavro takes more than the contract allows (a decimal beyond its precision, an enum index below
zero, bytes behind the datum) and the bulk decoder of the consumers, by its nature, takes two things
that fastavro does not: a union index that is not the null's means the other branch, and a boolean
may be an overlong 0 or 1. A verdict must not depend on which of the two reads an event, so this
reader draws the line where the bulk decoder draws it.
"""

from __future__ import annotations

import decimal
import re
import struct
from datetime import UTC, date, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EXACT = decimal.Context(prec=60)
_DECIMAL_BYTES = 16


class NotOne(ValueError):
    """The bytes are not one datum of the schema."""


class Datum:
    """One datum being read.

    Attributes:
        liberties: whether it used one of the two freedoms that fastavro does not give.
    """

    def __init__(self, datum: bytes) -> None:
        self._datum = datum
        self._at = 0
        self._named: dict[str, Any] = {}
        self.liberties = False

    @classmethod
    def read(cls, datum: bytes, parsed: Any) -> tuple[Any, bool]:
        """The value under a schema as JSON reads it, and whether a liberty was taken.

        Raises:
            NotOne: it is not one datum of the schema, or breaks a rule of the contract.
        """
        reader = cls(datum)
        value = reader.value(parsed)
        if reader._at != len(datum):
            raise NotOne("bytes are left over")
        return value, reader.liberties

    def _take(self, length: int) -> bytes:
        if length < 0 or self._at + length > len(self._datum):
            raise NotOne("it ends too early")
        self._at += length
        return self._datum[self._at - length : self._at]

    def _number(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                number &= 2**64 - 1
                return (number >> 1) ^ -(number & 1)
        raise NotOne("a number of more than ten bytes")

    def _within(self, low: int, high: int) -> int:
        number = self._number()
        if not low <= number <= high:
            raise NotOne("a number out of bounds")
        return number

    def value(self, parsed: Any) -> Any:
        """The value of type `parsed` that comes next."""
        if isinstance(parsed, list):
            return self._union(parsed)
        if isinstance(parsed, str):
            parsed = self._named.get(parsed, {"type": parsed})
        if "name" in parsed:
            self._named[parsed["name"]] = parsed
        kind = parsed.get("logicalType", parsed["type"])
        return getattr(self, "_" + kind.replace("-", "_"))(parsed)

    def _union(self, branches: list[Any]) -> Any:
        index, null = self._number(), branches.index("null")
        self.liberties |= not 0 <= index <= 1
        is_null = index == 0 if null == 0 else index != 0
        self._learn(branches[1 - null])
        return None if is_null else self.value(branches[1 - null])

    def _learn(self, parsed: Any) -> None:
        """Take note of named types in a part of the schema that this datum may not visit."""
        for each in parsed if isinstance(parsed, list) else [parsed]:
            if isinstance(each, dict):
                if "name" in each:
                    self._named[each["name"]] = each
                for inner in each.get("fields", []):
                    self._learn(inner["type"])
                self._learn(each.get("items"))

    def _record(self, parsed: dict[str, Any]) -> dict[str, Any]:
        return {field["name"]: self.value(field["type"]) for field in parsed["fields"]}

    def _array(self, parsed: dict[str, Any]) -> list[Any]:
        self._learn(parsed["items"])
        items: list[Any] = []
        while count := self._number():
            if count < 0:
                self._number()
                count = -count if count > -(2**63) else 0  # noqa: PLW2901 - as Avro says it
            items.extend(self.value(parsed["items"]) for _ in range(count))
        return items

    def _enum(self, parsed: dict[str, Any]) -> str:
        symbols: list[str] = parsed["symbols"]
        return symbols[self._within(0, len(symbols) - 1)]

    def _boolean(self, _: object) -> bool:
        start = self._at
        number = self._within(-1, 0)
        self.liberties |= self._at - start > 1
        return number == -1

    def _int(self, _: object) -> int:
        return self._within(-(2**31), 2**31 - 1)

    def _date(self, _: object) -> date:
        low, high = ((each - _EPOCH.date()).days for each in (date.min, date.max))
        return _EPOCH.date() + timedelta(days=self._within(low, high))

    def _timestamp_micros(self, _: object) -> datetime:
        ends = (each.replace(tzinfo=UTC) - _EPOCH for each in (datetime.min, datetime.max))
        low, high = (each // timedelta(microseconds=1) for each in ends)
        return _EPOCH + timedelta(microseconds=self._within(low, high))

    def _string(self, _: object) -> str:
        try:
            return self._take(self._number()).decode()
        except UnicodeDecodeError as why:
            raise NotOne("it is not UTF-8") from why

    def _uuid(self, _: object) -> str:
        text = self._string(_)
        if _UUID_FORM.fullmatch(text) is None:
            raise NotOne("it is no UUID")
        return text

    def _decimal(self, parsed: dict[str, Any]) -> decimal.Decimal:
        data = self._take(self._number())
        number = int.from_bytes(data, "big", signed=True)
        if len(data) > _DECIMAL_BYTES or abs(number) >= 10 ** parsed["precision"]:
            raise NotOne("too many digits")
        return decimal.Decimal(number).scaleb(-parsed["scale"], _EXACT)

    def _long(self, _: object) -> int:
        return self._number()

    def _bytes(self, _: object) -> bytes:
        return self._take(self._number())

    def _float(self, _: object) -> float:
        return float(struct.unpack("<f", self._take(4))[0])

    def _double(self, _: object) -> float:
        return float(struct.unpack("<d", self._take(8))[0])
