"""The mapping file: what the columns of a file mean, in TOML, checked whole before a row is read.

`[file]` says how the file is written, `[fields]` where each field of the event comes from, and
`[numbers]`, `[dates]` and `[codes.<name>]` how its cells are read. One row gives one event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sinergi_producers.sources.files.compiling import Compiler, zone_named
from sinergi_producers.sources.files.field_sources import Breach, RecordSource, RowView, columns_of
from sinergi_producers.sources.files.identity import row_event_id
from sinergi_producers.sources.files.mapping_tables import MappingSpec
from sinergi_schemas.errors import EventRefused, MappingRefused
from sinergi_schemas.events import MODELS, Event, parse
from sinergi_schemas.files import input_file, toml_file, toml_limits
from sinergi_schemas.plain_text import listing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sinergi_producers.sources.files.delimited import FileForm, FileRow

# What stands in for a broken table, so that the fields can still be checked.
_STANDINS: dict[str, dict[str, str]] = {"file": {}, "dates": {}, "numbers": {"decimal": ","}}
_INDISPENSABLE = set(MappingSpec.model_fields) - _STANDINS.keys()


class MappedRow(NamedTuple):
    """What a row says: an event, or the rules that it breaks."""

    line: int
    event: Event | None
    breaches: Sequence[Breach] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping that is right in itself; whether it fits a file shows when it is bound to one.

    Args:
        path: the file it was read from.
        event_type: of the events that it makes.
        form: how the files that it is for are written.
        ignored: columns that are left aside on purpose.
        record: the sources of the event's fields.
    """

    path: Path
    event_type: str
    form: FileForm
    ignored: tuple[str, ...]
    record: RecordSource

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read a mapping file.

        Raises:
            MappingRefused: with one line for each thing wrong in it.
        """
        spec, problems = _spec(path)
        model = MODELS.get(spec.event_type)
        if model is None:
            hint = toml_file.did_you_mean(spec.event_type, MODELS)
            problems.append(toml_file.FileProblem("event_type", f"there is no such type; {hint}"))
            raise _refused(path, problems)
        compiler = Compiler(spec)
        record = compiler.compile(model)
        problems += compiler.problems
        if problems:
            raise _refused(path, problems)
        return cls(path, spec.event_type, spec.file.form(), tuple(spec.file.ignore), record)

    def bind(self, header: Sequence[str], digest: bytes) -> BoundMapping:
        """The mapping for one file, whose columns it has found.

        Args:
            header: the names of the file's columns.
            digest: SHA-256 of the file.

        Raises:
            MappingRefused: columns that it names are not there, or are there twice.
        """
        named = dict.fromkeys((*self.record.columns(), *self.ignored))
        problems = []
        for name in named:
            found = header.count(name)
            if found == 0:
                hint = toml_file.did_you_mean(name, header)
                problems.append(f"column {name!r} is not in the header of the file; {hint}")
            elif found > 1 and name not in self.ignored:
                problems.append(f"column {name!r} stands {found} times in the header of the file")
        if problems:
            raise _refused(self.path, problems)
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
        places: index of each column.
        digest: SHA-256 of the file.
        unmapped: columns that the mapping neither uses nor ignores.
    """

    mapping: Mapping
    places: dict[str, int]
    digest: bytes
    unmapped: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that events are made of."""
        return tuple(self.mapping.record.columns())

    def read(self, row: FileRow) -> MappedRow:
        """The event that a row stands for, or every rule that it breaks."""
        if row.fault:
            return MappedRow(row.line, None, (Breach("", row.fault),))
        view = RowView(row.cells, self.places, self.digest, row.line)
        document = self._document(view)
        breaches = list(view.breaches)
        event = None
        try:
            event = parse(self.mapping.event_type, document)
        except EventRefused as refused:
            # Without what the model misses only because reading it was refused.
            known = {breach.field for breach in breaches}
            breaches += [breach for breach in breaches_of(refused) if breach.field not in known]
        if event is None or breaches:
            return MappedRow(row.line, None, tuple(map(self._with_columns, breaches)))
        return MappedRow(row.line, event, (), (*view.warnings, *event.warnings()))

    def _with_columns(self, breach: Breach) -> Breach:
        return breach._replace(columns=columns_of(self.mapping.record, breach.field))

    def _document(self, view: RowView) -> dict[str, object]:
        fields = self.mapping.record.fields
        if zone := fields.get("zone"):
            view.zone = zone_named(zone.read(view))
            view.breaches.clear()  # read again below, and said once
        document = self.mapping.record.read(view) or {}
        document["event_id"] = row_event_id(self.digest, view.line)
        if "occurred_precision" not in fields and "occurred_at" in view.precisions:
            document["occurred_precision"] = view.precisions["occurred_at"]
        return document


def _spec(path: Path) -> tuple[MappingSpec, list[toml_file.FileProblem]]:
    """The keys of the file and what is wrong with them, as far as the rest can still be checked."""
    try:
        document = toml_file.read(input_file.read(path, toml_limits.MOST_BYTES)[1])
    except OSError as error:
        raise _refused(path, [error.strerror or type(error).__name__]) from error
    except ValueError as error:
        raise _refused(path, [str(error)]) from error
    spec, problems = toml_file.check(MappingSpec, document, "")
    broken = {problem.key.partition(".")[0] for problem in problems}
    if spec is None and not broken & _INDISPENSABLE:
        sound = {name: document[name] for name in MappingSpec.model_fields if name in document}
        standins = {name: table for name, table in _STANDINS.items() if name in broken}
        spec, _ = toml_file.check(MappingSpec, sound | standins, "")
    if spec is None:
        raise _refused(path, problems)
    return spec, problems


def _refused(path: Path, problems: Sequence[object]) -> MappingRefused:
    return MappingRefused(str(path), listing(problems))


def breaches_of(refused: EventRefused) -> tuple[Breach, ...]:
    """What an event was refused for, as problems of its row."""
    return tuple(map(as_breach, refused.problems))


def as_breach(text: str) -> Breach:
    """The field and the rule in a line such as `destination: is the same unit as origin`."""
    field, colon, rule = text.partition(": ")
    return Breach(field, rule) if colon and " " not in field else Breach("", text)
