"""The fields of a schema as people and messages name them, lists and references unfolded.

`exhibits[].net_weight` is the field `net_weight` of each record in the list `exhibits`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_schemas.avro_types.datum import named_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.catalog import Schema


class Type(NamedTuple):
    """The type of a field, with its reference and its optional union taken away.

    Attributes:
        optional: whether null may stand there.
        definition: the type itself, always a mapping.
    """

    optional: bool
    definition: dict[str, Any]

    @property
    def kind(self) -> str:
        """`record`, `enum`, `array`, or the logical type if it has one, or the plain type."""
        return str(self.definition.get("logicalType", self.definition["type"]))


@dataclass(frozen=True, slots=True)
class DescribedField:
    """One field of an event, at any depth.

    Attributes:
        path: its names joined by dots, `[]` behind a list.
        type: in words, e.g. `decimal(14, 4)`, `list of Exhibit`.
        protected: whether it, or a field that it is part of, is marked as personal.
        place: the record that defines it and its name there: one for all its uses.
        symbols: those of an enum, or of a list of them.
    """

    path: str
    type: str
    optional: bool
    doc: str
    protected: bool
    place: str
    symbols: tuple[str, ...] = ()


class Types:
    """The types of one schema, those that it defines by name included."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._named = named_types(schema.parsed)

    def of(self, kind: Any) -> Type:
        """What a field's `type` stands for."""
        if isinstance(kind, list):
            return Type(optional=True, definition=self.of(kind[1]).definition)
        if isinstance(kind, str):
            return Type(optional=False, definition=self._named.get(kind, {"type": kind}))
        return Type(optional=False, definition=kind)

    def words(self, found: Type) -> str:
        """A type in words, apart from whether it is optional."""
        match found.definition:
            case {"type": "array", "items": items}:
                return f"list of {self.words(self.of(items))}"
            case {"type": ("record" | "enum") as kind, "name": name}:
                return f"{name}" if kind == "record" else f"enum {name}"
            case {"logicalType": "decimal", "precision": precision, **rest}:
                return f"decimal({precision}, {rest.get('scale', 0)})"
            case _:
                return found.kind

    def fields(self) -> Iterator[DescribedField]:
        """All fields in the order of the file, each above those that it is made of."""
        yield from self._fields(self._schema.parsed, "", protected=False)

    def _fields(
        self, record: dict[str, Any], path: str, *, protected: bool
    ) -> Iterator[DescribedField]:
        for each in record["fields"]:
            inner = f"{path}{each['name']}"
            own = protected or each.get("protected", False)
            found = self.of(each["type"])
            items, suffix = found, ""
            while items.kind == "array":
                items, suffix = self.of(items.definition["items"]), suffix + "[]"
            yield DescribedField(
                inner,
                self.words(found),
                found.optional,
                each.get("doc", ""),
                own,
                f"{record['name']}.{each['name']}",
                tuple(items.definition.get("symbols", ())),
            )
            if items.kind == "record":
                yield from self._fields(items.definition, f"{inner}{suffix}.", protected=own)
