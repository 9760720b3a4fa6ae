"""A process with `--listen`, asked over HTTP as Prometheus and an orchestrator ask it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from agency_pair import running
from sinergi.cli.materialise import setup_of as materialiser_setup
from sinergi.cli.monitoring import monitoring_of
from sinergi.cli.relay import setup_of as relay_setup
from sinergi.settings.settings import load
from sinergi_consumers.materialise.factory import build_materialiser
from sinergi_producers.relay.factory import build_relay
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agency_pair import AgencyPair
    from sinergi.metrics.monitoring import Monitoring
    from sinergi.settings.settings import Settings

# Each look makes the process under test gather all its metrics.
_LOOK_SECONDS = 0.2

Sample = tuple[str, frozenset[tuple[str, str]]]


class Monitored:
    """What stands behind the port of a process with `--listen`."""

    port: int

    def ask(self, path: str) -> tuple[int, str]:
        """The status and the text of a path."""
        return ask(self.port, path)

    def samples(self) -> dict[Sample, float]:
        """Every sample of /metrics by its name and labels."""
        status, text = self.ask("/metrics")
        assert status == 200
        return samples(text)

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one sample; None if it is not there."""
        return self.samples().get((name, frozenset(labels.items())))

    def until_value(self, name: str, expected: float, **labels: str) -> None:
        what = f"{name}{labels} is {expected:g}"
        until(lambda: self.value(name, **labels) == expected, what, _LOOK_SECONDS)

    def until_status(self, path: str, expected: int) -> str:
        """Wait for a status; the text then."""
        until(lambda: self.ask(path)[0] == expected, f"{path} answers {expected}", _LOOK_SECONDS)
        return self.ask(path)[1]


@dataclass(frozen=True)
class MonitoredThread(Monitored):
    """A process that runs as a thread of the test."""

    port: int


@dataclass(frozen=True)
class MonitoredChild(Monitored):
    """A process of its own that was started with `--listen`."""

    process: subprocess.Popen[bytes]
    port: int


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """The status and the text of a path of a listener on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def samples(text: str) -> dict[Sample, float]:
    """Every sample of a text by its name and labels."""
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


@contextmanager
def relaying(pair: AgencyPair) -> Iterator[MonitoredThread]:
    """Run a relay as `sinergi relay --listen` does."""
    with _observed("relay", pair.agency_settings) as (settings, monitoring):
        relay = build_relay(relay_setup(settings), observer=monitoring.observer)
        with running(relay.run):
            yield MonitoredThread(monitoring.listener.port)


@contextmanager
def materialising(pair: AgencyPair) -> Iterator[MonitoredThread]:
    """Run a materialiser as `sinergi materialise --listen` does."""
    with _observed("materialise", pair.reader_settings) as (settings, monitoring):
        setup, observer = materialiser_setup(settings), monitoring.observer
        with running(lambda stop: build_materialiser(setup, stop, observer=observer).run(stop)):
            yield MonitoredThread(monitoring.listener.port)


@contextmanager
def _observed(process: str, file: Path) -> Iterator[tuple[Settings, Monitoring]]:
    settings = load(file, environment={})
    monitoring = monitoring_of(process, "127.0.0.1:0", settings)
    monitoring.start()
    try:
        yield settings, monitoring
    finally:
        monitoring.close()


@contextmanager
def child(settings: Path, *command: str, listen: str = "127.0.0.1:0") -> Iterator[MonitoredChild]:
    """Run a command with `--listen` as a process; it is killed if the block leaves it running."""
    log = settings.with_name("monitored.log")
    options = ["--config", str(settings), "--log-json", *command, "--listen", listen]
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen([sys.executable, "-m", "sinergi", *options], stderr=stderr) as process,
    ):
        try:
            until(lambda: bool(_listening(log)), "it listens")
            yield MonitoredChild(process, int(_listening(log)[0].rpartition(":")[2]))
        finally:
            process.kill()


def _listening(log: Path) -> list[str]:
    """Where a process says that it listens."""
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    said = [json.loads(line) for line in lines if line.endswith("\n")]
    return [each["address"] for each in said if each["event"] == "listening"]
