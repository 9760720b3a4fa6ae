"""Settings of one agency: from `sinergi.toml`, the environment, and flags; the last one wins.

The environment's names are `SINERGI_` and the key in capitals, with two underscores between table
and key: `SINERGI_KAFKA__BOOTSTRAP`. Paths in the file are relative to the file.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import structlog

from sinergi.settings import near_keys, relative_paths
from sinergi.settings.model import (
    FILE_NAME,
    KEYS,
    PREFIX,
    BusRole,
    RoleLogin,
    Values,
    refused,
    unset,
    variable,
)
from sinergi_schemas.files import file_rights, input_file, toml_file, toml_limits
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.files.toml_file import FileProblem
from sinergi_schemas.plain_text import is_text, some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sinergi_producers.outbox.publishing import Outbox
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.seal.keys import SigningKey

_log = structlog.get_logger(__name__)

_SET = "--set"
_DEFAULT = "default"
_USE_TLS = "set kafka.security to SASL_SSL or SSL: everything can be read and changed on the way"
_EVERYWHERE = Path("/etc/sinergi") / FILE_NAME
# A database's address, as a URL or as key/value pairs.
_ADDRESS = re.compile(r"postgres(ql)?(\+\w+)?://|\w+\s*=")


@dataclass(frozen=True, slots=True)
class SettingEntry:
    """One setting: its dotted key, its value without passwords, and where that comes from."""

    key: str
    value: str | float | None
    origin: str


class Settings:
    """The settings that hold, and where each comes from."""

    def __init__(self, values: Values, origins: Mapping[str, str], file: Path | None) -> None:
        self.values = values
        self.file = file
        self._origins = origins
        self._logged_remarks: set[str] = set()
        self._connections: dict[BusRole | None, Connection] = {}
        self._passwords: dict[Path, str] = {}

    def entries(self) -> list[SettingEntry]:
        """Every setting, passwords masked."""
        flat = _leaves(self.values.model_dump(mode="json"))
        origins = self._origins
        return [SettingEntry(k, masked(value), origins.get(k, _DEFAULT)) for k, value in flat]

    def warnings(self) -> list[str]:
        """The dangers in the rights of the settings file, each with its remedy."""
        if self.file is None:
            return []
        mode = self.file.stat().st_mode
        if not stat.S_ISREG(mode):
            return []
        found = []
        if file_rights.is_writable_by_all(mode):
            found.append(f"every user may write {self.file}; `chmod o-w {self.file}`")
        given = (each for each in self.entries() if each.origin == str(self.file))
        values = dict(_leaves(self.values.model_dump(mode="json")))
        if file_rights.is_open(mode) and any(each.value != values[each.key] for each in given):
            remedy = f"`chmod 600 {self.file}`, and think of a new one"
            found.append(f"others may read {self.file}, which holds a password; {remedy}")
        return found

    @property
    def agency(self) -> str:
        """Whose settings these are.

        Raises:
            SettingsRefused: it is not set; so for all that follow.
        """
        return self.values.agency or self._unset("agency", "this command")

    @property
    def producer_database(self) -> str:
        """The address of the database in which this agency publishes, as `Database` takes it."""
        return self._address("producer.database", self.values.producer.database, "publishing")

    @property
    def consumer_database(self) -> str:
        """The address of the database that others' events go to, as `Database` takes it."""
        return self._address("consumer.database", self.values.consumer.database, "this command")

    def owner_database(self, role: BusRole) -> str:
        """The address at which the owner of a role's database logs in."""
        key, found = f"{role}.owner_database", self.values.table(role).owner_database
        if found:
            return self._address(key, found, "this command")
        return self.producer_database if role is BusRole.PRODUCER else self.consumer_database

    @property
    def consumer_name(self) -> str:
        """The name of that database on the bus."""
        return self.values.consumer.name

    def connection(self, role: BusRole | None = None) -> Connection:
        """How to reach the brokers; a password is read once, since it may come from a pipe.

        Args:
            role: with whose principal to log in, by default `<agency>.<role>`; None is whoever
                `[kafka]` names.
        """
        from sinergi_schemas.kafka import Connection  # noqa: PLC0415 - not every command needs it

        if role not in self._connections:
            kafka = self.values.kafka
            bootstrap = kafka.bootstrap or self._unset("kafka.bootstrap", "reaching the bus")
            login = self._login(role)
            options = kafka.options(login, self._passwords)
            timeouts, tables = self.values.timeouts.kafka, kafka.tables(login)
            made = Connection(bootstrap, options, kafka.group_protocol, timeouts, tables=tables)
            # Roles that log in alike share one: its clients tell each other what they meet.
            others = self._connections.values()
            if made.exposed_brokers and not others:
                _log.warning("no TLS to the brokers", brokers=made.exposed_brokers, mend=_USE_TLS)
            self._connections[role] = next((c for c in others if c.options == options), made)
        return self._connections[role]

    def agreements(self) -> Agreements:
        """The agreements of the bus.

        Raises:
            AgreementRefused: with one line for each thing wrong in them.
            SettingsRefused: they are of another bus, or no setting says where they are.
        """
        from sinergi.settings.agreement_folder import load  # noqa: PLC0415 - as above

        is_default = self._origins.get("agreements", _DEFAULT) == _DEFAULT
        if self.file is None and is_default and not os.path.lexists(self.values.agreements):
            self._unset("agreements", "this command")
        found = load(self.values)
        for each in found:
            for remark in each.remarks:
                self._remark(f"{each.path}: {remark}")
        return found

    def outbox(self) -> Outbox:
        """The outbox of this agency.

        Raises:
            SettingsRefused: the agency is party to no agreement.
            AgreementRefused: an agreement cannot be used.
        """
        from sinergi_producers.outbox.publishing import Outbox  # noqa: PLC0415 - as above
        from sinergi_schemas.catalog import Catalog  # noqa: PLC0415 - as above

        agreements = self.agreements()
        self.check_party(agreements)
        return Outbox(self.agency, agreements, Catalog.shipped())

    def check_party(self, agreements: Agreements) -> None:
        """Check that an agreement names this agency: a misspelt one publishes and reads nothing.

        Raises:
            SettingsRefused: none does.
        """
        if self.agency not in agreements.agencies:
            parties = some(agreements.agencies, ", ")
            what = f"{self.agency} is party to no agreement in {self.values.agreements}"
            raise refused(f"agency: {what}; parties are {parties}")

    def signing_keys(self, agreements: Agreements) -> list[SigningKey]:
        """The keys for this agency's checkpoints; two while one replaces the other.

        Raises:
            SettingsRefused: no agreement has the public half of any, or none names the agency.
            KeyFileRefused: a file in the folder is no key, or others may read it.
        """
        from sinergi.settings.own_keys import wanted_keys  # noqa: PLC0415 - as above

        self.check_party(agreements)
        wanted, what = agreements.keys(self.agency), f"{self.agency}'s checkpoint key"
        return wanted_keys(self.values.keys, wanted, what)

    def receipt_key(self, agreements: Agreements) -> SigningKey:
        """The key for the receipts of the consumer's database.

        Raises:
            SettingsRefused: no agreement has the public half of any.
            KeyFileRefused: a file in the folder is no key, or others may read it.
        """
        from sinergi.settings.own_keys import wanted_keys  # noqa: PLC0415 - as above

        shown, database = agreements.receipt_keys(self.agency), self.consumer_name
        name = f"{agreements.bus}/{self.agency}/{database}"
        wanted = [key for key in shown if key.name == name]
        if not wanted:
            named = sorted({key.name.rpartition("/")[2] for key in shown})
            what = f"the agreements show no receipt key of {self.agency}'s database {database}"
            others = f"they name {', '.join(named)}" if named else "they name no database of it"
            hint = "mend the name here, or let the parties add the key (`sinergi keys show`)"
            raise refused(f"consumer.name: {what}; {others}. {hint.capitalize()}")
        found = wanted_keys(self.values.keys, wanted, f"the receipt key of database {database}")
        return min(found, key=lambda each: wanted.index(each.public))

    def _login(self, role: BusRole | None) -> RoleLogin:
        if role is None:
            return RoleLogin(self.values.kafka, "kafka")
        from sinergi_schemas.agreements.principals import (  # noqa: PLC0415 - as above
            default_principal,
        )

        agency, table = self.values.agency, self.values.table(role)
        user = default_principal(agency, role) if agency else None
        return RoleLogin(table.kafka, f"{role}.kafka", user)

    def _address(self, key: str, value: str | None, wanted_by: str) -> str:
        from sinergi_schemas.postgresql.address import (  # noqa: PLC0415 - as above
            DatabaseAddress,
        )

        origin = self._origins.get(key, _DEFAULT)
        named = origin if key in origin else f"{key} in {origin}"
        return DatabaseAddress(value or self._unset(key, wanted_by), named)

    def _remark(self, what: str) -> None:
        """Log something without effect, once: agreements are read again and again."""
        if what not in self._logged_remarks:
            self._logged_remarks.add(what)
            _log.warning("without effect", what=what)

    def _unset(self, key: str, wanted_by: str) -> NoReturn:
        unset(key, wanted_by, self.file, has_file=self.file is not None)


