"""Judges the facts: what is halted, what waits, and for how long it may wait.

Short waits are no problem, for example while a batch is sealed or another relay takes over. A
minute is a problem: batches are sealed every 50 ms and materialised within seconds.

    problem   somebody has to do something, or will soon            (exit status 1)
    remark    worth knowing and no harm by itself                   (exit status 0)
    away      a service did not answer, so that it is unknown       (exit status 2)

The end of a topic may hold so many foreign messages that it is unknown whether the topic is whole.
Such messages cannot hide a certain problem: it is reported first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi.exit_status import ExitStatus
from sinergi.status import completeness, copies
from sinergi.status.problems import ProblemKind, StatusProblem
from sinergi_schemas.plain_text import counted
from sinergi_schemas.seal.heads import STALE_SECONDS
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import Topic, control_topic
from sinergi_schemas.zones import local_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi.status.facts import (
        Acknowledged,
        Away,
        Facts,
        PublishedTopic,
        PublisherFacts,
        ReaderFacts,
        ReadPartition,
        ReadTopic,
        Tree,
    )


@dataclass(frozen=True, slots=True)
class StatusVerdict:
    """The judgement of all facts, the worst first."""

    away: tuple[Away, ...]
    problems: tuple[StatusProblem, ...]
    remarks: tuple[str, ...]
    well: str

    @property
    def exit_status(self) -> ExitStatus:
        """SUCCESS if all is well, NEGATIVE if it is not, ERROR if it is unknown."""
        is_undecided = self.problems and all(
            each.kind is ProblemKind.UNDECIDED for each in self.problems
        )
        if self.away or is_undecided:
            return ExitStatus.ERROR
        return ExitStatus.NEGATIVE if self.problems else ExitStatus.SUCCESS

    @property
    def lines(self) -> list[str]:
        """The lines for an operator; the first line is the most important."""
        found = [*map(_unread, self.away), *(each.what for each in self.problems)]
        return [*(found or [self.well]), *(f"note: {each}" for each in self.remarks)]


def _unread(found: Away) -> str:
    """A line about a service that could not be read."""
    if found.answers:
        return f"{found.service} {found.where} cannot be read: {found.why}"
    # A client that reaches one of several brokers may need an answer from another one.
    several = f"at least one {found.service} of" if "," in found.where else found.service
    return f"{several} {found.where} is away: {found.why}"


def judge(facts: Facts, patience: float = DEFAULT.status.patience) -> StatusVerdict:
    """Judge the known facts; an unknown fact is neither well nor a problem.

    Args:
        patience: how long a row may wait for its seal, a leaf for the broker, and a message for the
            tables, in seconds.
    """
    problems = [StatusProblem(ProblemKind.SETTINGS, None, None, each) for each in facts.misplaced]
    problems += [StatusProblem(ProblemKind.INVALID, None, None, each) for each in facts.invalid]
    problems += completeness.unsigned(facts.unsigned, facts.agreements)
    problems += completeness.topics(facts)
    problems += copies.problems(facts.under_replicated)
    if facts.publishing:
        problems += _publishing(facts.publishing, patience)
    if facts.reading:
        problems += _reading(facts.reading, patience)
    order = list(ProblemKind)
    return StatusVerdict(
        facts.away,
        tuple(sorted(problems, key=lambda each: order.index(each.kind))),
        tuple(_remarks(facts)),
        _well(facts),
    )


def spoken(seconds: float) -> str:
    """A duration for people, as `12 s` or `3 h`."""
    for unit, length, until in (("s", 1, 100), ("min", 60, 100 * 60), ("h", 3600, 48 * 3600)):
        if seconds < until:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def _publishing(side: PublisherFacts, patience: float) -> Iterator[StatusProblem]:
    if not side.lease.is_held and side.topics:
        yield _no_relay(side)
    for each in side.topics:
        for tree in each.partitions:
            yield from completeness.sent(each, tree)
            yield from _foreign_writer(each, tree)
        if not side.lease.is_held:  # a leader may seal while the receipts are read
            yield from _restored(each)
        if side.lease.is_held:
            although = f"although {side.lease.holder} leads as relay: see its log"
            yield from _stuck(each, although, patience)
        for reason, count in each.held.items():
            what = f"{counted(count, 'row')} of {each.topic} held: {reason}"
            yield StatusProblem(ProblemKind.HELD, each.topic, None, what)


def _restored(topic: PublishedTopic) -> Iterator[StatusProblem]:
    """Partitions for which a reader's signed receipt has more leaves than this outbox."""
    sealed = {each.partition: each.sealed for each in topic.partitions}
    largest: dict[int, Acknowledged] = {}
    for each in topic.readers:
        known = largest.get(each.partition)
        if (each.size or 0) > (known.size or 0 if known else sealed.get(each.partition, 0)):
            largest[each.partition] = each
    for partition, each in sorted(largest.items()):
        shown = counted(each.size or 0, "leaf", "leaves")
        what = f"{each.reader} has {shown} of {topic.topic}/{partition} under your seal, and this"
        has = f"outbox has {sealed.get(partition, 0):,}"
        mend = "its database was restored from a backup; see `sinergi outbox recover`"
        yield StatusProblem(ProblemKind.RESTORED, topic.topic, partition, f"{what} {has}: {mend}")


