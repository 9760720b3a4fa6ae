"""Compatibility: each rule has vectors named by their change, and all agree with fastavro."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from avro_schemas import documents, enum_of, events, field, nodes, record_of, schema_of
from sinergi_schemas import codec
from sinergi_schemas.avro_types.compatibility import findings, judge, rewritten, undocumented
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.errors import SchemaRefused

if TYPE_CHECKING:
    from sinergi_schemas.catalog import Schema

VECTORS = sorted((Path(__file__).parent / "vectors" / "compatibility").glob("*.json"))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_change_is_found_with_its_field_rule_and_reason(path: Path) -> None:
    vector = json.loads(path.read_text())
    found = findings(schema_of(vector["old"], 1), schema_of(vector["new"], 2))
    assert [(each.path, each.rule) for each in found] == [
        (where, rule) for where, rule, _ in vector["findings"]
    ]
    for each, (_, _, text) in zip(found, vector["findings"], strict=True):
        assert text in each.text


def test_there_are_vectors() -> None:
    assert len(VECTORS) > 40


@given(events())
def test_a_schema_is_compatible_with_itself(parsed: dict[str, Any]) -> None:
    assert findings(schema_of(parsed, 1), schema_of(parsed, 2)) == []


# Against fastavro's own resolution


def every_record(parsed: Any) -> list[dict[str, Any]]:
    """All records that a schema defines."""
    below = [holder[key] for holder, key in nodes(parsed)]
    return [each for each in [parsed, *below] if isinstance(each, dict) and "fields" in each]


@st.composite
def evolved(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A schema and what one to three changes made of it, allowed ones and others."""
    old = draw(events())
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 3))):
        record = draw(st.sampled_from(every_record(new)))
        each = draw(st.sampled_from(record["fields"]))
        match draw(st.sampled_from(["add", "add-required", "remove", "order", "type", "enum"])):
            case "add":
                name = f"n{len(record['fields'])}"
                kind = draw(
                    st.sampled_from([["null", "string"], {"type": "array", "items": "int"}])
                )
                record["fields"].insert(draw(st.integers(0, 2)), field(name, kind))
            case "add-required":
                record["fields"].append(field(f"n{len(record['fields'])}", "long"))
            case "remove" if len(record["fields"]) > 1:
                record["fields"].remove(each)
            case "order":
                record["fields"] = draw(st.permutations(record["fields"]))
            case "type":
                kind = draw(st.sampled_from(["int", "long", "double", "string", ["null", "int"]]))
                record["fields"][record["fields"].index(each)] = field(each["name"], kind)
            case _:
                _change_an_enum(draw, new)
    return old, new


def _change_an_enum(draw: st.DrawFn, parsed: dict[str, Any]) -> None:
    enums = [holder[key] for holder, key in nodes(parsed) if isinstance(holder[key], dict)]
    enums = [each for each in enums if each.get("type") == "enum"]
    if enums:
        symbols = draw(st.sampled_from(enums))["symbols"]
        if draw(st.booleans()):
            symbols.insert(draw(st.integers(0, len(symbols))), f"T{len(symbols)}")
        elif symbols[0] != "UNKNOWN":
            del symbols[0]


def resolved(document: dict[str, Any], writer: Schema, reader: Schema) -> Any:
    """What a reader of one version makes of another's event, after Avro's rules."""
    datum = io.BytesIO(codec.encode_document(document, writer))
    return fastavro.schemaless_reader(datum, writer.parsed, reader.parsed)


@given(evolved(), st.data())
def test_versions_without_a_finding_read_each_others_events(
    versions: tuple[dict[str, Any], dict[str, Any]], data: st.DataObject
) -> None:
    try:
        old, new = schema_of(versions[0], 1), schema_of(versions[1], 2)
    except SchemaRefused:  # the change took away the definition of a type that is used elsewhere
        assume(False)  # noqa: FBT003 - hypothesis has no other form
    if findings(old, new):
        return
    for writer, reader in ((old, new), (new, old)):
        read = resolved(data.draw(documents(writer)), writer, reader)
        assert set(read) == {each["name"] for each in reader.parsed["fields"]}
        codec.encode_document(read, reader)  # it is a whole document of the reader's version


