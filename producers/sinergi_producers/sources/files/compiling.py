"""Compiles the keys of a mapping into sources of an event's fields, and finds every problem."""

from __future__ import annotations

import re
import types
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from sinergi_producers.sources.files import date_format
from sinergi_producers.sources.files.dates_and_numbers import NumberForm
from sinergi_producers.sources.files.field_sources import (
    CellSource,
    ConstantSource,
    FieldSource,
    InstantSource,
    ListSource,
    RecordSource,
    SplitSource,
    TemplateSource,
)
from sinergi_producers.sources.files.mapping_tables import FieldSpec, MappingSpec
from sinergi_schemas.events import wording
from sinergi_schemas.files.toml_file import FileProblem, check
from sinergi_schemas.near_names import did_you_mean
from sinergi_schemas.zones import find_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# `publish` or the intake sets these fields, so a mapping must not set them.
FILLED_IN = frozenset({"event_id", "agency", "revision", "agreement", "recorded_at"})


class Compiler:
    """Compiles the fields of one mapping.

    Args:
        spec: the keys of the mapping.

    Attributes:
        problems: all problems that were found.
    """

    def __init__(self, spec: MappingSpec) -> None:
        self._spec = spec
        self._numbers = spec.numbers.form() if spec.numbers else NumberForm()
        self._codes_used: set[str] = set()
        self.problems: list[FileProblem] = []

    def compile(self, model: type[BaseModel]) -> RecordSource:
        """Return the sources of the fields of `model`, and add every problem to `problems`."""
        fields = {"record_id": {"template": "{@digest}-{@line}"}} | self._spec.fields
        compiled = self._record(model, fields, "")
        for name in sorted(set(self._spec.codes) - self._codes_used):
            self.problems.append(
                FileProblem(f"codes.{name}", "no field uses these codes; remove them")
            )
        self._check_zone(compiled)
        return compiled

    def _record(self, model: type[BaseModel], table: dict[str, Any], path: str) -> RecordSource:
        known = model.model_fields
        sources: dict[str, FieldSource] = {}
        for name, given in table.items():
            inner = f"{path}{name}"
            if name not in known:
                hint = did_you_mean(name, set(known) - (set() if path else FILLED_IN))
                self._problem(inner, f"{model.__name__} has no such field; {hint}")
            elif not path and name in FILLED_IN:
                self._problem(inner, "is filled in when the event is published; leave it out")
            elif source := self._source(known[name], _core(known[name].annotation), given, inner):
                sources[name] = source
        for name, field in known.items():
            if field.is_required() and name not in table and (path or name not in FILLED_IN):
                self._problem(f"{path}{name}", "is required; write where it comes from")
        return RecordSource(sources)

    def _source(self, field: FieldInfo, core: Any, given: Any, path: str) -> FieldSource | None:
        element = _element_type(core)
        if element is not None and isinstance(given, list):
            found = [
                self._source(_field_of(element), _core(element), each, f"{path}[{number}]")
                for number, each in enumerate(given)
            ]
            return ListSource(tuple(source for source in found if source))
        if _is_model(core):
            if isinstance(given, dict):
                return self._record(core, given, f"{path}.")
            parts = ", ".join(core.model_fields)
            self._problem(path, f"has fields of its own; write a table with some of {parts}")
            return None
        return self._given(field, core, given, path)

    def _given(self, field: FieldInfo, core: Any, given: Any, path: str) -> FieldSource | None:
        element = _element_type(core)
        spec = self._field_spec(given, path)
        if spec is None:
            return None
        if spec.constant is not None:
            return self._constant(field, spec, path)
        if element is not None:
            return self._split(element, spec, path)
        return self._cells(field, core, spec, path)

    def _field_spec(self, given: Any, path: str) -> FieldSpec | None:
        if isinstance(given, str):
            return FieldSpec(column=given)
        spec, problems = check(FieldSpec, given, f"fields.{path}")
        self.problems += problems
        return spec

    def _constant(self, field: FieldInfo, spec: FieldSpec, path: str) -> FieldSource:
        self._refuse_keys(spec, path, ("codes", "format", "precision", "split"))
        self._check_value(field, spec.constant, f"fields.{path}")
        return ConstantSource(spec.constant)

    def _split(self, element: Any, spec: FieldSpec, path: str) -> FieldSource | None:
        if spec.split is None or spec.column is None or _is_model(_core(element)):
            kind = "tables" if _is_model(_core(element)) else "sources, or one column with split"
            self._problem(path, f"is a list; write a list of {kind}")
            return None
        value = self._value(_field_of(element), _core(element), spec, path)
        return SplitSource(path, spec.column, spec.split, value) if value else None

    def _cells(self, field: FieldInfo, core: Any, spec: FieldSpec, path: str) -> FieldSource | None:
        self._refuse_keys(spec, path, ("split",))
        if spec.template is not None:
            return self._template(core, spec, path)
        if core is datetime:
            self._check_formats(spec, path)
            self._refuse_keys(spec, path, ("codes",))
            return InstantSource(path, spec.names, spec.date_form(self._spec.dates))
        value = self._value(field, core, spec, path)
        reads_empty = spec.codes is not None and "" in self._spec.codes.get(spec.codes, {})
        return CellSource(path, spec.names, value, reads_empty) if value else None

    def _template(self, core: Any, spec: FieldSpec, path: str) -> FieldSource:
        self._refuse_keys(spec, path, ("codes", "format", "precision"))
        template = TemplateSource(path, spec.template or "")
        for name in template.unknown():
            self._problem(path, f"there is no {{{name}}}; known are {{@digest}} and {{@line}}")
        if core is not str:
            self._problem(path, "is no text, and a template makes only text; write column")
        return template

    def _value(
        self, field: FieldInfo, core: Any, spec: FieldSpec, path: str
    ) -> Callable[[str], object] | None:
        if spec.codes is not None:
            self._refuse_keys(spec, path, ("format", "precision"))
            return self._coded(field, spec, path)
        self._refuse_keys(spec, path, ("precision",))
        if core is date:
            self._check_formats(spec, path)
            return spec.date_form(self._spec.dates).read_date
        self._refuse_keys(spec, path, ("format",))
        if core in {Decimal, float}:
            if self._spec.numbers is None:
                self._problem(path, "is a number; write numbers.decimal, which is never guessed")
            return self._numbers.read_decimal
        if core is int:
            return self._numbers.read_integer
        if core is str or core is UUID or (isinstance(core, type) and issubclass(core, Enum)):
            return str
        self._problem(path, "cannot be read from a cell directly; give it codes")
        return None

    def _coded(
        self, field: FieldInfo, spec: FieldSpec, path: str
    ) -> Callable[[str], object] | None:
        name = spec.codes or ""
        if name not in self._spec.codes:
            hint = did_you_mean(name, self._spec.codes)
            self._problem(path, f"there is no table [codes.{name}]; {hint}")
            return None
        self._codes_used.add(name)
        table = self._spec.codes[name]
        for written, code in table.items():
            self._check_value(field, code, f"codes.{name}.{written!r} for {path}")
        if spec.default is not None:
            self._check_value(field, spec.default, f"fields.{path}.default")

        def decode(text: str) -> object:
            code = table.get(text, spec.default)
            if code is None:
                raise ValueError(f"not in codes.{name}, and there is no default")
            return code

        return decode

    def _check_value(self, field: FieldInfo, value: object, where: str) -> None:
        whole: Any = Annotated[field.annotation, field]
        try:
            TypeAdapter(whole).validate_python(value)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[0]
            found["loc"] = (re.findall(r"\w+", where)[-1], *found["loc"])
            rule = wording.rule_of(BaseModel, found)
            if symbols := _symbols(field.annotation):
                rule = f"is not a code of this field; {did_you_mean(str(value), symbols)}"
            self.problems.append(FileProblem(where, f"{value!r} {rule}"))

    def _check_formats(self, spec: FieldSpec, path: str) -> None:
        if not spec.formats:
            self._problem(path, 'is a date; write its format, such as "%d/%m/%Y"')
        for form in spec.formats:
            for what in date_format.problems(form):
                self._problem(path, f"{form!r} {what}")

    def _check_zone(self, compiled: RecordSource) -> None:
        zone = compiled.fields.get("zone")
        if isinstance(zone, ConstantSource):
            self._check_zone_name(zone.value, "fields.zone")
            return
        given = self._spec.fields.get("zone")
        if isinstance(given, dict) and isinstance(name := given.get("codes"), str):
            for value in self._spec.codes.get(name, {}).values():
                self._check_zone_name(value, f"codes.{name}")
            if "default" in given:
                self._check_zone_name(given["default"], "fields.zone.default")

    def _check_zone_name(self, value: object, where: str) -> None:
        if find_zone(value) is None:
            what = f"{value!r} is not an IANA zone, such as Asia/Jakarta"
            self.problems.append(FileProblem(where, what))

    def _refuse_keys(self, spec: FieldSpec, path: str, names: Sequence[str]) -> None:
        for name in names:
            if getattr(spec, name) is not None:
                self._problem(path, f"{name} does not apply to this field; leave it out")

    def _problem(self, path: str, what: str) -> None:
        self.problems.append(FileProblem(f"fields.{path}", what))


def _core(annotation: Any) -> Any:
    """Return the type without Annotated and without None."""
    if get_origin(annotation) is Annotated:
        return _core(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        inner = [each for each in get_args(annotation) if each is not type(None)]
        return _core(inner[0]) if len(inner) == 1 else annotation
    return annotation


def _element_type(core: Any) -> Any | None:
    return get_args(core)[0] if get_origin(core) in {list, tuple} else None


def _field_of(annotation: Any) -> FieldInfo:
    return FieldInfo.from_annotation(annotation)


def _is_model(core: Any) -> bool:
    return isinstance(core, type) and issubclass(core, BaseModel)


def _symbols(annotation: Any) -> list[str]:
    core = _core(annotation)
    core = _core(_element_type(core)) if _element_type(core) is not None else core
    if isinstance(core, type) and issubclass(core, Enum):
        return [str(member.value) for member in core]
    return []