def _foreign_writer(topic: PublishedTopic, tree: Tree) -> Iterator[StatusProblem]:
    """Somebody else writes to a topic of ours; readers skip it, but he should not be able to."""
    count = tree.shown.strays if tree.shown else 0
    if count:
        place = f"{topic.topic}/{tree.partition}"
        what = f"{counted(count, 'message')} near the end of {place} not sent by our own relay"
        mend = "somebody else can write there: let the operator run `sinergi provision rotate`"
        what = f"{what}; readers skip such messages. Unless a broker damaged them, {mend}"
        yield StatusProblem(ProblemKind.FOREIGN_WRITER, topic.topic, tree.partition, what)


def _no_relay(side: PublisherFacts) -> StatusProblem:
    waiting = [each for each in side.topics if each.waiting]
    until = side.lease.expires_at
    since = f" since {local_text(until)}" if until else ""
    if waiting:
        count = sum(each.waiting for each in waiting)
        names = _names([each.topic for each in waiting])
        what = f"{counted(count, 'row')} of {names} waiting for a relay, and none leads{since}"
    else:
        what = f"no relay runs{since}; nothing waits for one yet"
    return StatusProblem(
        ProblemKind.NO_RELAY,
        waiting[0].topic if len(waiting) == 1 else None,
        None,
        f"{what}: start `sinergi relay`",
    )


def _stuck(topic: PublishedTopic, although: str, patience: float) -> Iterator[StatusProblem]:
    if topic.oldest_unsealed_seconds > patience:
        what = f"{counted(topic.unsealed, 'row')} of {topic.topic} not sealed, the oldest waits for"
        age = spoken(topic.oldest_unsealed_seconds)
        yield StatusProblem(ProblemKind.UNSEALED, topic.topic, None, f"{what} {age}, {although}")
    for each in topic.partitions:
        if each.unsent_seconds > patience:
            count = counted(each.sealed - each.sent, "leaf", "leaves")
            what = f"{count} of {topic.topic}/{each.partition} sealed and not on the broker for"
            age = spoken(each.unsent_seconds)
            yield StatusProblem(
                ProblemKind.UNSENT, topic.topic, each.partition, f"{what} {age}, {although}"
            )


def _reading(side: ReaderFacts, patience: float) -> Iterator[StatusProblem]:
    states = [(topic, each) for topic in side.topics for each in topic.partitions]
    behind = [(topic, each) for topic, each in states if each.behind and not each.halt]
    if behind and side.workers == 0:
        count = counted(sum(each.behind or 0 for _, each in behind), "event")
        names = _names(sorted({topic.topic for topic, _ in behind}))
        what = (
            f"{count} of {names} waiting for a materialiser, and none is in the group {side.group}"
        )
        yield StatusProblem(
            ProblemKind.NO_MATERIALISER, None, None, f"{what}: start `sinergi materialise`"
        )
    elif side.workers == 0 and side.topics:
        # If a database or a topic was not read, it is unknown whether anything waits.
        is_idle = all(each.behind == 0 for _, each in states)
        idle = "; nothing waits for it yet" if is_idle else ""
        what = f"no materialiser is in the group {side.group}{idle}"
        yield StatusProblem(
            ProblemKind.NO_MATERIALISER, None, None, f"{what}: start `sinergi materialise`"
        )
    elif behind:
        for topic, each in behind:
            yield from _behind(topic, each, patience)
    if side.group_fault:
        what = f"others hold the group {side.group}: {side.group_fault}, so it is not known whether"
        mend = "let the brokers' operator end it, and give the group to this agency alone (ACLs)"
        whole = f"{what} a materialiser is in it: {mend}"
        yield StatusProblem(ProblemKind.FOREIGN_MEMBER, None, None, whole)
    for member in side.foreign:
        what = f"{member} is in the group {side.group} and is no materialiser of this agency"
        mend = "let the brokers' operator end it, and give the group to this agency alone (ACLs)"
        yield StatusProblem(ProblemKind.FOREIGN_MEMBER, None, None, f"{what}: {mend}")
    yield from _heads(side)
    for topic, each in states:
        yield from _broken(topic, each)


