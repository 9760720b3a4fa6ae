"""What changed between two versions of a schema, field by field, for people."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas.avro_types.fields import described_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.avro_types.fields import DescribedField
    from sinergi_schemas.catalog import Schema


class SchemaChangeKind(StrEnum):
    """What changed about a field."""

    ADDED = "added"
    REMOVED = "removed"
    TYPE = "type"
    CODES_ADDED = "codes added"
    CODES_REMOVED = "codes removed"
    PROTECTION = "protection"
    MEANING = "meaning"


class SchemaFieldChange(NamedTuple):
    """One change of one field.

    Attributes:
        path: as `DescribedField.path`.
        before, after: in words; empty where there is nothing.
        doc: what the field means, in the later version that has it; empty where that changed.
    """

    path: str
    kind: SchemaChangeKind
    before: str
    after: str
    doc: str


def changes(old: Schema, new: Schema) -> list[SchemaFieldChange]:
    """What changed from one version of an event type to another, in the order of the newer one.

    A field of a record that is used twice is named at each of its two places.
    """
    before = {each.path: each for each in described_fields(old.event)}
    after = {each.path: each for each in described_fields(new.event)}
    found = [change for path, each in after.items() for change in _of(before.get(path), each)]
    gone = [each for path, each in before.items() if path not in after]
    return found + [
        SchemaFieldChange(each.path, SchemaChangeKind.REMOVED, _type(each), "", each.doc)
        for each in gone
    ]


def _of(old: DescribedField | None, new: DescribedField) -> Iterator[SchemaFieldChange]:
    """The changes of one field of the newer version."""

    def change(kind: SchemaChangeKind, before: str, after: str) -> SchemaFieldChange:
        return SchemaFieldChange(new.path, kind, before, after, new.doc)

    if old is None:
        protected = ", protected" if new.protected else ""
        yield change(SchemaChangeKind.ADDED, "", f"{_type(new)}{protected}")
        return
    if _type(old) != _type(new):
        yield change(SchemaChangeKind.TYPE, _type(old), _type(new))
    if added := [each for each in new.symbols if each not in old.symbols]:
        yield change(SchemaChangeKind.CODES_ADDED, "", ", ".join(added))
    if removed := [each for each in old.symbols if each not in new.symbols]:
        yield change(SchemaChangeKind.CODES_REMOVED, ", ".join(removed), "")
    if old.protected != new.protected:
        yield change(SchemaChangeKind.PROTECTION, _protection(old), _protection(new))
    if old.doc != new.doc:
        yield SchemaFieldChange(new.path, SchemaChangeKind.MEANING, old.doc, new.doc, "")


def _type(field: DescribedField) -> str:
    return f"{field.type}{'?' if field.optional else ''}"


def _protection(field: DescribedField) -> str:
    return "protected" if field.protected else "not protected"
