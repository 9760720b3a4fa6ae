"""The keys of a mapping file, which `toml_file` checks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sinergi_producers.sources.files.dates_and_numbers import Ambiguous, DateForm, NumberForm
from sinergi_producers.sources.files.delimited import FileForm
from sinergi_schemas.codes import Precision
from sinergi_schemas.files.toml_file import Table

Code = bool | int | str
_ORIGINS = ("column", "columns", "template", "constant")


class FileSpec(Table):
    """`[file]`: how the file is written, and columns ignored or accepted on purpose."""

    encoding: Annotated[str, Field(description='an encoding, such as "utf-8"')] = "utf-8"
    delimiter: Annotated[
        str, Field(min_length=1, max_length=1, description='one character, such as ";" or "\\t"')
    ] = ","
    quote: Annotated[
        str, Field(max_length=1, description='one character, or "" where nothing is quoted')
    ] = '"'
    header_line: Annotated[
        int, Field(ge=1, description="the number of the line that names the columns")
    ] = 1
    line_breaks: Annotated[
        str | None, Field(description='what a line break in a cell becomes, such as " / "')
    ] = None
    ignore: Annotated[
        list[str], Field(default_factory=list, description="names of columns in brackets")
    ]
    accept_rounded: Annotated[
        list[str], Field(default_factory=list, description="names of columns in brackets")
    ]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.delimiter == self.quote or self.delimiter in "\r\n" or self.quote in {"\r", "\n"}:
            raise ValueError("delimiter and quote must differ, and neither may end a line")
        return self

    def form(self) -> FileForm:
        """Return the form of the file."""
        return FileForm(
            self.encoding, self.delimiter, self.quote, self.header_line, self.line_breaks
        )


class NumberSpec(Table):
    """`[numbers]`: the marks in numbers; without this table only plain whole numbers are read."""

    decimal: Annotated[Literal[",", "."], Field(description='"," or "."')]
    thousands: Annotated[
        Literal["", ",", ".", " ", "\u00a0", "'"], Field(description='"." or "," or " " or ""')
    ] = ""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands must be different marks")
        return self

    def form(self) -> NumberForm:
        """Return the form of numbers."""
        return NumberForm(self.decimal, self.thousands)


class DateSpec(Table):
    """`[dates]`: the language of month names, and what to do with a time that occurred twice."""

    language: Annotated[
        Literal["english", "indonesian"], Field(description='"english" or "indonesian"')
    ] = "english"
    ambiguous: Annotated[Ambiguous, Field(description='"refuse", "earlier" or "later"')] = "refuse"


class FieldSpec(Table):
    """Where one field comes from: column, columns, template or constant, and how to read it."""

    column: Annotated[str | None, Field(description="the name of a column")] = None
    columns: Annotated[
        list[str] | None, Field(min_length=1, description="names of columns in brackets")
    ] = None
    template: Annotated[str | None, Field(description='text such as "{Case}/{Item}"')] = None
    constant: Any = None
    codes: Annotated[str | None, Field(description="the name of a [codes.<name>] table")] = None
    default: Annotated[Code | None, Field(description="a code")] = None
    format: Annotated[
        str | list[str] | None, Field(description='a format such as "%d/%m/%Y", or a list of them')
    ] = None
    precision: Annotated[
        Literal["EXACT", "ABOUT", "DAY"] | None, Field(description='"EXACT", "ABOUT" or "DAY"')
    ] = None
    split: Annotated[
        str | None, Field(min_length=1, description='the mark between the parts, such as ";"')
    ] = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(getattr(self, name) is not None for name in _ORIGINS) != 1:
            raise ValueError("needs exactly one of column, columns, template and constant")
        if self.default is not None and self.codes is None:
            raise ValueError("has a default but no codes; a default is for codes not in their list")
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
        """Return the form of the field's dates."""
        return DateForm(
            self.formats,
            indonesian=dates.language == "indonesian",
            ambiguous=dates.ambiguous,
            precision=Precision[self.precision] if self.precision else None,
        )


class MappingSpec(Table):
    """The whole mapping file."""

    event_type: Annotated[str, Field(description='the type of its events, such as "transfer"')]
    fields: Annotated[dict[str, Any], Field(description="where each field comes from")]
    file: Annotated[FileSpec, Field(default_factory=FileSpec, description="a table [file]")]
    numbers: Annotated[NumberSpec | None, Field(description="a table [numbers]")] = None
    dates: Annotated[DateSpec, Field(default_factory=DateSpec, description="a table [dates]")]
    codes: Annotated[
        dict[str, dict[str, Code]],
        Field(default_factory=dict, description='"as written" = "CODE" under [codes.<name>]'),
    ]
