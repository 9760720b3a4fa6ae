"""The options that choose events, declared once for all commands that read topics again."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from sinergi.cli.option_sets import taking
from sinergi_consumers.audit.event_filter import (
    CaseCondition,
    LeafCondition,
    PersonCondition,
    RegionCondition,
    ReplayFilter,
    SimilarNameCondition,
    TimeCondition,
    UnitCondition,
)
from sinergi_consumers.audit.similar_names import SimilarName
from sinergi_schemas import errors
from sinergi_schemas.events.values import Nik, RegionCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_consumers.audit.event_filter import EventCondition

_LEAVES = re.compile(r"([0-9]{1,6})/([0-9]{1,15})(?:-([0-9]{1,15}))?")
_LEAF_FORM = "write PARTITION/LEAF or PARTITION/FIRST-LAST, as 1/3 or 1/3-9"


@dataclass(frozen=True, slots=True)
class EventChoice:
    """The events that a command is about. Each field is an option of the command."""

    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Recorded at or after, with zone offset."),
    ] = None
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Recorded before, with zone offset.")
    ] = None
    occurred_since: Annotated[
        str | None, typer.Option("--occurred-from", metavar="TIME", help="Occurred at or after.")
    ] = None
    occurred_until: Annotated[
        str | None, typer.Option("--occurred-to", metavar="TIME", help="Occurred before.")
    ] = None
    key: Annotated[str | None, typer.Option("--key", help="Of this record: its record_id.")] = None
    case: Annotated[
        str | None,
        typer.Option("--case", metavar="NUMBER", help="With this case number (nomor perkara)."),
    ] = None
    nik: Annotated[
        str | None, typer.Option("--nik", help="With a person of this NIK, in any role.")
    ] = None
    name: Annotated[
        str | None, typer.Option("--name", help="With a person of exactly this name.")
    ] = None
    like: Annotated[
        str | None,
        typer.Option(
            "--name-like", metavar="NAME", help="With a person of this name in any spelling."
        ),
    ] = None
    unit: Annotated[
        str | None,
        typer.Option("--unit", help="With this correctional unit (UPT): its code or its name."),
    ] = None
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="CODE", help="With a place in this region, as 35.10."),
    ] = None
    leaf: Annotated[
        str | None,
        typer.Option("--leaf", metavar="P/LEAF", help="At leaf 3 of partition 1: 1/3; or 1/3-9."),
    ] = None

    @property
    def described(self) -> dict[str, str]:
        """The options that were given, by their names."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name))}

    @property
    def is_any(self) -> bool:
        """Whether an option besides --key was given, so that a topic may have no such event."""
        return bool({*self.described} - {"key"})

    def filter(self) -> ReplayFilter:
        """The filter for these events.

        Raises:
            ReplayRefused: an option has a value that no event can meet.
        """
        start, end = _interval("--from", self.since, "--to", self.until)
        return ReplayFilter(start, end, self.key, tuple(self._conditions()))

    def _conditions(self) -> Iterator[EventCondition]:
        occurred = ("--occurred-from", self.occurred_since, "--occurred-to", self.occurred_until)
        start, end = _interval(*occurred)
        if start or end:
            yield TimeCondition("occurred_at", start, end)
        if self.case is not None:
            yield CaseCondition(self.case)
        if self.nik is not None:
            _check("--nik", self.nik, Nik, "it has 16 digits")
            yield PersonCondition("nik", self.nik)
        if self.name is not None:
            yield PersonCondition("name", self.name)
        if self.like is not None:
            similar = SimilarName(self.like)
            if not similar.words:
                raise errors.ReplayRefused("--name-like has no letter to look for")
            yield SimilarNameCondition(similar)
        if self.unit is not None:
            yield UnitCondition(self.unit)
        if self.region is not None:
            _check("--region", self.region, RegionCode, "write 35, 35.10 or 35.10.01")
            yield RegionCondition(self.region)
        if self.leaf is not None:
            yield _leaves(self.leaf)


choosing_events = taking(EventChoice, "chosen")
"""Gives a command the options of `EventChoice` in place of its parameter `chosen`."""


def _interval(
    first: str, since: str | None, last: str, until: str | None
) -> tuple[datetime | None, datetime | None]:
    start, end = _instant(first, since), _instant(last, until)
    if start and end and start >= end:
        raise errors.ReplayRefused(f"{first} is not before {last}, so no event lies between")
    return start, end


def _instant(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise errors.ReplayRefused(
            f"{option} {text!r} is no time; write 2026-03-03T17:00+07:00"
        ) from None
    if found.tzinfo is None:
        raise errors.ReplayRefused(f"{option} {text!r} lacks a zone offset, as +07:00")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise errors.ReplayRefused(f"{option} {text!r} lies outside the years 1 to 9999") from None


def _check(option: str, value: str, kind: Any, rule: str) -> None:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        # The value itself is personal data, which no error shows.
        raise errors.ReplayRefused(f"{option} has a value that no event can have; {rule}") from None


def _leaves(text: str) -> LeafCondition:
    found = _LEAVES.fullmatch(text)
    if found is None:
        raise errors.ReplayRefused(f"--leaf {text!r} is no place; {_LEAF_FORM}")
    partition, first, last = found[1], found[2], found[3] or found[2]
    if int(last) < int(first):
        raise errors.ReplayRefused(f"--leaf {text!r} ends before it begins")
    return LeafCondition(int(partition), int(first), int(last))