class _Layered(NamedTuple):
    """A value as one source gave it."""

    key: str
    value: object
    origin: str


def load(
    config: Path | None = None,
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings that hold here.

    Args:
        config: the file; without one SINERGI_CONFIG names it, else it is `./sinergi.toml` or
            `/etc/sinergi/sinergi.toml`, where there is one.
        flags: dotted keys and values that override everything, as the flag `--set` gives them.

    Raises:
        SettingsRefused: with one line for each thing wrong.
    """
    file = config or _file(environment)
    layers = (
        *_from_folder(file.parent if file else Path()),
        *_from_file(file),
        *_from_environment(environment),
        *(_Layered(key, value, f"{_SET} {key}") for key, value in (flags or {}).items()),
    )
    unfit = [(each, what) for each in layers if (what := _unfit(each))]
    if unfit:
        raise refused(
            *(_line(FileProblem(each.key, what), {each.key: each.origin}) for each, what in unfit)
        )
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for each in layers:
        _place(merged, each.key.split("."), each.value)
        origins[each.key] = each.origin
    values, problems = toml_file.check(Values, merged, "")
    if values is None:
        raise refused(*(_line(each, origins) for each in problems))
    return Settings(values, origins, file)


def masked(value: str | float | None) -> str | float | None:
    """A value without the passwords that a database's address may hold."""
    if not isinstance(value, str) or not _ADDRESS.match(value):
        return value
    from sinergi_schemas.postgresql import address  # noqa: PLC0415 - heavy: where it is needed

    return address.masked(value)


def _file(environment: Mapping[str, str]) -> Path | None:
    if named := environment.get(f"{PREFIX}CONFIG"):
        return Path(named)
    try:
        return next((path for path in (Path(FILE_NAME), _EVERYWHERE) if path.is_file()), None)
    except OSError as why:  # whether it is there decides which settings hold
        raise refused(f"{why.filename}: {why.strerror}; name the file with --config") from None


def _from_folder(folder: Path) -> Iterator[_Layered]:
    """The default folders: beside the settings file, or without one in the working folder."""
    for key in ("agreements", "keys", "provision.passwords"):
        yield _Layered(key, folder / key.rpartition(".")[2], _DEFAULT)


def _from_file(file: Path | None) -> Iterator[_Layered]:
    if file is None:
        return
    try:
        read = toml_file.read(input_file.read(file, toml_limits.MOST_BYTES)[1])
    except OSError as why:
        raise refused(f"{file}: {unread(why)}") from None
    except ValueError as why:
        raise refused(f"{file}: {why}") from None
    for key, value in _leaves(read):
        yield _Layered(key, relative_paths.beside(file.parent, key, value), str(file))


def _from_environment(environment: Mapping[str, str]) -> Iterator[_Layered]:
    for key in KEYS:
        name = variable(key)
        if environment.get(name):
            yield _Layered(key, environment[name], name)


def _leaves(table: Mapping[str, Any], *above: str) -> Iterator[tuple[str, Any]]:
    """The values of a table and its tables, under dotted keys."""
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, *above, key)
        else:
            yield ".".join((*above, key)), value


