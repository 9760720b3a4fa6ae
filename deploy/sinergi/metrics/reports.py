"""Takes the reports of a process, and keeps them as metrics and as the state of its health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from sinergi.metrics import definitions
from sinergi.metrics.definitions import OTHER, MetricDefinition
from sinergi_schemas import errors
from sinergi_schemas.observer import WorkState, WorkStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import CollectorRegistry

    from sinergi.metrics.agreed_topics import AgreedTopics
    from sinergi.metrics.health import Health
    from sinergi_schemas.observer import PartitionCounts

# A batch takes milliseconds while little arrives, and seconds while much does.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_POLICIES: Mapping[type[errors.SinergiError], str] = {
    errors.Unavailable: "unavailable",
    errors.TopicHalted: "halted",
    errors.Superseded: "superseded",
}
_CHANGED = ("topic", "user", "right")


class ProcessReports:
    """The observer of one process.

    Args:
        process: the command, of those that the definitions name.
        agreed: the topics that the process writes or reads.
        registry: gets the metrics.
    """

    def __init__(
        self, process: str, agreed: AgreedTopics, health: Health, registry: CollectorRegistry
    ) -> None:
        self._agreed = agreed
        self._health = health
        self._registry = registry
        self._failures = self._counter(definitions.FAILURES, _POLICIES.values())
        self._agreements_loaded = self._gauge(definitions.AGREEMENTS_LOADED)
        self._agreements_loaded.set(1)  # a process ends if it cannot load them when it starts
        self._batches: Histogram | None = None
        self._leaves: dict[WorkStep, Counter] = {}
        topics = agreed.names
        if process == "relay":
            self._leaves[WorkStep.SEAL] = self._counter(definitions.SEALED, topics)
            self._leaves[WorkStep.SEND] = self._counter(definitions.SENT, topics)
            self._held = self._counter(definitions.HELD)
        elif process == "materialise":
            self._leaves[WorkStep.STORE] = self._counter(definitions.STORED, topics)
            self._partitions = self._gauge(definitions.PARTITIONS)
        else:
            self._changes = self._counter(definitions.PROVISION_CHANGES, _CHANGED)
            self._refused = self._gauge(definitions.PROVISION_REFUSED)
            self._refused_users = self._gauge(definitions.PROVISION_REFUSED_USERS)
        if self._leaves:
            meant = definitions.BATCHES
            self._batches = Histogram(
                meant.name, meant.meaning, meant.labels, registry=registry, buckets=_BUCKETS
            )
            for step in self._leaves:
                self._batches.labels(step)

    def turned(self, pause_seconds: float = 0.0) -> None:
        """See `Observer`, as for the others."""
        self._health.turned(pause_seconds)

    def entered(self, state: WorkState, why: object = "") -> None:
        """The process does something else from now on."""
        said = type(why).__name__ if isinstance(why, Exception) else str(why)
        self._health.entered(state, said)

    def failed(self, error: errors.SinergiError) -> None:
        """Something failed that the process tries again."""
        for policy, name in _POLICIES.items():
            if isinstance(error, policy):
                self._failures.labels(name).inc()

    def finished(self, step: WorkStep, seconds: float, leaves: Mapping[str, int]) -> None:
        """A step of a batch is done."""
        if step in (WorkStep.SEND, WorkStep.STORE):
            self._health.served()
        if self._batches is not None:
            self._batches.labels(step).observe(seconds)
        known = set(self._agreed.names) if leaves else set()
        for topic, count in leaves.items():
            self._leaves[step].labels(topic if topic in known else OTHER).inc(count)

    def held(self, rows: int) -> None:
        """The relay has held so many rows."""
        self._held.inc(rows)

    def divided(self, counts: PartitionCounts) -> None:
        """Which part of the topic-partitions this worker has."""
        self._health.divided(counts)
        self._partitions.labels("assigned").set(counts.assigned or 0)
        self._partitions.labels("claimed").set(counts.claimed)
        self._partitions.labels("halted").set(counts.halted)

    def changed(self, what: str, action: str) -> None:
        """`sinergi provision` has made a change on the brokers."""
        del action
        self._changes.labels(what if what in _CHANGED else OTHER).inc()

    def refused(self, topics: int, users: int) -> None:
        """`sinergi provision` has planned, and refuses so many topics and users."""
        self._refused.set(topics)
        self._refused_users.set(users)

    def reloaded(self, *, is_loaded: bool) -> None:
        """The process has read the agreements again, or could not."""
        self._agreements_loaded.set(is_loaded)

    def _counter(self, meant: MetricDefinition, values: Iterable[str] = ()) -> Counter:
        """A counter; where it has a label, every known value of it begins at 0."""
        counter = Counter(meant.name, meant.meaning, meant.labels, registry=self._registry)
        for value in values:
            counter.labels(value)
        return counter

    def _gauge(self, meant: MetricDefinition) -> Gauge:
        return Gauge(meant.name, meant.meaning, meant.labels, registry=self._registry)
