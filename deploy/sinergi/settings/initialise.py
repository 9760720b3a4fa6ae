"""The first files of an agency: its settings, its keys, and its part of an agreement."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tomli_w

from sinergi.settings import own_keys
from sinergi.settings.model import FILE_NAME, BusRole, Values
from sinergi_schemas import errors
from sinergi_schemas.agreements.principals import default_principal
from sinergi_schemas.agreements.tables import NAME_PLACEHOLDER
from sinergi_schemas.files import input_file, toml_file
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.topics import is_slug

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sinergi_schemas.seal.keys import VerifyingKey

_USUAL = 0o777  # less the umask
_SHARED = 0o755  # everybody may read agreements, only the owner may add one
_OWNERS_FOLDER, _OWNERS = 0o700, 0o600
_PASSWORDS, _CA_FILE = "passwords", "ca.pem"
_MOST_BYTES = 1024 * 1024  # hundreds of certificates
# The option of `sinergi init` that gives each setting.
_OPTIONS = {
    "agency": "--agency",
    "bus": "--bus",
    "kafka.bootstrap": "--kafka",
    "producer.database": "--database",
    "consumer.database": "--database",
    "consumer.name": "--name",
}


@dataclass(frozen=True, slots=True)
class PlannedFiles:
    """What goes into the first files of an agency.

    Attributes:
        producer, consumer: the databases' URLs, as far as they are known.
        database: the name of the consumer's database on the bus.
        kafka: `host:port` of a broker, if known.
        ca_file: the certificates of the authority of the brokers, where they use TLS: each role of
            the agency then logs in with a password of its own.
    """

    agency: str
    bus: str
    database: str = "main"
    producer: str | None = None
    consumer: str | None = None
    kafka: str | None = None
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """The settings file that was written, and the public keys for the agreement."""

    settings: Path
    key: VerifyingKey
    receipt_key: VerifyingKey

    def party(self, agency: str, name: str = NAME_PLACEHOLDER) -> str:
        """The agency's part of an agreement, in TOML."""
        return own_keys.party(agency, [self.key, self.receipt_key], name)


def write_first_files(folder: Path, plan: PlannedFiles) -> WrittenFiles:
    """Write an agency's settings and keys into a folder, and make the folder of agreements.

    Raises:
        InitRefused: as `first_files`.
    """
    with first_files(folder, plan) as written:
        return written


@contextmanager
def first_files(folder: Path, plan: PlannedFiles) -> Iterator[WrittenFiles]:
    """As `write_first_files`, for a block that shows the keys: if it raises, they are removed.

    Raises:
        InitRefused: a name or address cannot be used, or a file is there already; nothing was
            written.
    """
    document = _settings(plan)
    _check(plan, document)
    settings, keys, agreements = folder / FILE_NAME, folder / "keys", folder / "agreements"
    passwords, ca_file = folder / _PASSWORDS, folder / _CA_FILE
    authority = None if plan.ca_file is None else _certificates(plan.ca_file)
    key_file = keys / f"{plan.agency}.key"
    receipt_file = keys / f"{plan.agency}.{plan.database}.receipts.key"
    with _refusing():
        for path in (settings, key_file, receipt_file, *([ca_file] if authority else [])):
            if path.exists():
                what = f"{path} is there already; it is never overwritten"
                hint = f"`sinergi --config {settings} keys show` prints the public keys again"
                raise errors.InitRefused(f"{what}. {hint}" if settings.exists() else what)
        for path in (folder, keys, agreements, passwords):
            if path.exists() and not path.is_dir():
                raise errors.InitRefused(f"{path} is there already, and is no folder")
    name = f"{plan.bus}/{plan.agency}"
    key = SigningKey.generate(name)
    receipt_key = SigningKey.generate(f"{name}/{plan.database}", Algorithm.COSIGNATURE)
    with ExitStack() as undoing:  # all of it, or nothing
        with _refusing():
            for path, mode in ((folder, _USUAL), (keys, _OWNERS_FOLDER), (agreements, _SHARED)):
                _make_folder(path, mode, undoing)
            if authority:
                _make_folder(passwords, _OWNERS_FOLDER, undoing)
                _write(ca_file, authority, undoing)
            for path, text in (
                (key_file, f"{key.private_text()}\n"),
                (receipt_file, f"{receipt_key.private_text()}\n"),
                (settings, tomli_w.dumps(document)),  # a database's address may hold a password
            ):
                _write(path, text, undoing)
        yield WrittenFiles(settings, key.public, receipt_key.public)
        undoing.pop_all()


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn an OSError of the block, which names a path, into an `InitRefused`."""
    try:
        yield
    except OSError as why:
        raise errors.InitRefused(f"{why.filename}: {why.strerror}") from None


def _make_folder(path: Path, mode: int, undoing: ExitStack) -> None:
    """Make a folder, and those above it that are missing."""
    if path.is_dir():
        return
    if not path.parent.exists():
        _make_folder(path.parent, _USUAL, undoing)
    path.mkdir(mode=mode)
    undoing.callback(path.rmdir)


def _write(path: Path, text: str, undoing: ExitStack) -> None:
    """Write a new file that only its owner may read, and wait for the disk."""
    made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNERS)
    undoing.callback(path.unlink)
    with input_file.path_named(path), os.fdopen(made, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(made)


def _check(plan: PlannedFiles, document: dict[str, Any]) -> None:
    """Refuse settings that the next command would refuse.

    Raises:
        InitRefused: a name or an address cannot be used.
    """
    for name, what in ((plan.agency, "an agency"), (plan.database, "a database")):
        if not is_slug(name):
            hint = "write lower-case words joined by hyphens"
            raise errors.InitRefused(f"{name!r} cannot name {what}; {hint}")
    _, problems = toml_file.check(Values, document, "")
    if problems:
        said = (f"{_OPTIONS.get(each.key, each.key)}: {each.what}" for each in problems)
        raise errors.InitRefused("; ".join(dict.fromkeys(said)))


def _certificates(path: Path) -> str:
    """The text of a file of certificates.

    Raises:
        InitRefused: it cannot be read, or holds no certificate.
    """
    try:
        text = input_file.read_regular(path, _MOST_BYTES)[1].decode("ascii")
    except OSError as why:
        raise errors.InitRefused(f"{path}: {why.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise errors.InitRefused(f"{path} holds no certificate in PEM")
    return text


def _settings(plan: PlannedFiles) -> dict[str, Any]:
    """The content of the settings file; a command that needs a missing setting asks for it."""
    consumer = {"name": plan.database, "database": plan.consumer}
    kafka: dict[str, Any] = {"bootstrap": plan.kafka}
    tables: dict[str, dict[str, Any]] = {
        "kafka": kafka,
        "producer": {"database": plan.producer},
        "consumer": consumer,
    }
    if plan.ca_file is not None:
        kafka |= {"security": "SASL_SSL", "ca_file": _CA_FILE}
        for role in BusRole:
            # As `sinergi provision` names the file of the role's usual principal.
            file = f"{_PASSWORDS}/{default_principal(plan.agency, role)}.password"
            tables[role]["kafka"] = {"password_file": file}
    return {
        "agency": plan.agency,
        "bus": plan.bus,
        "agreements": "agreements",
        "keys": "keys",
        **{name: {k: v for k, v in table.items() if v} for name, table in tables.items()},
    }
