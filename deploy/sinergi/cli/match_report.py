"""How many events were read and how many match; and what may be misspelt where none does."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from sinergi.cli import terminal
from sinergi_consumers.audit.event_filter import (
    CaseCondition,
    LeafCondition,
    PersonCondition,
    RegionCondition,
    SimilarNameCondition,
    TimeCondition,
    UnitCondition,
)
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.audit.event_filter import EventCondition, ReplayFilter

_FEW = 3
_LONGEST = 200


def report(audits: Sequence[Audit], wanted: ReplayFilter) -> None:
    """Write to standard error a line over all topics, and hints if no event matches.

    A replay that fills tables takes every event: the line then says how many are stored.
    """
    read = sum(each.verified for audit in audits for each in audit.partition_counts)
    found = sum(each.shown for each in audits)
    topics = counted(sum(not each.verdict.not_read for each in audits), "topic")
    unread = sum(bool(each.verdict.not_read) for each in audits)
    more = f"; {counted(unread, 'topic')} could not be read" if unread else ""
    result = f"{found:,} {'matches' if found == 1 else 'match'}"
    if any(each.fills_tables for each in audits):
        result = stored(audits)
    terminal.note(f"sinergi: read {counted(read, 'event')} of {topics}; {result}{more}")
    for line in () if found else _hints(audits, wanted):
        terminal.note(f"  {line}")


def stored(audits: Sequence[Audit]) -> str:
    """How many events replays have stored, and how many an earlier run of them had stored."""
    before = sum(each.stored_before for audit in audits for each in audit.partition_counts)
    earlier = f", {before:,} stored before" if before else ""
    return f"{sum(each.shown for each in audits):,} stored{earlier}"


def _hints(audits: Sequence[Audit], wanted: ReplayFilter) -> Iterator[str]:
    """What may be wrong with the conditions. Names of persons are not shown."""
    has_record = any(each.of_record or each.outside_interval for each in audits)
    if wanted.record_id is not None and not has_record:
        is_whole = all(each.is_proved for each in audits)
        yield f"--key: {key_hint(wanted.near_keys, is_whole=is_whole)}"
        return  # only the events of that record are decoded and compared with the rest
    unmet = [each for at, each in enumerate(wanted.separate) if at not in wanted.met]
    none = "no event that was read" if wanted.record_id is None else "no event of the record"
    for each in unmet:
        yield from _hint(audits, each, none)
    if wanted.record_id is None and not unmet and len(wanted.separate) > 1:
        yield "no event that was read meets all conditions together"


def _hint(audits: Sequence[Audit], condition: EventCondition, none: str) -> Iterator[str]:
    """What may be wrong with a condition that no event meets.

    Args:
        audits: of the topics that were read.
        condition: which one.
        none: the beginning of a sentence about the events that were compared with it.
    """
    match condition:
        case UnitCondition():
            yield _near("--unit", condition.unit, condition.seen, none)
        case CaseCondition():
            yield _near("--case", condition.case_number, condition.seen, none)
        case RegionCondition():
            yield f"--region: {none} has a place in this region"
        case PersonCondition(name="nik"):
            yield f"--nik: {none} has a person with this NIK"
        case PersonCondition():
            yield (
                "--name takes the whole name as it was written, in upper or lower case;"
                " --name-like also finds other spellings"
            )
        case SimilarNameCondition():
            yield f"--name-like: {none} has a person with such a name"
        case TimeCondition(column="recorded_at"):
            yield f"--from, --to: {none} was recorded then"
        case TimeCondition():
            yield f"--occurred-from, --occurred-to: {none} occurred then"
        case LeafCondition():
            yield from _sizes(audits, condition)


def no_record(where: str, record_id: str, *, is_whole: bool) -> str:
    """That no event of a record was found; it is not absent where not all could be verified.

    Args:
        where: which topics were read.
        record_id: the record that was asked for.
        is_whole: whether all that was read is proved.
    """
    verified = f'no verified event in {where} has the key "{record_id}"'
    if is_whole:
        return f"no such record: {verified}"
    return f"record not found: {verified}; what could not be verified may have it"


def key_hint(near: Sequence[str], *, is_whole: bool) -> str:
    """What may be wrong with a record's identity, by the nearest keys that were read.

    Args:
        near: these keys.
        is_whole: as for `no_record`.
    """
    if not near:
        return "no key that was read is spelt like it"
    keys = " or ".join(near)
    return f"did you mean {keys}?" if is_whole else f"nearest among those verified: {keys}"


def _near(option: str, value: str, seen: Collection[str], none: str) -> str:
    """The values nearest to one that was not found, among those of the events that were read."""
    folded = {" ".join(each.split()).lower(): each for each in seen if len(each) <= _LONGEST}
    near = get_close_matches(" ".join(value.split()).lower()[:_LONGEST], sorted(folded), n=_FEW)
    if not near:
        return f"{option}: {none} has this value or one that is spelt like it"
    meant = " or ".join(folded[each] for each in near)
    return f"{option}: {none} has this value; did you mean {meant}?"


def _sizes(audits: Sequence[Audit], wanted: LeafCondition) -> Iterator[str]:
    """How many leaves the partition has that `--leaf` names, by topic, if none has these leaves."""
    there = [
        (audit.name, each.verified)
        for audit in audits
        for each in audit.partition_counts
        if each.partition == wanted.partition
    ]
    if all(size <= wanted.first for _, size in there):
        sizes = [
            f"{name}/{wanted.partition} has {counted(size, 'leaf', 'leaves')}"
            for name, size in there[:_FEW]
        ]
        yield f"--leaf: {'; '.join(sizes) or f'there is no partition {wanted.partition}'}"
