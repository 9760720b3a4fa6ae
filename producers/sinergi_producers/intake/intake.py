"""The intake of one file: rows read, events published in batches, what is refused told.

A batch is one transaction of the outbox. What stops the intake leaves whole batches behind, and
the next run of the same file passes over what is already there, so that it can always be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Protocol

from sinergi_producers.intake.mapping import BoundMapping, Mapping, Reading, breaches_of
from sinergi_producers.intake.reading import DelimitedFile
from sinergi_producers.intake.refusals import RefusedLines
from sinergi_producers.intake.sources import Breach
from sinergi_schemas.errors import EventRefused
from sinergi_schemas.events import Event

BATCH = 1000
_EXAMPLES = 3


class Fate(Enum):
    """What became of an event that was handed to the outbox."""

    PUBLISHED = "published"
    ALREADY = "already"


class Publishing(Protocol):
    """Where the events go: one call is one transaction."""

    def __call__(self, events: Sequence[Event]) -> Sequence[Fate]:
        """Publish them all or none, and say of each whether it is new.

        Raises:
            EventRefused: of one of them; none was published.
        """
        ...


@dataclass(slots=True)
class Tally:
    """How often each kind of thing was found, with the first lines that show it."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    examples: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, kind: tuple[str, str], line: int) -> None:
        """Count one more of a kind: a field (or "") and a rule."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        lines = self.examples.setdefault(kind, [])
        if len(lines) < _EXAMPLES:
            lines.append(line)

    def document(self) -> list[dict[str, object]]:
        """For JSON, the most frequent first."""
        ordered = sorted(self.counts, key=lambda kind: (-self.counts[kind], kind))
        return [
            {"field": kind[0], "rule": kind[1], "count": self.counts[kind], "lines": self.examples[kind]}
            for kind in ordered
        ]


@dataclass(slots=True)
class Summary:
    """What the intake of a file came to.

    `lines` are the rows that hold something; each is published, already there, refused or, in a
    trial run, ready.
    """

    lines: int = 0
    blank: int = 0
    ready: int = 0
    published: int = 0
    already: int = 0
    refused: int = 0
    warned: int = 0
    unmapped: tuple[str, ...] = ()
    refusals: Tally = field(default_factory=Tally)
    warnings: Tally = field(default_factory=Tally)

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
            "refusals": self.refusals.document(),
            "warnings": self.warnings.document(),
        }


class Intake:
    """Takes in one file.

    Args:
        mapping: what its columns mean.
        publish: where its events go; None for a trial run, which publishes nothing.
        refused_lines: where the refused lines are told, or None.
    """

    def __init__(
        self, mapping: Mapping, publish: Publishing | None, refused_lines: RefusedLines
    ) -> None:
        self._mapping = mapping
        self._publish = publish
        self._refused_lines = refused_lines
        self.summary = Summary()

    def run(self, path: Path, progress: Callable[[int, int], None]) -> Summary:
        """Take in a file from its first row to its last.

        Args:
            path: the file.
            progress: told the bytes read and the bytes there are, after each batch.

        Raises:
            InputRefused: the file cannot be read as the mapping says.
            InputChanged: somebody writes to it.
            MappingRefused: the mapping names columns that it has not.
        """
        with DelimitedFile(path, self._mapping.form) as file:
            bound = self._mapping.bind(file.header, file.digest)
            self.summary.unmapped = bound.unmapped
            readings = self._readings(file, bound)
            while batch := list(islice(readings, BATCH)):
                file.check_unchanged()
                self._settle(batch)
                progress(file.position, file.size)
        return self.summary

    def _readings(self, file: DelimitedFile, bound: BoundMapping) -> Iterator[Reading]:
        for row in file:
            if row.blank:
                self.summary.blank += 1
            else:
                self.summary.lines += 1
                yield bound.read(row)

    def _settle(self, batch: list[Reading]) -> None:
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
                    self.summary.warnings.add(("", warning), reading.line)

    def _published(self, readings: list[Reading]) -> dict[int, Sequence[Breach]]:
        """Publish in one transaction; where one event is refused, halve until it stands alone."""
        if not readings:
            return {}
        if self._publish is None:
            self.summary.ready += len(readings)
            return {}
        try:
            fates = self._publish([reading.event for reading in readings if reading.event])
        except EventRefused as error:
            if len(readings) == 1:
                return {readings[0].line: breaches_of(error)}
            middle = len(readings) // 2
            return self._published(readings[:middle]) | self._published(readings[middle:])
        self.summary.published += sum(fate is Fate.PUBLISHED for fate in fates)
        self.summary.already += sum(fate is Fate.ALREADY for fate in fates)
        return {}

    def _count_refused(self, line: int, breaches: Sequence[Breach]) -> None:
        self.summary.refused += 1
        self._refused_lines.add(line, breaches)
        for breach in breaches:
            self.summary.refusals.add((breach.field, breach.rule), line)
