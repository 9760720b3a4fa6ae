"""What librdkafka reports outside of any call: through its error callback and its log.

A wrong password or certificate is reported there alone, while the call that needs it only times
out. So a report that points to a wrong setting is kept, and the call that times out raises it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import structlog

from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka import certificate_fault
from sinergi_schemas.kafka.diagnosis import LoginOrigin, diagnose, plain

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from sinergi_schemas import errors
    from sinergi_schemas.clock import Clock

_log = structlog.get_logger(__name__)

# A client whose broker is away finds another within seconds, where there is one; the call that
# needs the broker reports it besides.
_SILENT_AT_FIRST_SECONDS = 30.0
_SILENT_SECONDS = 60.0
_UNREPORTED_SECONDS = 30.0
_MOST_REMEMBERED = 200
_EXPLAINED_SECONDS = 30.0

_FAIL = "FAIL"

# Lines that repeat what the error callback reports or a call raises, or that warn of a setting
# that is chosen on purpose (enable.gapless.guarantee counts as experimental).
_DEBUG_ONLY = frozenset({_FAIL, "ERROR", "FATAL", "CONFWARN"})

# What ends by itself within seconds, as while a group's coordinator starts.
_PASSING = ("Coordinator load in progress",)

# Follows every other error of a connection, and adds nothing.
_ALL_DOWN = "_ALL_BROKERS_DOWN"


class ClientErrors:
    """The errors that the clients of one connection reported outside of any call.

    librdkafka reports a broker that is away at every attempt to reach it; a report that comes again
    after half a minute is logged, then once a minute. A wrong setting is logged only where no call
    has raised it.

    Attributes:
        login: why the brokers do not let us in, if they have reported it.
        hint: what may be wrong while the brokers do not answer.
        origin: where the settings of the login stand.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._warned: dict[str, float] = {}
        self._warning_due: dict[str, float] = {}
        self._is_reported = False
        self._diagnosed_since: float | None = None
        self.login: errors.LoginRefused | None = None
        self.hint = ""
        self.origin = LoginOrigin()
        self._explained: dict[str, tuple[float, errors.HandshakeRefused]] = {}

    def observe(self, error: KafkaError) -> None:
        """Take an error that belongs to no call. librdkafka calls this during a poll."""
        text = plain(error.str())
        if not self.observe_line(error.str()):
            if error.name() == "_AUTHENTICATION" and self.login is None:
                self.login = self.origin.refused("the login", "it was refused", text)
            elif error.name() != _ALL_DOWN:
                self.hint = text
            elif self.hint or self.login:
                return
            self._warn(error.name(), text)

    def observe_line(self, line: str) -> bool:
        """Take a line of an error or of the log; whether it points to a wrong setting."""
        found = diagnose(line)
        if found is None:
            return False
        if found.is_certain:
            self.login = self.origin.refused(found.setting, found.what, plain(line))
        else:
            self.hint = f"{found.what}: check {found.setting}; {plain(line)}"
        now = self._clock.monotonic()
        if self._diagnosed_since is None:
            self._diagnosed_since = now
        elif not self._is_reported and now - self._diagnosed_since > _UNREPORTED_SECONDS:
            self._is_reported = True
            _log.warning("brokers not reached", why=str(self.login or self.hint))
        return True

    def refusal(self) -> errors.HandshakeRefused | None:
        """Why the brokers do not let us in, for a call that raises it. It is not logged then."""
        self._is_reported = self._is_reported or bool(self.login or self.hint)
        return self.login and self.explained(self.login)

    def explained(self, refused: errors.LoginRefused) -> errors.HandshakeRefused:
        """As `certificate_fault.explained`, which is asked at most twice a minute."""
        now = self._clock.monotonic()
        known = self._explained.get(refused.reported)
        if known is None or now - known[0] > _EXPLAINED_SECONDS:
            if len(self._explained) >= _MOST_REMEMBERED:
                self._explained.clear()
            known = now, certificate_fault.explained(refused, self.origin)
            self._explained[refused.reported] = known
        return known[1]

    def clear(self) -> None:
        """Forget what was reported: a broker has answered."""
        self.login, self.hint = None, ""
        self._is_reported, self._diagnosed_since = False, None

    def is_repeated(self, code: str, text: str) -> bool:
        """Whether this was logged within the last minute; if not, it counts as logged now.

        Each connection of each client reports the same fault, so that one wrong certificate would
        fill the log.
        """
        now = self._clock.monotonic()
        last = self._warned.get(f"{code} {text}")
        if last is not None and now - last < _SILENT_SECONDS:
            return True
        if len(self._warned) >= _MOST_REMEMBERED:
            self._warned.clear()
        self._warned[f"{code} {text}"] = now
        return False

    def _warn(self, code: str, text: str) -> None:
        now, key = self._clock.monotonic(), f"{code} {text}"
        if len(self._warning_due) >= _MOST_REMEMBERED:
            self._warning_due.clear()
        if now < self._warning_due.setdefault(key, now + _SILENT_AT_FIRST_SECONDS):
            _log.debug("kafka client error", code=code, text=text)
            return
        self._warning_due[key] = now + _SILENT_SECONDS
        _log.warning("kafka client error", code=code, text=text)


class ClientLog:
    """The method of a logger that librdkafka calls, with one line in five positional values."""

    def __init__(self, client_errors: ClientErrors) -> None:
        self._client_errors = client_errors

    def log(self, level: int, _form: str, facility: str, client: str, line: str) -> None:
        """Log one line, with `level` as in the standard library's logging."""
        if facility == _FAIL:
            self._client_errors.observe_line(line)
        is_known = facility in _DEBUG_ONLY or any(each in line for each in _PASSING)
        if is_known or self._client_errors.is_repeated(facility, plain(line)):
            level = logging.DEBUG
        _log.log(level, "librdkafka", about=facility, by=client, text=line)
