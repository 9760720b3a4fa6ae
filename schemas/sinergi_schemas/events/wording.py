"""The texts of `EventRefused` for pydantic's errors: field and rule, never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_RULES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this event",
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


def refused(event_type: str, error: ValidationError) -> errors.EventRefused:
    """The refusal with all problems of a validation error, without their values."""
    found = error.errors(include_url=False, include_input=False)
    return errors.EventRefused(event_type, tuple(dict.fromkeys(map(_problem, found))))


def path_of(location: tuple[int | str, ...]) -> str:
    """The path of a field, such as `exhibits[0].colour`, from its parts."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".")


def _problem(found: ErrorDetails) -> str:
    path = path_of(found["loc"])
    return f"{path}: {_rule(found)}" if path else _rule(found)


def _rule(found: ErrorDetails) -> str:
    context: Mapping[str, Any] = found.get("ctx", {})
    if "rule" in context:
        return str(context["rule"])
    kind = found["type"]
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(found["loc"][-1]), "does not have the required form")
    return _RULES.get(kind, f"breaks the rule {kind}").format_map(dict(context))
