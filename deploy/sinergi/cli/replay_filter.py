"""The filter that the options of a command mean: their values, checked."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

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
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.events.values import Nik, RegionCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi.cli.replay_options import EventChoice
    from sinergi_consumers.audit.event_filter import EventCondition

_LEAVES = re.compile(r"([0-9]{1,6})/([0-9]{1,15})(?:-([0-9]{1,15}))?")
_LEAF_FORM = "write PARTITION/LEAF or PARTITION/FIRST-LAST, as 1/3 or 1/3-9"


def filter_of(chosen: EventChoice) -> ReplayFilter:
    """The filter for the chosen events.

    Raises:
        ReplayRefused: an option has a value that no event can meet.
    """
    start, end = interval("--from", chosen.since, "--to", chosen.until)
    return ReplayFilter(start, end, chosen.key, tuple(_conditions(chosen)))


def _conditions(chosen: EventChoice) -> Iterator[EventCondition]:
    occurred = ("--occurred-from", chosen.occurred_since, "--occurred-to", chosen.occurred_until)
    start, end = interval(*occurred)
    if start or end:
        yield TimeCondition("occurred_at", start, end)
    if chosen.case is not None:
        yield CaseCondition(chosen.case)
    if chosen.nik is not None:
        _check("--nik", chosen.nik, Nik, "it has 16 digits")
        yield PersonCondition("nik", chosen.nik)
    if chosen.name is not None:
        yield PersonCondition("name", chosen.name)
    if chosen.like is not None:
        similar = SimilarName(chosen.like)
        if not similar.words:
            raise errors.ReplayRefused("--name-like has no letter to look for")
        yield SimilarNameCondition(similar)
    if chosen.unit is not None:
        yield UnitCondition(chosen.unit)
    if chosen.region is not None:
        _check("--region", chosen.region, RegionCode, "write 35, 35.10 or 35.10.01")
        yield RegionCondition(chosen.region)
    if chosen.leaf is not None:
        yield _leaves(chosen.leaf)


def interval(
    first: str, since: str | None, last: str, until: str | None
) -> tuple[datetime | None, datetime | None]:
    """The interval between two times, each named by an option.

    Raises:
        ReplayRefused: one is no time, or they are not in order.
    """
    start, end = instant(first, since), instant(last, until)
    if start and end and start >= end:
        raise errors.ReplayRefused(f"{first} is not before {last}, so no event lies between")
    return start, end


def instant(option: str, text: str | None) -> datetime | None:
    """A time that an option names, with its offset; None if it is not given.

    Raises:
        ReplayRefused: it is no time, or lacks a zone offset.
    """
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
        found.astimezone(UTC)
    except OverflowError:
        raise errors.ReplayRefused(f"{option} {text!r} lies outside the years 1 to 9999") from None
    return found


def check_past(option: str, text: str | None, found: datetime | None) -> None:
    """Check that the time of an option, if it is given, is over.

    Raises:
        ReplayRefused: it lies in the future.
    """
    if found is not None and found > SYSTEM.now():
        raise errors.ReplayRefused(f"{option} {text!r} lies in the future")


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
