"""The models equal the newest `.avsc` files field by field, and every file keeps the rules."""

from __future__ import annotations

import copy
import json
import types
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin
from uuid import UUID

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import contract_vectors
import sinergi
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.events import MODELS, Event
from sinergi_schemas.events.values import WEIGHT_DIGITS, WEIGHT_PLACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic.fields import FieldInfo

CATALOG = Catalog.shipped()
NEWEST = [CATALOG.newest(event_type) for event_type in CATALOG.event_types]
LANDED = json.loads(contract_vectors.FINGERPRINTS.read_text("utf-8"))
NAMED_BY_EVERY_ROW = {
    "agency",
    "record_id",
    "revision",
    "event_id",
    "topic",
    "partition",
    "leaf_index",
    "position",
}
SIMPLE = {
    str: "string",
    bool: "boolean",
    int: "int",
    float: "double",
    UUID: {"type": "string", "logicalType": "uuid"},
    datetime: {"type": "long", "logicalType": "timestamp-micros"},
    date: {"type": "int", "logicalType": "date"},
    Decimal: {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": WEIGHT_DIGITS,
        "scale": WEIGHT_PLACES,
    },
}


def avro_of(annotation: Any) -> Any:
    """The Avro type, names and docs aside, that a model's annotation stands for."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return avro_of(inner[0])
    if origin in {Union, types.UnionType}:
        (other,) = (each for each in inner if each is not type(None))
        return ["null", avro_of(other)]
    if origin is tuple:
        return {"type": "array", "items": avro_of(inner[0])}
    if issubclass(annotation, BaseModel):
        return {"type": "record", "name": annotation.__name__, "fields": fields_of(annotation)}
    if issubclass(annotation, Enum):
        symbols = [member.value for member in annotation]
        return {"type": "enum", "name": annotation.__name__, "symbols": symbols}
    return SIMPLE[annotation]


def fields_of(model: type[BaseModel]) -> list[dict[str, Any]]:
    """A model's fields as Avro has them; what `publish` adds is there once an event is issued."""
    issued = Event.ISSUED if issubclass(model, Event) else frozenset()
    return [field_of(name, field, name in issued) for name, field in model.model_fields.items()]


def field_of(name: str, field: FieldInfo, is_issued: bool) -> dict[str, Any]:  # noqa: FBT001
    kind = avro_of(field.annotation)
    if is_issued:
        return {"name": name, "type": kind[1] if isinstance(kind, list) else kind}
    if field.default is PydanticUndefined:
        return {"name": name, "type": kind}
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return {"name": name, "type": kind, "default": default}


def plain(kind: Any, known: dict[str, Any]) -> Any:
    """A type of an `.avsc` file with its names resolved, and without docs and marks."""
    if isinstance(kind, list):
        return [plain(each, known) for each in kind]
    if isinstance(kind, str):
        return known.get(kind, kind)
    match kind["type"]:
        case "record":
            fields = [plain_field(field, known) for field in kind["fields"]]
            found = {"type": "record", "name": kind["name"], "fields": fields}
        case "enum":
            found = {name: kind[name] for name in ("type", "name", "symbols")}
        case "array":
            return {"type": "array", "items": plain(kind["items"], known)}
        case _:
            return kind
    known[kind["name"]] = found
    return found


