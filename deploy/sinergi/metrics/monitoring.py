"""Everything behind `--listen`: from the address to the observer that a process reports to."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from sinergi.metrics.families import HealthCollector
from sinergi.metrics.health import Health
from sinergi.metrics.listener import HttpAnswer, Listener
from sinergi.metrics.looks import LooksCollector
from sinergi.metrics.reports import ProcessReports
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinergi.metrics.address import ListenAddress
    from sinergi.metrics.agreed_topics import AgreedTopics
    from sinergi.metrics.health import HealthAnswer
    from sinergi.metrics.looks import Look
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.timeouts import MetricsTimeouts

# Text that was made less than this many seconds ago is answered again, whoever asks how often.
_SAME_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class MonitoredProcess:
    """Which process it is.

    Attributes:
        process: the command, of those that the definitions name.
        agency: whose process it is; empty for `provision`, which is the bus's.
        agreed: the topics that it writes or reads.
        looks: what it looks at.
    """

    process: str
    agency: str
    agreed: AgreedTopics
    looks: Sequence[Look[Any]] = ()


class Monitoring:
    """Metrics and health of one process, in a registry of its own.

    Raises:
        ListenRefused: the address cannot be used.
    """

    def __init__(
        self,
        address: ListenAddress,
        about: MonitoredProcess,
        timeouts: MetricsTimeouts,
        clock: Clock = SYSTEM,
    ) -> None:
        # Else the library adds a gauge to each counter, which says when the process began.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
        self.registry = CollectorRegistry()
        self._clock = clock
        self._page = b""
        self._page_until = 0.0
        health = Health(clock, timeouts.loop, about.looks)
        self.observer = ProcessReports(about.process, about.agreed, health, self.registry)
        self.registry.register(
            HealthCollector(health, (about.process, about.agency, version("sinergi")))
        )
        self._looks = about.looks
        if self._looks:
            self.registry.register(LooksCollector(self._looks))
        ProcessCollector(registry=self.registry)
        self.listener = Listener(
            address,
            {
                "/metrics": self._metrics,
                "/healthz": _answering(health.alive),
                "/readyz": _answering(health.ready),
            },
        )

    def start(self) -> None:
        """Answer from now on. Call it once the signals are blocked, since it starts threads."""
        self.listener.start()
        for each in self._looks:
            each.start()

    def close(self) -> None:
        """Answer no longer, and look no further."""
        self.listener.close()
        for each in self._looks:
            each.stop()

    def _metrics(self) -> HttpAnswer:
        now = self._clock.monotonic()
        if now >= self._page_until:
            self._page = generate_latest(self.registry)
            self._page_until = now + _SAME_SECONDS
        return HttpAnswer(HTTPStatus.OK, self._page, CONTENT_TYPE_LATEST)


def _answering(ask: Callable[[], HealthAnswer]) -> Callable[[], HttpAnswer]:
    def answer() -> HttpAnswer:
        found = ask()
        status = HTTPStatus.OK if found.is_well else HTTPStatus.SERVICE_UNAVAILABLE
        return HttpAnswer(status, f"{found.text}\n".encode())

    return answer
