"""Whether a new version of a schema may join the earlier ones, and what stands in its way.

Events of all versions lie in one topic for ever, and agencies upgrade on different days. So each
version must read the events of every other: *backward*, the new one those of an old one, and
*forward*, an old one those of the new one (Avro 1.12, "Schema Resolution"). What remains possible
is to add and remove fields that have a default, to add symbols to an enum, and to say things better
in a `doc`. The order of fields and of symbols means nothing.

Some rules are ours: Avro would let them pass, and the people whose data it is would lose.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_schemas.avro_types.fields import Types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.avro_types.fields import Type
    from sinergi_schemas.catalog import Catalog, Schema

# What a reader of the second can take for it (Avro 1.12, "Schema Resolution").
_PROMOTED = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


class SchemaFinding(NamedTuple):
    """One thing that stands in the way.

    Attributes:
        path: the field; empty for the event as a whole.
        rule: the rule's name, for programs.
        text: what is wrong and, where there is one, the way out; for people.
    """

    path: str
    rule: str
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found about one schema: by itself, or `against` an earlier one."""

    schema: Schema
    against: Schema | None
    findings: tuple[SchemaFinding, ...]


def findings(old: Schema, new: Schema) -> list[SchemaFinding]:
    """What keeps `new` from reading the events of `old`, `old` those of `new`, or breaks a rule."""
    return list(_Comparison(old, new).event())


def undocumented(schema: Schema) -> list[SchemaFinding]:
    """The fields without a `doc`, each named once, by the record that defines it."""
    text = "it has no doc: say what it means, its unit and its Indonesian term"
    places = {each.place: None for each in Types(schema).fields() if not each.doc.strip()}
    return [SchemaFinding(place, "doc-missing", text) for place in places]


def rewritten(schema: Schema, published: Schema) -> list[SchemaFinding]:
    """What was changed of a version that is out in the world already."""
    found: list[SchemaFinding] = []
    if schema.fingerprint != published.fingerprint:
        text = f"it is not the file that is published as {published.name}; add a new version"
        found.append(SchemaFinding("", "rewritten", text))
    if schema.id != published.id:
        text = f"its id is {schema.id}, and it is published under {published.id}"
        found.append(SchemaFinding("", "id-changed", text))
    return found


def judge(catalog: Catalog, published: Catalog) -> list[Judgement]:
    """Every schema by itself, against all earlier versions, and against what is published of it."""
    return list(chain.from_iterable(_judged(each, catalog, published) for each in catalog.all()))


def _judged(schema: Schema, catalog: Catalog, published: Catalog) -> Iterator[Judgement]:
    yield Judgement(schema, None, tuple(undocumented(schema)))
    for old in catalog.versions(schema.event_type)[: schema.version - 1]:
        yield Judgement(schema, old, tuple(findings(old, schema)))
    for known in published.all():
        if known.name == schema.name and known is not schema:
            yield Judgement(schema, known, tuple(rewritten(schema, known)))


class _Comparison:
    """One walk through two versions, side by side."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = Types(old), Types(new)
        self._events = old.parsed, new.parsed
        self._before, self._after = old.name, new.name

    def event(self) -> Iterator[SchemaFinding]:
        yield from self._named(*self._events, "")
        yield from self._record(*self._events, "", kept=False)

    def _record(
        self, old: dict[str, Any], new: dict[str, Any], path: str, *, kept: bool
    ) -> Iterator[SchemaFinding]:
        before = {each["name"]: each for each in old["fields"]}
        after = {each["name"]: each for each in new["fields"]}
        for name in before | after:
            inner = f"{path}{name}"
            if name not in after:
                yield from self._removed(before[name], inner)
            elif name not in before:
                yield from self._added(after[name], inner)
            else:
                yield from self._field(before[name], after[name], inner, kept=kept)

    def _removed(self, old: dict[str, Any], path: str) -> Iterator[SchemaFinding]:
        if "default" not in old:
            text = f"it was removed, and readers of {self._before} need it: it has no default there"
            yield SchemaFinding(path, "removed-without-default", text)

    def _added(self, new: dict[str, Any], path: str) -> Iterator[SchemaFinding]:
        if "default" not in new:
            text = f"it was added without a default, and events of {self._before} do not have it"
            yield SchemaFinding(path, "added-without-default", f"{text}; make it optional")

    def _field(
        self, old: dict[str, Any], new: dict[str, Any], path: str, *, kept: bool
    ) -> Iterator[SchemaFinding]:
        """`kept`: whether the field is part of one that is protected in the new version."""
        kept = kept or new.get("protected", False)
        if old.get("protected", False) and not kept:
            text = f"it is protected in {self._before} and no longer is; personal data stays so"
            yield SchemaFinding(path, "protection-dropped", text)
        if "default" in old and old["default"] != new.get("default", old["default"]):
            text = "its default changed, and events without it would tell two stories"
            yield SchemaFinding(path, "default-changed", text)
        yield from self._type(self._old.of(old["type"]), self._new.of(new["type"]), path, kept=kept)

    def _type(self, old: Type, new: Type, path: str, *, kept: bool) -> Iterator[SchemaFinding]:
        if new.optional and not old.optional:
            text = f"it became optional, and readers of {self._before} cannot take its null"
            yield SchemaFinding(path, "null-added", text)
        if old.optional and not new.optional:
            text = f"it is no longer optional, and events of {self._before} hold nulls"
            yield SchemaFinding(path, "null-removed", text)
        if old.kind != new.kind:
            yield SchemaFinding(path, "type-changed", self._difference(old, new))
            return
        match old.kind:
            case "record":
                yield from self._named(old.definition, new.definition, path)
                yield from self._record(old.definition, new.definition, f"{path}.", kept=kept)
            case "enum":
                yield from self._named(old.definition, new.definition, path)
                yield from self._symbols(old, new, path)
            case "array":
                items = (
                    self._old.of(old.definition["items"]),
                    self._new.of(new.definition["items"]),
                )
                yield from self._type(*items, f"{path}[]", kept=kept)
            case "decimal" if self._old.words(old) != self._new.words(new):
                text = f"{self._old.words(old)} became {self._new.words(new)}"
                text += ": neither can be read as the other"
                yield SchemaFinding(path, "decimal-changed", text)

    def _named(
        self, old: dict[str, Any], new: dict[str, Any], path: str
    ) -> Iterator[SchemaFinding]:
        if old["name"] != new["name"]:
            text = f"the {old['type']} {old['name']} became {new['name']}: readers go by the name"
            yield SchemaFinding(path, "name-changed", text)

    def _symbols(self, old: Type, new: Type, path: str) -> Iterator[SchemaFinding]:
        """A symbol may be added, since every enum has a default; none may be taken away."""
        for symbol in old.definition["symbols"]:
            if symbol not in new.definition["symbols"]:
                default = new.definition["default"]
                text = f"{symbol} was removed: events of {self._before} would say {default}"
                yield SchemaFinding(path, "symbol-removed", text)

    def _difference(self, old: Type, new: Type) -> str:
        """Why a change of type stands in the way."""
        change = f"{self._old.words(old)} became {self._new.words(new)}"
        before, after = old.definition["type"], new.definition["type"]
        forth, back = after in _PROMOTED.get(before, ()), before in _PROMOTED.get(after, ())
        if before == after:
            return f"{change}: the same bytes would mean something else"
        if forth and back:
            return f"{change}: readers would take each for the other, and not all bytes are text"
        if forth:
            return f"{change}: readers of {self._before} cannot take the wider type"
        if back:
            return f"{change}: readers of {self._after} cannot take what {self._before} wrote"
        return f"{change}: neither can be read as the other"
