"""Kafka and PostgreSQL in containers, for a machine with a Docker engine.

SINERGI_TEST_KAFKA_IMAGE and SINERGI_TEST_POSTGRESQL_IMAGE name other images than the usual ones.
Where those cannot be pulled, `images` makes some. No container outlives the run that started it,
however that ends: a process beside it waits for its end and removes what it has left. So Ryuk, the
image that testcontainers has for this, is not needed.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker
import psycopg
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from testcontainers.core.waiting_utils import WaitStrategy

from containers import images
from containers.images import NoContainers
from sinergi.local.kafka import LocalKafka
from sinergi.local.state import LocalState, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

    from testcontainers.core.waiting_utils import WaitStrategyTarget

_START_SECONDS = 180
_LOOK_SECONDS = 0.2
_USUAL = "--encoding=UTF8 --no-locale --locale-provider=builtin --builtin-locale=C.UTF-8"


@dataclass(frozen=True)
class Images:
    """The images that the containers are made of, by name and tag."""

    kafka: str
    postgresql: str

    def __str__(self) -> str:
        return f"{self.kafka} and {self.postgresql}"


def found(*, fetch: bool) -> Images:
    """The images, on this engine.

    Args:
        fetch: pull what is not here, or build it where it cannot be pulled.

    Raises:
        NoContainers: no engine answers, or an image cannot be had.
    """
    kafka = os.environ.get("SINERGI_TEST_KAFKA_IMAGE")
    postgresql = os.environ.get("SINERGI_TEST_POSTGRESQL_IMAGE")
    with images.engine() as client:
        return Images(
            _image(client, kafka, "apache/kafka:4.3.1", images.kafka, fetch=fetch),
            _image(client, postgresql, "postgres:18", images.postgresql, fetch=fetch),
        )


def _image(
    client: Any, named: str | None, usual: str, ours: Callable[[], images.Image], *, fetch: bool
) -> str:
    name = named or usual
    if client.images.list(name):
        return name
    if not fetch:
        raise NoContainers(f"a Docker engine answers, but has no image {name}")
    try:
        client.images.pull(name)
    except docker.errors.DockerException as why:
        if named:
            told = getattr(why, "explanation", None) or why
            raise NoContainers(f"{name} is not here and cannot be pulled: {told}") from None
        return ours().build(client)
    return name


def start(stack: ExitStack, chosen: Images) -> tuple[str, str]:
    """Start both until the stack is closed; the broker's address and the server's URL.

    Raises:
        NoContainers: one does not start.
    """
    testcontainers_config.ryuk_disabled = True
    stack.enter_context(_guarded())
    server = _postgresql(chosen.postgresql, password := secrets.token_hex(12))
    (port,) = free_ports(1)
    broker = _kafka(chosen.kafka, port)
    try:
        stack.enter_context(server)
        stack.enter_context(broker)
        place = f"127.0.0.1:{server.get_exposed_port(5432)}/postgres"
        url = f"postgresql://postgres:{password}@{place}"
        _Serves(url).wait_until_ready(server)
    except (docker.errors.DockerException, OSError, RuntimeError) as why:
        raise NoContainers(f"a container of {chosen} does not start: {why}") from why
    return f"127.0.0.1:{port}", url.replace("postgresql", "postgresql+psycopg", 1)


def _kafka(image: str, port: int) -> DockerContainer:
    broker = DockerContainer(image).with_bind_ports(port, port)
    for name, value in _settings(port).items():
        broker = broker.with_env(f"KAFKA_{name.upper().replace('.', '_')}", value)
    started = LogMessageWaitStrategy("Kafka Server started")
    return broker.waiting_for(
        started.with_startup_timeout(_START_SECONDS).with_poll_interval(_LOOK_SECONDS)
    )


def _postgresql(image: str, password: str) -> DockerContainer:
    server = DockerContainer(image).with_exposed_ports(5432)
    server = server.with_envs(POSTGRES_PASSWORD=password, POSTGRES_INITDB_ARGS=_USUAL)
    return server.with_command(["-c", "max_connections=200"])


class _Serves(WaitStrategy):
    """Waits until a server lets its superuser in; its log says so too early."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.with_startup_timeout(_START_SECONDS).with_poll_interval(_LOOK_SECONDS)

    def wait_until_ready(self, container: WaitStrategyTarget) -> None:
        if not self._poll(self._answers, [psycopg.OperationalError]):
            raise TimeoutError(f"no answer within {_START_SECONDS} s; {container.get_logs()}")

    def _answers(self) -> bool:
        psycopg.connect(self._url, connect_timeout=5).close()
        return True


def _settings(port: int) -> dict[str, str]:
    """The settings of the local broker; the address that others know it by is outside."""
    state = LocalState("", "", "", "", kafka_port=port, controller_port=9093, postgresql_port=0)
    local = LocalKafka(Path(), state)
    settings = dict(line.split("=", 1) for line in local._settings().splitlines())
    del settings["log.dirs"]
    return settings | {"listeners": f"BROKER://:{port},CONTROLLER://127.0.0.1:9093"}


@contextmanager
def _guarded() -> Iterator[None]:
    """Have a process of its own remove this run's containers when the run is gone."""
    command = [sys.executable, "-m", "containers.services", SESSION_ID]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=environment):
        yield


def _remove_when_left(session: str) -> None:
    """Wait until whoever started this process is gone; remove what they have left."""
    sys.stdin.read()
    of_theirs = {"label": f"{LABEL_SESSION_ID}={session}"}
    with images.engine() as client:
        for container in client.containers.list(all=True, filters=of_theirs):
            container.remove(force=True, v=True)


if __name__ == "__main__":
    _remove_when_left(sys.argv[1])
