"""An audit: a topic replayed to its end, whatever is found on the way, and all findings together.

A replay stops at the first thing that does not hold. An audit goes on with the next partition, so
that one changed byte does not hide another, and asks the witnesses at the end.

    1. gather what was signed about the topic elsewhere, before it is read
    2. replay each partition; what does not hold is a finding, and is compared with the other copy
    3. hold each partition that was read to its end against its witnesses
    4. and against the other copy
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi_consumers import witnesses
from sinergi_consumers.replay import Replay, differing_leaf
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from sinergi_consumers.bus import Bus
    from sinergi_consumers.replay import Tally, Wanted
    from sinergi_consumers.witnesses import Testimony
    from sinergi_schemas.topics import Topic

_COMPARED = 50_000  # leaves behind the last that holds, where no checkpoint bounds the damage


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold.

    Attributes:
        remarks: what else was found about it, a line each.
    """

    why: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Copies:
    """Which copies of a topic to look at.

    Attributes:
        name: the one to audit, the topic itself if None.
        against: another to compare it with, if any.
    """

    name: str | None = None
    against: str | None = None


@dataclass(slots=True)
class Verdict:
    """What an audit came to.

    Attributes:
        findings: what does not hold; empty if all does.
        testimony: what was signed about the topic elsewhere.
        compared: leaves that the other copy has in common with this one, if there is one.
    """

    testimony: Testimony
    findings: list[Finding] = field(default_factory=list)
    compared: int | None = None


class Audit:
    """One topic, or a copy of it, being audited.

    Attributes:
        copies: as it was given.
        name: what is read.
        verdict: complete when `events` has come to its end.
    """

    def __init__(self, bus: Bus, topic: Topic, copies: Copies) -> None:
        self._bus = bus
        self._topic = topic
        self.copies = copies
        self.name = copies.name or topic.name
        self._replay = Replay(bus, topic, copies.name)
        self._whole: list[Tally] = []
        self.verdict = Verdict(witnesses.Testimony())

    @property
    def tallies(self) -> list[Tally]:
        """What was seen of each partition so far."""
        return self._replay.tallies

    def notes(self) -> dict[str, str]:
        """The signed notes that were met, under names that tell whose they are and of what."""
        found = {f"{each.partition}.checkpoint": each.note for each in self.tallies if each.note}
        for each in self.verdict.testimony.witnesses:
            owner = each.name.removeprefix(f"{self._bus.agreements.bus}/").replace("/", ".")
            place = "" if each.kind == "heads" else f"{each.partition}."
            found[f"{place}{each.kind}.{owner}"] = each.note
        return found

    def nothing(self) -> pl.DataFrame:
        """A frame without events, for its columns."""
        return self._replay.nothing()

    def events(self, wanted: Wanted) -> Iterator[pl.DataFrame]:
        """Frames of the wanted events that hold; afterwards `verdict` says what does not.

        Raises:
            NotAgreed: no agreement speaks of the topic.
            PartitionsDiffer: it has other partitions than the agreement says.
            Unavailable: the broker is away.
        """
        numbers = self._replay.partitions()
        self.verdict.testimony = witnesses.gather(self._bus, self._topic)  # 1
        for name, broken in self.verdict.testimony.broken:
            self.verdict.findings.append(Finding(f"In {name}: {broken}"))
        for number in numbers:
            try:
                yield from self._replay.partition(number, wanted)  # 2
                self._whole.append(self._replay.tallies[-1])
            except (errors.SealBroken, errors.MessageMalformed) as why:
                self._broken(self._replay.tallies[-1], why)
        self._hear()  # 3
        if self.copies.against:
            self._compare(self.copies.against)  # 4

    def _origin(self, number: int) -> str:
        return f"{self._bus.agreements.bus}/{self._topic.name}/{number}"

    def _broken(self, tally: Tally, why: errors.Broken) -> None:
        stands = (
            f"leaves 0 to {tally.verified} (exclusive) hold" if tally.verified else "none holds"
        )
        remarks = [f"partition {tally.partition}: {stands}; nothing behind is shown"]
        if self.copies.against:
            remarks.append(self._difference(tally, why, self.copies.against))
        self.verdict.findings.append(Finding(str(why), tuple(remarks)))

    def _difference(self, tally: Tally, why: errors.Broken, other: str) -> str:
        end = why.end if isinstance(why, errors.SealMismatch) else tally.verified + _COMPARED
        leaves = range(tally.verified, end)
        try:
            leaf = differing_leaf(self._bus, tally.partition, leaves, self.name, other)
        except errors.MessageMalformed as malformed:
            return f"cannot be compared with {other} leaf by leaf: {malformed}"
        if leaf is None:
            return f"compared with {other}: no leaf differs, but their order or their seals do"
        return f"compared with {other}: leaf {leaf} differs"

    def _hear(self) -> None:
        """Tell each partition's largest contradiction once, and who else speaks of one."""
        for tally in self._whole:
            origin = self._origin(tally.partition)
            heard = [
                (each, error)
                for each in self.verdict.testimony.of(tally.partition)
                if (error := witnesses.objection(each, origin, tally.verified, tally.roots))
            ]
            if heard:
                (_, first), *more = heard
                remarks = tuple(f"by {each} it has {each.size}" for each, _ in more)
                self.verdict.findings.append(Finding(str(first), remarks))

    def _compare(self, against: str) -> None:
        """Hold what is whole against another copy: its history, and its end."""
        other = Replay(self._bus, self._topic, against)
        other.partitions()
        common = 0
        for tally in self._whole:
            try:
                theirs = other.verify(tally.partition)
            except (errors.SealBroken, errors.MessageMalformed) as why:
                self.verdict.findings.append(Finding(f"{against} does not hold itself: {why}"))
                continue
            common += min(tally.verified, theirs.verified)
            fork = next((n for n, root in theirs.roots.items() if _differs(tally, n, root)), None)
            if fork is not None:
                split = errors.SealFork(self._origin(tally.partition), fork)
                self.verdict.findings.append(Finding(f"Compared with {against}: {split}"))
            elif theirs.verified > tally.verified:
                origin = self._origin(tally.partition)
                tail = errors.TailMissing(origin, tally.verified, theirs.verified, against)
                self.verdict.findings.append(Finding(str(tail)))
        self.verdict.compared = common


def _differs(tally: Tally, size: int, root: bytes) -> bool:
    return tally.roots.get(size, root) != root
