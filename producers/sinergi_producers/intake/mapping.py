"""The mapping file: what the columns of a file mean, in TOML, checked whole before a row is read.

`[file]` says how the file is written, `[fields]` where each field of the event comes from, and
`[numbers]`, `[dates]` and `[codes.<name>]` how its cells are read. One row gives one event.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from sinergi_producers.intake.compiling import Compiler, zone_named
from sinergi_producers.intake.identity import row_event_id
from sinergi_producers.intake.reading import FileForm, Row
from sinergi_producers.intake.sources import Problem, Record, RowView
from sinergi_producers.intake.spec import MappingSpec, did_you_mean, spelled_out
from sinergi_schemas.errors import EventRefused, MappingRefused
from sinergi_schemas.events import MODELS, Event, parse

# What stands in for a broken table, so that the fields can still be checked.
_STANDINS: dict[str, dict[str, str]] = {"file": {}, "dates": {}, "numbers": {"decimal": ","}}


class Reading(NamedTuple):
    """What a row says: an event, or the rules that it breaks."""

    line: int
    event: Event | None
    problems: Sequence[Problem] = ()
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
    record: Record

    @classmethod
    def load(cls, path: Path) -> Mapping:
        """Read a mapping file.

        Raises:
            MappingRefused: with one line for each thing wrong in it.
        """
        spec, problems = _spec(path)
        model = MODELS.get(spec.event_type)
        if model is None:
            hint = did_you_mean(spec.event_type, MODELS)
            known = ", ".join(MODELS)
            problems.append(f"event_type: {spec.event_type!r} is none of {known}{hint}")
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
                hint = did_you_mean(name, header)
                problems.append(f"column {name!r} is not in the header of the file{hint}")
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

    def read(self, row: Row) -> Reading:
        """The event that a row stands for, or every rule that it breaks."""
        if row.fault:
            return Reading(row.line, None, (Problem("", row.fault),))
        view = RowView(row.cells, self.places, self.digest, row.line)
        document = self._document(view)
        try:
            event = parse(self.mapping.event_type, document)
        except EventRefused as refused:
            return Reading(row.line, None, _joined(view.problems, refused))
        if view.problems:
            return Reading(row.line, None, tuple(view.problems))
        return Reading(row.line, event, (), (*view.warnings, *event.warnings()))

    def _document(self, view: RowView) -> dict[str, object]:
        fields = self.mapping.record.fields
        if zone := fields.get("zone"):
            view.zone = zone_named(zone.read(view))
            view.problems.clear()  # read again below, and said once
        document = self.mapping.record.read(view) or {}
        document["event_id"] = row_event_id(self.digest, view.line)
        if "occurred_precision" not in fields and "occurred_at" in view.precisions:
            document["occurred_precision"] = view.precisions["occurred_at"]
        return document


def _spec(path: Path) -> tuple[MappingSpec, list[str]]:
    """The keys of the file and what is wrong with them, as far as the rest can still be checked."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _refused(path, [error.strerror or type(error).__name__]) from error
    except UnicodeDecodeError as error:
        raise _refused(path, [f"byte {error.start} is not UTF-8, as TOML must be"]) from error
    except tomllib.TOMLDecodeError as error:
        raise _refused(path, [f"it is not TOML: {error}"]) from error
    try:
        return MappingSpec.model_validate(document), []
    except ValidationError as error:
        problems = spelled_out(error, MappingSpec)
        broken = {str(found["loc"][0]) for found in error.errors()}
        if broken & set(MappingSpec.model_fields) - _STANDINS.keys():
            raise _refused(path, problems) from error
    sound = {name: table for name, table in document.items() if name not in broken}
    standins = {name: table for name, table in _STANDINS.items() if name in broken}
    return MappingSpec.model_validate(sound | standins), problems


def _refused(path: Path, problems: Sequence[str]) -> MappingRefused:
    return MappingRefused(str(path), "".join(f"\n  {problem}" for problem in problems))


def problems_of(refused: EventRefused) -> tuple[Problem, ...]:
    """What an event was refused for, as problems of its row."""
    return tuple(Problem("", rule) for rule in refused.problems)


def _joined(own: Sequence[Problem], refused: EventRefused) -> tuple[Problem, ...]:
    """Ours and the model's, without what the model misses because we refused to read it."""
    known = {problem.field for problem in own}
    return (*own, *(problem for problem in problems_of(refused) if problem.field not in known))
