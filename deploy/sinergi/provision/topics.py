"""The topics that the agreements in force need, and what a cluster lacks of them.

`wanted` and `compare` decide; `cluster` asks the brokers and changes topics. A topic is made, or
its settings are mended. It is never deleted, and no partition is added, since that would move keys
to other partitions although their leaves are sealed in the old ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from sinergi_schemas import topics
from sinergi_schemas.agreements.replacement import ending
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.limits import MOST_BATCH_BYTES
from sinergi_schemas.near_names import did_you_mean
from sinergi_schemas.plain_text import counted, some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from sinergi_schemas.agreements.collection import Agreements

_REMEDY = "correct the agreement, or name the type with --unknown-type; "

# The broker's clock sets the timestamps, so that a producer cannot claim another time.
_ALL = {
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
    # A gzip batch may unpack to a thousand times its bytes, and every reader unpacks it at once: so
    # its bytes are limited, and with them what a reader needs.
    "max.message.bytes": str(MOST_BATCH_BYTES),
}
# No event is ever deleted: a seal covers all leaves from the first.
_EVENTS = _ALL | {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_LATEST_ONLY = _ALL | {"cleanup.policy": "compact"}


@dataclass(frozen=True, slots=True)
class WantedTopic:
    """A topic as it should be.

    Attributes:
        file: the agreement that says how many partitions it has.
        unknown_type: what is wrong with its event type, so that it is not created; else empty.
    """

    name: str
    partitions: int
    settings: Mapping[str, str]
    file: str = "the agreement"
    unknown_type: str = ""


@dataclass(frozen=True, slots=True)
class ExistingTopic:
    """A topic as it is."""

    partitions: int
    copies: int
    settings: Mapping[str, str]


class TopicAction(StrEnum):
    """What has to be done about a topic; one that waits is made once there are enough brokers."""

    OK = "ok"
    CREATE = "create"
    CHANGE = "change"
    REFUSED = "refused"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class TopicStep:
    """A topic, and what has to be done about it.

    Attributes:
        settings: those to set; for a new topic all of them.
    """

    topic: str
    verdict: TopicAction
    partitions: int
    copies: int
    settings: Mapping[str, str]
    what: str


def wanted(
    agreements: Agreements, at: datetime, unknown_types: Collection[str] = ()
) -> list[WantedTopic]:
    """The topics of the agreements in force: for events, control and receipts.

    An agency that publishes has a control topic, and one that reads has a topic for its receipts.

    Args:
        unknown_types: event types whose topics are created although this version lacks them.
    """
    known = {*Catalog.shipped().event_types, *unknown_types}
    events = agreements.topics(at)
    owners = {topic.agency for topic in events}
    readers = {reader for topic in events for reader in agreements.readers(topic, at)}
    found = [
        WantedTopic(
            topic.name,
            agreements.partitions(topic),
            _EVENTS,
            agreements.file_of(topic),
            "" if topic.event_type in known else _unknown(topic.event_type, _REMEDY),
        )
        for topic in events
    ]
    found += [WantedTopic(topics.control_topic(owner), 1, _LATEST_ONLY) for owner in owners]
    found += [WantedTopic(topics.receipts_topic(reader), 1, _LATEST_ONLY) for reader in readers]
    return sorted(found, key=lambda each: each.name)


def remarks(agreements: Agreements, at: datetime) -> list[str]:
    """What is odd about the agreements, and which of them are not in force."""
    events = agreements.topics(at)
    remarks = []
    for each in sorted(agreements, key=lambda each: str(each.path)):
        left, why = {*each.topics()} - {*events}, each.why_not_in_force(at)
        if left and why:
            names = some(sorted(topic.name for topic in left), ", ")
            remarks.append(f"{why}, and no other file has {names}: no right on it is given now")
    remarks += ending(tuple(agreements), at)
    if not events:
        remarks.insert(0, "no agreement is in force now, so no topic is wanted")
    known = Catalog.shipped().event_types
    unknown = sorted({topic.event_type for topic in events} - {*known})
    return remarks + [_unknown(name) for name in unknown]


def unagreed_types(agreements: Agreements, names: Iterable[str]) -> list[str]:
    """A line for each name that is no event type of an agreement, since it may be misspelt."""
    agreed = {topic.event_type for each in agreements for topic in each.topics()}
    return [
        f"no agreement has the event type {name!r}; {did_you_mean(name, agreed)}"
        for name in names
        if name not in agreed
    ]


def _unknown(event_type: str, remedy: str = "") -> str:
    hint = did_you_mean(event_type, Catalog.shipped().event_types)
    what = f"{event_type} is no event type of this version, so nobody can publish it"
    return f"{what}; {remedy}{hint}"


def compare(
    want: Iterable[WantedTopic], found: Mapping[str, ExistingTopic], copies: int
) -> list[TopicStep]:
    """What has to be done, topic by topic.

    Args:
        copies: of each partition of a new topic; an existing topic keeps its own count.
    """
    return [_step(each, found.get(each.name), copies) for each in want]


def deleting_settings(settings: Mapping[str, str], *, has_events: bool) -> list[str]:
    """The settings of a topic by which brokers delete messages that have to stay.

    Args:
        has_events: of a control or receipts topic, they may delete what a newer message replaces.
    """
    policy = {each.strip() for each in settings.get("cleanup.policy", "").split(",")}
    found = []
    if "compact" in policy and has_events:
        found.append(f"cleanup.policy {settings['cleanup.policy']}")
    if "delete" in policy:
        found += [
            f"{key} {settings[key]}"
            for key in ("retention.ms", "retention.bytes")
            if settings.get(key, "-1") != "-1"
        ]
    return found


def _step(want: WantedTopic, found: ExistingTopic | None, copies: int) -> TopicStep:
    if found is None and want.unknown_type:
        return TopicStep(
            want.name, TopicAction.REFUSED, want.partitions, copies, {}, want.unknown_type
        )
    if found is None:
        settings = {**want.settings, **_insync(copies)}
        what = f"{counted(want.partitions, 'partition')}, {counted(copies, 'copy', 'copies')}"
        return TopicStep(want.name, TopicAction.CREATE, want.partitions, copies, settings, what)
    there = f"it has {counted(found.partitions, 'partition')} where {want.partitions}"
    there = f"{there} {'is' if want.partitions == 1 else 'are'} wanted"
    if found.partitions < want.partitions:
        alter = f"kafka-topics --alter --topic {want.name} --partitions {want.partitions}"
        other = f"or {want.file} is not the agreement of this bus: ask another party for theirs"
        what = f"{there}; {other}. Only if it is, let the brokers' operator add the missing ones,"
        what = f"{what} for Kafka cannot remove them again: `{alter}`"
        return TopicStep(want.name, TopicAction.REFUSED, found.partitions, found.copies, {}, what)
    settings = {**want.settings, **_insync(found.copies)}
    differing = {key: value for key, value in settings.items() if found.settings.get(key) != value}
    what = ", ".join(f"{key} {found.settings.get(key)} → {differing[key]}" for key in differing)
    if found.partitions > want.partitions:
        aside = f"{there}; the further ones are left aside, and nothing has to be done about them"
        what = f"{what}; {aside}" if what else aside
    if found.copies < copies:
        few = f"it has {counted(found.copies, 'copy', 'copies')} where {copies} are usual; more are"
        few = f"{few} made with kafka-reassign-partitions"
        what = f"{what}; {few}" if what else few
    verdict = TopicAction.CHANGE if differing else TopicAction.OK
    return TopicStep(want.name, verdict, found.partitions, found.copies, differing, what)


def waiting(steps: Iterable[TopicStep], brokers: int) -> list[TopicStep]:
    """The same steps, in which a topic waits that would get more copies than there are brokers.

    Args:
        brokers: how many there are now; the others may only be starting.
    """
    return [_waiting(each, brokers) for each in steps]


def _waiting(step: TopicStep, brokers: int) -> TopicStep:
    if step.verdict is not TopicAction.CREATE or step.copies <= brokers:
        return step
    what = f"it gets {counted(step.copies, 'copy', 'copies')}, and the cluster has"
    what = f"{what} {counted(brokers, 'broker')} now: start the others, or say how many copies"
    what = f"{what} there are to be with `replication` under [provision]"
    return replace(step, verdict=TopicAction.WAITING, settings={}, what=what)


def _insync(copies: int) -> dict[str, str]:
    """How many copies must have a message before it counts as written: all but one."""
    return {"min.insync.replicas": str(max(1, copies - 1))}