# An event that the other version's readers cannot read, by the vector of the change between them.
UNREADABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "field-added-without-default": ("old", {"x": 1}),
    "field-removed-without-default": ("new", {"x": 1}),
    "field-renamed": ("old", {"x": 1, "y": 1}),
    "field-added-without-default-in-a-list": ("old", {"l": [{"x": 1}]}),
    "optional-from-required": ("new", {"x": None}),
    "required-from-optional": ("old", {"x": None}),
    "items-optional-from-required": ("new", {"x": [1, None]}),
    "int-widened-to-long": ("new", {"x": 1}),
    "long-narrowed-to-int": ("old", {"x": 1}),
    "double-narrowed-to-float": ("old", {"x": 1.5}),
    "string-to-int": ("old", {"x": "1"}),
    "boolean-to-int": ("old", {"x": True}),
    "record-renamed": ("old", {"x": {"x": 1}}),
    "enum-renamed": ("old", {"x": "A"}),
}


@pytest.mark.parametrize(("name", "event"), UNREADABLE.items(), ids=UNREADABLE)
def test_what_is_found_makes_events_that_fastavro_cannot_resolve(
    name: str, event: tuple[str, dict[str, Any]]
) -> None:
    vector = json.loads((VECTORS[0].parent / f"{name}.json").read_text())
    versions = {"old": schema_of(vector["old"], 1), "new": schema_of(vector["new"], 2)}
    writer = versions.pop(event[0])
    with pytest.raises(fastavro.read.SchemaResolutionError):
        resolved(event[1], writer, *versions.values())


def test_a_newer_symbol_is_read_as_unknown_and_is_no_finding() -> None:
    old = schema_of(record_of(field("x", enum_of("E", "A"))), 1)
    new = schema_of(record_of(field("x", enum_of("E", "A", "B"))), 2)
    assert findings(old, new) == []
    assert resolved({"x": "B"}, new, old) == {"x": "UNKNOWN"}


# A whole catalogue


def test_a_field_without_a_doc_is_named_once_by_the_record_that_defines_it() -> None:
    person = {"type": "record", "name": "Person", "fields": [field("name", "string", doc=" ")]}
    people = {"type": "array", "items": "Person"}
    schema = schema_of(record_of(field("first", person), field("others", people, doc="")))
    assert [(each.path, each.rule) for each in undocumented(schema)] == [
        ("Person.name", "doc-missing"),
        ("Probe.others", "doc-missing"),
    ]


def test_every_version_is_held_against_all_earlier_ones() -> None:
    """The third fits the second, in which the field is gone, but not the first."""
    first = schema_of(record_of(field("x", "int"), field("y", ["null", "int"])), 1)
    second = schema_of(record_of(field("x", "int")), 2)
    third = schema_of(record_of(field("x", "int"), field("y", ["null", "string"])), 3)
    catalog = Catalog([third, first, second])
    found = [
        (each.schema.version, each.against and each.against.version, finding.rule)
        for each in judge(catalog, Catalog([]))
        for finding in each.findings
    ]
    assert found == [(3, 1, "type-changed")]


def test_a_published_version_is_never_rewritten() -> None:
    published = schema_of(record_of(field("x", "int")), 1)
    better = schema_of(record_of(field("x", "int", doc="Better said.")), 1)
    renumbered = dataclasses.replace(published, id=9)
    assert [each.rule for each in rewritten(better, published)] == ["rewritten"]
    assert [each.rule for each in rewritten(renumbered, published)] == ["id-changed"]
    judged = judge(Catalog([better]), Catalog([published]))
    assert [finding.rule for each in judged for finding in each.findings] == ["rewritten"]
    other = schema_of(record_of(field("x", "int")), 1, event_type="other")
    assert rewritten(published, published) == []
    assert not any(each.findings for each in judge(Catalog([better]), Catalog([other])))


def test_the_shipped_schemas_have_no_finding() -> None:
    shipped = Catalog.shipped()
    judged = judge(shipped, shipped)
    assert [each.schema.name for each in judged if each.against is None] == [
        each.name for each in shipped.all()
    ]
    assert not any(each.findings for each in judged)
