"""What a revision of a record says, field by field, and what it changes.

A field has the meaning that the schema gives it. The items of a list are counted from 1:
`exhibits[2].net_weight` is the net weight of the second exhibit, whatever it was in the revision
before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sinergi_schemas import codes
from sinergi_schemas.avro_types.fields import described_fields
from sinergi_schemas.avro_types.nodes import ArrayType, EnumType, RecordType, value_type
from sinergi_schemas.indonesian_meanings import shown_doc
from sinergi_schemas.zones import in_zone

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sinergi_schemas.avro_types.nodes import AvroType
    from sinergi_schemas.catalog import Schema

# Each revision has these of its own. Whatever shows the revision shows them beside the changes.
OF_REVISION = frozenset({"event_id", "agency", "record_id", "revision", "action", "recorded_at"})


@dataclass(frozen=True, slots=True)
class FieldMeaning:
    """What a field means.

    Attributes:
        doc: as the schema has it, with the Indonesian term.
        protected: whether it is personal data.
    """

    doc: str
    protected: bool


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of which a revision says something else than the one before.

    Attributes:
        path: of the field; the items of a list are counted from 1.
        before, after: what was said, as text; None if nothing was.
    """

    path: str
    meaning: FieldMeaning
    before: str | None
    after: str | None


def changes(
    before: Mapping[str, Any] | None, after: Mapping[str, Any], old: Schema | None, new: Schema
) -> list[FieldChange]:
    """The fields that differ between two revisions, in the order of the schema.

    Args:
        before: the earlier one; None if there is none, so that all that is said is new.
        old, new: their schemas.
    """
    earlier = {} if before is None or old is None else _said(before, old)
    later = _said(after, new)
    meanings = {} if old is None else _meanings(old)
    meanings |= _meanings(new)
    paths = dict.fromkeys([*later, *earlier])
    return [
        FieldChange(path, meanings[_pattern(path)], earlier.get(path), later.get(path))
        for path in paths
        if earlier.get(path) != later.get(path)
    ]


def code_meaning(kind: type[codes.Code], symbol: str) -> str:
    """What a member of a code list means, first in Indonesian; empty if it is no member."""
    for member in kind:
        if member == symbol:
            indonesian = f"{member.indonesian}: " if member.indonesian else ""
            return f"{indonesian}{member.meaning}"
    return ""


def _code_list(node: AvroType) -> type[codes.Code] | None:
    """The code list of an enum; None for another type, or an enum of an integrator."""
    found = value_type(node)
    kind = getattr(codes, found.name, None) if isinstance(found, EnumType) else None
    return kind if isinstance(kind, type) and issubclass(kind, codes.Code) else None


def shown_code(node: AvroType, symbol: str) -> str:
    """A symbol with its meaning; only the symbol if its enum is no code list."""
    kind = _code_list(node)
    meaning = code_meaning(kind, symbol) if kind else ""
    return f"{symbol} ({meaning})" if meaning else symbol


def _said(event: Mapping[str, Any], schema: Schema) -> dict[str, str]:
    zone = event.get("zone")
    return {
        path: text
        for path, text in _texts(event, schema.event, "", zone)
        if _pattern(path) not in OF_REVISION
    }


def _texts(
    record: Mapping[str, Any], node: RecordType, above: str, zone: object
) -> Iterator[tuple[str, str]]:
    """Each field that says something, at every depth, as text."""
    for field in node.fields:
        value, path = record.get(field.name), f"{above}{field.name}"
        match value, field.value_type:
            case None, _:
                continue
            case dict(), RecordType() as inner:
                yield from _texts(value, inner, f"{path}.", zone)
            case list() | tuple(), ArrayType(items=items):
                of_item = value_type(items)
                if isinstance(of_item, RecordType):
                    for number, item in enumerate(value, 1):
                        yield from _texts(item, of_item, f"{path}[{number}].", zone)
                elif value:
                    yield path, "; ".join(_text(each, items, zone) for each in value)
            case _:
                yield path, _text(value, field.type, zone)


def _text(value: Any, node: AvroType, zone: object) -> str:
    match value:
        case bool():
            return "yes (ya)" if value else "no (tidak)"
        case datetime():
            return in_zone(value, zone).isoformat()
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case bytes():
            return value.hex()
        case _:
            return shown_code(node, str(value))


def _meanings(schema: Schema) -> dict[str, FieldMeaning]:
    return {
        each.path: FieldMeaning(shown_doc(each.doc), each.protected)
        for each in described_fields(schema.event)
    }


def _pattern(path: str) -> str:
    """The path of a field without the numbers of items."""
    return "[]".join(part.split("]")[-1] if at else part for at, part in enumerate(path.split("[")))
