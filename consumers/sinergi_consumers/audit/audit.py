"""An audit: a topic replayed to its end, whatever is found on the way, and all findings together.

A replay stops at the first thing that does not hold. An audit goes on with the next partition, so
that one changed byte does not hide another, and asks the witnesses at the end.

    1. gather what was signed about the topic elsewhere, before it is read
    2. replay each partition; what does not hold is a finding, and is compared with the other copy
    3. hold each partition against its witnesses, at the very sizes that they state
    4. and against checkpoints of smaller trees that stand behind larger ones
    5. and against the other copy, leaf by leaf

What speaks against the topic is a finding. What strangers wrote, what a reader alone says, and what
is worth knowing is a remark.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi_consumers.audit import testimony, witnesses
from sinergi_consumers.audit.replay import LEAF_BYTES, Replay, differing_leaf
from sinergi_schemas import errors
from sinergi_schemas.plain_text import counted
from sinergi_schemas.seal.merkle import EMPTY_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import polars as pl

    from sinergi_consumers.audit.replay import ReplayCounts, ReplayFilter
    from sinergi_consumers.audit.testimony import Testimony
    from sinergi_consumers.bus import Bus
    from sinergi_schemas.seal.noise import SkippedMessages
    from sinergi_schemas.topics import Topic

_PLACES = 3
_COMPARED = 50_000  # leaves behind the last that holds, where no checkpoint bounds the damage


@dataclass(frozen=True, slots=True)
class AuditFinding:
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
class AuditVerdict:
    """What an audit came to.

    Attributes:
        findings: what does not hold; empty if all does.
        testimony: what was signed about the topic elsewhere.
        compared: leaves that the other copy has in common with this one, if there is one.
        lacking: what the other copy lacks, a line for each partition.
    """

    testimony: Testimony
    findings: list[AuditFinding] = field(default_factory=list)
    compared: int | None = None
    lacking: list[str] = field(default_factory=list)


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
        self._replay = Replay(bus, topic, copies.name, keeps_leaves=copies.against is not None)
        self._whole: list[ReplayCounts] = []
        self.verdict = AuditVerdict(testimony.Testimony())

    @property
    def tallies(self) -> list[ReplayCounts]:
        """What was seen of each partition so far."""
        return self._replay.tallies

    @property
    def shown(self) -> int:
        """How many events were handed out."""
        return sum(each.shown for each in self.tallies)

    @property
    def holds(self) -> bool | None:
        """Whether the topic is what its owner sealed; None where that cannot be told."""
        if self.verdict.findings:
            return False
        return None if self.untold else True

    @property
    def untold(self) -> str:
        """Why nothing can be told, or an empty text.

        Messages that no checkpoint covers are nobody's, and an empty topic without heads may be
        one that was emptied: neither proves anything.
        """
        agency, has_leaves = self._topic.agency, any(each.verified for each in self.tallies)
        if not has_leaves and not self.verdict.testimony.has_heads:
            return f"no leaf and no heads are under a key of {agency} that the agreements here name"
        if uncompared := sum(each.uncompared for each in self.tallies):
            checkpoints = counted(uncompared, "signed checkpoint")
            return f"{checkpoints} of smaller trees, behind larger ones, could not be compared"
        if has_leaves and self.verdict.compared == 0:
            return f"{self.copies.against} holds none of its leaves, so that nothing was compared"
        return ""

    @property
    def elsewhen(self) -> list[datetime]:
        """When events of the one record were recorded that lie outside the interval asked for."""
        return sorted(at for each in self.tallies for at in each.elsewhen)

    def root(self, partition: int, size: int) -> bytes | None:
        """The root of a partition's tree of a size that somebody has signed, if it is that long."""
        for tally in self.tallies:
            if tally.partition == partition:
                return tally.roots.get(size, EMPTY_ROOT if size == 0 else None)
        return None

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

    def events(self, wanted: ReplayFilter) -> Iterator[pl.DataFrame]:
        """Frames of the wanted events that hold; afterwards `verdict` says what does not.

        Raises:
            NotAgreed: no agreement speaks of the topic.
            PartitionsDiffer: it has fewer partitions than the agreement says.
            Unavailable: the broker is away.
        """
        numbers = self._replay.partitions()
        stated = self.verdict.testimony = witnesses.gather(self._bus, self._topic)  # 1
        for number in numbers:
            frames = self._replay.partition(number, wanted, stated.sizes(number))
            try:
                yield from frames  # 2
                self._whole.append(self.tallies[-1])
            except errors.SealBroken as why:
                self._broken(self.tallies[-1], why)
        self._hear()  # 3
        self._match()  # 4
        if self.copies.against is not None:
            self._compare(self.copies.against)  # 5

    @property
    def remarks(self) -> list[str]:
        """What is worth knowing and does not speak against the topic, one line each."""
        found = [self._replay.added] if self._replay.added else []
        for tally in self.tallies:
            name = f"{self.name}/{tally.partition}"
            found += [
                f"{name}: {counted(each.count, 'message')} skipped, {each.cause}{_places(each)}"
                for each in tally.noise.skipped
            ]
            found += [
                f"{name}: {counted(each.count, 'sealed event')} not shown,"
                f" {each.cause}{_places(each)}"
                for each in tally.unfit.skipped
            ]
            found += [
                f"{name}: {counted(each.count, 'event')} not agreed, {each.cause}{_places(each)}"
                for each in tally.not_agreed.skipped
            ]
            if tally.unsealed:
                left = _leaves(tally.unsealed)
                found.append(f"{name}: {left} behind the last checkpoint not shown")
        return [*found, *self.verdict.lacking, *self.verdict.testimony.remarks]

    def _origin(self, number: int) -> str:
        return f"{self._bus.agreements.bus}/{self._topic.name}/{number}"

    def _broken(self, tally: ReplayCounts, why: errors.TopicHalted) -> None:
        stands = (
            f"leaves 0 to {tally.verified} (exclusive) hold" if tally.verified else "none holds"
        )
        remarks = [f"partition {tally.partition}: {stands}; nothing behind is shown"]
        if self.copies.against is not None:
            remarks.append(self._difference(tally, why, self.copies.against))
        self.verdict.findings.append(AuditFinding(str(why), tuple(remarks)))

    def _difference(self, tally: ReplayCounts, why: errors.TopicHalted, other: str) -> str:
        end = why.end if isinstance(why, errors.SealMismatch) else tally.verified + _COMPARED
        leaves = range(tally.verified, end)
        leaf = differing_leaf(self._bus, tally.partition, leaves, self.name, other)
        if leaf is None:
            return f"compared with {other}: no leaf differs, but their seals do"
        return f"compared with {other}: leaf {leaf} differs"

    def _hear(self) -> None:
        """Tell each partition's largest contradiction once, and who else speaks of one."""
        whole = {each.partition for each in self._whole}
        for tally in self.tallies:
            origin = self._origin(tally.partition)
            self.verdict.testimony.settle(tally.partition, tally.roots)
            heard = [
                (each, error)
                for each in self.verdict.testimony.of(tally.partition)
                # Of a partition that was not read to its end nobody knows how long it is.
                if (tally.partition in whole or each.size <= tally.verified)
                and (error := testimony.objection(each, origin, tally.verified, tally.roots))
            ]
            if heard:
                (first, error), *more = heard
                said = f"{first} states {_leaves(first.size)} and the root {first.root.hex()}"
                remarks = (said, *(f"by {each} it has {each.size}" for each, _ in more))
                self.verdict.findings.append(AuditFinding(str(error), remarks))

    def _match(self) -> None:
        """Compare checkpoints that the owner signed of smaller trees than those before them."""
        for tally in [each for each in self._whole if each.unmatched]:
            again = Replay(self._bus, self._topic, self.copies.name)
            roots = again.verify(tally.partition, tally.unmatched.keys()).roots
            for size, root in sorted(tally.unmatched.items()):
                if roots.get(size, root) != root:
                    fork = errors.SealFork(self._origin(tally.partition), size)
                    self.verdict.findings.append(AuditFinding(str(fork)))
                    break

    def _compare(self, against: str) -> None:
        """Hold what is verified against another copy: leaf by leaf, and their ends."""
        other = Replay(self._bus, self._topic, against, keeps_leaves=True)
        other.partitions()
        common = 0
        for tally in self._whole:
            try:
                theirs = other.verify(tally.partition)
            except errors.SealBroken as why:
                self.verdict.findings.append(AuditFinding(f"{against} does not hold itself: {why}"))
                theirs = other.tallies[-1]
                is_whole = False
            else:
                is_whole = True
            least = min(tally.verified, theirs.verified)
            origin = self._origin(tally.partition)
            leaf = _first_difference(tally, theirs, least)
            common += least if leaf is None else leaf
            if leaf is not None:
                fork = errors.SealFork(origin, leaf + 1)
                remarks = (
                    f"leaf {leaf} is the first that differs; both are under its owner's signature",
                    f"{self.name}: {_leaves(tally.verified)}, root {tally.root.hex()}",
                    f"{against}: {_leaves(theirs.verified)}, root {theirs.root.hex()}",
                )
                self.verdict.findings.append(
                    AuditFinding(f"Compared with {against}: {fork}", remarks)
                )
            elif theirs.verified < tally.verified:
                lacks = _leaves(tally.verified - theirs.verified)
                self.verdict.lacking.append(
                    f"{against}/{tally.partition} lacks the last {lacks} of {tally.verified:,}"
                )
            elif is_whole and theirs.verified > tally.verified:
                tail = errors.TailMissing(origin, tally.verified, theirs.verified, against)
                self.verdict.findings.append(AuditFinding(str(tail)))
        self.verdict.compared = common


def _leaves(count: int) -> str:
    return counted(count, "leaf", "leaves")


def _first_difference(ours: ReplayCounts, theirs: ReplayCounts, end: int) -> int | None:
    """The first leaf below `end` in which two histories differ, or None."""
    one, other = ours.leaves or b"", theirs.leaves or b""
    if one[: end * LEAF_BYTES] == other[: end * LEAF_BYTES]:
        return None
    return next(index for index in range(end) if ours.leaf(index) != theirs.leaf(index))


def _places(skipped: SkippedMessages) -> str:
    """The first places of skipped messages, for people."""
    found = [
        f"offset {offset}" if leaf is None else f"leaf {leaf} at offset {offset}"
        for offset, leaf in skipped.places[:_PLACES]
    ]
    more = ", …" if skipped.count > len(found) else ""
    return f": {', '.join(found)}{more}"
