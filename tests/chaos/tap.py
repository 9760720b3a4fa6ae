"""Every call of a process to broker and database, under a name of its own, and failed if asked for.

It is laid into a relay's or a materialiser's process before that begins (`worker.py`): the driver's
one place where it waits for PostgreSQL, and the clients of Kafka. A call is named after the place
in the product that makes it, so that it bears the same name in every run.

Its folder is how the harness and the process speak: `calls` gets a line for each call; `armed` says
which call shall fail and how, and is gone as soon as it has.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from concurrent.futures import Future
from enum import StrEnum
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import psycopg
from confluent_kafka import KafkaError, KafkaException, Producer

from sinergi_schemas.kafka import admin, consumer, producer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

T = TypeVar("T")

_OURS = ("sinergi_producers", "sinergi_consumers", "sinergi_schemas")
_DEEP = 2
# Nothing is sent by it, so that no network can make it fail; psycopg would not bear it either.
_STAYS_HERE = "BasePipeline._enter_gen"
_SAID = "made to fail"


class Mode(StrEnum):
    """How a call fails."""

    BEFORE = "error before"
    AFTER = "error after"
    KILL = "kill -9"


class Armed(NamedTuple):
    """Which call shall fail, and how.

    Attributes:
        call: how its name begins.
        turn: the how manieth of these calls it is, 1 being the next one.
    """

    call: str
    turn: int
    mode: Mode


class Orders:
    """The folder in which the harness and one process speak with each other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.calls = folder / "calls"
        self._armed = folder / "armed"

    def arm(self, armed: Armed) -> None:
        """Say which call fails; it must not be seen half written."""
        making = self._armed.with_suffix(".making")
        making.write_text(json.dumps(armed), encoding="utf-8")
        making.rename(self._armed)

    def disarm(self) -> bool:
        """No call shall fail; whether one was still to."""
        armed = self.is_armed
        self._armed.unlink(missing_ok=True)
        return armed

    @property
    def is_armed(self) -> bool:
        """Whether a call is still to fail."""
        return self._armed.exists()

    def read(self) -> Armed | None:
        """What was said, in the process that it is said to."""
        if not self.is_armed:
            return None
        call, turn, mode = json.loads(self._armed.read_text("utf-8"))
        return Armed(call, turn, Mode(mode))

    def names(self) -> list[str]:
        """The names of all calls so far, in their order."""
        return self.calls.read_text("utf-8").splitlines() if self.calls.exists() else []


