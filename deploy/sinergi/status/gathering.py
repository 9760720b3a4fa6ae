"""Reads the facts about an agency from its two databases and the brokers, as far as they answer.

The order matters where two sources are compared. The tables are read before the topics, and an
owner's heads before its topics, so that a topic never seems to hold less only because it grew
meanwhile.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from sinergi.settings.settings import masked
from sinergi.status import databases
from sinergi.status.acknowledged import acknowledged
from sinergi.status.broker import Broker, ConsumerGroup, ExpectedLeaves
from sinergi.status.databases import PositionRow, TreeRow, WaitingRows
from sinergi.status.facts import (
    Away,
    Facts,
    FactSource,
    PublishedTopic,
    PublisherFacts,
    QuarantineUse,
    ReaderFacts,
    ReadPartition,
    ReadTopic,
    Tree,
)
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import from_posix_time
from sinergi_schemas.kafka.unreadable import UnreadableCounts
from sinergi_schemas.topics import Topic, TopicPartition, control_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from sinergi.settings.settings import Settings
    from sinergi.status.broker import BrokerTopic, Shown
    from sinergi.status.databases import ConsumerRows, ProducerRows
    from sinergi.status.facts import Acknowledged
    from sinergi_consumers.reading.position import TopicIncarnation
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.seal.heads import SignedHeads


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Topics:
    """The facts of all topics from the brokers; `heads` and `faults` are by agency."""

    found: Mapping[str, BrokerTopic]
    shown: Mapping[TopicPartition, Shown]
    heads: Mapping[str, SignedHeads | None]
    faults: Mapping[str, str]
    missing_since: Mapping[TopicPartition, datetime | None]
    group: ConsumerGroup
    readers: Mapping[Topic, Sequence[Acknowledged]]
    unknown: Sequence[str]
    unreadable: Sequence[str]


def gather(settings: Settings, clock: Clock) -> Facts:
    """Read all sources; a source that does not answer is reported as away.

    Raises:
        SettingsRefused: the agency or the broker is not set, or neither database is.
        AgreementRefused: the agreements cannot be used.
    """
    values = settings.values
    if values.producer.database is None and values.consumer.database is None:
        _ = settings.consumer_database
    agreements = settings.agreements()
    settings.check_party(agreements)
    return _Gathering(settings, agreements, settings.connection(), clock).facts()


@dataclass(slots=True)
class _Gathering:
    settings: Settings
    agreements: Agreements
    connection: Connection
    clock: Clock
    away: list[Away] = field(default_factory=list)

    def facts(self) -> Facts:
        agency, values = self.settings.agency, self.settings.values
        known = Catalog.shipped().event_types
        published, read = self.agreements.published_by(agency), self.agreements.read_by(agency)
        own = _counts(self.agreements, published)
        others = _counts(self.agreements, (each for each in read if each.event_type in known))
        producer, consumer = values.producer.database, values.consumer.database
        sent = producer and self._look(FactSource.PRODUCER, producer, databases.producer_rows, own)
        stored = consumer and self._look(
            FactSource.CONSUMER, consumer, databases.consumer_rows, others
        )
        reads = bool(consumer and (others or stored))
        topics = self._ask(
            FactSource.BROKER,
            self.connection.bootstrap,
            lambda _: self._topics(own, others if reads else {}, stored or None),
        )
        now = self.clock.now()
        wanted = {"producer.database": own, "consumer.database": others}
        given = {"producer.database": producer, "consumer.database": consumer}
        return Facts(
            agency,
            now,
            _publishing(agency, own, sent, topics, now) if sent else None,
            self._reading(others, stored or None, topics, now) if reads else None,
            tuple(self.away),
            tuple(key for key, names in wanted.items() if names and not given[key]),
            tuple(each for each in (*published, *read) if each.event_type not in known),
            (*(sent.invalid if sent else ()), *(stored.invalid if stored else ())),
            _lapses(self.agreements, (*published, *read), now),
        )

    def _reading(
        self,
        counts: Mapping[str, int],
        stored: ConsumerRows | None,
        topics: _Topics | None,
        now: datetime,
    ) -> ReaderFacts:
        quota = self.settings.values.consumer.quarantine_bytes
        kept = sorted(stored.quarantined_bytes.items()) if stored else ()
        uses = tuple(QuarantineUse(owner, size, quota) for owner, size in kept)
        return replace(_reading(self._group, counts, stored, topics, now), rooms=uses)

    @property
    def _group(self) -> str:
        return f"{self.settings.agency}.{self.settings.consumer_name}"

    def _look(
        self, service: FactSource, url: str, question: Callable[[str], T], topics: Mapping[str, int]
    ) -> T | None:
        """Read a database. A database without topics may be missing.

        `sinergi init` names the agency's database for both sides.
        """
        if topics:
            return self._ask(service, url, question)
        try:
            return question(url)
        except (errors.TablesMissing, errors.DatabaseAway):
            return None

    def _ask(self, service: FactSource, where: str, question: Callable[[str], T]) -> T | None:
        try:
            return question(where)
        except errors.SinergiError as why:
            answers = not isinstance(why, errors.ServiceAway)
            self.away.append(Away(service, str(masked(where)), _plainly(why), answers))
            return None

    def _topics(
        self,
        own: Mapping[str, int],
        others: Mapping[str, int],
        stored: ConsumerRows | None,
    ) -> _Topics:
        silent_seconds = self.settings.values.timeouts.status.silence
        with closing(Broker(self.connection, silent_seconds)) as broker:
            owners = sorted({Topic.parse(each).agency for each in others})
            controls = {each: TopicPartition(control_topic(each), 0) for each in owners}
            found = broker.topics([*own, *others, *(name for name, _ in controls.values())])
            notes = broker.heads_notes(
                broker.bounds(each for each in controls.values() if each.topic in found)
            )
            unreadable = UnreadableCounts()
            unreadable.add(broker.drain_unreadable())
            wanted_tps = [
                TopicPartition(name, number)
                for name, count in others.items()
                if name in found
                for number in range(min(count, found[name].partitions))
            ]
            # After the heads: the topics held by then what the heads state.
            bounds = broker.bounds(wanted_tps)
            heads: dict[str, SignedHeads | None] = {}
            faults: dict[str, str] = {}
            for agency, control in controls.items():
                try:
                    heads[agency] = broker.heads(self.agreements, agency, notes.get(control, ()))
                except errors.SealBroken as why:
                    faults[agency] = str(why)
            signed: dict[TopicPartition, int] = {}
            for stated in heads.values():
                signed |= _signed_sizes(stated)
            known = {
                each: _known(stored, each, found[each.topic].incarnation, signed) for each in bounds
            }
            shown = broker.leaves(self.agreements, bounds, known)
            missing_since: dict[TopicPartition, datetime | None] = {}
            for each, leaves in shown.items():
                at = _lowest(stored, each, found[each.topic].incarnation)
                if stored and leaves.is_complete and at.tree_size < leaves.leaves:
                    missing_since[each] = broker.first_at(
                        each, bounds[each], at.tree_size, at.next_offset
                    )
            readers, unknown = acknowledged(
                self.connection, self.agreements, (Topic.parse(each) for each in own)
            )
            group = broker.group(self._group) if others else ConsumerGroup(0, {})
            statements = readers, unknown, unreadable.remarks
            return _Topics(found, shown, heads, faults, missing_since, group, *statements)


def _lowest(
    stored: ConsumerRows | None, tp: TopicPartition, incarnation: TopicIncarnation
) -> PositionRow:
    """The least advanced position, with an offset only if it is valid at `incarnation`."""
    rows = stored.positions.get(tp, {}).values() if stored else ()
    least = min(rows, key=lambda each: each.tree_size, default=PositionRow(0, None, None))
    return least if least.incarnation == incarnation else least._replace(next_offset=None)


def _known(
    stored: ConsumerRows | None,
    tp: TopicPartition,
    incarnation: TopicIncarnation,
    signed: Mapping[TopicPartition, int],
) -> ExpectedLeaves:
    """The size that the owner has signed, and the size that was verified here."""
    rows = stored.positions.get(tp, {}).values() if stored else ()
    leaves = max((each.tree_size for each in rows), default=0)
    here = (
        each.next_offset for each in rows if each.incarnation == incarnation and each.next_offset
    )
    return ExpectedLeaves(max(leaves, signed.get(tp, 0)), max(here, default=None))


def _publishing(
    agency: str,
    counts: Mapping[str, int],
    rows: ProducerRows,
    topics: _Topics | None,
    now: datetime,
) -> PublisherFacts:
    known = {name for name, _ in rows.trees} | {*rows.live} | {*rows.history} | {*rows.held}
    names = sorted({*counts, *(Topic(agency, each).name for each in known)})
    published = (_published(each, counts.get(each, 0), rows, topics, now) for each in names)
    unknown = tuple(topics.unknown) if topics else ()
    return PublisherFacts(rows.lease, tuple(published), unknown)


def _published(
    name: str, agreed: int, rows: ProducerRows, topics: _Topics | None, now: datetime
) -> PublishedTopic:
    event_type = Topic.parse(name).event_type
    live = rows.live.get(event_type, WaitingRows(0, None))
    trees = {number: tree for (of, number), tree in rows.trees.items() if of == event_type}
    numbers = sorted({*range(agreed), *trees})
    return PublishedTopic(
        name,
        agreed,
        _partitions(topics, name),
        live.rows,
        rows.history.get(event_type, WaitingRows(0, None)).rows,
        live.oldest_at,
        _age(live.oldest_at, now),
        rows.held.get(event_type, {}),
        tuple(_tree(each, trees.get(each, TreeRow(0, 0, None)), now) for each in numbers),
        tuple(topics.readers.get(Topic.parse(name), ())) if topics else (),
    )


def _tree(number: int, row: TreeRow, now: datetime) -> Tree:
    return Tree(number, row.sealed, row.sent, _age(row.unsent_since, now))


def _reading(
    group: str,
    counts: Mapping[str, int],
    stored: ConsumerRows | None,
    topics: _Topics | None,
    now: datetime,
) -> ReaderFacts:
    seen = {*stored.positions, *stored.quarantined, *stored.halts} if stored else set()
    found = seen | {(name, number) for name, count in counts.items() for number in range(count)}
    read = []
    for name in sorted({name for name, _ in found}):
        agency = Topic.parse(name).agency
        heads = topics.heads.get(agency) if topics else None
        numbers = sorted(number for of, number in found if of == name)
        read.append(
            ReadTopic(
                name,
                counts.get(name, 0),
                _partitions(topics, name),
                from_posix_time(heads.posix_time) if heads else None,
                topics.faults.get(agency) if topics else None,
                tuple(
                    _read_partition(TopicPartition(name, each), stored, topics, heads, now)
                    for each in numbers
                ),
            )
        )
    workers, foreign = (topics.group.members, topics.group.foreign) if topics else (None, ())
    unreadable = tuple(topics.unreadable) if topics else ()
    return ReaderFacts(group, workers, tuple(read), foreign=foreign, unreadable=unreadable)


def _read_partition(
    tp: TopicPartition,
    stored: ConsumerRows | None,
    topics: _Topics | None,
    heads: SignedHeads | None,
    now: datetime,
) -> ReadPartition:
    shown = topics.shown.get(tp) if topics else None
    signed = _signed_sizes(heads)
    materialised = None
    if stored:
        rows = stored.positions.get(tp, {})
        materialised = {name: row.tree_size for name, row in rows.items()}
    found = ReadPartition(
        tp.partition,
        shown.leaves if shown and shown.is_complete else None,
        signed.get(tp),
        materialised,
        None,
        topics.group.hosts.get(tp) if topics else None,
        stored.quarantined.get(tp, {}) if stored else None,
        stored.halts.get(tp) if stored else None,
        tuple(stored.strays.get(tp, ())) if stored else (),
        stored.quarantined_events.get(tp, 0) if stored else None,
        shown.leaves if shown and not shown.is_complete else None,
    )
    if found.behind and topics:
        since = topics.missing_since.get(tp)
        return replace(found, seconds_behind=None if since is None else _age(since, now))
    return replace(found, seconds_behind=None if found.behind is None else 0.0)


def _signed_sizes(heads: SignedHeads | None) -> dict[TopicPartition, int]:
    """The size of each tree that signed heads state."""
    stated = heads.heads if heads else ()
    return {TopicPartition(each.topic, each.partition): each.size for each in stated}


def _counts(agreements: Agreements, topics: Iterable[Topic]) -> dict[str, int]:
    return {each.name: agreements.partitions(each) for each in topics}


def _lapses(agreements: Agreements, topics: Iterable[Topic], at: datetime) -> dict[str, str]:
    """From or until when agreements cover those of some topics that none in force covers."""
    lapses = {each.name: agreements.lapse(each.agency, each.event_type, at) for each in topics}
    return {name: lapse for name, lapse in lapses.items() if lapse}


def _partitions(topics: _Topics | None, name: str) -> int | None:
    if topics is None:
        return None
    found = topics.found.get(name)
    return found.partitions if found else 0


def _age(since: datetime | None, now: datetime) -> float:
    """Seconds since then, at least 0: the clocks of two machines may differ a little."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _plainly(why: errors.SinergiError) -> str:
    """Why a service did not answer, in words for a reader who does not wait for it."""
    if isinstance(why, errors.DatabaseAway):
        return f"it is not available ({why.why})"
    if isinstance(why, errors.BrokerAway):
        return f"it does not answer ({why.reported})"
    return str(why)
