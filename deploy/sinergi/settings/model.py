"""The settings, key by key, and the values that each may have."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, NoReturn, get_args

from pydantic import BaseModel, ConfigDict, Field

from sinergi.settings.value_types import (
    Brokers,
    Bus,
    ConfirmedKeys,
    Count,
    Database,
    DatabaseRoleName,
    Slug,
)
from sinergi_schemas import errors
from sinergi_schemas.files import file_rights, input_file
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.plain_text import is_text, listing
from sinergi_schemas.timeouts import Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable

FILE_NAME = "sinergi.toml"
PREFIX = "SINERGI_"

_MOST_BYTES = 64 * 1024  # of a file with a password or a key


# A private key in PKCS #8, and in the older form of OpenSSL.
_ENCRYPTED = re.compile(rb"^(-----BEGIN ENCRYPTED |Proc-Type: 4,ENCRYPTED)", re.MULTILINE)

_MONTHS = Field(default=None, ge=1, le=1_200, description="a count of months, as 60")


class SettingsTable(BaseModel):
    """A table of settings, which refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BusRole(StrEnum):
    """What an agency does on the bus: each role logs in to the brokers with its own principal."""

    PRODUCER = "producer"
    CONSUMER = "consumer"


class LoginSettings(SettingsTable):
    """How a client proves to the brokers who it is."""

    username: str | None = None
    password_file: Path | None = None
    certificate_file: Path | None = None
    private_key_file: Path | None = None


class RoleLogin(NamedTuple):
    """What a role has of its own.

    Attributes:
        table: the name of its table.
        default_user: its user under SASL if no table names one.
    """

    login: LoginSettings
    table: str
    default_user: str | None = None


class KafkaSettings(LoginSettings):
    """How to reach the brokers."""

    bootstrap: Brokers | None = Field(
        default=None, min_length=1, description="host:port of a broker"
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    ca_file: Path | None = None
    group_protocol: Literal["consumer", "classic"] = "consumer"

    def options(self, own: RoleLogin, passwords: dict[Path, str]) -> dict[str, str]:
        """The settings that are set, under librdkafka's names.

        Args:
            own: what a role has of its own; everything else is that of this table.
            passwords: those that were read before, by their files, which may be pipes.

        Raises:
            SettingsRefused: a user without a password; or a certificate without its key, or a key
                without its certificate; or a key that is encrypted; or a file with a password or a
                key that cannot be read, or that others may read; or a path that is not UTF-8.
        """
        found = {"security.protocol": self.security.lower()}
        if self.security.startswith("SASL"):
            user = own.login.username or self.username or own.default_user
            found |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": user or unset("kafka.username", self.security),
                "sasl.password": self._password(*self._file("password_file", own), passwords),
            }
        key, private_key = self._file("private_key_file", own)
        if private_key is not None:
            content = _secret(key, private_key, "key", input_file.read_regular)
            if _ENCRYPTED.search(content):
                what = f"{private_key} is encrypted, and no setting holds its password"
                raise refused(
                    f"{key}: {what}; `openssl pkey -in {private_key} -out FILE` decrypts it"
                )
        files = {
            "ssl.ca.location": ("kafka.ca_file", self.ca_file),
            "ssl.certificate.location": self._file("certificate_file", own),
            "ssl.key.location": (key, private_key),
        }
        found |= {name: _for_client(key, path) for name, (key, path) in files.items() if path}
        self._check_pair(own)
        return found

    def tables(self, own: RoleLogin) -> dict[str, str]:
        """The table of each setting of a login that a role has of its own, by its name."""
        given = {name for name, value in own.login if value is not None}
        if own.default_user is not None and self.username is None:
            given.add("username")  # it may be set there
        return dict.fromkeys(given & LoginSettings.model_fields.keys(), own.table)

    def _file(self, name: str, own: RoleLogin) -> tuple[str, Path | None]:
        """The key and the value of a setting that a role may have of its own."""
        of_role: Path | None = getattr(own.login, name)
        if of_role is not None:
            return f"{own.table}.{name}", of_role
        shared: Path | None = getattr(self, name)
        return f"kafka.{name}", shared

    def _check_pair(self, own: RoleLogin) -> None:
        """Refuse half of a login by certificate: librdkafka would log in without one.

        Raises:
            SettingsRefused: only one of certificate and key is set.
        """
        names = ("certificate_file", "private_key_file")
        given = [key for key, path in (self._file(each, own) for each in names) if path]
        if len(given) == 1:
            table, _, name = given[0].rpartition(".")
            (other,) = {*names} - {name}
            what = f"is set without {other}, and a login by certificate needs both"
            raise refused(f"{given[0]}: {what}; write {other} under [{table}] too")

    def _password(self, key: str, path: Path | None, passwords: dict[Path, str]) -> str:
        if path is None:
            unset("kafka.password_file", self.security)
        if path not in passwords:
            try:
                text = _secret(key, path, "password").decode("utf-8-sig")
            except UnicodeDecodeError:
                raise refused(f"{key}: {path} cannot be read (it is not UTF-8)") from None
            passwords[path] = text.rstrip("\r\n")
        if not passwords[path]:
            raise refused(f"{key}: {path} is empty; write the password into it")
        if len(passwords[path].splitlines()) > 1:
            raise refused(f"{key}: {path} has several lines; leave only the password in it")
        return passwords[path]


