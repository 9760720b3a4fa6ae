"""The tables of an agreement's file: their keys, and the form of each value.

`agreements.file` checks the rules between them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sinergi_schemas.codes import Purpose
from sinergi_schemas.files.toml_file import Table
from sinergi_schemas.near_names import did_you_mean
from sinergi_schemas.topics import is_bus

_PERIOD = re.compile(r"P(?=\d)(\d+Y)?(\d+M)?(\d+D)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,126}")
# A distinguished name as Kafka writes it: RFC 2253, which begins with an attribute.
_SUBJECT = re.compile(r"[A-Za-z][A-Za-z0-9.]*=.{1,500}")
_MOST_PARTITIONS = 1_000
# KafkaPrincipal.ANONYMOUS
_NOBODY = "ANONYMOUS"

NAME_PLACEHOLDER = "NAME OF THE AGENCY"
"""The placeholder that `sinergi init` prints if no name was given."""


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of text; write it without control characters")
    return text


def _bus(text: str) -> str:
    if not is_bus(text):
        raise ValueError(f"{text!r} cannot name a bus; write lower-case words with dots between")
    return text


def _retention(text: str) -> str:
    if text != "forever" and not _PERIOD.fullmatch(text):
        raise ValueError(f'{text!r} is not a period; write one as "P5Y", or "forever"')
    return text


def _digest(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ValueError("is not a SHA-256; write the 64 digits that `sha256sum` prints")
    return text


def _purpose(text: str) -> str:
    known = [each.value for each in Purpose if each is not Purpose.UNKNOWN]
    if text not in known:
        raise ValueError(f"{text} is not a purpose; {did_you_mean(text, known)}")
    return text


def _principal(text: str) -> str:
    if text.startswith("User:"):
        raise ValueError(f"{text!r} begins with User:, which Kafka adds itself; leave it out")
    if text == _NOBODY:
        what = "is what the brokers call every client without a login; name a user or a certificate"
        raise ValueError(f"{text!r} {what}")
    if not _USER.fullmatch(text) and not (_SUBJECT.fullmatch(text) and text.isprintable()):
        hint = 'write one as "lapas-banyuwangi.producer", or as "CN=relay,O=Lapas"'
        raise ValueError(
            f"{text!r} is neither a user's name nor the subject of a certificate; {hint}"
        )
    return text


def _name(text: str) -> str:
    if text == NAME_PLACEHOLDER or not any(map(str.isalnum, text)):
        raise ValueError(f"{text!r} is only the placeholder; write the party's name")
    return text


OneLine = Annotated[str, AfterValidator(_one_line)]
Lines = Annotated[list[OneLine], Field(min_length=1)]
PrincipalNames = Annotated[list[Annotated[str, AfterValidator(_principal)]], Field(min_length=1)]


class HeadTable(Table):
    """The keys at the top level: the bus, the agreement's title and legal basis, and its rule
    for audits.
    """

    bus: Annotated[str, AfterValidator(_bus)] = Field(
        description='the name of the bus, such as "sinergi.banyuwangi.example"'
    )
    title: OneLine = Field(description="the agreement's title in quotes")
    legal_basis: Lines = Field(description='laws and regulations, such as ["UU 35/2009", …]')
    replaces: list[Annotated[str, AfterValidator(_digest)]] = Field(
        default=[], description="the SHA-256 of each earlier agreement on the same topics"
    )
    audit_needs_reason: bool = Field(
        default=False, description="true if nobody may read its topics again without --why"
    )


class NumberTable(Table):
    """The number that one party gave the agreement."""

    party: str = Field(description='the agency, such as "lapas-banyuwangi"')
    number: OneLine = Field(description="the number that this party gave the agreement")


class NumbersTable(Table):
    """The numbers of all parties."""

    numbers: list[NumberTable] = Field(
        description='[{ party = "…", number = "…" }, …], one for each party'
    )


class InForceTable(Table):
    """The period in which the agreement is in force."""

    start: Any = Field(
        alias="from", description="a date, such as 2025-10-23, or a time with its offset"
    )
    until: Any = Field(default=None, description="the last day, such as 2030-10-22")
    zone: str | None = Field(default=None, description='an IANA zone, such as "Asia/Jakarta"')


class ReceiptKeyTable(Table):
    """The key of one database of a party."""

    database: str = Field(description='the database, such as "register"')
    key: str = Field(description="the public key that `sinergi init` printed")


class ReplacedKeyTable(Table):
    """A key that another key has replaced."""

    key: str = Field(description="the public key that no longer signs")
    until: dict[str, list[Annotated[int, Field(ge=0)]]] = Field(
        description="the last tree size that it may sign, one for each partition of each event"
        " type, such as { transfer = [120, 97, 104] }"
    )


class PrincipalsTable(Table):
    """The Kafka principals under which the processes of one party log in."""

    producer: PrincipalNames | None = Field(
        default=None, description='of its relay, such as ["lapas-banyuwangi.producer"]'
    )
    consumer: PrincipalNames | None = Field(
        default=None, description='of its materialiser, such as ["lapas-banyuwangi.consumer"]'
    )


class PartyTable(Table):
    """One party and its keys."""

    name: Annotated[OneLine, AfterValidator(_name)] = Field(
        description="the party's name in quotes"
    )
    keys: list[str] = Field(
        min_length=1, description="the public key that `sinergi init` printed, in brackets"
    )
    replaced_keys: list[ReplacedKeyTable] = Field(
        default=[], description='[{ key = "…", until = { transfer = [120, 97, 104] } }, …]'
    )
    receipt_keys: list[ReceiptKeyTable] = Field(
        default=[], description='[{ database = "…", key = "…" }, …]'
    )
    principals: PrincipalsTable = Field(
        default=PrincipalsTable(), description='{ producer = ["…"], consumer = ["…"] }'
    )


class AuditorTable(Table):
    """Somebody who is no party and may read topics to audit them."""

    name: Annotated[OneLine, AfterValidator(_name)] = Field(
        description="the auditor's name in quotes"
    )
    reads: list[str] = Field(
        min_length=1, description='the event types that it may read, such as ["transfer"]'
    )
    principals: PrincipalNames | None = Field(
        default=None, description='how it logs in, such as ["ombudsman.auditor"]'
    )


class EventsTable(Table):
    """The rules for one event type."""

    publishers: list[str] = Field(min_length=1, description="the agencies that publish")
    readers: list[str] = Field(min_length=1, description="the agencies that read")
    purposes: list[Annotated[str, AfterValidator(_purpose)]] = Field(
        min_length=1, description='what the events may be used for, such as ["INVESTIGATION"]'
    )
    partitions: int = Field(
        ge=1, le=_MOST_PARTITIONS, description="a number that never changes, such as 3"
    )
    # Signed files may contain this key, and nobody can change them, since events name them by their
    # hash. It has no effect; see `Agreement.remarks`.
    retention: Annotated[str, AfterValidator(_retention)] | None = Field(
        default=None, description="has no effect: write none"
    )
