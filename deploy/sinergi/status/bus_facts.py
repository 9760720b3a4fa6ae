"""Reads the facts that the brokers have: what the topics show, and what agencies have signed.

The order matters where two sources are compared. The tables are read before the topics, and an
owner's heads before its topics, so that a topic never seems to hold less only because it grew
meanwhile.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sinergi.status.acknowledged import acknowledged
from sinergi.status.broker import Broker, ExpectedLeaves
from sinergi.status.copies import under_replicated
from sinergi.status.databases import PositionRow
from sinergi_producers.relay.sealing import TreeKey
from sinergi_schemas import errors
from sinergi_schemas.kafka.unreadable import UnreadableCounts
from sinergi_schemas.topics import Topic, TopicPartition, control_topic, receipts_topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from sinergi.status.broker import BrokerTopic
    from sinergi.status.copies import UnderReplicatedTopic
    from sinergi.status.databases import ConsumerRows, ProducerRows
    from sinergi.status.facts import Acknowledged, ShownLeaves
    from sinergi.status.signed_heads import FoundHeads
    from sinergi_consumers.reading.position import TopicIncarnation
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection


@dataclass(frozen=True, slots=True)
class BusFacts:
    """The facts from the brokers.

    Attributes:
        found: the topics that exist.
        shown: what each topic-partition shows, of those that exist and are agreed.
        heads: by agency.
        signed: the leaves that heads state.
        missing_since: when the broker got the first message that the tables lack.
        readers: how far the readers of our topics are.
        unknown: what could not be found out, and why.
        lacking: our control and receipts topics that do not exist, as far as they are needed.
        unreadable: batches of control topics that cannot be read, a line each.
    """

    found: Mapping[str, BrokerTopic]
    shown: Mapping[TopicPartition, ShownLeaves]
    heads: Mapping[str, FoundHeads]
    signed: Mapping[TopicPartition, int]
    missing_since: Mapping[TopicPartition, datetime | None]
    readers: Mapping[Topic, Sequence[Acknowledged]]
    unknown: Sequence[str]
    lacking: AbstractSet[str]
    unreadable: Sequence[str]

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has on the broker; 0 if it is missing."""
        found = self.found.get(topic)
        return found.partitions if found else 0

    @property
    def under_replicated(self) -> tuple[UnderReplicatedTopic, ...]:
        """Topics of which some partitions have fewer copies in sync than they shall."""
        return tuple(under_replicated((name, each.copies) for name, each in self.found.items()))

    @property
    def unsigned(self) -> tuple[str, ...]:
        """Topics with checkpoints of which none is under a key in the agreements.

        Anybody who may write to a topic can put a false checkpoint into an empty one. If its
        owner has signed heads, the keys in the agreements are the right ones.
        """
        names = {tp.topic for tp, each in self.shown.items() if each.is_unsigned}
        with_heads = {agency for agency, each in self.heads.items() if each.heads}
        return tuple(each for each in sorted(names) if Topic.parse(each).agency not in with_heads)


@dataclass(frozen=True, slots=True)
class WantedFacts:
    """The topics and groups to ask the brokers about.

    Attributes:
        agency: ours.
        own, others: the topics that it publishes and reads, with the agreed partitions.
        sent, stored: what our databases hold, as far as they are available.
        now: the time.
    """

    agency: str
    own: Mapping[str, int]
    others: Mapping[str, int]
    sent: ProducerRows | None
    stored: ConsumerRows | None
    now: datetime

    @property
    def owners(self) -> list[str]:
        """The owners of the topics that it reads."""
        return sorted({Topic.parse(each).agency for each in self.others})


class BusLogins(NamedTuple):
    """How this agency logs in: as producer to read its own topics, as consumer to read others'.

    They are one connection if both have the same principal.
    """

    producer: Connection
    consumer: Connection


