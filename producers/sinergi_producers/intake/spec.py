"""The keys of a mapping file, and one clear line for each that is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sinergi_producers.intake.reading import FileForm
from sinergi_producers.intake.values import Ambiguous, DateForm, NumberForm, Precision

Code = bool | int | str
OneCharacter = Annotated[str, Field(min_length=1, max_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileSpec(_Table):
    """`[file]`: how the file is written, and the columns that are left aside on purpose."""

    encoding: str = "utf-8"
    delimiter: OneCharacter = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    header_line: Annotated[int, Field(ge=1)] = 1
    multiline: bool = False
    ignore: list[str] = []

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.delimiter == self.quote or self.delimiter in "\r\n":
            raise ValueError("delimiter and quote must differ, and neither ends a line")
        return self

    def form(self) -> FileForm:
        """The same, as reading takes it."""
        return FileForm(
            self.encoding, self.delimiter, self.quote, self.header_line, multiline=self.multiline
        )


class NumberSpec(_Table):
    """`[numbers]`: the marks in numbers; without this table only plain whole numbers are read."""

    decimal: Literal[",", "."]
    thousands: Literal["", ",", ".", " ", "\u00a0", "'"] = ""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands are the same mark")
        return self

    def form(self) -> NumberForm:
        """The same, as reading a number takes it."""
        return NumberForm(self.decimal, self.thousands)


class DateSpec(_Table):
    """`[dates]`: the language of names of months, and what to do with a time that came twice."""

    language: Literal["english", "indonesian"] = "english"
    ambiguous: Ambiguous = "refuse"


class FieldSpec(_Table):
    """Where one field comes from: column, columns, template or constant, and how to read it."""

    column: str | None = None
    columns: list[str] | None = None
    template: str | None = None
    constant: Any = None
    codes: str | None = None
    default: Code | None = None
    format: str | list[str] | None = None
    precision: Precision | None = None
    split: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        origins = (self.column, self.columns, self.template, self.constant)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError("say exactly one of column, columns, template, constant")
        if self.default is not None and self.codes is None:
            raise ValueError("default stands for a code that is not in codes, and there is no codes")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(self.columns or ()) if self.column is None else (self.column,)

    @property
    def formats(self) -> tuple[str, ...]:
        """The date formats."""
        return (self.format,) if isinstance(self.format, str) else tuple(self.format or ())

    def date_form(self, dates: DateSpec) -> DateForm:
        """How the field's dates are written."""
        indonesian = dates.language == "indonesian"
        return DateForm(self.formats, indonesian, dates.ambiguous, self.precision)


class MappingSpec(_Table):
    """The whole file."""

    event_type: str
    fields: dict[str, Any]
    file: FileSpec = FileSpec()
    numbers: NumberSpec | None = None
    dates: DateSpec = DateSpec()
    codes: dict[str, dict[str, Code]] = {}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, or nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def spelled_out(error: ValidationError, model: type[BaseModel], path: str = "") -> list[str]:
    """One line for each thing that pydantic found: the key, and what is wrong with it."""
    lines = []
    for found in error.errors():
        *outer, last = found["loc"] or ("",)
        where = ".".join(str(part) for part in (path, *found["loc"]) if part != "")
        if found["type"] == "extra_forbidden":
            keys = _keys(model, outer)
            lines.append(f"{where}: there is no such key{did_you_mean(str(last), keys)}")
        else:
            message = found["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message[:1].lower()}{message[1:]}")
    return lines


def _keys(model: type[BaseModel], path: Iterable[int | str]) -> Iterable[str]:
    for part in path:
        inner = model.model_fields[str(part)].annotation
        candidates = getattr(inner, "__args__", (inner,))
        model = next(found for found in candidates if isinstance(found, type) and issubclass(found, BaseModel))
    return model.model_fields
