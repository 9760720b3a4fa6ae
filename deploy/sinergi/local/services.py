"""A folder of local services, up and down.

1. take the folder's lock, so that two commands never start the same services
2. start the services that do not run, under their previous addresses
3. wait until each one answers
4. after an interruption or failure: stop what this call has started
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from typing import TYPE_CHECKING, Self

from sinergi.local import process
from sinergi.local.errors import LocalDown, LocalFailed, LocalFolderRefused, PortTaken
from sinergi.local.kafka import LocalKafka, LocalSecurity
from sinergi.local.postgresql import LocalPostgresql
from sinergi.local.state import LocalState, is_free
from sinergi_schemas.clock import SYSTEM, Clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import psutil
    from rich.console import Console

    from sinergi.local.process import Program
    from sinergi_schemas import errors

# For a process that has not ended: more than a slow and busy machine needs.
_PATIENCE_SECONDS = 300.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class LocalService:
    """The state of one local service: its address, and its pid if it runs."""

    address: str
    pid: int | None


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """The state of the services of a folder.

    Attributes:
        brokers: of Kafka, by their node numbers.
        security: None if Kafka has no access control.
    """

    folder: Path
    brokers: tuple[LocalService, ...]
    postgresql: LocalService
    security: LocalSecurity | None = None

    @property
    def running(self) -> bool:
        """Whether all of them run."""
        return all(each.pid is not None for each in (*self.brokers, self.postgresql))

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses for agencies and auditors, with commas."""
        return ",".join(each.address for each in self.brokers)