def read_bus(
    logins: BusLogins, agreements: Agreements, wanted: WantedFacts, silent_seconds: float
) -> BusFacts:
    """Ask the brokers.

    Args:
        silent_seconds: see `RangeReader`.

    Raises:
        SinergiError: see `sinergi_schemas.kafka.faults.translate`.
    """
    with ExitStack() as stack:
        broker = stack.enter_context(closing(Broker(logins.consumer, silent_seconds)))
        own_broker = broker
        if logins.producer is not logins.consumer:
            own_broker = stack.enter_context(closing(Broker(logins.producer, silent_seconds)))
        controls = [control_topic(each) for each in wanted.owners]
        found = own_broker.topics(wanted.own) | broker.topics([*wanted.others, *controls])
        theirs = _read_topics(broker, agreements, wanted, found, wanted.others)
        missing_since: dict[TopicPartition, datetime | None] = {}
        for tp, leaves in theirs.shown.items():
            at = _lowest(wanted.stored, tp, found[tp.topic].incarnation)
            if wanted.stored and leaves.is_complete and at.tree_size < leaves.leaves:
                offsets = theirs.offsets[tp]
                missing_since[tp] = broker.first_at(tp, offsets, at.tree_size, at.next_offset)
        published = [Topic.parse(each) for each in wanted.own]
        readers, unknown, _ = acknowledged(logins.producer, agreements, published, silent_seconds)
        try:
            ours = _read_topics(own_broker, agreements, wanted, found, wanted.own)
        except (errors.NotPermitted, errors.TopicAway) as why:
            ours = _ReadTopics()
            unknown = [*unknown, f"whether the published topics are complete is not known: {why}"]
        needed = {control_topic(wanted.agency): own_broker} if wanted.own else {}
        needed |= {receipts_topic(wanted.agency): broker} if wanted.others else {}
        return BusFacts(
            found,
            {**ours.shown, **theirs.shown},
            theirs.heads,
            theirs.signed,
            missing_since,
            readers,
            unknown,
            frozenset(each for each in needed if _is_lacking(needed[each], each)),
            theirs.unreadable,
        )


def _is_lacking(broker: Broker, topic: str) -> bool:
    """Whether a topic does not exist. If we may not describe it, it counts as existing."""
    try:
        return topic not in broker.topics([topic])
    except errors.NotPermitted:
        return False


@dataclass(frozen=True, slots=True)
class _ReadTopics:
    """What was read of some topics, and of the heads of their owners."""

    heads: Mapping[str, FoundHeads] = field(default_factory=dict)
    signed: Mapping[TopicPartition, int] = field(default_factory=dict)
    offsets: Mapping[TopicPartition, range] = field(default_factory=dict)
    shown: Mapping[TopicPartition, ShownLeaves] = field(default_factory=dict)
    unreadable: Sequence[str] = ()


def _read_topics(
    broker: Broker,
    agreements: Agreements,
    wanted: WantedFacts,
    found: Mapping[str, BrokerTopic],
    counts: Mapping[str, int],
) -> _ReadTopics:
    controls = {
        agency: TopicPartition(control_topic(agency), 0)
        for agency in wanted.owners
        if counts is wanted.others and control_topic(agency) in found
    }
    heads = broker.heads(agreements, controls, wanted.now)
    unreadable = UnreadableCounts()
    unreadable.add(broker.drain_unreadable())
    signed = {
        TopicPartition(each.topic, each.partition): each.size
        for of in heads.values()
        for each in (of.heads.heads if of.heads else ())
    }
    # After the heads: the topics held by then what the heads state.
    offsets = broker.bounds(
        TopicPartition(name, number)
        for name, count in counts.items()
        if name in found
        for number in range(min(count, found[name].partitions))
    )
    known = {tp: _known(wanted, tp, found[tp.topic].incarnation, signed) for tp in offsets}
    shown = broker.leaves(agreements, offsets, known)
    return _ReadTopics(heads, signed, offsets, shown, unreadable.remarks)


def _lowest(
    stored: ConsumerRows | None, tp: TopicPartition, incarnation: TopicIncarnation
) -> PositionRow:
    """The least advanced position, with an offset only if it is valid at `incarnation`."""
    rows = stored.positions.get(tp, {}).values() if stored else ()
    least = min(rows, key=lambda each: each.tree_size, default=PositionRow(0, None, None))
    return least if least.incarnation == incarnation else least._replace(next_offset=None)


def _known(
    wanted: WantedFacts,
    tp: TopicPartition,
    incarnation: TopicIncarnation,
    signed: Mapping[TopicPartition, int],
) -> ExpectedLeaves:
    """The leaves that its owner has signed or sent, or that were verified here."""
    topic = tp.event_topic
    if topic.agency == wanted.agency:
        trees = wanted.sent.trees if wanted.sent else {}
        tree = trees.get(TreeKey(topic.event_type, tp.partition))
        return ExpectedLeaves(max(tree.sent if tree else 0, signed.get(tp, 0)), None)
    rows = wanted.stored.positions.get(tp, {}).values() if wanted.stored else ()
    leaves = max((each.tree_size for each in rows), default=0)
    here = (
        each.next_offset for each in rows if each.incarnation == incarnation and each.next_offset
    )
    return ExpectedLeaves(max(leaves, signed.get(tp, 0)), max(here, default=None))