def plain_field(field: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    kept = {"name": field["name"], "type": plain(field["type"], known)}
    return kept | ({"default": field["default"]} if "default" in field else {})


def everything_in(parsed: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field and named type that a schema spells out, with its path."""
    if isinstance(parsed, list):
        for each in parsed:
            yield from everything_in(each, path)
    elif isinstance(parsed, dict):
        if "name" in parsed:
            yield path, parsed
        if "items" in parsed:
            yield from everything_in(parsed["items"], f"{path}[]")
        for field in parsed.get("fields", ()):
            inner = f"{path}.{field['name']}".lstrip(".")
            yield inner, field
            yield from everything_in(field["type"], inner)


@pytest.mark.parametrize("schema", NEWEST, ids=lambda schema: schema.name)
def test_the_model_is_the_newest_file_field_by_field(schema: Any) -> None:
    fields = plain(schema.parsed, {})["fields"]
    assert [field["name"] for field in fields] == list(MODELS[schema.event_type].model_fields)
    for theirs, ours in zip(fields, fields_of(MODELS[schema.event_type]), strict=True):
        assert theirs == ours


def test_every_event_type_has_a_model_and_files() -> None:
    assert set(MODELS) == set(CATALOG.event_types)
    for schema in NEWEST:
        assert schema.parsed["name"] == MODELS[schema.event_type].__name__


def test_every_event_type_can_be_imported_from_sinergi() -> None:
    for model in MODELS.values():
        assert model.__name__ in sinergi.__all__
        assert getattr(sinergi, model.__name__) is model


def changed_name(field: dict[str, Any]) -> None:
    field["name"] += "_"


def changed_type(field: dict[str, Any]) -> None:
    field["type"] = "double" if field["type"] != "double" else "string"


def changed_nullability(field: dict[str, Any]) -> None:
    kind = field["type"]
    field["type"] = kind[1] if isinstance(kind, list) else ["null", kind]


def changed_default(field: dict[str, Any]) -> None:
    field["default"] = "" if "default" not in field else f"not {field['default']}"


def changed_logical_type(field: dict[str, Any]) -> None:
    """Take the logical type or a symbol or a field away, wherever in the type it stands."""
    kind = field["type"][1] if isinstance(field["type"], list) else field["type"]
    match kind:
        case {"logicalType": _}:
            kind["logicalType"] += "-changed"
        case {"symbols": symbols}:
            del symbols[0]
        case {"fields": fields}:
            del fields[-1]
        case {"items": _}:
            kind["items"] = "long"
        case _:
            field["type"] = "bytes"


@pytest.mark.parametrize(
    "change",
    [changed_name, changed_type, changed_nullability, changed_default, changed_logical_type],
)
@pytest.mark.parametrize("schema", NEWEST, ids=lambda schema: schema.name)
def test_no_change_of_any_field_escapes_the_comparison(
    schema: Any, change: Callable[[dict[str, Any]], None]
) -> None:
    ours = fields_of(MODELS[schema.event_type])
    for at in range(len(ours)):
        fields = copy.deepcopy(plain(schema.parsed, {})["fields"])
        change(fields[at])
        assert fields != ours, fields[at]["name"]


@pytest.mark.parametrize("schema", CATALOG.all(), ids=lambda schema: schema.name)
def test_everything_has_a_doc(schema: Any) -> None:
    bare = [path for path, thing in everything_in(schema.parsed) if not thing.get("doc")]
    assert bare == []


@pytest.mark.parametrize("schema", CATALOG.all(), ids=lambda schema: schema.name)
def test_personal_fields_are_marked_as_protected(schema: Any) -> None:
    always = {"narrative", "register_number", "nik"}
    names_of_people_and_homes = {"Person", "Place", "Find"}
    for path, thing in everything_in(schema.parsed):
        if thing.get("type") == "record" and thing["name"] in names_of_people_and_homes:
            said = {"name", "description"} & {field["name"] for field in thing["fields"]}
            marked = {field["name"] for field in thing["fields"] if field.get("protected")}
            assert marked >= said, path
        if thing["name"] in always:
            assert thing.get("protected") is True, path


@pytest.mark.parametrize("schema", CATALOG.all(), ids=lambda schema: schema.name)
def test_the_common_fields_come_first_in_every_file(schema: Any) -> None:
    names = [field["name"] for field in schema.parsed["fields"]]
    assert names[: len(Event.model_fields)] == list(Event.model_fields)


@pytest.mark.parametrize("schema", CATALOG.all(), ids=lambda schema: schema.name)
def test_no_list_stands_inside_a_list_and_none_uses_the_columns_that_every_row_has(
    schema: Any,
) -> None:
    for field in schema.parsed["fields"]:
        inner = [
            (path, thing)
            for path, thing in everything_in(field["type"])
            if "symbols" not in thing and thing.get("type") != "record"
        ]
        for path, thing in inner:
            assert not (isinstance(thing["type"], dict) and thing["type"]["type"] == "array"), path
            if path.startswith("[]"):
                assert path.removeprefix("[].") not in NAMED_BY_EVERY_ROW, field["name"]


def test_a_landed_file_never_changes_and_its_id_is_never_given_again() -> None:
    found = contract_vectors.fingerprints()
    assert found == LANDED
    assert len({schema_id for schema_id, _ in found.values()}) == len(found)