class ProducerRoles(SettingsTable):
    """The roles of PostgreSQL to which `sinergi db upgrade` gives the rights on an outbox.

    Attributes:
        application: publishes.
        relay: runs `sinergi relay`.
    """

    application: DatabaseRoleName | None = None
    relay: DatabaseRoleName | None = None


class ConsumerRoles(SettingsTable):
    """The roles of PostgreSQL to which `sinergi db upgrade` gives the rights on others' events.

    Attributes:
        materialiser: runs `sinergi materialise`.
        reader: reads the tables of the projections.
        auditor: runs `sinergi verify` and the other audits, and reads the journal.
    """

    materialiser: DatabaseRoleName | None = None
    reader: DatabaseRoleName | None = None
    auditor: DatabaseRoleName | None = None


class Producer(SettingsTable):
    """The database in which this agency publishes, and how its relay logs in to the brokers.

    Attributes:
        owner_database: the address for the database's owner; unset means `database`.
        prune_days: how long the contents of a row are kept after it was sealed, in days.
    """

    database: Database | None = Field(
        default=None, description="a URL as postgresql://user@host/name"
    )
    owner_database: Database | None = Field(
        default=None, description="a URL as postgresql://owner@host/name"
    )
    database_roles: ProducerRoles = ProducerRoles()
    prune_days: Count = Field(default=90, ge=0, le=36_500, description="a count of days, as 90")
    kafka: LoginSettings = LoginSettings()


class RetentionSettings(SettingsTable):
    """For how many months a reader's database keeps what `sinergi db prune` may remove.

    Unset means for ever. Months are those of UTC, and the current one does not count.
    """

    history_months: Count | None = _MONTHS
    checkpoint_months: Count | None = _MONTHS
    receipt_months: Count | None = _MONTHS


class Consumer(SettingsTable):
    """The database for others' events, and how its materialiser logs in to the brokers.

    Attributes:
        owner_database: the address for the database's owner; unset means `database`.
        name: of the database on the bus: in the consumer group and in the receipt key's name.
        quarantine_bytes: room for events of each publisher that could not become rows; beyond it
            only their leaf and why are kept, and they are read again from the topic.
    """

    database: Database | None = Field(
        default=None, description="a URL as postgresql://user@host/name"
    )
    owner_database: Database | None = Field(
        default=None, description="a URL as postgresql://owner@host/name"
    )
    database_roles: ConsumerRoles = ConsumerRoles()
    name: Slug = "main"
    quarantine_bytes: Count = Field(
        default=64 * 1024 * 1024, ge=0, description="a count of bytes, as 67108864"
    )
    retention: RetentionSettings = RetentionSettings()
    kafka: LoginSettings = LoginSettings()


class Provision(SettingsTable):
    """How topics and users are made.

    Attributes:
        replication: copies of each partition of a new topic; unset means what the brokers' setting
            default.replication.factor says, and at least three, or one per broker if fewer.
        passwords: the folder for the passwords of new users, one file of mode 0600 for each.
        grace_hours: for how long after an agreement's end its rights and users are kept.
        open_brokers: brokers without access control are meant so.
    """

    replication: Count | None = Field(
        default=None, ge=1, le=100, description="a count of brokers, as 3"
    )
    passwords: Path = Field(
        default=Path("passwords"), description="the folder for the passwords of new users"
    )
    grace_hours: Count = Field(default=24, ge=0, le=8_784, description="a number of hours, as 24")
    open_brokers: bool = Field(
        default=False, description="true to take brokers without access control, for trials"
    )

    @property
    def grace(self) -> timedelta:
        """For how long after an agreement's end its rights and users are kept."""
        return timedelta(hours=self.grace_hours)


