"""What librdkafka says outside of any call: its error callback and its log, both to structlog."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from sinergi_schemas.clock import Clock

_log = structlog.get_logger(__name__)

_SILENT_SECONDS = 60.0
_MOST_REMEMBERED = 200

# Lines that say again what the error callback says or a call raises, or that warn of a setting
# chosen on purpose (enable.gapless.guarantee counts as experimental).
_QUIET = frozenset({"FAIL", "ERROR", "FATAL", "CONFWARN"})


class Complaints:
    """What the clients of one connection were told on the side.

    A broker that is away is complained about at every attempt to reach it; the log says each thing
    once a minute.

    Attributes:
        login: why the brokers do not let us in, if they do not.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._said: dict[str, float] = {}
        self.login: errors.LoginRefused | None = None

    def hear(self, error: KafkaError) -> None:
        """Take an error that belongs to no call. librdkafka calls this during a poll."""
        from sinergi_schemas.kafka.faults import translate  # noqa: PLC0415 - it loads librdkafka

        meaning = translate(error)
        if isinstance(meaning, errors.LoginRefused):
            self.login = meaning
        self._say(error)

    def settled(self) -> None:
        """A broker has answered: whatever was said of the login is over."""
        self.login = None

    def _say(self, error: KafkaError) -> None:
        now, text = self._clock.monotonic(), f"{error.name()} {error.str()}"
        last = self._said.get(text)
        if last is not None and now - last < _SILENT_SECONDS:
            return
        if len(self._said) >= _MOST_REMEMBERED:
            self._said.clear()
        self._said[text] = now
        _log.warning("kafka", code=error.name(), said=error.str())


class ClientLog:
    """The part of a logger that librdkafka calls; it hands lines with three positional values."""

    def log(self, level: int, _form: str, facility: str, client: str, line: str) -> None:
        """Pass one line on, with `level` as in the standard library's logging."""
        said_before = facility in _QUIET
        _log.log(10 if said_before else level, "librdkafka", about=facility, by=client, said=line)
