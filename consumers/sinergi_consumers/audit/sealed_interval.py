"""Which leaves were sealed between two times, by the statements that were signed about their tree.

A checkpoint has no time. Heads have the owner's time, and receipts that of a reader's database. So
two statements about one tree, one from before an interval and one from after it, enclose the leaves
that were sealed in it:

    1. The first statement is that of the largest tree which was signed before the interval: heads,
       or a receipt whose tree the owner has signed. Where there is none, the range begins at leaf
       0. A receipt may take this place, because its tree existed when the reader signed.
    2. The second statement is the first heads that were signed at the end of the interval or later.
       No receipt takes this place: a reader may be behind, so its receipt shows that these leaves
       were sealed, and not that there were no more.
    3. Between the two were sealed exactly the leaves from the size of the first statement to that
       of the second. If the topic has both trees, none of these leaves is missing or changed.
    4. A signature has a time in whole seconds. It counts as made before the interval if this whole
       second lies before it.
    5. A statement that is dated later than the moment it is read encloses nothing, and so do
       heads that only replaced keys have signed, whose time is unknown. Heads that state fewer
       leaves than earlier heads enclose nothing either. A receipt of a larger tree than the second
       statement has is not used as the first one: the reader's clock is another one.
    6. Heads are renewed each minute. Where none are known for longer than `STALE_SECONDS` there is
       a gap: the owner has signed none, or they were compacted away or deleted. A gap changes no
       verdict, because the tree of later heads has all leaves before. Receipts that were signed in
       it are named: they show how far the tree was.

The statements must be verified, and the topic must be compared with them: this module compares
times and sizes only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sinergi_consumers.audit.statements import HEADS
from sinergi_schemas.seal.heads import STALE_SECONDS
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sinergi_consumers.audit.statements import SignedStatement

_Place = TypeVar("_Place")
_SECOND = timedelta(seconds=1)
_STALE = timedelta(seconds=STALE_SECONDS)


class TimeInterval(NamedTuple):
    """From one time until before another one."""

    since: datetime
    until: datetime


class HeadsGap(NamedTuple):
    """A time without known heads.

    Attributes:
        after: the heads before it; None if no earlier ones are known.
        before: the heads after it; None if no later ones are known.
    """

    after: datetime | None
    before: datetime | None

    def within(self, interval: TimeInterval) -> TimeInterval:
        """The part of it that lies in an interval, or from its nearest heads on."""
        return TimeInterval(self.after or interval.since, self.before or interval.until)

    def length(self, interval: TimeInterval) -> timedelta:
        """How long it is; where it has no end, as far as the interval."""
        since, until = self.within(interval)
        return until - since


@dataclass(slots=True)
class _PartitionStatements:
    """The statements about one partition that may enclose the interval.

    Attributes:
        before: the largest tree that was signed before the interval, by kind.
        first_after: the first heads that were signed at its end or later.
        largest_after: the largest tree of these, by kind.
        within: the largest receipt of each signer and each `STALE_SECONDS` of the interval.
    """

    before: dict[str, SignedStatement] = field(default_factory=dict)
    first_after: SignedStatement | None = None
    largest_after: dict[str, SignedStatement] = field(default_factory=dict)
    within: dict[tuple[str, int], SignedStatement] = field(default_factory=dict)

    def __iter__(self) -> Iterator[SignedStatement]:
        yield from self.before.values()
        if self.first_after is not None:
            yield self.first_after
        yield from self.largest_after.values()
        yield from self.within.values()


class IntervalStatements:
    """The statements about one topic that tell what was sealed in an interval.

    Args:
        interval: the times.
        now: gives the time by the clock of the audit: statements arrive while it goes on.

    Attributes:
        interval: the times.
        heads_since: when the earliest known heads were signed; None if none are known.
        latest_heads: when the latest known heads were signed that are not dated ahead.
        ahead: the statements that are dated later than the moment they were read, by signer.
        has_undated: whether there are statements of an unknown time.
    """

    def __init__(self, interval: TimeInterval, now: Callable[[], datetime]) -> None:
        self.interval = interval
        self.heads_since: datetime | None = None
        self.latest_heads: datetime | None = None
        self.ahead: dict[str, SignedStatement] = {}
        self.has_undated = False
        self._now = now
        self._partitions: dict[int, _PartitionStatements] = {}
        self._heads_before: datetime | None = None
        self._heads_within: set[datetime] = set()
        self._heads_after: datetime | None = None

    def add(self, statement: SignedStatement) -> None:
        """Take another verified statement."""
        at, interval = statement.at, self.interval
        if at is None:
            self.has_undated = True
            return
        if at > self._now():
            self.ahead.setdefault(statement.name, statement)
            return
        if statement.kind == HEADS:
            self._add_time(at)
        found = self._partitions.setdefault(statement.partition, _PartitionStatements())
        if at + _SECOND <= interval.since:
            _keep_larger(found.before, statement.kind, statement)
        elif at >= interval.until:
            _keep_larger(found.largest_after, statement.kind, statement)
            if statement.kind == HEADS and _is_earlier(statement, found.first_after):
                found.first_after = statement
        elif statement.kind != HEADS:
            place = statement.name, int(at.timestamp() // STALE_SECONDS)
            _keep_larger(found.within, place, statement)

    def sizes(self, partition: int) -> set[int]:
        """The tree sizes of a partition at which the topic is compared with them."""
        return {each.size for each in self.of(partition)}

    def of(self, partition: int) -> list[SignedStatement]:
        """The statements about a partition that were kept."""
        return [*self._partitions.get(partition, ())]

    def first(self, partition: int) -> SignedStatement | None:
        """The statement of the largest tree before the interval; None if there is none."""
        found = self._partitions.get(partition, _PartitionStatements())
        second = self.second(partition)
        fitting = [
            each for each in found.before.values() if second is None or each.size <= second.size
        ]
        return max(fitting, key=lambda each: (each.size, each.kind == HEADS), default=None)

    def second(self, partition: int) -> SignedStatement | None:
        """The first heads after the interval that state no fewer leaves than earlier ones."""
        found = self._partitions.get(partition, _PartitionStatements())
        earlier = found.before.get(HEADS)
        least = 0 if earlier is None else earlier.size
        for each in (found.first_after, found.largest_after.get(HEADS)):
            if each is not None and each.size >= least:
                return each
        return None

    def leaves(self, partition: int) -> range | None:
        """Which leaves were sealed between the two statements; None without the second one."""
        first, second = self.first(partition), self.second(partition)
        if second is None:
            return None
        return range(0 if first is None else first.size, second.size)

    def has_fewer_later(self, partition: int) -> bool:
        """Whether all heads after the interval state fewer leaves than those before it."""
        found = self._partitions.get(partition, _PartitionStatements())
        return found.first_after is not None and self.second(partition) is None

    def later_receipt(self, partition: int) -> SignedStatement | None:
        """The largest tree in a receipt that was signed at the interval's end or later."""
        found = self._partitions.get(partition, _PartitionStatements())
        kinds = (each for kind, each in found.largest_after.items() if kind != HEADS)
        return next(kinds, None)

    def gaps(self) -> list[HeadsGap]:
        """The times of the interval for which no heads are known."""
        edges = [self._heads_before, *sorted(self._heads_within), self._heads_after]
        known = [each for each in edges if each is not None]
        gaps = [HeadsGap(*each) for each in pairwise(known)]
        if self._heads_before is None:
            gaps.insert(0, HeadsGap(None, known[0] if known else None))
        if self._heads_after is None and known:
            gaps.append(HeadsGap(known[-1], None))
        return [each for each in gaps if each.length(self.interval) > _STALE]

    def bridges(self, gap: HeadsGap) -> list[SignedStatement]:
        """The receipts that were signed in a gap: of each signer and partition the largest."""
        since, until = gap.within(self.interval)
        found: dict[tuple[str, int], SignedStatement] = {}
        for number, statements in sorted(self._partitions.items()):
            for each in statements.within.values():
                if each.at is not None and since <= each.at <= until:
                    _keep_larger(found, (each.name, number), each)
        return [*found.values()]

    def _add_time(self, at: datetime) -> None:
        """Take the time of heads."""
        interval = self.interval
        if self.heads_since is None or at < self.heads_since:
            self.heads_since = at
        if self.latest_heads is None or at > self.latest_heads:
            self.latest_heads = at
        if at < interval.since:
            self._heads_before = max(self._heads_before or at, at)
        elif at >= interval.until:
            self._heads_after = min(self._heads_after or at, at)
        else:
            self._heads_within.add(at.astimezone(UTC))