class Tap:
    """What all calls of this process go through."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._log = os.open(orders.calls, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = RLock()
        self._armed: Armed | None = None
        self._turns = 0

    def call(
        self,
        what: str,
        make: Callable[[], T],
        fail: Callable[[T | None], T],
        fail_before: Callable[[], T] | None = None,
    ) -> T:
        """Make a call, or let it fail as was said.

        Args:
            what: the kind of call.
            fail: how it fails, given what it returned if it was made.
            fail_before: how it fails without taking place, where that is another way.
        """
        name = f"{_place(sys._getframe(1))} {what}"
        with self._lock:
            os.write(self._log, f"{name}\n".encode())
            mode = self._mode(name)
        if mode is Mode.BEFORE:
            return fail_before() if fail_before else fail(None)
        made = make()
        if mode is Mode.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        return fail(made) if mode is Mode.AFTER else made

    def _mode(self, name: str) -> Mode | None:
        armed = self._orders.read()
        if armed != self._armed:
            self._armed, self._turns = armed, 0
        if armed is None or not name.startswith(armed.call):
            return None
        self._turns += 1
        if self._turns < armed.turn:
            return None
        self._orders.disarm()
        return armed.mode


def lay(orders: Orders) -> None:
    """Lay the tap into this process, before a client or a connection is opened."""
    tap = Tap(orders)
    _lay_postgresql(tap)
    _lay_clients(tap)
    _lay_admin(tap)


def _lay_postgresql(tap: Tap) -> None:
    """All that psycopg does waits in one method; only connecting waits elsewhere."""
    connect, wait = psycopg.connect, psycopg.Connection.wait

    def tapped_connect(*args: Any, **options: Any) -> psycopg.Connection:
        def fail(made: psycopg.Connection | None) -> psycopg.Connection:
            raise _cut(made)

        return tap.call("connect", lambda: connect(*args, **options), fail)

    def tapped_wait(self: psycopg.Connection, generator: Any, *rest: Any) -> Any:
        name = generator.gi_code.co_qualname
        if name == _STAYS_HERE:
            return wait(self, generator, *rest)
        what = name.rpartition(".")[2].strip("_").removesuffix("_gen")

        def make() -> Any:
            return wait(self, generator, *rest)

        def fail(_: object) -> Any:
            raise _cut(self)

        def fail_before() -> Any:
            # The driver keeps its books on transactions while it waits: let it find out by itself.
            _cut(self)
            return make()

        return tap.call(what, make, fail, fail_before)

    _replace(psycopg, "connect", tapped_connect)
    _replace(psycopg.Connection, "wait", tapped_wait)


def _cut(connection: psycopg.Connection | None) -> psycopg.OperationalError:
    """The connection is gone, and nobody knows what the server still did."""
    if connection is not None:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
    return psycopg.OperationalError(_SAID)


def _lay_clients(tap: Tap) -> None:
    class TappedProducer(Producer):
        def produce(self, *args: Any, **options: Any) -> None:
            make = super().produce
            tap.call("produce", lambda: make(*args, **options), _refuse)

        def flush(self, *args: Any, **options: Any) -> int:
            make = super().flush
            return int(tap.call("flush", lambda: make(*args, **options), _refuse))

    class TappedConsumer(consumer.ReadingConsumer):
        def consume(self, *args: Any, **options: Any) -> list[Any]:
            make = super().consume
            return tap.call(
                "consume",
                lambda: list(make(*args, **options)),
                lambda made: [*(made or []), _Complaint()],
            )

        def get_watermark_offsets(self, *args: Any, **options: Any) -> Any:
            make = super().get_watermark_offsets
            return tap.call("watermarks", lambda: make(*args, **options), _refuse)

        def commit(self, *args: Any, **options: Any) -> Any:
            make = super().commit
            return tap.call("commit", lambda: make(*args, **options), _refuse)

    _replace(producer, "Producer", TappedProducer)
    _replace(consumer, "ReadingConsumer", TappedConsumer)


def _lay_admin(tap: Tap) -> None:
    """Its calls give futures, which are what fails."""
    cluster, topics = admin.Admin.describe_cluster, admin.Admin.describe_topics

    def describe_cluster(self: admin.Admin, **options: Any) -> Future[Any]:
        return tap.call("describe cluster", lambda: cluster(self, **options), _fail_future)

    def describe_topics(self: admin.Admin, *args: Any, **options: Any) -> dict[str, Future[Any]]:
        def fail(made: dict[str, Future[Any]] | None) -> dict[str, Future[Any]]:
            asked = made or topics(self, *args, **options)
            return {name: _fail_future(each) for name, each in asked.items()}

        return tap.call("describe topics", lambda: topics(self, *args, **options), fail)

    _replace(admin.Admin, "describe_cluster", describe_cluster)
    _replace(admin.Admin, "describe_topics", describe_topics)


class _Complaint:
    """What arrives in place of a message when the broker is away."""

    def error(self) -> KafkaError:
        return _away()

    def topic(self) -> None:
        return None

    def partition(self) -> None:
        return None

    def __len__(self) -> int:
        return 0


def _fail_future(made: Future[Any] | None) -> Future[Any]:
    if made is not None:
        made.result(timeout=30)
    failed: Future[Any] = Future()
    failed.set_exception(KafkaException(_away()))
    return failed


def _refuse(_: object) -> Any:
    raise KafkaException(_away())


def _away() -> KafkaError:
    return KafkaError(KafkaError._TRANSPORT, _SAID)


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


def _place(frame: FrameType | None) -> str:
    """The place in the product that makes the call: module, function and line, and for whom."""
    found: list[str] = []
    while frame is not None and len(found) < _DEEP:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in _OURS:
            name = frame.f_code.co_name
            found.append(f"for {name}" if found else f"{module}.{name}:{frame.f_lineno}")
        frame = frame.f_back
    return " ".join(found)
