"""The types of single settings, each with what it refuses."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from sinergi_schemas.files.toml_file import refuse_boolean
from sinergi_schemas.topics import is_bus, is_slug

_BROKER = re.compile(
    r"(?:(?i:PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)://)?"
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|[^\s,:/\[\]]+):(?P<port>[0-9]{1,5})"
)
_MOST_PORT = 65_535


def _agency(text: str) -> str:
    if not is_slug(text):
        raise ValueError(f'{text!r} cannot name an agency; write one as "lapas-banyuwangi"')
    return text


def _database(text: str) -> str:
    """An address as PostgreSQL's own tools take it, or an SQLAlchemy URL with our driver."""
    from sinergi_schemas.postgresql.address import conninfo  # noqa: PLC0415 - heavy: where needed

    conninfo(text)
    return text


def _bus(text: str) -> str:
    if not is_bus(text):
        raise ValueError(f"{text!r} cannot name a bus; write lower-case words with dots between")
    return text


def _brokers(text: str) -> str:
    """Addresses of brokers. The client itself takes any port modulo 65536, or none at all."""
    for each in map(str.strip, text.split(",")):
        found = _BROKER.fullmatch(each)
        if found is None or not _is_ipv6(found["v6"] or "::"):
            what = 'write host:port, as "127.0.0.1:9092" or "[::1]:9092"'
            raise ValueError(f"{each!r} is no address; {what}")
        if not 1 <= int(found["port"]) <= _MOST_PORT:
            raise ValueError(f"{each!r} has no port between 1 and {_MOST_PORT}")
    return text


def _confirmed(text: str) -> str:
    """Public keys of agencies, as an agreement has them, with commas between."""
    from sinergi_schemas.seal.keys import VerifyingKey  # noqa: PLC0415 - heavy: where needed

    for each in map(str.strip, text.split(",")):
        try:
            VerifyingKey.parse(each)
        except ValueError as why:
            raise ValueError(f"{each!r} is no public key as in an agreement: {why}") from None
    return text


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _role(text: str) -> str:
    """The name of a role, exactly as PostgreSQL stores it."""
    if len(text.encode()) > 63:
        raise ValueError("is longer than 63 bytes, where PostgreSQL cuts off the name of a role")
    if not text.isprintable():
        raise ValueError(f"{text!r} cannot name a role; write printable characters only")
    if text.startswith("pg_") or text in ("public", "none"):
        raise ValueError(f"{text!r} cannot name a role: PostgreSQL keeps that name for itself")
    return text


Slug = Annotated[str, AfterValidator(_agency)]
Bus = Annotated[str, AfterValidator(_bus)]
Brokers = Annotated[str, AfterValidator(_brokers)]
Database = Annotated[str, AfterValidator(_database)]
DatabaseRoleName = Annotated[str, AfterValidator(_role)]
ConfirmedKeys = Annotated[str, AfterValidator(_confirmed)]
Count = Annotated[int, BeforeValidator(refuse_boolean)]
