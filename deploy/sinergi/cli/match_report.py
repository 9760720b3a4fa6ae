"""How many events were read and how many match; and what may be misspelt where none does."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from sinergi.cli import terminal
from sinergi_consumers.audit.event_filter import (
    CaseCondition,
    LeafCondition,
    PersonCondition,
    UnitCondition,
)
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.audit.event_filter import ReplayFilter

_FEW = 3
_LONGEST = 200


def report(audits: Sequence[Audit], wanted: ReplayFilter) -> None:
    """Write to standard error a line over all topics, and hints if no event matches."""
    read = sum(each.verified for audit in audits for each in audit.partition_counts)
    found = sum(each.shown for each in audits)
    topics = counted(sum(not each.verdict.not_read for each in audits), "topic")
    unread = sum(bool(each.verdict.not_read) for each in audits)
    more = f"; {counted(unread, 'topic')} could not be read" if unread else ""
    verb = "matches" if found == 1 else "match"
    terminal.note(f"sinergi: read {counted(read, 'event')} of {topics}; {found:,} {verb}{more}")
    for line in () if found else _hints(audits, wanted):
        terminal.note(f"  {line}")


def _hints(audits: Sequence[Audit], wanted: ReplayFilter) -> Iterator[str]:
    """What may be wrong with the conditions. Names of persons are not shown."""
    has_record = any(each.of_record or each.outside_interval for each in audits)
    if wanted.record_id is not None and not has_record:
        yield f"--key: {key_hint(wanted.near_keys)}"
    for each in wanted.conditions:
        match each:
            case UnitCondition():
                yield _near("--unit", each.unit, each.seen)
            case CaseCondition():
                yield _near("--case", each.case_number, each.seen)
            case PersonCondition(name="name"):
                yield (
                    "--name takes the whole name as it was written, in upper or lower case;"
                    " --name-like also finds other spellings"
                )
            case LeafCondition():
                yield _sizes(audits, each.partition)


def key_hint(near: Sequence[str]) -> str:
    """What may be wrong with a record's identity, by the nearest keys that were read."""
    if not near:
        return "no key that was read is spelt like it"
    return f"did you mean {' or '.join(near)}?"


def _near(option: str, value: str, seen: Collection[str]) -> str:
    """The values nearest to one that was not found, among those of the events that were read."""
    folded = {" ".join(each.split()).lower(): each for each in seen if len(each) <= _LONGEST}
    near = get_close_matches(" ".join(value.split()).lower()[:_LONGEST], sorted(folded), n=_FEW)
    if not near:
        return f"{option}: no event that was read has this value or one that is spelt like it"
    meant = " or ".join(folded[each] for each in near)
    return f"{option}: no event has this value; did you mean {meant}?"


def _sizes(audits: Sequence[Audit], partition: int) -> str:
    """How many leaves the partition has that `--leaf` names, by topic."""
    sizes = [
        f"{audit.name}/{partition} has {counted(each.verified, 'leaf', 'leaves')}"
        for audit in audits
        for each in audit.partition_counts
        if each.partition == partition
    ]
    return f"--leaf: {'; '.join(sizes[:_FEW]) or f'there is no partition {partition}'}"
