"""Whether a new version of a schema is compatible with the earlier ones, and if not, why.

The events of all versions stay in one topic, and agencies upgrade on different days. So every
version must read the events of every other. *Backward*: the new version reads the events of an old
one. *Forward*: an old version reads the events of the new one (Avro 1.12, "Schema Resolution").
That leaves these changes: add or remove a field that has a default, add a symbol to an enum, change
a `doc`, change the order of fields or of symbols.

Some of the rules are our own. Avro allows what they forbid, but the people whom the data is about
would be worse off.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas.avro_types.fields import described_fields, words
from sinergi_schemas.avro_types.nodes import (
    UNKNOWN,
    ArrayType,
    DecimalType,
    EnumType,
    OptionalType,
    RecordType,
    value_type,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.avro_types.nodes import AvroType, RecordField, ValueType
    from sinergi_schemas.catalog import Catalog, Schema

# The types that a reader may have for a type that was written (Avro 1.12, "Schema Resolution").
_PROMOTED = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


class SchemaFinding(NamedTuple):
    """One fault of a schema.

    Attributes:
        path: the field; empty if it is the event as a whole.
        rule: the name of the rule that it breaks, for programs.
        text: what is wrong, for people, and the remedy if there is one.
    """

    path: str
    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found about one schema: by itself, or compared with `against`, an earlier one."""

    schema: Schema
    against: Schema | None
    findings: tuple[SchemaFinding, ...]


def findings(old: Schema, new: Schema) -> list[SchemaFinding]:
    """Why `new` cannot read events of `old`, or `old` those of `new`, and broken rules of ours.

    Args:
        old: an earlier version of the event type.
        new: a later one.
    """
    return list(_Comparison(old, new).event())


def why_incompatible(old: Schema, new: Schema) -> str:
    """The same `findings` as one text; empty if there are none."""
    return "; ".join(f"{each.path or old.event_type}: {each.text}" for each in findings(old, new))


def undocumented(schema: Schema) -> list[SchemaFinding]:
    """The fields without a `doc`, each once and named by the record that defines it."""
    text = "it has no doc: say what it means, its unit and its Indonesian term"
    places = {each.place: None for each in described_fields(schema.event) if not each.doc.strip()}
    return [SchemaFinding(place, "doc-missing", text) for place in places]


def rewritten(schema: Schema, published: Schema) -> list[SchemaFinding]:
    """What differs between a schema and the published schema of the same version."""
    found: list[SchemaFinding] = []
    if schema.fingerprint != published.fingerprint:
        text = f"it is not the file that is published as {published.name}; add a new version"
        found.append(SchemaFinding("", "rewritten", text))
    if schema.id != published.id:
        text = f"its id is {schema.id}, and it is published under {published.id}"
        found.append(SchemaFinding("", "id-changed", text))
    return found


def judge(catalog: Catalog, published: Catalog) -> list[Judgement]:
    """Judge every schema by itself, against all earlier versions, and against its published one."""
    return list(chain.from_iterable(_judged(each, catalog, published) for each in catalog.all()))


def _judged(schema: Schema, catalog: Catalog, published: Catalog) -> Iterator[Judgement]:
    yield Judgement(schema, None, tuple(undocumented(schema)))
    for old in catalog.versions(schema.event_type)[: schema.version - 1]:
        yield Judgement(schema, old, tuple(findings(old, schema)))
    for known in published.all():
        if known.name == schema.name and known is not schema:
            yield Judgement(schema, known, tuple(rewritten(schema, known)))


