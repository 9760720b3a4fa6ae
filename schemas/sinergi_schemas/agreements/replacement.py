"""Which agreement replaces which, from when on, and what ends with that.

An agreement that names another one by `replaces` takes its place as a whole when it begins: what
the earlier one gave and the later one does not give ends then, also a topic that the later one does
not mention. It stays so when the later one has ended. The file of the earlier one is still needed,
because events name it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from sinergi_schemas.agreements.model import Agreement

_SHOWN = timedelta(days=30)


def replaced_by(one: Agreement, by_hash: Mapping[str, Agreement]) -> set[str]:
    """The hashes of all agreements that one replaces, directly or through others."""
    found: set[str] = set()
    left = [*one.replaces]
    while left:
        digest = left.pop()
        if digest not in found:
            found.add(digest)
            left += by_hash[digest].replaces if digest in by_hash else ()
    return found


def with_replacements(agreements: Sequence[Agreement]) -> tuple[Agreement, ...]:
    """The agreements in the same order, each with the time at which it is replaced."""
    by_hash = {each.hash: each for each in agreements}
    begins: dict[str, datetime] = {}
    for each in agreements:
        for digest in replaced_by(each, by_hash):
            begins[digest] = min(each.starts, begins.get(digest, each.starts))
    return tuple(replace(each, replaced_at=begins.get(each.hash)) for each in agreements)


def ending(agreements: Sequence[Agreement], at: datetime) -> Iterator[str]:
    """A line for each agreement that is replaced, with what it gave and no other gives then.

    Args:
        at: now. What ended more than 30 days ago is left out.
    """
    for each in agreements:
        replaced = each.replaced_at
        if replaced is None or replaced <= at - _SHOWN:
            continue
        kept = {
            sentence
            for other in agreements
            if other is not each and other.in_force(replaced)
            for sentence in _given(other)
        }
        if lost := _given(each) - kept:
            when = replaced.isoformat(sep=" ", timespec="seconds")
            ends = f"ended at {when}" if replaced <= at else f"ends at {when}"
            yield f"{each.path.name} is replaced, and this {ends}: {'; '.join(sorted(lost))}"


def no_longer(before: Agreement, after: Agreement) -> list[str]:
    """Who published, read and audited what by an agreement, and does not by the one after it."""
    return sorted(_given(before) - _given(after))


def _given(agreement: Agreement) -> set[str]:
    """Who publishes, reads and audits what, as sentences."""
    return {
        sentence
        for name, agreed in agreement.events.items()
        for sentence in (
            *(f"{each} publishes {name}" for each in agreed.publishers),
            *(f"{each} reads {name}" for each in agreed.readers),
            *(f"{each.auditor} audits {name}" for each in agreement.auditors_of(name)),
        )
    }
