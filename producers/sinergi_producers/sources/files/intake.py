"""The intake of one file: reads rows, publishes events in batches, and reports refused rows.

A batch is one transaction of the outbox. If the intake stops, whole batches are published. The next
run of the same file skips the events that are already there, so it can always be run again.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import DBAPIError

from sinergi_producers.sources.files.delimited import DelimitedFile
from sinergi_producers.sources.files.field_sources import RowProblem
from sinergi_producers.sources.files.mapping import (
    BoundMapping,
    MappedRow,
    Mapping,
    row_problem,
    row_problems,
)
from sinergi_producers.sources.files.rounding import LongNumbers, may_be_rounded
from sinergi_producers.sources.files.trial import DryRun
from sinergi_schemas.errors import (
    ActionRefused,
    DatabaseAway,
    EventDiffers,
    EventIdTaken,
    EventRefused,
    EventsRefused,
    InputRefused,
    IntakeNotBegun,
    IntakeStopped,
    RowsRefused,
)
from sinergi_schemas.postgresql import translate_wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from sinergi_producers.outbox.publishing import Outbox, Published
    from sinergi_producers.sources.files.refusals import RefusedLines
    from sinergi_schemas.events import Event

BATCH = 1000
_EXAMPLES = 3
_MOST_HEADER_LINES = 50
_SEPARATOR_NOTE = re.compile("sep=(.)", re.IGNORECASE)  # which Excel writes and reads


class Publish(Protocol):
    """Publishes events; one call is one transaction."""

    def __call__(self, events: Sequence[Event]) -> Sequence[Published]:
        """Publish all events or none. The results state for each whether it is new.

        Raises:
            EventsRefused: one of them is refused; the error names it.
            RowsRefused: the database refuses one of them.
        """
        ...


def backfill_into(outbox: Outbox, engine: Engine) -> Publish:
    """Return a function that publishes to an outbox as backfill, one transaction for each call.

    It raises the errors of `publish_many`; errors of the database are translated into ours.
    """

    def publish(events: Sequence[Event]) -> Sequence[Published]:
        try:
            with engine.begin() as connection:
                return outbox.publish_many(connection, events, backfill=True)
        except DBAPIError as error:
            raise translate_wrapped(error) from None

    return publish


@dataclass(frozen=True, slots=True)
class IntakeFinding:
    """One problem of a file: how many rows have it, and the first lines of them."""

    problem: RowProblem
    count: int
    lines: tuple[int, ...]

    def document(self) -> dict[str, object]:
        """Return it as a document for JSON."""
        return {**self.problem._asdict(), "count": self.count, "lines": list(self.lines)}


@dataclass(slots=True)
class FindingCounts:
    """Counts how many rows have each problem, and keeps the first lines of them."""

    _counts: Counter[RowProblem] = field(default_factory=Counter)
    _examples: dict[RowProblem, list[int]] = field(default_factory=dict)

    def add(self, problem: RowProblem, line: int) -> None:
        """Count a row with that problem."""
        self._counts[problem] += 1
        lines = self._examples.setdefault(problem, [])
        if len(lines) < _EXAMPLES:
            lines.append(line)

    def findings(self) -> list[IntakeFinding]:
        """Return the problems, the most frequent first."""
        return [
            IntakeFinding(problem, count, tuple(self._examples[problem]))
            for problem, count in self._counts.most_common()
        ]


@dataclass(slots=True)
class IntakeSummary:
    """The result of the intake of a file.

    Attributes:
        lines: rows that are not blank. Each is published, already there, refused, or, in a dry
            run, ready.
        unmapped: columns that the mapping neither uses nor ignores.
        rounded: columns of long numbers that a spreadsheet has rounded.
    """

    lines: int = 0
    blank: int = 0
    ready: int = 0
    published: int = 0
    already: int = 0
    refused: int = 0
    warned: int = 0
    unmapped: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()
    refusals: FindingCounts = field(default_factory=FindingCounts)
    warnings: FindingCounts = field(default_factory=FindingCounts)

    def document(self) -> dict[str, object]:
        """Return it as a document for JSON."""
        return {
            "lines": self.lines,
            "published": self.published,
            "already": self.already,
            "refused": self.refused,
            "warned": self.warned,
            "ready": self.ready,
            "blank": self.blank,
            "unmapped": list(self.unmapped),
            "rounded": list(self.rounded),
            "refusals": [each.document() for each in self.refusals.findings()],
            "warnings": [each.document() for each in self.warnings.findings()],
        }


class Intake:
    """Publishes the rows of one file.

    Args:
        mapping: what the columns mean.
        publish: publishes the events; None for a dry run.
        refused_lines: where the refused lines are written.
        check: checks an event in a dry run, and raises as `publish` would.

    Attributes:
        summary: what has become of the lines so far.
        finished_line: the last line of the last finished batch; 0 if none is finished.
    """

    def __init__(
        self,
        mapping: Mapping,
        publish: Publish | None,
        refused_lines: RefusedLines,
        check: Callable[[Event], None] | None = None,
    ) -> None:
        self._mapping = mapping
        self._publish = publish or DryRun(check)
        self._is_dry = publish is None
        self._refused_lines = refused_lines
        self.summary = IntakeSummary()
        self.finished_line = 0

    def run(self, path: Path, progress: Callable[[int, int], None]) -> IntakeSummary:
        """Publish all rows of a file.

        Args:
            path: the file.
            progress: called after each batch, with the bytes read and the size of the file.

        Raises:
            InputRefused: the file is not written as the mapping states, or a spreadsheet has
                rounded numbers of it; the latter not in a dry run.
            InputChanged: somebody writes to the file.
            MappingRefused: the mapping names columns that the file does not have.
            IntakeNotBegun: the database is not available; nothing was published.
            IntakeStopped: the database is not available any more.
        """
        with DelimitedFile(path, self._mapping.form) as file:
            bound = self._bound(file)
            self.summary.unmapped = bound.unmapped
            self.summary.rounded = _rounded(file, bound)
            if not self._is_dry:
                self.check_rounded(path)
            readings = self._readings(file, bound)
            while batch := list(islice(readings, BATCH)):
                file.check_unchanged()
                try:
                    self._publish_batch(batch)
                except DatabaseAway as error:
                    if not self.summary.published + self.summary.already:
                        raise IntakeNotBegun(str(path), error.why) from error
                    before = batch[0].line - 1
                    raise IntakeStopped(str(path), before, error.why) from error
                self.finished_line = batch[-1].line
                progress(file.position, file.size)
        return self.summary

    def check_rounded(self, path: Path) -> None:
        """Refuse columns of rounded numbers that the mapping does not accept.

        Raises:
            InputRefused: there are some.
        """
        names = [name for name in self.summary.rounded if name not in self._mapping.accept_rounded]
        if names:
            raise InputRefused(
                str(path),
                "nearly all numbers of 16 digits end in 0, as a spreadsheet rounds a NIK, in the"
                f" column {', '.join(map(repr, names))}; write the file anew from its source, with"
                " this column as text, or name the column in file.accept_rounded",
            )

    def _bound(self, file: DelimitedFile) -> BoundMapping:
        if not set(self._mapping.record.columns()) & set(file.header):
            rows = file.first_rows(_MOST_HEADER_LINES)
            note = _SEPARATOR_NOTE.match(rows[0].cells[0]) if rows and rows[0].cells else None
            if note and note[1] != self._mapping.form.delimiter:
                what = (
                    f"line 1 says that {note[1]!r} stands between the cells: set file.delimiter ="
                    f' "{note[1]}" and file.header_line = 2'
                )
                raise InputRefused(str(file.path), what)
            if found := self._mapping.header_line(rows):
                what = (
                    f"line {self._mapping.form.header_line} holds none of the columns, and line"
                    f" {found} does: set file.header_line = {found}"
                )
                raise InputRefused(str(file.path), what)
        return self._mapping.bind(file.header, file.digest)

    def _readings(self, file: DelimitedFile, bound: BoundMapping) -> Iterator[MappedRow]:
        for row in file:
            if row.blank:
                self.summary.blank += 1
            else:
                self.summary.lines += 1
                reading = bound.read(row)
                doubts = [
                    f"column {name!r} holds a number that a spreadsheet may have rounded"
                    for name in self.summary.rounded
                    if row.cells and may_be_rounded(row.cells[bound.places[name]])
                ]
                yield reading._replace(warnings=(*reading.warnings, *doubts))

    def _publish_batch(self, batch: list[MappedRow]) -> None:
        """Publish the valid rows of a batch, and count all of its rows in the order of the file."""
        valid = [reading for reading in batch if reading.event is not None]
        refused = {reading.line: reading.problems for reading in batch if reading.event is None}
        refused |= self._publish_valid(valid)
        for reading in batch:
            if problems := refused.get(reading.line):
                self._count_refused(reading.line, problems)
            elif reading.warnings:
                self.summary.warned += 1
                for warning in reading.warnings:
                    self.summary.warnings.add(row_problem(warning), reading.line)

    def _publish_valid(self, readings: list[MappedRow]) -> dict[int, Sequence[RowProblem]]:
        """Publish rows in one transaction. If one is refused, publish the others in halves.

        Without halving, a batch in which every row is refused would be tried a thousand times.

        Returns:
            The problems of the refused rows, by line.
        """
        if not readings:
            return {}
        try:
            done = self._publish([reading.event for reading in readings if reading.event])
        except EventsRefused as error:
            refused = readings[error.place]
            rest = [reading for reading in readings if reading is not refused]
            return {refused.line: _outbox_problems(error)} | self._publish_halves(rest)
        except RowsRefused as error:
            if len(readings) > 1:
                return self._publish_halves(readings)
            rule = f"the database refuses it (SQLSTATE {error.sqlstate}, {error.what})"
            return {readings[0].line: (RowProblem("", rule),)}
        if self._is_dry:
            self.summary.ready += len(done)
            return {}
        self.summary.published += sum(each.is_new for each in done)
        self.summary.already += sum(not each.is_new for each in done)
        return {}

    def _publish_halves(self, readings: list[MappedRow]) -> dict[int, Sequence[RowProblem]]:
        middle = len(readings) // 2
        return self._publish_valid(readings[:middle]) | self._publish_valid(readings[middle:])

    def _count_refused(self, line: int, problems: Sequence[RowProblem]) -> None:
        self.summary.refused += 1
        self._refused_lines.add(line, problems)
        for problem in problems:
            self.summary.refusals.add(problem, line)


def _rounded(file: DelimitedFile, bound: BoundMapping) -> tuple[str, ...]:
    """Read the whole file once, and return the columns of rounded numbers."""
    numbers = LongNumbers({name: bound.places[name] for name in bound.columns})
    for row in file:
        if not row.blank:  # a blank row may have fewer cells than the file has columns
            numbers.add(row.cells)
    file.rewind()
    return numbers.rounded()


def _outbox_problems(error: EventsRefused) -> Sequence[RowProblem]:
    """Return why the outbox refused one event.

    Raises:
        Refused: the reason holds for the whole file, for example that no agreement covers it.
    """
    why = error.__cause__
    if isinstance(why, EventRefused):
        return row_problems(why)
    if isinstance(why, EventIdTaken):
        return (RowProblem("event_id", "this line of this file was published as another record"),)
    if isinstance(why, EventDiffers):
        return (RowProblem("", "this line was published before with another mapping"),)
    if isinstance(why, ActionRefused):
        return (RowProblem("action", why.why),)
    raise why or error
