"""TOML files that people write, and everything that is wrong in one, each problem in one line.

pydantic finds the problems, and this module words them for people who know neither pydantic nor
Python. A field's `description` says what to write there; it ends each message about the field.
"""

from __future__ import annotations

import re
import tomllib
from ast import literal_eval
from collections.abc import Iterable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    TypeGuard,
    TypeVar,
    get_args,
    get_origin,
)

from pydantic import BaseModel, ConfigDict, ValidationError

from sinergi_schemas.files import toml_limits
from sinergi_schemas.near_names import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# How many problems of a file get a hint at a known name.
MOST_HINTS = 10

_KINDS = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "path_type": "text in quotes",
    "list_type": "a list in brackets",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


_MEMBER = re.compile(r"\[(\d+)\]")
# What tomllib says of a table or a key that a file has twice, with the key as a Python tuple.
_TWICE = re.compile(
    r"Cannot (?:declare|mutate immutable namespace|redefine namespace) (\(.*\))(?: twice)?"
    r"(?= \(at )",
    re.DOTALL,
)


class FileProblem(NamedTuple):
    """One problem: the key that it is about, and what is wrong, with the remedy.

    Members of lists count from 0 in the key, as `readers[1]`, and from 1 for people: `readers item
    2`.
    """

    key: str
    what: str
    is_unknown_key: bool = False

    def __str__(self) -> str:
        return f"{shown_key(self.key)}: {self.what}" if self.key else self.what


class Table(BaseModel):
    """A table of such a file, which refuses unknown keys and converts no value to another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


TableT = TypeVar("TableT", bound=BaseModel)
KindT = TypeVar("KindT")


def dotted(parts: Iterable[str | int]) -> str:
    """The key of a value, by the names and the indexes on the path to it."""
    steps = (f"[{each}]" if isinstance(each, int) else f".{each}" for each in parts)
    return "".join(steps).removeprefix(".")


def shown_key(key: str) -> str:
    """A key as people read it, with the members of lists counted from 1."""
    return _MEMBER.sub(lambda found: f" item {int(found[1]) + 1}", key)


def refuse_boolean(given: object) -> object:
    """Refuse true and false where a table that converts values expects a number.

    pydantic would take them for 1 and 0.
    """
    if isinstance(given, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 - for pydantic
    return given


def read(data: bytes) -> dict[str, Any]:
    """A TOML document; it may begin with a byte order mark, which editors on Windows write.

    Args:
        data: the content of a file, read up to `toml_limits.MOST_BYTES`.

    Raises:
        ValueError: it is not UTF-8, not TOML, or beyond the limits of `toml_limits`; the message
            says where. No input raises another error.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as why:
        raise ValueError(f"byte {why.start} is not UTF-8; save the file as UTF-8") from None
    toml_limits.check_text(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as why:
        raise ValueError(f"it is not TOML: {_reworded(str(why))}") from None
    toml_limits.check_values(document)
    return document


def check(
    model: type[TableT], value: object, at: str, hints: int = MOST_HINTS
) -> tuple[TableT | None, list[FileProblem]]:
    """The table that a value is by its model, or everything that is wrong in the value.

    Args:
        at: the key of the table; empty for the whole file.
        hints: how many of the problems get a hint at a known name, which takes time to find.
    """
    try:
        return model.model_validate(value), []
    except ValidationError as why:
        found = why.errors(include_url=False)
        return None, [
            _problem(model, each, at, with_hint=place < hints) for place, each in enumerate(found)
        ]


def table_at(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The table at a key; an empty one if there is none, or if the value is not a table."""
    found = parent.get(key)
    return found if isinstance(found, dict) else {}


def members_at(parent: dict[str, Any], key: str, kind: type[KindT]) -> list[tuple[int, KindT]]:
    """The members of the list at a key that have this type, with their indexes."""
    found = parent.get(key)
    members = enumerate(found) if isinstance(found, list) else ()
    return [(index, each) for index, each in members if isinstance(each, kind)]


def kind_of(value: object) -> str:
    """The type of a value in TOML's words."""
    kinds: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        (str, "text"),
        (list, "a list"),
        (Mapping, "a table"),
    ]
    return next((word for kind, word in kinds if isinstance(value, kind)), "a date or time")


def _reworded(text: str) -> str:
    """A message of tomllib, without the words of its own for what a file has twice."""
    if found := _TWICE.match(text):
        table = ".".join(literal_eval(found[1]))
        return f"the table [{table}] is there twice{text[found.end() :]}; make one of the two"
    return text.replace("Cannot overwrite a value", "a key is there twice")


def _problem(
    model: type[BaseModel], found: ErrorDetails, at: str, *, with_hint: bool
) -> FileProblem:
    where = dotted([at, *found["loc"]] if at else found["loc"])
    what = _what(model, found, with_hint=with_hint)
    return FileProblem(where, what, found["type"] == "extra_forbidden")


def _what(model: type[BaseModel], found: ErrorDetails, *, with_hint: bool) -> str:
    kind, path = found["type"], found["loc"]
    if kind == "extra_forbidden":
        known = _keys(model, path[:-1])
        hint = did_you_mean(str(path[-1]), known) if with_hint else "mend or remove it"
        return f"there is no such key; {hint}"
    hint = _hint(model, path)
    if kind == "missing":
        return f"it is missing{hint}"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {kind_of(found['input'])}{hint}"
    if kind in _BOUNDS:
        return f"{_BOUNDS[kind].format(**found.get('ctx', {}))}{hint}"
    return found["msg"].removeprefix("Value error, ")


def _keys(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    inner = _model_at(model, path)
    fields = inner.model_fields.items() if inner else ()
    return [field.alias or name for name, field in fields]


def _hint(model: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """What to write there, by the innermost field with a description on the path to a value."""
    for length in range(len(path), 0, -1):
        inner = _model_at(model, path[: length - 1])
        for name, field in inner.model_fields.items() if inner else ():
            if path[length - 1] in (name, field.alias) and field.description:
                return f"; write {field.description}"
    return ""


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model of the table at a path below another model."""
    kind: object = model
    for step in path:
        if _is_model(kind):
            fields = kind.model_fields.items()
            kind = next((f.annotation for name, f in fields if step in (name, f.alias)), None)
        elif get_origin(kind) in (list, dict):
            kind = get_args(kind)[-1]
        if kind is not None and not _is_model(kind) and get_origin(kind) not in (list, dict):
            kind = next((each for each in get_args(kind) if _is_model(each)), None)
    return kind if _is_model(kind) else None


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
