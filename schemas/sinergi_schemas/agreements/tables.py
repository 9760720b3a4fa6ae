"""The tables of an agreement's file, key by key, and what each must look like.

What they mean together is examined in `agreement_file`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sinergi_schemas.codes import Purpose
from sinergi_schemas.files import toml_file
from sinergi_schemas.files.toml_file import Table
from sinergi_schemas.topics import is_bus

_PERIOD = re.compile(r"P(?=\d)(\d+Y)?(\d+M)?(\d+D)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_PARTITIONS = 1_000


def _written(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of readable text; write it without control characters")
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
        raise ValueError("is no SHA-256 of a file; write its 64 digits as `sha256sum` shows them")
    return text


def _purpose(text: str) -> str:
    known = [each.value for each in Purpose if each is not Purpose.UNKNOWN]
    if text not in known:
        raise ValueError(f"{text} is no purpose; {toml_file.did_you_mean(text, known)}")
    return text


Written = Annotated[str, AfterValidator(_written)]
Several = Annotated[list[Written], Field(min_length=1)]


class HeadTable(Table):
    """What the agreement is."""

    bus: Annotated[str, AfterValidator(_bus)] = Field(
        description='the bus\'s name, as "sinergi.banyuwangi.example"'
    )
    title: Written = Field(description="the agreement's title in quotes")
    legal_basis: Several = Field(description='laws and regulations, as ["UU 35/2009", …]')
    replaces: list[Annotated[str, AfterValidator(_digest)]] = Field(
        default=[], description="the SHA-256 of each agreement on the same topics before this one"
    )


class NumberTable(Table):
    """The number that one party gave it."""

    party: str = Field(description='the agency, as "lapas-banyuwangi"')
    number: Written = Field(description="the number that this party gave the agreement")


class NumbersTable(Table):
    """All parties' numbers."""

    numbers: list[NumberTable] = Field(
        description='[{ party = "…", number = "…" }, …], one for each party'
    )


class InForceTable(Table):
    """When it is in force."""

    start: Any = Field(alias="from", description="a date, as 2025-10-23")
    until: Any = Field(default=None, description="the last day, as 2030-10-22")
    zone: str | None = Field(default=None, description='an IANA zone, as "Asia/Jakarta"')


class ReceiptKeyTable(Table):
    """The key of one database of a party."""

    database: str = Field(description='the database, as "register"')
    key: str = Field(description="the public key that `sinergi init` printed")


class ReplacedKeyTable(Table):
    """A key that another one replaced."""

    key: str = Field(description="the public key that signs no more")
    until: dict[str, list[Annotated[int, Field(ge=0)]]] = Field(
        description="the last tree size that it may sign, one for each partition of each event"
        " type, as { transfer = [120, 97, 104] }"
    )


class PartyTable(Table):
    """One party and its keys."""

    name: Written = Field(description="the party's name in quotes")
    keys: list[str] = Field(
        min_length=1, description="the public key that `sinergi init` printed, in brackets"
    )
    replaced_keys: list[ReplacedKeyTable] = Field(
        default=[], description='[{ key = "…", until = { transfer = [120, 97, 104] } }, …]'
    )
    receipt_keys: list[ReceiptKeyTable] = Field(
        default=[], description='[{ database = "…", key = "…" }, …]'
    )


class EventsTable(Table):
    """What is agreed on one event type."""

    publishers: list[str] = Field(min_length=1, description="the agencies that publish")
    readers: list[str] = Field(min_length=1, description="the agencies that read")
    purposes: list[Annotated[str, AfterValidator(_purpose)]] = Field(
        min_length=1, description='what the events may be used for, as ["INVESTIGATION"]'
    )
    partitions: int = Field(
        ge=1, le=_MOST_PARTITIONS, description="a count that you will never change, as 3"
    )
    # Once part of the format. It is taken for the sake of signed files: events name them by their
    # hash, so that they cannot be changed. Nothing goes by it; see `Agreement.remarks`.
    retention: Annotated[str, AfterValidator(_retention)] | None = None