def _unfit(given: _Layered) -> str | None:
    """Why no setting can have this value, which is not shown: it may hold a password."""
    text = str(given.value)
    if not text:
        return "it is empty; give it a value or leave it out"
    if "\0" in text:
        return "it holds a NUL character"
    may_hold_any_bytes = KEYS.get(given.key, False)
    is_fit = is_text(given.key) and (may_hold_any_bytes or is_text(text))
    return None if is_fit else "it is no text in UTF-8"


def _place(table: dict[str, Any], path: list[str], value: object) -> None:
    """Set a value under a dotted key; it replaces the value of an earlier layer."""
    *outer, last = path
    for step in outer:
        inner = table.get(step)
        if not isinstance(inner, dict):
            inner = table[step] = {}
        table = inner
    table[last] = value


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Where the value of a key comes from, or that of a key below or above it."""
    related = (each for each in origins if each.startswith(key) or key.startswith(f"{each}."))
    return origins.get(key) or next((origins[each] for each in related), "settings")


def _line(problem: FileProblem, origins: Mapping[str, str]) -> str:
    """A problem in one line that begins with where the value comes from."""
    origin = _origin(problem.key, origins)
    if origin != f"{_SET} {problem.key}":
        return f"{origin}: {problem}"
    if problem.is_unknown_key:
        return f"{origin}: there is no such key; {near_keys.hint(problem.key)}"
    return f"{origin}: {problem.what}"
