"""The texts of pydantic's errors about events: field and rule, never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails

from sinergi_schemas import errors
from sinergi_schemas.events.values import refusal
from sinergi_schemas.near_names import near_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

_RULES = {
    "missing": "is required",
    "enum": "is not a code of its list; state UNKNOWN if nothing else fits",
    "string_type": "is not text",
    "string_sub_type": "is not text",
    "string_unicode": "contains half of a surrogate pair, which is not a character",
    "string_too_long": "is longer than {max_length} characters",
    "uuid_type": "is not a UUID",
    "uuid_parsing": "is not a UUID",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "int_parsing": "is not a whole number",
    "bool_type": "is neither true nor false",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "finite_number": "is not a finite number",
    "tuple_type": "is not a list",
    "too_short": "has fewer than {min_length} elements",
    "too_long": "has more than {max_length} elements",
    "model_type": "is not an object with named fields",
    "model_attributes_type": "is not an object with named fields",
    "dict_type": "is not an object with named fields",
}
_PATTERNS = {
    "nik": "is not 16 digits",
    "region_code": "is not a dotted region code, such as 35.10",
    "agreement": "is not a SHA-256 in lower-case hexadecimal",
}


def refused(event_type: str, model: type[BaseModel], error: ValidationError) -> errors.EventRefused:
    """The refusal with all problems of a validation error, without their values."""
    problems = (_problem(model, each) for each in _found(error))
    return errors.EventRefused(event_type, tuple(dict.fromkeys(problems)))


def reworded(model: type[BaseModel], error: ValidationError) -> ValidationError:
    """The same error with our texts, without values and without the addresses of pydantic's."""
    details = [
        InitErrorDetails(
            type=refusal(each["type"], rule_of(model, each)), loc=each["loc"], input=None
        )
        for each in _found(error)
    ]
    return ValidationError.from_exception_data(error.title, details, hide_input=True)


def path_of(location: tuple[int | str, ...]) -> str:
    """The path of a field, such as `exhibits[0].colour`, from its parts."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".")


def rule_of(model: type[BaseModel], found: ErrorDetails) -> str:
    """The rule that one error of a model's validation is about."""
    kind, location = found["type"], found["loc"]
    context: Mapping[str, Any] = found.get("ctx", {})
    if kind == "blank" and (field := _field_at(model, location)) and field.is_required():
        return "is blank, but it is required"
    if "rule" in context:
        return str(context["rule"])
    if kind == "extra_forbidden":
        return _unknown(model, location)
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(location[-1]), "does not have the required form")
    return _RULES.get(kind, f"breaks the rule {kind}").format_map(dict(context))


def _found(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False, include_input=False)


def _problem(model: type[BaseModel], found: ErrorDetails) -> str:
    path = path_of(found["loc"])
    return f"{path}: {rule_of(model, found)}" if path else rule_of(model, found)


def _unknown(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    part = _model_at(model, location[:-1])
    if part is None:
        return "is not a field"
    near = near_name(str(location[-1]), part.model_fields)
    hint = f"; did you mean {near}?" if near else ""
    return f"is not a field of {part.__name__}{hint}"


def _field_at(model: type[BaseModel], location: tuple[int | str, ...]) -> FieldInfo | None:
    if not location or isinstance(location[-1], int):
        return None
    part = _model_at(model, location[:-1])
    return part.model_fields.get(location[-1]) if part else None


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model of the part at a path below an event."""
    part: type[BaseModel] | None = model
    for step in location:
        if isinstance(step, str):
            field = part.model_fields.get(step) if part else None
            part = _model_in(field.annotation) if field else None
    return part


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each))), None)