class Local:
    """Kafka and PostgreSQL with all their data in one folder.

    `up` leaves them running until `down`, also after the caller has ended. Used as a context
    manager they die with the caller, even if it is killed: enter it in a thread that lives long
    enough.

    Args:
        folder: created if it does not exist.
        console: shows a progress bar during a download.
        clock: for durations.
        is_secured: whether Kafka has access control and TLS; None as the folder has it, and yes in
            a new folder.
        brokers: how many Kafka has; None as the folder has it, and 1 in a new folder.

    Raises:
        LocalFolderRefused: the folder's links lead in a circle.
    """

    def __init__(
        self,
        folder: Path,
        console: Console | None = None,
        clock: Clock = SYSTEM,
        *,
        is_secured: bool | None = None,
        brokers: int | None = None,
    ) -> None:
        self._folder = _resolved(folder)
        self._console = console
        self._is_secured = is_secured
        self._brokers = brokers
        self._clock = clock
        self._started: list[_Running] = []

    def __enter__(self) -> Self:
        with self._alone():
            self._up(self._wanted(), leashed=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_started()

    def up(self, *, new_ports: bool = False) -> LocalStatus:
        """Start the services that do not run, and wait until all of them answer.

        Args:
            new_ports: stop running services and move them to free ports.

        Raises:
            LocalFolderRefused: the folder cannot be used.
            LocalMissing: the programs of the services are not installed.
            DownloadFailed: Kafka cannot be downloaded.
            PortTaken: another process has taken a port.
            LocalFailed: a service does not start.
        """
        with self._alone():
            state = self._wanted()
            if new_ports:
                self._stop_all(state)
                state = state.with_new_ports()
            self._up(state, leashed=False)
            self._started.clear()
        return self.status()

    def down(self) -> LocalStatus:
        """Stop the running processes that have this folder's mark, and no others.

        Raises:
            LocalDown: nothing was ever started in this folder.
        """
        state = self._state()
        with self._alone():
            self._stop_all(state)
        return self.status()

    def status(self) -> LocalStatus:
        """The state of the services of this folder.

        Raises:
            LocalDown: nothing was ever started in this folder.
        """
        state = self._state()
        brokers, postgresql = self._kafka(state), self._postgresql(state)
        return LocalStatus(
            self._folder,
            tuple(_service(each.agency_address, each.mark) for each in brokers),
            _service(postgresql.address, postgresql.mark),
            brokers[0].security if state.is_secured else None,
        )

    @property
    def bootstrap(self) -> str:
        """Kafka's address for agencies and auditors: `host:port` of each broker, with commas."""
        return ",".join(each.agency_address for each in self._kafka(self._state()))

    @property
    def operator_settings(self) -> Path:
        """The settings file of whoever may do everything on the brokers."""
        return self._kafka(self._state())[0].security.operator_settings

    @property
    def ca_file(self) -> Path:
        """The certificates of the authority of the brokers, which their clients trust."""
        return self._kafka(self._state())[0].security.ca_file

    def database(self, name: str) -> str:
        """The URL of the database of this name, which is created if it does not exist.

        Raises:
            LocalDown: the services do not run.
        """
        return self._postgresql(self._state()).database(name)

    def _state(self) -> LocalState:
        state = LocalState.read(self._folder)
        if state is None:
            raise LocalDown(str(self._folder))
        return state

    def _wanted(self) -> LocalState:
        return LocalState.of(self._folder, is_secured=self._is_secured, brokers=self._brokers)

    def _kafka(self, state: LocalState) -> list[LocalKafka]:
        nodes = range(1, len(state.brokers) + 1)
        return [LocalKafka(self._folder, state, self._console, node) for node in nodes]

    def _postgresql(self, state: LocalState) -> LocalPostgresql:
        return LocalPostgresql(self._folder, state)

    def _services(self, state: LocalState) -> list[LocalKafka | LocalPostgresql]:
        return [*self._kafka(state), self._postgresql(state)]

    def _up(self, state: LocalState, *, leashed: bool) -> None:
        state.write()
        if state.is_secured:
            self._kafka(state)[0].write_operator_settings()
        try:
            for each in self._services(state):
                self._start(each, leashed=leashed)
            self._await(self._started)
        except BaseException:
            self._stop_started()
            raise

    def _start(self, service: LocalKafka | LocalPostgresql, *, leashed: bool) -> None:
        """Start a service that does not run."""
        found = process.find(service.mark)
        if found is not None:
            return
        program = service.program()
        for port in service.ports:
            if not is_free(port):
                raise PortTaken(service.name, port)
        logged = program.logged
        self._started.append(_Running(service, program, program.start(leashed=leashed), logged))

    def _await(self, started: Sequence[_Running]) -> None:
        """Wait until each service that was started answers."""
        until = self._clock.monotonic() + _PATIENCE_SECONDS
        waiting = [running for running in started if not running.answers()]
        while waiting:
            for running in waiting:
                if process.ended_within(running.process, _LOOK_SECONDS):
                    raise running.failure()
                if self._clock.monotonic() > until:
                    what = f"no answer within {_PATIENCE_SECONDS:.0f} s"
                    raise LocalFailed(running.service.name, what, str(running.service.log))
            waiting = [running for running in waiting if not running.answers()]

    def _stop_started(self) -> None:
        process.stop_all([(each.process, each.program.stops_by) for each in self._started])
        self._started.clear()

    def _stop_all(self, state: LocalState) -> None:
        found = [(process.find(each.mark), each.stops_by) for each in self._services(state)]
        process.stop_all([(running, gently) for running, gently in found if running])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lock the folder against other commands; create it if it does not exist."""
        try:
            # Where root starts it, PostgreSQL must not come out of its data folder through `..`.
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            lock = (self._folder / "lock").open("w")
        except OSError as why:
            raise LocalFolderRefused(str(self._folder), str(why.strerror)) from None
        with lock:
            flock(lock, LOCK_EX)
            yield


def _service(address: str, mark: str) -> LocalService:
    found = process.find(mark)
    return LocalService(address, found.pid if found else None)


def _resolved(folder: Path) -> Path:
    """The folder's path without `..` and links, which identifies its state and processes."""
    try:
        return folder.resolve()
    except (OSError, RuntimeError) as why:  # before Python 3.13 a circle is a RuntimeError
        what = why.strerror if isinstance(why, OSError) else "its links lead in a circle"
        raise LocalFolderRefused(str(folder), str(what)) from None


@dataclass(frozen=True, slots=True)
class _Running:
    """A service that this process has started."""

    service: LocalKafka | LocalPostgresql
    program: Program
    process: psutil.Process
    logged: int

    def answers(self) -> bool:
        """Whether it serves clients; connects only once its port is in use."""
        return not is_free(self.service.ports[0]) and self.service.answers()

    def failure(self) -> errors.SinergiError:
        """Why it has ended; a taken port is checked first."""
        for port in self.service.ports:
            if not is_free(port):
                return PortTaken(self.service.name, port)
        reason = self.program.reason(self.logged)
        return LocalFailed(self.service.name, reason, str(self.service.log))
