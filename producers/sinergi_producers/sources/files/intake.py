"""The intake of one file: rows read, events published in batches, what is refused told.

A batch is one transaction of the outbox. What stops the intake leaves whole batches behind, and
the next run of the same file passes over what is already there, so that it can always be run again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from sqlalchemy.exc import DBAPIError

from sinergi_producers.sources.files.delimited import DelimitedFile
from sinergi_producers.sources.files.field_sources import Breach
from sinergi_producers.sources.files.mapping import (
    BoundMapping,
    MappedRow,
    Mapping,
    as_breach,
    breaches_of,
)
from sinergi_producers.sources.files.rounding import LongNumbers
from sinergi_schemas.errors import (
    ActionRefused,
    DatabaseAway,
    EventDiffers,
    EventIdTaken,
    EventRefused,
    EventsRefused,
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


class Publish(Protocol):
    """Where the events go: one call is one transaction."""

    def __call__(self, events: Sequence[Event]) -> Sequence[Published]:
        """Publish them all or none, and say of each whether it is new.

        Raises:
            EventsRefused: one of them is refused; it says which.
            RowsRefused: the database does not take one of them.
        """
        ...


def into(outbox: Outbox, engine: Engine) -> Publish:
    """Publishing as backfill, each batch in a transaction of its own.

    Its errors are those of `publish_many`, and of the database as ours.
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
    """One kind of thing found in a file: how often, and the first lines that show it."""

    breach: Breach
    count: int
    lines: tuple[int, ...]

    def document(self) -> dict[str, object]:
        """For JSON."""
        return {**self.breach._asdict(), "count": self.count, "lines": list(self.lines)}


@dataclass(slots=True)
class FindingCounts:
    """How often each kind of thing was found, with the first lines that show it."""

    _counts: Counter[Breach] = field(default_factory=Counter)
    _examples: dict[Breach, list[int]] = field(default_factory=dict)

    def add(self, breach: Breach, line: int) -> None:
        """Count one more of a kind."""
        self._counts[breach] += 1
        lines = self._examples.setdefault(breach, [])
        if len(lines) < _EXAMPLES:
            lines.append(line)

    def findings(self) -> list[IntakeFinding]:
        """Each kind, the most frequent first."""
        return [
            IntakeFinding(breach, count, tuple(self._examples[breach]))
            for breach, count in self._counts.most_common()
        ]


@dataclass(slots=True)
class IntakeSummary:
    """What the intake of a file came to.

    `lines` are the rows that hold something; each is published, already there, refused or, in a
    trial run, ready. `rounded` are columns of long numbers that a spreadsheet has rounded.
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
        """For JSON."""
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
    """Takes in one file.

    Args:
        mapping: what its columns mean.
        publish: where its events go; None for a trial run, which publishes nothing.
        refused_lines: where the refused lines are told.
    """

    def __init__(
        self, mapping: Mapping, publish: Publish | None, refused_lines: RefusedLines
    ) -> None:
        self._mapping = mapping
        self._publish = publish
        self._refused_lines = refused_lines
        self._long_numbers = LongNumbers({})
        self.summary = IntakeSummary()

    def run(self, path: Path, progress: Callable[[int, int], None]) -> IntakeSummary:
        """Take in a file from its first row to its last.

        Args:
            path: the file.
            progress: told the bytes read and the bytes there are, after each batch.

        Raises:
            InputRefused: the file cannot be read as the mapping says.
            InputChanged: somebody writes to it.
            MappingRefused: the mapping names columns that it has not.
            IntakeStopped: the database went away.
        """
        with DelimitedFile(path, self._mapping.form) as file:
            bound = self._mapping.bind(file.header, file.digest)
            self.summary.unmapped = bound.unmapped
            self._long_numbers = LongNumbers({name: bound.places[name] for name in bound.columns})
            readings = self._readings(file, bound)
            while batch := list(islice(readings, BATCH)):
                file.check_unchanged()
                try:
                    self._settle(batch)
                except DatabaseAway as error:
                    before = batch[0].line - 1
                    raise IntakeStopped(str(path), before, error.why) from error
                progress(file.position, file.size)
        self.summary.rounded = self._long_numbers.rounded()
        return self.summary

    def _readings(self, file: DelimitedFile, bound: BoundMapping) -> Iterator[MappedRow]:
        for row in file:
            if row.blank:
                self.summary.blank += 1
            else:
                self.summary.lines += 1
                self._long_numbers.add(row.cells)
                yield bound.read(row)

    def _settle(self, batch: list[MappedRow]) -> None:
        """Publish what can be published and count each row of the batch, in the file's order."""
        good = [reading for reading in batch if reading.event is not None]
        refused = {reading.line: reading.breaches for reading in batch if reading.event is None}
        refused |= self._published(good)
        for reading in batch:
            if breaches := refused.get(reading.line):
                self._count_refused(reading.line, breaches)
            elif reading.warnings:
                self.summary.warned += 1
                for warning in reading.warnings:
                    self.summary.warnings.add(as_breach(warning), reading.line)

    def _published(self, readings: list[MappedRow]) -> dict[int, Sequence[Breach]]:
        """Publish in one transaction; one that is refused is set aside, and the rest halved.

        Halving keeps a batch that is refused throughout from being tried a thousand times whole.
        """
        if not readings:
            return {}
        if self._publish is None:
            self.summary.ready += len(readings)
            return {}
        try:
            done = self._publish([reading.event for reading in readings if reading.event])
        except EventsRefused as error:
            guilty = readings[error.place]
            rest = [reading for reading in readings if reading is not guilty]
            return {guilty.line: _about_the_row(error)} | self._halved(rest)
        except RowsRefused as error:
            if len(readings) > 1:
                return self._halved(readings)
            rule = f"the database does not take it (SQLSTATE {error.sqlstate}, {error.what})"
            return {readings[0].line: (Breach("", rule),)}
        self.summary.published += sum(each.is_new for each in done)
        self.summary.already += sum(not each.is_new for each in done)
        return {}

    def _halved(self, readings: list[MappedRow]) -> dict[int, Sequence[Breach]]:
        middle = len(readings) // 2
        return self._published(readings[:middle]) | self._published(readings[middle:])

    def _count_refused(self, line: int, breaches: Sequence[Breach]) -> None:
        self.summary.refused += 1
        self._refused_lines.add(line, breaches)
        for breach in breaches:
            self.summary.refusals.add(breach, line)


def _about_the_row(error: EventsRefused) -> Sequence[Breach]:
    """Why the outbox refused one event.

    Raises:
        Refused: what it said is true of the whole file, as that no agreement covers it.
    """
    why = error.__cause__
    if isinstance(why, EventRefused):
        return breaches_of(why)
    if isinstance(why, EventIdTaken):
        return (Breach("event_id", "this line of this file was published as another record"),)
    if isinstance(why, EventDiffers):
        return (Breach("", "this line was published before, and another mapping read it then"),)
    if isinstance(why, ActionRefused):
        return (Breach("action", why.why),)
    raise why or error
