"""Judges whether topics are complete: what their ends, their beginnings and their lengths show.

    end         fewer leaves than the owner has signed, or were verified here: it was cut off
    length      fewer messages than leaves: each message has one leaf at most, so some are missing
    beginning   no message claims leaf 0: the first ones are missing

Only ends are read. Foreign messages, and leaves that were sent again can fill a hole up to the
length, so that only a replay finds it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from sinergi.status.problems import ProblemKind, StatusProblem
from sinergi_schemas.kafka.partitions import added
from sinergi_schemas.plain_text import counted
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sinergi.status.facts import (
        Facts,
        PublishedTopic,
        ReadPartition,
        ReadTopic,
        ShownLeaves,
        Tree,
    )

# A relay that starts finds that the end or the first leaves are missing, and no other hole.
_RESTART = "end `sinergi relay` and start it again: it sends what is missing again"
_CREATE_AGAIN = (
    "end `sinergi relay`, let the topic be deleted and created again, and start the relay, which"
    " sends everything again"
)
_OWNER = "its owner has to send the missing leaves again"


def topics(facts: Facts) -> Iterator[StatusProblem]:
    """Topics that the broker lacks, and those with too few partitions.

    A topic that no agreement in force covers may be missing: it is made when one does. If it is
    known to have had leaves, it was deleted.
    """
    missing: list[str] = []
    for topic in _all(facts):
        if topic.found is None or topic.found >= topic.agreed:
            continue
        if topic.found:
            found = counted(topic.found, "partition")
            what = (
                f"{topic.topic} has {found} where the agreement says {topic.agreed}: let the"
                " brokers' operator add the missing ones"
            )
            yield StatusProblem(ProblemKind.TOPIC, topic.topic, None, what)
        elif topic.most_known and not topic.is_in_force:
            known = counted(topic.most_known, "leaf", "leaves")
            what = f"{topic.topic} is not on the broker, and had {known} in a partition: restore it"
            yield StatusProblem(ProblemKind.TOPIC, topic.topic, None, what)
        elif topic.is_in_force:
            missing.append(topic.topic)
    missing += facts.publishing.missing if facts.publishing else ()
    missing += facts.reading.missing if facts.reading else ()
    if missing:
        names = ", ".join(missing[:3])
        more = f" and {len(missing) - 3:,} more topics" if len(missing) > 3 else ""
        are = "is" if len(missing) == 1 else "are"
        what = f"{names}{more} {are} not on the broker: run `sinergi provision apply`"
        one = missing[0] if len(missing) == 1 else None
        yield StatusProblem(ProblemKind.TOPIC, one, None, what)


def unsigned(topics: Sequence[str], agreements: str) -> Iterator[StatusProblem]:
    """Topics whose checkpoints are all under keys that the agreements do not have.

    Args:
        agreements: their folder.
    """
    if topics:
        names, have = (topics[0], "has") if len(topics) == 1 else (f"{len(topics)} topics", "have")
        what = f"{names} {have} messages, but no checkpoint under a key in the agreements"
        hint = f"in {agreements}: the folder is the wrong one, or lacks the newest agreement"
        one = topics[0] if len(topics) == 1 else None
        yield StatusProblem(ProblemKind.AGREEMENTS, one, None, f"{what} {hint}")


def sent(topic: PublishedTopic, tree: Tree) -> Iterator[StatusProblem]:
    """Whether a topic of this agency still has what its relay has sent."""
    shown, tp = tree.shown, TopicPartition(topic.topic, tree.partition)
    if shown is None or not tree.sent:
        return
    count = counted(shown.leaves, "leaf", "leaves")
    where = f" where the broker has confirmed {tree.sent:,}"
    if not shown.is_complete:
        yield _undecided(tp, count, where)
    elif shown.leaves < tree.sent:
        what = f"{tp} shows {count}{where}: its end was cut off, or is being sent again"
        yield _cut(tp, f"{what}; {_RESTART}")
    yield from _holes(tp, shown, _RESTART if shown.first_leaf != 0 else _CREATE_AGAIN)


def received(topic: ReadTopic, state: ReadPartition) -> Iterator[StatusProblem]:
    """Partitions with fewer leaves than their owners signed, or than were verified here."""
    tp = TopicPartition(topic.topic, state.partition)
    signed = state.signed or 0
    known = max(signed, state.highest)
    where = "" if not known else f" where its owner signed {known:,}"
    if signed < known:
        where = f" where this database has verified {known:,} under its owner's seal"
    if state.available is not None and state.available < known:
        what = f"{tp} shows {counted(state.available, 'leaf', 'leaves')}{where}"
        yield _cut(tp, f"{what}: its end was cut off, or is being sent again")
    if state.at_least is not None:
        yield _undecided(tp, counted(state.at_least, "leaf", "leaves"), where)
    if state.shown:
        yield from _holes(tp, state.shown, _OWNER)


def remarks(facts: Facts) -> Iterator[str]:
    """Topics that may lack their first leaves, and topics with partitions that are not agreed."""
    yield from _not_made(facts)
    for topic in _all(facts):
        if topic.found and topic.agreed:
            # They are harmless, and cannot be removed.
            why = added(topic.topic, topic.found, topic.agreed)
            if why:
                yield why
        for each in topic.partitions:
            shown = each.shown
            if shown and shown.first_leaf != 0 and not (shown.missing or shown.is_searched):
                first = "no leaf" if shown.first_leaf is None else f"leaf {shown.first_leaf:,}"
                yield (
                    f"{topic.topic}/{each.partition} begins with {first} and not with leaf 0: only"
                    f" `sinergi replay {topic.topic}` finds whether the first leaves are missing or"
                    " were sent again later"
                )


def _not_made(facts: Facts) -> Iterator[str]:
    """Topics that do not exist because no agreement on them is in force.

    Each line names the agreement, and when it comes into force or when it ended.
    """
    by_reason: dict[str, list[str]] = defaultdict(list)
    for each in _all(facts):
        if each.found == 0 and each.topic in facts.not_in_force and not each.most_known:
            by_reason[facts.not_in_force[each.topic]].append(each.topic)
    for why, names in sorted(by_reason.items()):
        if len(names) == 1:
            is_it = f"{names[0]} is not on the broker, since no agreement on it"
        else:
            is_it = f"{len(names):,} topics are not on the broker, since no agreement on them"
        yield f"{is_it} is in force: {why}"


def _holes(tp: TopicPartition, shown: ShownLeaves, mend: str) -> Iterator[StatusProblem]:
    """Leaves that are missing before the end; foreign messages cannot cause a false report."""
    if shown.missing:
        count = counted(shown.leaves, "leaf", "leaves")
        what = f"{tp} lacks {shown.missing:,} of {count}: it has only"
        found = counted(shown.messages, "message")
        named = f"`sinergi replay {tp.topic}` names the first missing one"
        yield _cut(tp, f"{what} {found}; {named}; {mend}")
    elif shown.first_leaf and shown.is_searched:
        first = counted(shown.first_leaf, "leaf", "leaves")
        yield _cut(tp, f"{tp} lacks its first {first}: {mend}")


def _cut(tp: TopicPartition, what: str) -> StatusProblem:
    return StatusProblem(ProblemKind.CUT, tp.topic, tp.partition, what)


def _undecided(tp: TopicPartition, shown: str, where: str) -> StatusProblem:
    what = f"it is not known whether {tp} is complete: its last messages show {shown}{where}"
    why = "others have written there, or its end was cut off or is being sent again"
    mend = f"`sinergi replay {tp.topic}` reads all of it"
    return StatusProblem(ProblemKind.UNDECIDED, tp.topic, tp.partition, f"{what}; {why}. {mend}")


def _all(facts: Facts) -> Iterable[PublishedTopic | ReadTopic]:
    yield from facts.publishing.topics if facts.publishing else ()
    yield from facts.reading.topics if facts.reading else ()
