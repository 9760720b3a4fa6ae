"""Metrics that are computed when they are asked for: families of samples by their definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily

from sinergi.metrics import definitions
from sinergi_schemas.observer import WorkState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from sinergi.metrics.definitions import MetricDefinition
    from sinergi.metrics.health import Health


def gauge(meant: MetricDefinition, values: Mapping[Any, float] | float) -> GaugeMetricFamily:
    """The samples of a gauge: one value, or a value for each tuple of its labels' values."""
    family = GaugeMetricFamily(meant.name, meant.meaning, labels=meant.labels)
    found: Mapping[Any, float] = {(): values} if isinstance(values, float | int) else values
    for labels, value in found.items():
        family.add_metric(labels, value)
    return family


class HealthCollector:
    """The health of a process as metrics.

    Args:
        about: the values of the labels of `sinergi_process_info`.
    """

    def __init__(self, health: Health, about: Sequence[str]) -> None:
        self._health = health
        self._about = tuple(about)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks at each scrape."""
        health = self._health
        yield gauge(definitions.PROCESS_INFO, {self._about: 1.0})
        yield gauge(definitions.LOOP_AGE, health.seconds_since_turn)
        yield gauge(definitions.ALIVE, float(health.alive().is_well))
        yield gauge(definitions.READY, float(health.ready().is_well))
        states: Iterable[WorkState] = WorkState
        yield gauge(definitions.STATE, {(each,): float(each is health.state) for each in states})