def _keep_larger(
    known: dict[_Place, SignedStatement], place: _Place, statement: SignedStatement
) -> None:
    """Keep the statement of the larger tree; of two equal ones the later."""
    other = known.get(place)
    if other is None or _rank(statement) > _rank(other):
        known[place] = statement


def _rank(statement: SignedStatement) -> tuple[int, float]:
    return statement.size, 0.0 if statement.at is None else statement.at.timestamp()


def _is_earlier(statement: SignedStatement, other: SignedStatement | None) -> bool:
    """Whether it was signed earlier, or at the same time for a larger tree."""
    if other is None or statement.at is None or other.at is None:
        return True
    return (statement.at, -statement.size) < (other.at, -other.size)


def missing_second(statements: IntervalStatements, partition: int, owner: str) -> str:
    """Why no statement encloses the end of the interval.

    Args:
        owner: the agency whose heads are missing.
    """
    if statements.has_fewer_later(partition):
        return f"the heads that {owner} signed since state fewer leaves than those before"
    what = f"{owner} has signed no heads at the end of the interval or later"
    if statements.latest_heads is not None:
        what = f"{what}, the last known ones at {local_text(statements.latest_heads)}"
    if statements.has_undated:
        what = f"{what}; those of an unknown time, as by a replaced key, do not count"
    receipt = statements.later_receipt(partition)
    if receipt is not None:
        what = f"{what}; {receipt} shows that at least {receipt.size:,} leaves were sealed"
    return what
