"""An Avro schema of safe shape as typed nodes.

`shape.parse` makes the nodes of a schema once, when the catalogue reads its file
(`catalog.Schema.event`); everything that walks through a schema walks through these. A type that is
used by its name is the same node as its definition, so nobody has to look names up.

Only what a safe shape may hold has a node: no map, no fixed, no union other than the optional one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

UNKNOWN = "UNKNOWN"
"""The symbol that every enum has, and its default."""


@dataclass(frozen=True, slots=True)
class PrimitiveType:
    """A primitive type without a logical type.

    Attributes:
        kind: `boolean`, `int`, `long`, `float`, `double`, `bytes` or `string`.
    """

    kind: str

    @property
    def base(self) -> str:
        """The Avro type that is written: the type itself."""
        return self.kind


@dataclass(frozen=True, slots=True)
class LogicalType:
    """A logical type without parameters.

    Attributes:
        kind: `uuid`, `date` or `timestamp-micros`.
        base: the primitive type that is written.
    """

    kind: str
    base: str


@dataclass(frozen=True, slots=True)
class DecimalType:
    """A decimal, written as the bytes of its unscaled number.

    Attributes:
        precision: how many digits it has at most, 1 to 38.
        scale: how many of them stand after the decimal point.
    """

    kind: ClassVar[str] = "decimal"
    base: ClassVar[str] = "bytes"

    precision: int
    scale: int


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum. `UNKNOWN` is one of its symbols, and its default."""

    kind: ClassVar[str] = "enum"
    base: ClassVar[str] = "enum"

    name: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArrayType:
    """A list of items of one type."""

    kind: ClassVar[str] = "array"
    base: ClassVar[str] = "array"

    items: AvroType


@dataclass(frozen=True, slots=True)
class RecordType:
    """A record: its fields in the order in which they are written. The event itself is one."""

    kind: ClassVar[str] = "record"
    base: ClassVar[str] = "record"

    name: str
    fields: tuple[RecordField, ...]
    doc: str = ""


@dataclass(frozen=True, slots=True)
class OptionalType:
    """The union `["null", T]`."""

    kind: ClassVar[str] = "optional"

    value: ValueType


@dataclass(frozen=True, slots=True)
class RecordField:
    """A field of a record.

    Attributes:
        protected: whether the field itself is marked as personal data.
        has_default: whether it has a default, which may be null.
        default: the default as JSON reads it; None where there is none. See `defaults.value`.
    """

    name: str
    type: AvroType
    doc: str = ""
    protected: bool = False
    has_default: bool = False
    default: Any = field(default=None, hash=False)

    @property
    def is_optional(self) -> bool:
        """Whether its value may be null."""
        return isinstance(self.type, OptionalType)

    @property
    def value_type(self) -> ValueType:
        """The type of its value where that is not null."""
        return value_type(self.type)


ValueType: TypeAlias = PrimitiveType | LogicalType | DecimalType | EnumType | ArrayType | RecordType
AvroType: TypeAlias = ValueType | OptionalType


def value_type(node: AvroType) -> ValueType:
    """The type of a value that is not null: T of `["null", T]`, else the type itself."""
    return node.value if isinstance(node, OptionalType) else node