def _heads(side: ReaderFacts) -> Iterator[StatusProblem]:
    """Agencies whose newest heads are invalid or unknown."""
    for agency, topic in {Topic.parse(topic.topic).agency: topic for topic in side.topics}.items():
        if topic.heads_unread:
            at = f"those of {local_text(topic.heads_at)}" if topic.heads_at else "none of its heads"
            what = f"it is not known which heads {agency} has signed last: the newest messages of"
            left = f"{control_topic(agency)} show {at}, and {topic.heads_unread:,} older ones"
            mend = f"`sinergi replay {topic.topic}` reads all of them"
            whole = f"{what} {left} were not read; others may have written there. {mend}"
            yield StatusProblem(ProblemKind.UNDECIDED, None, None, whole)
        elif topic.heads_fault:
            what = f"the heads of {agency} cannot be verified: {topic.heads_fault}"
            yield StatusProblem(ProblemKind.HEADS, None, None, what)


def _behind(topic: ReadTopic, state: ReadPartition, patience: float) -> Iterator[StatusProblem]:
    seconds = state.seconds_behind
    if seconds is None or seconds <= patience:
        return
    worker = f"{state.worker} reads it: see its log" if state.worker else "no worker reads it"
    count = counted(state.behind or 0, "event")
    what = f"{count} of {topic.topic}/{state.partition} not in the tables for {spoken(seconds)}"
    yield StatusProblem(ProblemKind.BEHIND, topic.topic, state.partition, f"{what}; {worker}")


def _broken(topic: ReadTopic, state: ReadPartition) -> Iterator[StatusProblem]:
    place = f"{topic.topic}/{state.partition}"
    if state.halt:
        why = f"({state.halt.reason}): {state.halt.detail}"
        what = f"{place} is halted since {local_text(state.halt.since)} {why}"
        mend = "The materialiser looks at it again by itself"
        if state.halt.looks_at:
            mend = f"{mend}, next at {local_text(state.halt.looks_at)}"
        yield StatusProblem(ProblemKind.HALTED, topic.topic, state.partition, f"{what} {mend}.")
    yield from completeness.received(topic, state)
    if state.quarantined:
        reasons = ", ".join(f"{count:,} {each}" for each, count in state.quarantined.items())
        count = state.quarantined_events or max(state.quarantined.values())
        what = f"{counted(count, 'event')} of {place} in quarantine"
        mend = "`sinergi quarantine list` shows them"
        yield StatusProblem(
            ProblemKind.QUARANTINED, topic.topic, state.partition, f"{what} ({reasons}): {mend}"
        )


def _remarks(facts: Facts) -> Iterator[str]:
    for key in facts.unset:
        yield f"{key} is not set, though the agreements require it; that side is not shown"
    for each in facts.unknown:
        yield (
            f"{each.name} is left aside, since this version does not know the event type"
            f" {each.event_type}; install the version of Sinergi that has it"
        )
    yield from facts.publishing.unknown if facts.publishing else ()
    yield from facts.reading.unreadable if facts.reading else ()
    yield from facts.periods
    yield from completeness.remarks(facts)
    yield from _foreign_messages(facts)
    yield from _full_quarantines(facts)
    owners = {}
    for topic in facts.reading.topics if facts.reading else ():
        is_known = topic.heads_fault is None and not topic.heads_unread
        if topic.found is not None and is_known:
            owners[Topic.parse(topic.topic).agency] = topic.heads_at
    for agency, at in owners.items():
        if at is None:
            yield f"{agency} has never signed its heads with the key that it has now"
        elif (facts.at - at).total_seconds() > STALE_SECONDS:
            yield f"{agency} has signed no heads since {local_text(at)}: its relay is not running"


def _foreign_messages(facts: Facts) -> Iterator[str]:
    """Foreign messages; they are harmless, and cannot be removed."""
    for topic in facts.reading.topics if facts.reading else ():
        for state in topic.partitions:
            for each in state.strays:
                yield (
                    f"{counted(each.messages, 'message')} of {topic.topic}/{state.partition}"
                    f" skipped from offset {each.first_offset} on: {each.cause}"
                )


def _full_quarantines(facts: Facts) -> Iterator[str]:
    """Owners whose quota in quarantine is used up; no event is lost by that."""
    for each in facts.reading.rooms if facts.reading else ():
        if each.is_used_up:
            yield (
                f"quarantine keeps {each.kept:,} bytes of events of {each.owner} and has room for"
                f" {each.quota:,}; the bytes of further ones stay on the topic alone. Make room by"
                " `sinergi quarantine retry` or `sinergi quarantine discard`"
            )


def _well(facts: Facts) -> str:
    sides = []
    if facts.publishing:
        sides.append(f"{counted(len(facts.publishing.topics), 'topic')} published")
    if facts.reading:
        sides.append(f"{counted(len(facts.reading.topics), 'topic')} read")
    return f"all is well: {', '.join(sides)}"


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} topics"
