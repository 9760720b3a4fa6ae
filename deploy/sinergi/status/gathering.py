"""Reads the facts about an agency from its two databases and the brokers, as far as they answer."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from sinergi.settings.model import BusRole, refused
from sinergi.settings.settings import masked
from sinergi.status import databases
from sinergi.status.agreement_periods import periods
from sinergi.status.broker import ConsumerGroup, consumer_group
from sinergi.status.bus_facts import BusLogins, WantedFacts, read_bus
from sinergi.status.databases import TreeRow, WaitingRows
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
    ShownLeaves,
    Tree,
)
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.topics import Topic, TopicPartition, control_topic, receipts_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from sinergi.settings.settings import Settings
    from sinergi.status.bus_facts import BusFacts
    from sinergi.status.databases import ConsumerRows, ProducerRows
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.clock import Clock


T = TypeVar("T")


def gather(settings: Settings, clock: Clock) -> Facts:
    """Read all sources; a source that does not answer is reported as away.

    Raises:
        SettingsRefused: the agency or the broker is not set, or neither database is.
        AgreementRefused: the agreements cannot be used.
    """
    values = settings.values
    if values.producer.database is None and values.consumer.database is None:
        raise refused(
            "`sinergi status` is for an agency, which sets producer.database or consumer.database, "
            "and for the brokers' operator, who sets kafka.bootstrap alone; neither is set in "
            f"{settings.file or 'a settings file here'}: name the settings by --config"
        )
    agreements = settings.agreements()
    settings.check_party(agreements)
    return _Gathering(settings, agreements, _logins(settings, agreements), clock).facts()


def _logins(settings: Settings, agreements: Agreements) -> BusLogins:
    """How to log in; an agency that only publishes, or only reads, needs one principal."""
    values, agency = settings.values, settings.agency
    publishes = values.producer.database and agreements.published_by(agency)
    reads = values.consumer.database and agreements.read_by(agency)
    producer = settings.connection(BusRole.PRODUCER) if publishes or not reads else None
    consumer = settings.connection(BusRole.CONSUMER) if reads or producer is None else producer
    return BusLogins(producer or consumer, consumer)


@dataclass(slots=True)
class _Gathering:
    settings: Settings
    agreements: Agreements
    logins: BusLogins
    clock: Clock
    away: list[Away] = field(default_factory=list)

    def facts(self) -> Facts:
        agency, values = self.settings.agency, self.settings.values
        known = Catalog.shipped().event_types
        published, read = self.agreements.published_by(agency), self.agreements.read_by(agency)
        own = _counts(self.agreements, published)
        others = _counts(self.agreements, (each for each in read if each.event_type in known))
        producer = values.producer.database and self.settings.producer_database
        consumer = values.consumer.database and self.settings.consumer_database
        sent = producer and self._look(FactSource.PRODUCER, producer, databases.producer_rows, own)
        stored = consumer and self._look(
            FactSource.CONSUMER, consumer, databases.consumer_rows, others
        )
        reads = bool(consumer and (others or stored))
        began = self.clock.now()
        # A side whose database is not set is not shown, and its topics are another principal's.
        wanted = WantedFacts(
            agency,
            own if producer else {},
            others if reads else {},
            sent or None,
            stored or None,
            began,
        )
        bus = self._ask(
            FactSource.BROKER, self.logins.consumer.bootstrap, lambda _: self._bus(wanted)
        )
        group = None
        if bus and wanted.others:
            group = self._ask(
                FactSource.BROKER,
                self.logins.consumer.bootstrap,
                lambda _: consumer_group(self.logins.consumer, self._group),
            )
        elif bus:
            group = ConsumerGroup(0, {})
        now = self.clock.now()
        in_force = {each.name for each in self.agreements.topics(now)}
        known_facts = _Known(agency, bus, group, frozenset(in_force), now)
        settings = {"producer.database": (own, producer), "consumer.database": (others, consumer)}
        return Facts(
            agency,
            now,
            _publishing(known_facts, own, sent) if sent else None,
            self._reading(known_facts, others, stored or None) if reads else None,
            tuple(self.away),
            tuple(key for key, (names, given) in settings.items() if names and not given),
            tuple(each for each in (*published, *read) if each.event_type not in known),
            (*(sent.invalid if sent else ()), *(stored.invalid if stored else ())),
            _not_in_force(self.agreements, (*published, *read), now),
            tuple(self._misplaced(sent or None, stored or None)),
            str(values.agreements),
            periods(self.agreements, agency, now),
            tuple(each for each in bus.unsigned if each in others or _has_sent(each, sent or None))
            if bus
            else (),
            bus.under_replicated if bus else (),
        )

    def _bus(self, wanted: WantedFacts) -> BusFacts:
        silent_seconds = self.settings.values.timeouts.status.silence
        return read_bus(self.logins, self.agreements, wanted, silent_seconds)

    def _reading(
        self, known: _Known, counts: Mapping[str, int], stored: ConsumerRows | None
    ) -> ReaderFacts:
        quota = self.settings.values.consumer.quarantine_bytes
        kept = sorted(stored.quarantined_bytes.items()) if stored else ()
        uses = tuple(QuarantineUse(owner, size, quota) for owner, size in kept)
        return replace(_reading(known, self._group, counts, stored), rooms=uses)

    def _misplaced(self, sent: ProducerRows | None, stored: ConsumerRows | None) -> Iterable[str]:
        """Databases whose stored signatures are by another agency."""
        agency = self.settings.agency
        # A receipt is signed with `<bus>/<agency>/<database>`, a checkpoint with `<bus>/<agency>`.
        for key, rows, slashes in (
            ("producer.database", sent, 1),
            ("consumer.database", stored, 2),
        ):
            names = {each for each in (rows.signers if rows else ()) if each.count("/") == slashes}
            others = sorted({each.split("/")[1] for each in names} - {agency})
            if others and agency not in {each.split("/")[1] for each in names}:
                yield (
                    f"{key} is the database of {', '.join(others)}, and `agency` in the settings is"
                    f" {agency}: correct one of the two"
                )

    @property
    def _group(self) -> str:
        return f"{self.settings.agency}.{self.settings.consumer_name}"

    def _look(
        self, service: FactSource, url: str, query: Callable[[str], T], topics: Mapping[str, int]
    ) -> T | None:
        """Read a database. A database without topics may be missing.

        `sinergi init` names the agency's database for both sides.
        """
        if topics:
            return self._ask(service, url, query)
        try:
            return query(url)
        except (errors.TablesMissing, errors.DatabaseAway):
            return None

    def _ask(self, service: FactSource, where: str, query: Callable[[str], T]) -> T | None:
        try:
            return query(where)
        except errors.SinergiError as why:
            # Some brokers run where the controller alone does not answer.
            is_away = isinstance(why, errors.ServiceAway)
            answers = not is_away or isinstance(why, errors.ControllerAway)
            self.away.append(Away(service, str(masked(where)), _plainly(why), answers))
            return None


@dataclass(frozen=True, slots=True)
class _Known:
    """What both sides need.

    Attributes:
        bus: None if the broker is away.
        group: None if the group is unknown.
        in_force: the topics that an agreement covers now.
    """

    agency: str
    bus: BusFacts | None
    group: ConsumerGroup | None
    in_force: frozenset[str]
    now: datetime

    def partitions(self, topic: str) -> int | None:
        """How many partitions a topic has; 0 if it is missing, None if the broker is away."""
        return self.bus.partitions(topic) if self.bus else None

    def shown(self, tp: TopicPartition) -> ShownLeaves | None:
        """What a topic-partition shows; None if the broker is away or does not have it."""
        return self.bus.shown.get(tp) if self.bus else None

    def missing(self, topic: str) -> tuple[str, ...]:
        """A control or receipts topic of ours, if it is known that the broker lacks it."""
        return (topic,) if self.bus and topic in self.bus.lacking else ()

    def numbers(self, topic: str, agreed: int) -> range:
        """The agreed partitions of a topic, as far as the broker has them."""
        found = self.partitions(topic)
        return range(agreed if found is None else min(agreed, found))


def _publishing(known: _Known, counts: Mapping[str, int], rows: ProducerRows) -> PublisherFacts:
    stored = {name for name, _ in rows.trees} | {*rows.live} | {*rows.backfill} | {*rows.held}
    names = sorted({*counts, *(Topic(known.agency, each).name for each in stored)})
    published = (_published(known, each, counts.get(each, 0), rows) for each in names)
    is_needed = bool(known.in_force & counts.keys() or rows.trees)
    missing = known.missing(control_topic(known.agency)) if is_needed else ()
    unknown = tuple(known.bus.unknown) if known.bus else ()
    return PublisherFacts(rows.lease, tuple(published), unknown, missing)


def _published(known: _Known, name: str, agreed: int, rows: ProducerRows) -> PublishedTopic:
    event_type = Topic.parse(name).event_type
    live = rows.live.get(event_type, WaitingRows(0, None))
    trees = {number: tree for (of, number), tree in rows.trees.items() if of == event_type}
    numbers = sorted({*known.numbers(name, agreed), *trees})
    return PublishedTopic(
        name,
        agreed,
        known.partitions(name),
        live.rows,
        rows.backfill.get(event_type, WaitingRows(0, None)).rows,
        live.oldest_at,
        _age(live.oldest_at, known.now),
        rows.held.get(event_type, {}),
        tuple(
            _tree(known, TopicPartition(name, each), trees.get(each, TreeRow(0, 0, None)))
            for each in numbers
        ),
        tuple(known.bus.readers.get(Topic.parse(name), ())) if known.bus else (),
        name in known.in_force,
    )


def _tree(known: _Known, tp: TopicPartition, row: TreeRow) -> Tree:
    unsent_seconds = _age(row.unsent_since, known.now)
    return Tree(tp.partition, row.sealed, row.sent, unsent_seconds, known.shown(tp))


def _reading(
    known: _Known, group: str, counts: Mapping[str, int], stored: ConsumerRows | None
) -> ReaderFacts:
    numbers: dict[str, set[int]] = defaultdict(set)
    for name, count in counts.items():
        numbers[name].update(known.numbers(name, count))
    for tp in (*stored.positions, *stored.quarantined, *stored.halts) if stored else ():
        numbers[tp.topic].add(tp.partition)
    read = tuple(
        _read_topic(known, name, counts.get(name, 0), sorted(numbers[name]), stored)
        for name in sorted(numbers)
    )
    is_needed = bool(known.in_force & counts.keys())
    missing = known.missing(receipts_topic(known.agency)) if is_needed else ()
    found = known.group
    workers = None if found is None or found.unreadable else found.members
    foreign, fault = (found.foreign, found.unreadable) if found else ((), None)
    return ReaderFacts(
        group,
        workers,
        read,
        foreign=foreign,
        group_fault=fault,
        missing=missing,
        unreadable=tuple(known.bus.unreadable) if known.bus else (),
    )


def _read_topic(
    known: _Known,
    name: str,
    agreed: int,
    numbers: Iterable[int],
    stored: ConsumerRows | None,
) -> ReadTopic:
    heads = known.bus.heads.get(Topic.parse(name).agency) if known.bus else None
    return ReadTopic(
        name,
        agreed,
        known.partitions(name),
        heads.signed_at if heads else None,
        heads.fault if heads else None,
        tuple(_read_partition(known, TopicPartition(name, each), stored) for each in numbers),
        heads.unread if heads else 0,
        name in known.in_force,
    )


def _read_partition(
    known: _Known, tp: TopicPartition, stored: ConsumerRows | None
) -> ReadPartition:
    shown = known.shown(tp)
    materialised = None
    if stored:
        rows = stored.positions.get(tp, {})
        materialised = {name: row.tree_size for name, row in rows.items()}
    found = ReadPartition(
        tp.partition,
        shown.leaves if shown and shown.is_complete else None,
        known.bus.signed.get(tp) if known.bus else None,
        materialised,
        None,
        known.group.hosts.get(tp) if known.group else None,
        stored.quarantined.get(tp, {}) if stored else None,
        stored.halts.get(tp) if stored else None,
        tuple(stored.foreign.get(tp, ())) if stored else (),
        stored.quarantined_events.get(tp, 0) if stored else None,
        shown.leaves if shown and not shown.is_complete else None,
        shown,
    )
    if found.behind and known.bus:
        since = known.bus.missing_since.get(tp)
        return replace(found, seconds_behind=None if since is None else _age(since, known.now))
    return replace(found, seconds_behind=None if found.behind is None else 0.0)


def _has_sent(topic: str, rows: ProducerRows | None) -> bool:
    """Whether our relay has sent leaves to a topic of ours."""
    trees = rows.trees.items() if rows else ()
    return any(of == Topic.parse(topic).event_type and tree.sent for (of, _), tree in trees)


def _counts(agreements: Agreements, topics: Iterable[Topic]) -> dict[str, int]:
    return {each.name: agreements.partitions(each) for each in topics}


def _not_in_force(agreements: Agreements, topics: Iterable[Topic], at: datetime) -> dict[str, str]:
    """The topics that no agreement in force covers: the file that covers each, and when."""
    found = {
        each.name: agreements.why_not_in_force(each.agency, each.event_type, at) for each in topics
    }
    return {name: why for name, why in found.items() if why}


def _age(since: datetime | None, now: datetime) -> float:
    """Seconds since then, at least 0: the clocks of two machines may differ a little."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _plainly(why: errors.SinergiError) -> str:
    """Why a service did not answer: the reason alone, without the advice in the error."""
    if isinstance(why, errors.DatabaseAway):
        return f"it is not available ({why.why})"
    if isinstance(why, errors.ControllerAway):
        return f"its controller does not answer ({why.reported}): most of the brokers are away"
    if isinstance(why, errors.BrokerAway):
        return f"it does not answer ({why.reported})"
    return str(why)
