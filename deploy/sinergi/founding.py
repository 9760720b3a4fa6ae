"""The first files of an agency: its settings and its keys, and what others have to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tomli_w

from sinergi.values import FILE_NAME
from sinergi_schemas import errors
from sinergi_schemas.seal.keys import Algorithm, SigningKey, check_name
from sinergi_schemas.topics import is_slug

if TYPE_CHECKING:
    from pathlib import Path

    from sinergi_schemas.seal.keys import VerifyingKey


@dataclass(frozen=True, slots=True)
class Plan:
    """What an agency starts with.

    Attributes:
        producer, consumer: the databases' URLs, as far as they are known.
        database: the name of the consumer's database on the bus.
        kafka: `host:port` of a broker, if known.
    """

    agency: str
    bus: str
    database: str = "main"
    producer: str | None = None
    consumer: str | None = None
    kafka: str | None = None


@dataclass(frozen=True, slots=True)
class Founded:
    """What was made: the settings file, and the public keys that the agreement has to show."""

    settings: Path
    key: VerifyingKey
    receipt_key: VerifyingKey

    def party(self, agency: str, database: str) -> str:
        """The agency's part of an agreement, in TOML."""
        return (
            f"[parties.{agency}]\n"
            'name = "…"\n'
            f'keys = ["{self.key}"]\n'
            f'receipt_keys = [{{ database = "{database}", key = "{self.receipt_key}" }}]\n'
        )


def found(folder: Path, plan: Plan) -> Founded:
    """Write an agency's settings and keys into a folder, and make the folder of agreements.

    Raises:
        FoundingRefused: a name cannot be used, or a file is there already; nothing was written.
        KeyFileRefused: a key cannot be written.
    """
    _check_names(plan)
    settings, keys = folder / FILE_NAME, folder / "keys"
    key_file = keys / f"{plan.agency}.key"
    receipt_file = keys / f"{plan.agency}.{plan.database}.receipts.key"
    for path in (settings, key_file, receipt_file):
        if path.exists():
            raise errors.FoundingRefused(f"{path} is there already; it is never overwritten")
    name = f"{plan.bus}/{plan.agency}"
    key = SigningKey.generate(name)
    receipt_key = SigningKey.generate(f"{name}/{plan.database}", Algorithm.COSIGNATURE)
    try:
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "agreements").mkdir(exist_ok=True)
        key.save(key_file)
        receipt_key.save(receipt_file)
        settings.write_text(_settings(plan), encoding="utf-8")
    except OSError as why:
        raise errors.FoundingRefused(f"{why.filename}: {why.strerror}") from None
    return Founded(settings, key.public, receipt_key.public)


def _check_names(plan: Plan) -> None:
    for name, what in ((plan.agency, "an agency"), (plan.database, "a database")):
        if not is_slug(name):
            hint = "write lower-case words joined by hyphens"
            raise errors.FoundingRefused(f"{name!r} cannot name {what}; {hint}")
    try:
        check_name(plan.bus)
    except ValueError as why:
        raise errors.FoundingRefused(str(why)) from None


def _settings(plan: Plan) -> str:
    """The settings file; what is not known yet is left out, and asked for when it is needed."""
    consumer = {"name": plan.database, "database": plan.consumer}
    tables = {
        "kafka": {"bootstrap": plan.kafka},
        "producer": {"database": plan.producer},
        "consumer": consumer,
    }
    document = {
        "agency": plan.agency,
        "bus": plan.bus,
        "agreements": "agreements",
        "keys": "keys",
        **{name: {k: v for k, v in table.items() if v} for name, table in tables.items()},
    }
    return tomli_w.dumps(document)
