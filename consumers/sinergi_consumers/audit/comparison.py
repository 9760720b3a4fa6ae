"""The comparison of one copy of a topic with the verified leaves of another copy.

A seal shows that a batch is wrong, but not which leaf; only a second copy shows that. What is
compared are the leaves of a copy that was verified, and all messages of the other copy: anybody may
have put further messages under the index of a leaf, so a leaf is equal if any of them is.

A copy may be no copy of the topic at all. The origins in its checkpoints show that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_consumers.audit.findings import AuditFinding, LeafDifference
from sinergi_consumers.audit.replay import LEAF_BYTES, Replay
from sinergi_consumers.audit.statements import missing_end
from sinergi_schemas import errors
from sinergi_schemas.message import parsed_or_none
from sinergi_schemas.plain_text import counted, leaf_range, some
from sinergi_schemas.seal.checkpoint import Checkpoint
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from sinergi_consumers.audit.findings import AuditVerdict
    from sinergi_consumers.audit.replay import ReplayCounts
    from sinergi_consumers.bus import Bus
    from sinergi_schemas.topics import Topic


class OtherCopy:
    """Another copy of a topic, which is verified partition by partition.

    Args:
        bus: the source that has the copy, and the agreements.
        topic: the event topic.
        stored_as: the name of the copy in that source.
        name: of the copy, as findings name it.
    """

    def __init__(self, bus: Bus, topic: Topic, stored_as: str, name: str) -> None:
        self._bus = bus
        self._replay = Replay(bus, topic, stored_as, keeps_leaves=True)
        self._read: dict[int, tuple[ReplayCounts, errors.SealBroken | None]] = {}
        self.name = name

    @property
    def partition_counts(self) -> list[ReplayCounts]:
        """What was read of each partition so far."""
        return self._replay.partition_counts

    def check(self) -> None:
        """Check that the copy has the agreed partitions.

        Raises:
            ReplayRefused: the copy does not exist, or has fewer partitions.
            Unavailable: the broker does not answer.
        """
        self._replay.partitions()

    def partition(
        self, number: int, sizes: AbstractSet[int]
    ) -> tuple[ReplayCounts, errors.SealBroken | None]:
        """The verified leaves of a partition, and why no further ones are valid. It reads once.

        Args:
            number: of the partition.
            sizes: tree sizes; their roots are stored in the partition's counts.
        """
        if number not in self._read:
            broken = None
            try:
                self._replay.verify(number, sizes)
            except errors.SealBroken as why:
                broken = why
            self._read[number] = self._replay.partition_counts[-1], broken
        return self._read[number]

    def first_difference(
        self, verified: ReplayCounts, leaves: range, end: int
    ) -> LeafDifference | None:
        """As the function of this name, for this copy."""
        return first_difference(self._bus, self._replay.name, verified, leaves, end)


class CopyComparison:
    """The comparison of an audited copy with another copy.

    Args:
        bus: the source of the audited copy, and the agreements.
        topic: the event topic.
        name: of the audited copy.
        other: the other copy.
        verdict: the findings are added to it.
    """

    def __init__(
        self, bus: Bus, topic: Topic, name: str, other: OtherCopy, verdict: AuditVerdict
    ) -> None:
        self._bus = bus
        self._topic = topic
        self.name = name
        self.against = other.name
        self._other = other
        self._verdict = verdict

    def check(self) -> None:
        """Check that the other copy has the agreed partitions.

        Raises:
            ReplayRefused: the copy does not exist, or has fewer partitions.
            Unavailable: the broker does not answer.
        """
        self._other.check()

    def read(self, numbers: Iterable[int]) -> None:
        """Read partitions of the other copy. Call it before the audited copy is read.

        Otherwise a copy that is still being written would have leaves that the audited one got
        only after it was read, and would falsely show that its end is missing.

        Raises:
            Unavailable: the broker does not answer.
        """
        for number in numbers:
            self._other_partition(number)

    def compare(self, partitions: Collection[ReplayCounts], read_to_end: Container[int]) -> None:
        """Compare the verified leaves of all partitions with the other copy, and their number.

        Args:
            partitions: what was read of the audited copy.
            read_to_end: the partitions in which no error was found.
        """
        statements = self._verdict.statements
        for counts in partitions:
            theirs, _ = self._other_partition(counts.partition)
            statements.drop_supported_claims(
                counts.partition, theirs.roots, theirs.stated_roots, theirs.unmatched
            )
        others = [self._other_partition(each.partition)[0] for each in partitions]
        bus = self._bus.agreements.bus
        self._verdict.other_is_no_copy = why_no_copy(self._topic, bus, others)
        self._verdict.compared = 0
        if not self._verdict.other_is_no_copy:
            for counts in partitions:
                is_whole = counts.partition in read_to_end
                self._verdict.compared += self._compare_partition(counts, is_whole=is_whole)

    def difference(
        self, counts: ReplayCounts, why: errors.SealBroken
    ) -> tuple[LeafDifference | None, str]:
        """The first leaf of a broken partition that differs, and a remark about it."""
        theirs, _ = self._other_partition(counts.partition)
        end = why.end if isinstance(why, errors.SealMismatch) else theirs.verified
        leaves = range(counts.verified, min(end, theirs.verified))
        if not leaves:
            return None, f"compared with {self.against}: it has no valid leaf beyond these"
        found = first_difference(self._bus, self.name, theirs, leaves, counts.offsets[1])
        return found, f"compared with {self.against}: {_found(found)}"

    def _compare_partition(self, counts: ReplayCounts, *, is_whole: bool) -> int:
        """Compare one partition, and return the number of leaves that are equal in both copies."""
        number, verified = counts.partition, counts.verified
        theirs, broken = self._other_partition(number)
        least = min(verified, theirs.verified)
        leaf = _first_difference(counts, theirs, least)
        forked = self._forked_size(counts, theirs, broken)
        if leaf is not None:
            self._add_fork(counts, theirs, leaf)
        elif forked is not None:
            fork = errors.SealFork(self._origin(number), forked)
            why = f"Compared with {self.against}, whose checkpoints are signed too: {fork}"
            self._verdict.findings.append(AuditFinding(why, number, is_fork=True))
        elif theirs.verified > verified and is_whole:
            origin = self._origin(number)
            unsealed = counts.unsealed_of(origin)
            error = missing_end(origin, verified, unsealed, theirs.verified, self.against)
            self._verdict.findings.append(AuditFinding(str(error), number))
        if broken is not None:
            self._add_other_broken(theirs, counts, broken)
        elif leaf is None and theirs.verified < verified:
            self._add_other_end(theirs, counts)
        return least if leaf is None else leaf

    def _forked_size(
        self, ours: ReplayCounts, theirs: ReplayCounts, broken: errors.SealBroken | None
    ) -> int | None:
        """The size of a tree that the owner has signed in the other copy and that is not ours.

        Its leaves may be missing in the other copy: the signature alone shows another history.
        """
        if isinstance(broken, errors.SealFork):
            return broken.size
        origin = self._origin(ours.partition)
        stated = sorted({**theirs.unmatched, **theirs.stated_roots}.items())
        for size, root in stated:
            if ours.history and ours.history.is_other_tree(Checkpoint(origin, size, root)):
                return size
        return None

    def _add_fork(self, counts: ReplayCounts, theirs: ReplayCounts, leaf: int) -> None:
        """Record a fork.

        The topic's owner has signed both copies, so this disproves the audited one too.
        """
        fork = errors.SealFork(self._origin(counts.partition), leaf + 1)
        remarks = (
            f"leaf {leaf} is the first that differs; the topic's owner has signed both",
            f"{self.name}: {_leaves(counts.verified)}, root {counts.root.hex()}",
            f"{self.against}: {_leaves(theirs.verified)}, root {theirs.root.hex()}",
        )
        difference = LeafDifference(counts.partition, leaf, is_missing=False, is_end=False)
        self._verdict.findings.append(
            AuditFinding(
                f"Compared with {self.against}: {fork}",
                counts.partition,
                remarks,
                difference,
                is_fork=True,
            )
        )

    def _add_other_broken(
        self, theirs: ReplayCounts, ours: ReplayCounts, why: errors.SealBroken
    ) -> None:
        """Record that the other copy is broken, and the leaf if ours are verified that far."""
        difference, remarks = None, [_place(theirs)]
        end = why.end if isinstance(why, errors.SealMismatch) else ours.verified
        leaves = range(theirs.verified, min(end, ours.verified))
        if leaves:
            difference = self._other.first_difference(ours, leaves, theirs.offsets[1])
            remarks.append(f"compared with {self.name}: {_found(difference)}")
        compared = errors.ComparedMismatch.of(why, self.name)
        self._verdict.other_findings.append(
            AuditFinding(str(compared), theirs.partition, tuple(remarks), difference)
        )

    def _add_other_end(self, theirs: ReplayCounts, ours: ReplayCounts) -> None:
        """Record why fewer leaves of the other copy are valid, though nothing contradicts them."""
        leaves = range(theirs.verified, ours.verified)
        difference = self._other.first_difference(ours, leaves, theirs.offsets[1])
        if difference and difference.is_end:
            missing = _leaves(ours.verified - difference.leaf)
            self._verdict.missing_in_copy.append(
                f"{self.against}/{ours.partition} lacks the last {missing} of {ours.verified:,}"
            )
            return
        why = errors.CheckpointInvalid(
            self._origin(ours.partition), theirs.verified, ours.verified, self.name
        )
        remarks = [_place(theirs), f"compared with {self.name}: {_found(difference)}"]
        self._verdict.other_findings.append(
            AuditFinding(str(why), ours.partition, tuple(remarks), difference)
        )

    def _other_partition(self, number: int) -> tuple[ReplayCounts, errors.SealBroken | None]:
        return self._other.partition(number, self._verdict.statements.sizes(number))

    def _origin(self, number: int) -> str:
        return TopicPartition(self._topic.name, number).origin(self._bus.agreements.bus)


def first_difference(
    bus: Bus, copy: str, verified: ReplayCounts, leaves: range, end: int | None = None
) -> LeafDifference | None:
    """The first leaf of a range for which a copy has no message with the verified content.

    Args:
        bus: the source.
        copy: the name of the copy, whose messages need not be valid.
        verified: the partition of another copy, with its leaves.
        leaves: the range of leaf indexes; `verified` has all of them.
        end: the offset before which the messages of the copy are compared, if it was read before;
            None means its present end.
    """
    present, equal = bytearray(len(leaves)), bytearray(len(leaves))
    with bus.source.open_scan(TopicPartition(copy, verified.partition)) as scan:
        low, high = scan.bounds()
        if end is not None:
            high = max(low, min(end, high))  # messages may have been deleted meanwhile
        for chunk in scan.read(low, high):
            for each in map(parsed_or_none, chunk):
                if each is None or each.leaf_index not in leaves:
                    continue
                at = each.leaf_index - leaves.start
                present[at] = 1
                if each.leaf[:LEAF_BYTES] == verified.leaf(each.leaf_index):
                    equal[at] = 1
            if 0 not in equal:
                return None
    at = equal.find(0)
    if at < 0:
        return None
    is_missing, is_end = not present[at], 1 not in present[at:]
    return LeafDifference(verified.partition, leaves[at], is_missing, is_end)


def why_no_copy(topic: Topic, bus: str, partitions: Collection[ReplayCounts]) -> str:
    """Why the partitions that were read are no copy of the topic; an empty text if they may be one.

    Only the origins in the checkpoints are used. A copy without checkpoints may be an empty copy of
    the topic, and one with the right origins and invalid signatures may be a changed copy.

    Args:
        topic: the event topic.
        bus: the name of the bus.
        partitions: all partitions of the copy.
    """
    own = {
        each.partition: TopicPartition(topic.name, each.partition).origin(bus)
        for each in partitions
    }
    origins = {each.partition: each.origins for each in partitions}
    misplaced = {number for number, found in origins.items() if found and own[number] not in found}
    exchanged = {number for number in misplaced if _is_elsewhere(own[number], origins, misplaced)}
    if exchanged:
        places = (
            f"partition {each} has those of {_names(origins[each])}" for each in sorted(exchanged)
        )
        return f"no copy of {topic.name}: its partitions are exchanged, {', '.join(places)}"
    if misplaced and not any(own[number] in found for number, found in origins.items()):
        found = {each for number in misplaced for each in origins[number]}
        return f"no copy of {topic.name}: its checkpoints are of {_names(found)}"
    return ""


def _is_elsewhere(
    origin: str, origins: Mapping[int, Collection[str]], misplaced: Collection[int]
) -> bool:
    """Whether the origin is in other partitions, all of which lack their own origin."""
    places = {number for number, found in origins.items() if origin in found}
    return bool(places) and places <= set(misplaced)


def _names(origins: Iterable[str]) -> str:
    """The topic-partitions of the first origins, without the name of the bus."""
    found = sorted(each.partition("/")[2] or each for each in origins)
    return some(found, ", ")


def _first_difference(ours: ReplayCounts, theirs: ReplayCounts, end: int) -> int | None:
    """The index of the first leaf below `end` that differs, or None."""
    one, other = ours.leaves or b"", theirs.leaves or b""
    if one[: end * LEAF_BYTES] == other[: end * LEAF_BYTES]:
        return None
    return next(index for index in range(end) if ours.leaf(index) != theirs.leaf(index))


def valid_leaves(counts: ReplayCounts) -> str:
    """Which leaves of a broken partition are valid."""
    valid = "no leaf is valid"
    if counts.verified:
        is_or_are = "is" if counts.verified == 1 else "are"
        valid = f"{leaf_range(0, counts.verified)} {is_or_are} valid"
    return valid


def _place(counts: ReplayCounts) -> str:
    return f"partition {counts.partition}: {valid_leaves(counts)}"


def _found(difference: LeafDifference | None) -> str:
    """The difference of a copy ("here") from another copy ("there")."""
    if difference is None:
        return "no leaf differs, but their checkpoints do"
    if difference.is_missing:
        return f"leaf {difference.leaf} is missing here and present there"
    return f"leaf {difference.leaf} differs"


def _leaves(count: int) -> str:
    return counted(count, "leaf", "leaves")
