"""The mapping file: TOML that states what the columns of a file mean.

`[file]` states how the file is written, `[fields]` where each field of the event comes from, and
`[numbers]`, `[dates]` and `[codes.<name>]` how cells are read. One row gives one event. The whole
mapping is checked before the first row is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sinergi_producers.sources.files.compiling import Compiler
from sinergi_producers.sources.files.dates_and_numbers import NEEDS_ZONE
from sinergi_producers.sources.files.field_sources import (
    RecordSource,
    RowProblem,
    RowView,
    columns_of,
)
from sinergi_producers.sources.files.identity import row_event_id
from sinergi_producers.sources.files.mapping_tables import MappingSpec
from sinergi_schemas.errors import EventRefused, MappingRefused
from sinergi_schemas.events import MODELS, Event, parse
from sinergi_schemas.files import input_file, toml_file, toml_limits
from sinergi_schemas.near_names import did_you_mean
from sinergi_schemas.plain_text import listing
from sinergi_schemas.zones import find_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sinergi_producers.sources.files.delimited import FileForm, FileRow

# Replacements for invalid tables, so that the fields can still be checked.
_REPLACEMENTS: dict[str, dict[str, str]] = {"file": {}, "dates": {}, "numbers": {"decimal": ","}}
_REQUIRED = set(MappingSpec.model_fields) - _REPLACEMENTS.keys()


class MappedRow(NamedTuple):
    """The result of reading a row: an event, or the problems of the row."""

    line: int
    event: Event | None
    problems: Sequence[RowProblem] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """A valid mapping. `bind` checks whether it fits a file.

    Args:
        path: the mapping file.
        event_type: the type of the events.
        form: how the files are written.
        ignored: columns that are ignored on purpose.
        accept_rounded: columns that are published although a spreadsheet has rounded their numbers.
        record: the sources of the event's fields.
    """

    path: Path
    event_type: str
    form: FileForm
    ignored: tuple[str, ...]
    accept_rounded: tuple[str, ...]
    record: RecordSource

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read a mapping file.

        Raises:
            MappingRefused: the file is invalid; the error has one line for each problem.
        """
        spec, problems = _spec(path)
        model = MODELS.get(spec.event_type)
        if model is None:
            hint = did_you_mean(spec.event_type, MODELS)
            problems.append(toml_file.FileProblem("event_type", f"there is no such type; {hint}"))
            raise _mapping_refused(path, problems)
        compiler = Compiler(spec)
        record = compiler.compile(model)
        problems += compiler.problems
        if problems:
            raise _mapping_refused(path, problems)
        file = spec.file
        ignored, accepted = tuple(file.ignore), tuple(file.accept_rounded)
        return cls(path, spec.event_type, file.form(), ignored, accepted, record)

    def header_line(self, rows: Iterable[FileRow]) -> int | None:
        """Return the first of these rows that names a column of the mapping, or None."""
        named = {*self.record.columns()}
        return next((row.line for row in rows if named & set(row.cells)), None)

    def bind(self, header: Sequence[str], digest: bytes) -> BoundMapping:
        """Bind the mapping to the columns of one file.

        Args:
            header: the names of the file's columns.
            digest: the SHA-256 of the file.

        Raises:
            MappingRefused: the file lacks a column that the mapping names, or has it twice.
        """
        named = dict.fromkeys((*self.record.columns(), *self.ignored))
        problems = [
            f"file.accept_rounded: no field is read from column {name!r}; remove it"
            for name in self.accept_rounded
            if name not in self.record.columns()
        ]
        for name in named:
            found = header.count(name)
            if found == 0:
                hint = did_you_mean(name, header)
                problems.append(f"column {name!r} is not in the header of the file; {hint}")
            elif found > 1 and name not in self.ignored:
                problems.append(f"column {name!r} stands {found} times in the header of the file")
        if problems:
            raise _mapping_refused(self.path, problems)
        places = {name: place for place, name in enumerate(header)}
        unmapped = tuple(
            name or f"(column {place})"
            for place, name in enumerate(header, start=1)
            if name not in named
        )
        return BoundMapping(self, places, digest, unmapped)


@dataclass(frozen=True, slots=True)
class BoundMapping:
    """A mapping together with the columns and the digest of one file.

    Args:
        mapping: what the columns mean.
        places: the index of each column.
        digest: the SHA-256 of the file.
        unmapped: columns that the mapping neither uses nor ignores.
    """

    mapping: Mapping
    places: dict[str, int]
    digest: bytes
    unmapped: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the events are read from."""
        return tuple(self.mapping.record.columns())

    def read(self, row: FileRow) -> MappedRow:
        """Return the event of a row, or all of its problems."""
        if row.fault:
            return MappedRow(row.line, None, (RowProblem("", row.fault),))
        view = RowView(row.cells, self.places, self.digest, row.line)
        document = self._document(view)
        problems = list(view.problems)
        event = None
        try:
            event = parse(self.mapping.event_type, document)
        except EventRefused as refused:
            # The model also misses the fields that were refused above.
            known = {problem.field for problem in problems}
            problems += [problem for problem in row_problems(refused) if problem.field not in known]
        if any(problem.field == "zone" for problem in problems):
            problems = [problem for problem in problems if problem.rule != NEEDS_ZONE]
        if event is None or problems:
            return MappedRow(row.line, None, tuple(map(self._with_columns, problems)))
        return MappedRow(row.line, event, (), (*view.warnings, *event.warnings()))

    def _with_columns(self, problem: RowProblem) -> RowProblem:
        return problem._replace(columns=columns_of(self.mapping.record, problem.field))

    def _document(self, view: RowView) -> dict[str, object]:
        fields = self.mapping.record.fields
        if zone := fields.get("zone"):
            view.zone = find_zone(zone.read(view))
            view.problems.clear()  # the zone is read again below; a problem of it counts once
        document = self.mapping.record.read(view) or {}
        document["event_id"] = row_event_id(self.digest, view.line)
        if "occurred_precision" not in fields and "occurred_at" in view.precisions:
            document["occurred_precision"] = view.precisions["occurred_at"]
        return document


def _spec(path: Path) -> tuple[MappingSpec, list[toml_file.FileProblem]]:
    """Return the keys of the file and the problems, if the remaining keys can still be checked."""
    try:
        document = toml_file.read(input_file.read(path, toml_limits.MOST_BYTES)[1])
    except OSError as error:
        raise _mapping_refused(path, [error.strerror or type(error).__name__]) from error
    except ValueError as error:
        raise _mapping_refused(path, [str(error)]) from error
    spec, problems = toml_file.check(MappingSpec, document, "")
    broken = {problem.key.partition(".")[0] for problem in problems}
    if spec is None and not broken & _REQUIRED:
        sound = {name: document[name] for name in MappingSpec.model_fields if name in document}
        replaced = {name: table for name, table in _REPLACEMENTS.items() if name in broken}
        spec, _ = toml_file.check(MappingSpec, sound | replaced, "")
    if spec is None:
        raise _mapping_refused(path, problems)
    return spec, problems


def _mapping_refused(path: Path, problems: Sequence[object]) -> MappingRefused:
    return MappingRefused(str(path), listing(problems))


def row_problems(refused: EventRefused) -> tuple[RowProblem, ...]:
    """Return the problems of a refused event as problems of its row."""
    return tuple(map(row_problem, refused.problems))


def row_problem(text: str) -> RowProblem:
    """Parse a problem such as `destination: is the same unit as origin` into field and rule."""
    field, colon, rule = text.partition(": ")
    return RowProblem(field, rule) if colon and " " not in field else RowProblem("", text)