class Values(SettingsTable):
    """The values of all settings."""

    agency: Slug | None = Field(default=None, description='the agency, as "lapas-banyuwangi"')
    bus: Bus | None = Field(default=None, description="the bus's name as in the agreements")
    agreements: Path = Field(default=Path("agreements"), description="the folder of agreements")
    unsigned_agreements: bool = Field(
        default=False, description="true to take agreements that not all parties have signed"
    )
    confirmed_keys: ConfirmedKeys | None = Field(
        default=None,
        description="public keys, with commas between, that replace lost ones of their agencies",
    )
    keys: Path = Field(default=Path("keys"), description="the folder of private keys")
    kafka: KafkaSettings = KafkaSettings()
    producer: Producer = Producer()
    consumer: Consumer = Consumer()
    provision: Provision = Provision()
    timeouts: Timeouts = Timeouts()

    def table(self, role: BusRole) -> Producer | Consumer:
        """The table of a role."""
        return self.producer if role is BusRole.PRODUCER else self.consumer


def variable(key: str) -> str:
    """The environment variable of a dotted key."""
    return PREFIX + key.replace(".", "__").upper()


def refused(*lines: str) -> errors.SettingsRefused:
    """The error that lists problems, one on each line."""
    return errors.SettingsRefused(listing(lines))


def unset(key: str, wanted_by: str, file: Path | None = None, *, has_file: bool = True) -> NoReturn:
    """Refuse to go on without a setting, and say where it goes.

    Args:
        file: the settings file, if it is known.
        has_file: whether there is a settings file at all.

    Raises:
        SettingsRefused: always.
    """
    table, _, name = key.rpartition(".")
    where = f"under [{table}]" if table else "at the top"
    what = f"is not set, but {wanted_by} needs it; write {name} {where} in {file or FILE_NAME}"
    hint = "" if has_file else f"; there is no {FILE_NAME} here: `sinergi init` writes one"
    if has_file and key == "agency":
        hint = "; or name the settings of an agency by --config"
    raise refused(f"{key}: {what} or set {variable(key)}{hint}")


def _for_client(key: str, path: Path) -> str:
    """The path of a file for the Kafka client, which crashes on a path that is not UTF-8.

    Raises:
        SettingsRefused: the path is not UTF-8, or its file cannot be read, or is a device or pipe.
    """
    try:
        input_file.check_readable(path)
    except OSError as why:
        raise refused(f"{key}: {path} {unread(why)}") from None
    if not is_text(str(path)):
        raise refused(f"{key}: the Kafka client takes no path that is not UTF-8; rename {path}")
    return str(path)


def _secret(
    key: str,
    path: Path,
    what: str,
    read: Callable[[Path, int], tuple[int, bytes]] = input_file.read,
) -> bytes:
    """The content of a file that only its owner may read.

    Raises:
        SettingsRefused: it cannot be read, is too long, or others may read it as well.
    """
    try:
        mode, data = read(path, _MOST_BYTES)
    except OSError as why:
        raise refused(f"{key}: {path} {unread(why)}") from None
    if file_rights.is_open(mode):
        remedy = (
            f"name another file; or if it is your {what}, `chmod 600 {path}`, and make a new one"
        )
        raise refused(f"{key}: others may read or write {path}; {remedy}")
    return data


def _is_path(model: type[BaseModel], key: str) -> bool:
    return Path in (
        model.model_fields[key].annotation,
        *get_args(model.model_fields[key].annotation),
    )


def _keys(model: type[BaseModel]) -> dict[str, bool]:
    """Every dotted key of a model, and whether it holds a path."""
    found: dict[str, bool] = {}
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= {f"{name}.{key}": is_path for key, is_path in _keys(inner).items()}
        else:
            found[name] = _is_path(model, name)
    return found


KEYS = _keys(Values)
"""Every dotted key of the settings, and whether it holds a path."""
