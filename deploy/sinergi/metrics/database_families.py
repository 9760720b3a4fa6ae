"""The metrics of what the databases of an agency hold, by the topics of its agreements."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sinergi.metrics import definitions
from sinergi.metrics.definitions import OTHER
from sinergi.metrics.families import gauge
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from prometheus_client.core import Metric

    from sinergi.metrics.definitions import MetricDefinition
    from sinergi.status.databases import ConsumerRows, ProducerRows, WaitingRows


class TopicSums:
    """Adds up figures by topic. What belongs to no topic of the agreements is added to `other`.

    Args:
        topics: the names of the topics; each begins at 0.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self._values = dict.fromkeys(topics, 0.0)

    def add(self, topic: str, value: float) -> None:
        """Add a figure."""
        name = topic if topic in self._values else OTHER
        self._values[name] = self._values.get(name, 0.0) + value

    def raise_to(self, topic: str, value: float) -> None:
        """Keep the larger one, for an age."""
        name = topic if topic in self._values else OTHER
        self._values[name] = max(self._values.get(name, 0.0), value)

    def family(self, meant: MetricDefinition) -> Metric:
        """The sums as the samples of a gauge."""
        return gauge(meant, {(topic,): value for topic, value in self._values.items()})

    def labelled(self, label: str) -> dict[tuple[str, str], float]:
        """The sums by topic and one more label."""
        return {(topic, label): value for topic, value in self._values.items()}


def producer_families(
    agency: str, topics: Iterable[str], rows: ProducerRows, now: datetime
) -> Iterator[Metric]:
    """What the outbox of an agency holds.

    Args:
        topics: those that it publishes by any agreement.
        now: the time, for ages.
    """
    names = tuple(topics)
    published, sealed, sent, held, unsealed_age, unsent_age = (TopicSums(names) for _ in range(6))
    for (event_type, _), tree in rows.trees.items():
        name = Topic(agency, event_type).name
        published.add(name, tree.sealed)
        sealed.add(name, tree.sealed)
        sent.add(name, tree.sent)
        unsent_age.raise_to(name, _age(tree.unsent_since, now))
    live, backfill = (_waiting(agency, names, each) for each in (rows.live, rows.backfill))
    for event_type, waiting in (*rows.live.items(), *rows.backfill.items()):
        published.add(Topic(agency, event_type).name, waiting.rows)
    for event_type, waiting in rows.live.items():
        unsealed_age.raise_to(Topic(agency, event_type).name, _age(waiting.oldest_at, now))
    for event_type, reasons in rows.held.items():
        held.add(Topic(agency, event_type).name, sum(reasons.values()))
        published.add(Topic(agency, event_type).name, sum(reasons.values()))
    yield published.family(definitions.PUBLISHED_EVENTS)
    yield sealed.family(definitions.SEALED_LEAVES)
    yield sent.family(definitions.SENT_LEAVES)
    waiting_rows = {**live.labelled("live"), **backfill.labelled("backfill")}
    yield gauge(definitions.UNSEALED_ROWS, waiting_rows)
    yield unsealed_age.family(definitions.OLDEST_UNSEALED)
    yield unsent_age.family(definitions.OLDEST_UNSENT)
    yield held.family(definitions.HELD_ROWS)
    yield gauge(definitions.LEASE_HELD, float(rows.lease.is_held))


def consumer_families(topics: Iterable[str], rows: ConsumerRows, quota: int) -> Iterator[Metric]:
    """What the database of a reader holds.

    Args:
        topics: those that it reads by any agreement.
        quota: what quarantine keeps of each publisher at most, in bytes.
    """
    names = tuple(topics)
    materialised, quarantined, halted, skipped = (TopicSums(names) for _ in range(4))
    for tp, positions in rows.positions.items():
        sizes = [each.tree_size for each in positions.values()]
        materialised.add(tp.topic, min(sizes, default=0))
    for tp, events in rows.quarantined_events.items():
        quarantined.add(tp.topic, events)
    for tp in rows.halts:
        halted.add(tp.topic, 1)
    for tp, messages in rows.foreign.items():
        skipped.add(tp.topic, sum(each.messages for each in messages))
    yield materialised.family(definitions.MATERIALISED_LEAVES)
    yield quarantined.family(definitions.QUARANTINED_EVENTS)
    kept = Counter({Topic.parse(name).agency: 0 for name in names})
    for owner, size in rows.quarantined_bytes.items():
        kept[owner if owner in kept else OTHER] += size
    yield gauge(definitions.QUARANTINE_BYTES, {(owner,): size for owner, size in kept.items()})
    yield gauge(definitions.QUARANTINE_QUOTA, float(quota))
    yield halted.family(definitions.HALTED_PARTITIONS)
    yield skipped.family(definitions.SKIPPED_MESSAGES)


def _waiting(agency: str, names: Iterable[str], rows: Mapping[str, WaitingRows]) -> TopicSums:
    sums = TopicSums(names)
    for event_type, each in rows.items():
        sums.add(Topic(agency, event_type).name, each.rows)
    return sums


def _age(since: datetime | None, now: datetime) -> float:
    """Seconds since then, at least 0: the clocks of two machines may differ a little."""
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
