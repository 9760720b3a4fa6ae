"""Kafka, an agency's PostgreSQL and a reader's PostgreSQL, of the harness's own: each can be
stopped, killed and started by itself, and nobody else's is touched.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from chaos.processes import alive
from chaos.proxy import Proxy
from chaos.timing import until
from sinergi.local import process
from sinergi.local.kafka import LocalKafka
from sinergi.local.postgresql import LocalPostgresql
from sinergi.local.state import LocalState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import psutil

    from sinergi.local.process import Program

_START_SECONDS = 180.0
_END_SECONDS = 60.0


# What a killed worker held goes to another within 3 s: there are many of them.
_GROUPS = (
    "session.timeout.ms=3000", "min.session.timeout.ms=3000",
    "heartbeat.interval.ms=500", "min.heartbeat.interval.ms=500",
)  # fmt: skip


class Starter:
    """Starts programs from a thread that outlives all that it starts: a leashed program dies with
    the thread that started it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "starter")

    def start(self, program: Program) -> psutil.Process:
        """Start a program; it dies with this process, however that dies."""
        return self._thread.submit(program.start, leashed=True).result()

    def close(self) -> None:
        """Start nothing more."""
        self._thread.shutdown()


@dataclass(frozen=True)
class Broker(LocalKafka):
    """The local Kafka, with rights that can be taken away: what no rule speaks of is permitted.

    Attributes:
        has_authorizer: whether there are rights at all.
        behind: a second port it listens on; who comes by it is told to come by `proxy` again.
    """

    behind: int = 0
    proxy: int = 0
    has_authorizer: bool = True

    def _settings(self) -> str:
        here, controller = self.address, f"127.0.0.1:{self.state.controller_port}"
        authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        rights = f"authorizer.class.name={authorizer}\nallow.everyone.if.no.acl.found=true\n"
        return (
            super()._settings()
            + (rights if self.has_authorizer else "")
            + "".join(f"group.consumer.{name}\n" for name in _GROUPS)
            # What stands here last holds.
            + f"listeners=BROKER://{here},CONTROLLER://{controller},PROXIED://127.0.0.1:{self.behind}\n"
            + f"advertised.listeners=BROKER://{here},PROXIED://127.0.0.1:{self.proxy}\n"
            + "listener.security.protocol.map="
            + "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT\n"
        )


class Server:
    """One service that can be stopped and started again; its data and its address stay."""

    def __init__(self, service: LocalKafka | LocalPostgresql, starter: Starter) -> None:
        self.service = service
        self._starter = starter
        self._program: Program | None = None
        self._process: psutil.Process | None = None

    @property
    def name(self) -> str:
        """What it is, for people."""
        return self.service.name

    @property
    def running(self) -> psutil.Process:
        """The process that runs.

        Raises:
            RuntimeError: it was not started, or was stopped.
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and alive(self._process)

    def start(self) -> float:
        """Start it and wait until it answers; how many seconds that took."""
        self._program = self.service.program()
        self._process = self._starter.start(self._program)
        return until(self.service.answers, _START_SECONDS, f"{self.name} answers")

    def stop(self) -> None:
        """Stop it in order."""
        if self._process and self._program:
            process.stop(self._process, self._program.stops_by)
        self._process = None

    def crash(self) -> None:
        """End it without any order, as a power cut does as far as a process can tell."""
        if self._process and self._program:
            self._process.send_signal(self._program.dies_by)
            self._process.wait(_END_SECONDS)
        self._process = None


class Links(NamedTuple):
    """The proxies before the three servers; who is to be cut off goes by them."""

    kafka: Proxy
    agency: Proxy
    reader: Proxy


class BusServices(Protocol):
    """What a bus of the run needs of its services.

    Attributes:
        kafka: the broker, or the first of several.
    """

    starter: Starter
    links: Links
    kafka: Server

    @property
    def bootstrap(self) -> str:
        """Where Kafka's clients find it."""

    @property
    def proxied_bootstrap(self) -> str:
        """Where they find it by the proxy, also every further connection."""

    def agency_database(self, name: str) -> str:
        """The URL of a database in the agency's server."""

    def reader_database(self, name: str) -> str:
        """The URL of a database in the reader's server."""


class Services:
    """The three servers of a run, in one folder. As a context manager it stops them at the end.

    Args:
        has_authorizer: whether Kafka has rights that can be taken away.
    """

    def __init__(self, folder: Path, *, has_authorizer: bool = True) -> None:
        self._stack = ExitStack()
        self.starter = Starter()
        self._stack.callback(self.starter.close)
        places = [_state(folder / name) for name in ("kafka", "agency", "reader")]
        # Kafka's place has a port for a PostgreSQL too, which nobody uses.
        self.links = Links(*(Proxy(state.postgresql_port) for _, state in places))
        behind, proxy = self.links.kafka.target, self.links.kafka.port
        self._broker = Broker(*places[0], behind=behind, proxy=proxy, has_authorizer=has_authorizer)
        self._agency = LocalPostgresql(*places[1])
        self._reader = LocalPostgresql(*places[2])
        self.kafka = Server(self._broker, self.starter)
        self.agency = Server(self._agency, self.starter)
        self.reader = Server(self._reader, self.starter)

    def __enter__(self) -> Self:
        try:
            for link in self.links:
                self._stack.enter_context(link)
            servers = (self.kafka, self.agency, self.reader)
            self._stack.callback(at_once, Server.stop, servers)
            at_once(Server.start, servers)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def bootstrap(self) -> str:
        """Where Kafka's clients find it."""
        return self._broker.address

    @property
    def proxied_bootstrap(self) -> str:
        """Where they find it by the proxy, also every further connection."""
        return f"127.0.0.1:{self.links.kafka.port}"

    def agency_database(self, name: str) -> str:
        """The URL of a database in the agency's server."""
        return self._agency.database(name)

    def reader_database(self, name: str) -> str:
        """The URL of a database in the reader's server."""
        return self._reader.database(name)


def at_once(do: Callable[[Server], object], servers: Sequence[Server]) -> None:
    """Do something with all servers beside each other, and wait until it is done."""
    with ThreadPoolExecutor(len(servers)) as threads:
        list(threads.map(do, servers))


def _state(folder: Path) -> tuple[Path, LocalState]:
    # PostgreSQL may have to run as another user, who needs to pass through.
    folder.mkdir(parents=True)
    for each in (folder.parent, folder):
        each.chmod(0o711 if os.geteuid() == 0 else 0o700)
    state = LocalState.of(folder, is_secured=False)
    state.write()
    return folder, state