class _Comparison:
    """One walk through two versions, side by side.

    `is_protected` says whether the field, or one that it is part of, is protected in the new
    version.
    """

    def __init__(self, old: Schema, new: Schema) -> None:
        self._events = old.event, new.event
        self._before, self._after = old.name, new.name

    def event(self) -> Iterator[SchemaFinding]:
        """The findings of the two events and of all their fields."""
        yield from self._name(*self._events, "")
        yield from self._fields(*self._events, "", is_protected=False)

    def _fields(
        self, old: RecordType, new: RecordType, path: str, *, is_protected: bool
    ) -> Iterator[SchemaFinding]:
        before = {each.name: each for each in old.fields}
        after = {each.name: each for each in new.fields}
        for name in before | after:
            inner = f"{path}{name}"
            if name not in after:
                yield from self._removed(before[name], inner)
            elif name not in before:
                yield from self._added(after[name], inner)
            else:
                yield from self._field(before[name], after[name], inner, is_protected=is_protected)

    def _removed(self, old: RecordField, path: str) -> Iterator[SchemaFinding]:
        if not old.has_default:
            text = f"it was removed, and readers of {self._before} need it: it has no default there"
            yield SchemaFinding(path, "removed-without-default", text)

    def _added(self, new: RecordField, path: str) -> Iterator[SchemaFinding]:
        if not new.has_default:
            text = f"it was added without a default, and events of {self._before} do not have it"
            yield SchemaFinding(path, "added-without-default", f"{text}; make it optional")

    def _field(
        self, old: RecordField, new: RecordField, path: str, *, is_protected: bool
    ) -> Iterator[SchemaFinding]:
        is_protected = is_protected or new.protected
        if old.protected and not is_protected:
            text = f"it is protected in {self._before} and no longer is; personal data stays so"
            yield SchemaFinding(path, "protection-dropped", text)
        if old.has_default and new.has_default and old.default != new.default:
            text = "its default changed, and events without it would tell two stories"
            yield SchemaFinding(path, "default-changed", text)
        yield from self._type(old.type, new.type, path, is_protected=is_protected)

    def _type(
        self, old: AvroType, new: AvroType, path: str, *, is_protected: bool
    ) -> Iterator[SchemaFinding]:
        was_optional, is_optional = isinstance(old, OptionalType), isinstance(new, OptionalType)
        if is_optional and not was_optional:
            text = f"it became optional, and readers of {self._before} cannot take its null"
            yield SchemaFinding(path, "null-added", text)
        if was_optional and not is_optional:
            text = f"it is no longer optional, and events of {self._before} hold nulls"
            yield SchemaFinding(path, "null-removed", text)
        match value_type(old), value_type(new):
            case RecordType() as before, RecordType() as after:
                yield from self._name(before, after, path)
                yield from self._fields(before, after, f"{path}.", is_protected=is_protected)
            case EnumType() as before, EnumType() as after:
                yield from self._name(before, after, path)
                yield from self._symbols(before, after, path)
            case ArrayType(items=before), ArrayType(items=after):
                yield from self._type(before, after, f"{path}[]", is_protected=is_protected)
            case DecimalType() as before, DecimalType() as after:
                yield from self._decimal(before, after, path)
            case before, after if before.kind != after.kind:
                yield SchemaFinding(path, "type-changed", self._difference(before, after))

    def _name(
        self, old: RecordType | EnumType, new: RecordType | EnumType, path: str
    ) -> Iterator[SchemaFinding]:
        if old.name != new.name:
            text = f"the {old.kind} {old.name} became {new.name}: readers go by the name"
            yield SchemaFinding(path, "name-changed", text)

    def _symbols(self, old: EnumType, new: EnumType, path: str) -> Iterator[SchemaFinding]:
        """A symbol may be added, since every enum has a default. None may be removed."""
        for symbol in old.symbols:
            if symbol not in new.symbols:
                text = f"{symbol} was removed: events of {self._before} would say {UNKNOWN}"
                yield SchemaFinding(path, "symbol-removed", text)

    def _decimal(self, old: DecimalType, new: DecimalType, path: str) -> Iterator[SchemaFinding]:
        if old != new:
            text = f"{words(old)} became {words(new)}: neither can be read as the other"
            yield SchemaFinding(path, "decimal-changed", text)

    def _difference(self, old: ValueType, new: ValueType) -> str:
        """Why a change of type makes two versions incompatible."""
        change = f"{words(old)} became {words(new)}"
        new_reads_old = new.base in _PROMOTED.get(old.base, ())
        old_reads_new = old.base in _PROMOTED.get(new.base, ())
        if old.base == new.base:
            return f"{change}: the same bytes would mean something else"
        if new_reads_old and old_reads_new:
            return f"{change}: readers would take each for the other, and not all bytes are text"
        if new_reads_old:
            return f"{change}: readers of {self._before} cannot take the wider type"
        if old_reads_new:
            return f"{change}: readers of {self._after} cannot take what {self._before} wrote"
        return f"{change}: neither can be read as the other"
