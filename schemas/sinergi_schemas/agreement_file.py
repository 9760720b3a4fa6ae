"""The file of an agreement: TOML, checked completely, every thing wrong in it on a line of its own.

    bus = "sinergi.banyuwangi.example"
    title = "…"
    legal_basis = ["…"]
    numbers = [{ party = "…", number = "…" }, …]      one for each party
    [in_force]                                        from, until, zone
    [parties.<agency>]                                name, keys, receipt_keys
    [events.<event type>]                             publishers, readers, purposes, partitions, …

The parts are checked one by one, so that a mistake in one does not hide those in the others.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from sinergi_schemas import errors, toml_file
from sinergi_schemas.seal.keys import KeyType, VerifyingKey
from sinergi_schemas.terms import Agreement, Party, ReceiptKey, Terms
from sinergi_schemas.toml_file import Problem, Table
from sinergi_schemas.topics import is_slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_BUS = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_PERIOD = re.compile(r"P(?=\d)(\d+Y)?(\d+M)?(\d+D)?")
_MOST_PARTITIONS = 1_000
_TAKEN_TYPES = frozenset({"control", "receipts"})
_FEWEST_PARTIES = 2


def _written(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of readable text; write it without control characters")
    return text


def _bus(text: str) -> str:
    if not _BUS.fullmatch(text):
        raise ValueError(f"{text!r} cannot name a bus; write lower-case words with dots between")
    return text


def _retention(text: str) -> str:
    if text != "forever" and not _PERIOD.fullmatch(text):
        raise ValueError(f'{text!r} is not a period; write one as "P5Y", or "forever"')
    return text


Written = Annotated[str, AfterValidator(_written)]
Several = Annotated[list[Written], Field(min_length=1)]


class _Head(Table):
    bus: Annotated[str, AfterValidator(_bus)] = Field(
        description='the bus\'s name, as "sinergi.banyuwangi.example"'
    )
    title: Written = Field(description="the agreement's title in quotes")
    legal_basis: Several = Field(description='laws and regulations, as ["UU 35/2009", …]')


class _Number(Table):
    party: str = Field(description='the agency, as "lapas-banyuwangi"')
    number: Written = Field(description="the number that this party gave the agreement")


class _Numbers(Table):
    numbers: list[_Number] = Field(
        description='[{ party = "…", number = "…" }, …], one for each party'
    )


class _InForce(Table):
    start: Any = Field(alias="from", description="a date, as 2025-10-23")
    until: Any = Field(default=None, description="the last day, as 2030-10-22")
    zone: str | None = Field(default=None, description='an IANA zone, as "Asia/Jakarta"')


class _ReceiptKey(Table):
    database: str = Field(description='the database, as "register"')
    key: str = Field(description="the public key that `sinergi init` printed")


class _Party(Table):
    name: Written = Field(description="the party's name in quotes")
    keys: list[str] = Field(
        min_length=1, description="the public key that `sinergi init` printed, in brackets"
    )
    receipt_keys: list[_ReceiptKey] = Field(
        default=[], description='[{ database = "…", key = "…" }, …]'
    )


class _Events(Table):
    publishers: list[str] = Field(min_length=1, description="the agencies that publish")
    readers: list[str] = Field(min_length=1, description="the agencies that read")
    purposes: Several = Field(description="what the events may be used for, in brackets")
    partitions: int = Field(
        ge=1, le=_MOST_PARTITIONS, description="a count that you will never change, as 3"
    )
    retention: Annotated[str, AfterValidator(_retention)] = Field(
        description='how long a reader may keep rows: a period as "P5Y", or "forever"'
    )


@dataclass(frozen=True, slots=True)
class _Force:
    starts: datetime
    ends: datetime | None


def parse(path: Path, data: bytes) -> Agreement:
    """An agreement out of the bytes of its file.

    Raises:
        AgreementRefused: with one line for each thing wrong.
    """
    agreement, problems = examine(path, data)
    if agreement is None:
        raise errors.AgreementRefused(str(path), listing(path, problems))
    return agreement


def listing(path: Path, problems: Iterable[Problem]) -> str:
    """Problems of one file, one to a line."""
    return "".join(f"\n  {path}: {each}" for each in problems)


def examine(path: Path, data: bytes) -> tuple[Agreement | None, list[Problem]]:
    """An agreement, or everything that is wrong in its file."""
    try:
        raw = toml_file.read(data)
    except ValueError as why:
        return None, [Problem("", str(why))]
    return _Examination(raw).run(path, sha256(data).hexdigest())


class _Examination:
    """One file under examination. The names of the parties are those of their tables, also where
    a table itself is wrong.
    """

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw
        self._parties = _tables(raw, "parties")
        self._events = _tables(raw, "events")
        self._problems: list[Problem] = []

    def run(self, path: Path, digest: str) -> tuple[Agreement | None, list[Problem]]:
        self._outline()
        head = self._check(_Head, self._part(*_Head.model_fields), "")
        numbers = self._numbers()
        force = self._force()
        parties = {name: self._party(name) for name in self._parties}
        events = {name: self._terms(name) for name in self._events}
        self._one_owner_a_key(parties)
        if self._problems or head is None or force is None:
            return None, self._problems
        agreement = Agreement(
            path,
            digest,
            head.bus,
            head.title,
            force.starts,
            force.ends,
            tuple(head.legal_basis),
            MappingProxyType(
                {
                    name: _as_party(name, numbers[name], *found)
                    for name, found in parties.items()
                    if found
                }
            ),
            MappingProxyType(
                {name: _as_terms(name, found) for name, found in events.items() if found}
            ),
        )
        return agreement, []

    def _outline(self) -> None:
        known = {*_Head.model_fields, "numbers", "in_force", "parties", "events"}
        for key in self._raw.keys() - known:
            self._say(key, f"there is no such key; {toml_file.did_you_mean(key, known)}")
        if len(self._parties) < _FEWEST_PARTIES:
            self._say("parties", "must hold two parties or more; write [parties.<agency>] for each")
        if not self._events:
            self._say("events", "must say what is shared; write [events.<event type>]")
        for name in filter(lambda each: not is_slug(each), self._parties):
            self._say(f"parties.{name}", "cannot name an agency; write lower-case words-and-hyphens")
        for name in self._events:
            if not is_slug(name) or name in _TAKEN_TYPES:
                self._say(f"events.{name}", 'cannot name an event type; write one as "seizure"')

    def _numbers(self) -> dict[str, str]:
        found = self._check(_Numbers, self._part("numbers"), "")
        if found is None:
            return {}
        given = Counter(each.party for each in found.numbers)
        for index, each in enumerate(found.numbers):
            self._known_party(f"numbers.{index}.party", each.party)
        for party, times in given.items():
            if times > 1:
                self._say("numbers", f"{party} stands {times} times; write one number a party")
        for party in self._parties:
            if party not in given:
                self._say("numbers", f'{party} has none; add {{ party = "{party}", number = "…" }}')
        return {each.party: each.number for each in found.numbers}

    def _force(self) -> _Force | None:
        if "in_force" not in self._raw:
            self._say("in_force", "it is missing; write [in_force] with from, until and zone")
            return None
        found = self._check(_InForce, self._raw["in_force"], "in_force")
        if found is None:
            return None
        zone = self._zone(found.zone)
        starts = self._instant("in_force.from", found.start, zone, last_day=False)
        ends = self._instant("in_force.until", found.until, zone, last_day=True)
        if starts is None or (ends is None and found.until is not None):
            return None
        if ends is not None and ends <= starts:
            self._say("in_force.until", "lies before from; write the later of the two there")
        return _Force(starts, ends)

    def _zone(self, name: str | None) -> ZoneInfo | None:
        if name is None:
            return None
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._say("in_force.zone", f'{name!r} is no IANA zone; write one as "Asia/Jakarta"')
            return None

    def _instant(
        self, key: str, value: object, zone: ZoneInfo | None, *, last_day: bool
    ) -> datetime | None:
        """A bound of the time in force. A date means its whole day in the zone."""
        if isinstance(value, datetime):
            if value.tzinfo is None:
                self._say(key, "has no zone; write a date, or a time as 2025-10-23T00:00:00+07:00")
                return None
            return value.astimezone(UTC)
        if isinstance(value, date):
            if zone is None:
                if "zone" not in self._raw["in_force"]:
                    self._say(key, 'is a date, so it needs a zone; add zone = "Asia/Jakarta"')
                return None
            midnight = value + timedelta(days=1) if last_day else value
            return datetime.combine(midnight, time(), zone).astimezone(UTC)
        if value is not None:
            self._say(key, f"must be a date without quotes, not {toml_file.kind_of(value)}")
        return None

    def _party(self, name: str) -> tuple[_Party, list[VerifyingKey], list[ReceiptKey]] | None:
        at = f"parties.{name}"
        found = self._check(_Party, self._parties[name], at)
        if found is None:
            return None
        keys = [
            self._key(f"{at}.keys.{index}", text, KeyType.ED25519, name)
            for index, text in enumerate(found.keys)
        ]
        receipts = list(self._receipt_keys(at, name, found.receipt_keys))
        return found, [key for key in keys if key], receipts

    def _receipt_keys(
        self, at: str, agency: str, given: list[_ReceiptKey]
    ) -> Iterator[ReceiptKey]:
        for index, each in enumerate(given):
            where = f"{at}.receipt_keys.{index}"
            if not is_slug(each.database):
                self._say(f"{where}.database", "write lower-case words joined by hyphens")
                continue
            name = f"{agency}/{each.database}"
            key = self._key(f"{where}.key", each.key, KeyType.COSIGNATURE, name)
            if key:
                yield ReceiptKey(each.database, key)

    def _key(self, at: str, text: str, kind: KeyType, owner: str) -> VerifyingKey | None:
        try:
            key = VerifyingKey.parse(text)
        except ValueError as why:
            self._say(at, f"cannot be read as a key: {why}; copy what `sinergi init` printed")
            return None
        if key.type != kind:
            other = "a receipt key" if key.type == KeyType.COSIGNATURE else "a checkpoint key"
            self._say(at, f"is {other}, which does not belong here; copy the other one")
        bus = self._raw.get("bus")
        if isinstance(bus, str) and key.name != f"{bus}/{owner}":
            self._say(at, f"is named {key.name}; the key that belongs here is named {bus}/{owner}")
        return key

    def _one_owner_a_key(
        self, parties: Mapping[str, tuple[_Party, list[VerifyingKey], list[ReceiptKey]] | None]
    ) -> None:
        """No two places of a file may show the same key: who signed would be anybody's guess."""
        first: dict[bytes, str] = {}
        for name, found in parties.items():
            _, keys, receipts = found or (None, [], [])
            for key in (*keys, *(each.key for each in receipts)):
                if key.public in first:
                    what = f"{key.name} is the same key as {first[key.public]}; make another"
                    self._say(f"parties.{name}", f"{what} with `sinergi init`")
                first.setdefault(key.public, key.name)

    def _terms(self, name: str) -> _Events | None:
        at = f"events.{name}"
        found = self._check(_Events, self._events[name], at)
        if found is None:
            return None
        for role in ("publishers", "readers"):
            agencies: list[str] = getattr(found, role)
            for index, agency in enumerate(agencies):
                self._known_party(f"{at}.{role}.{index}", agency)
            for agency, times in Counter(agencies).items():
                if times > 1:
                    self._say(f"{at}.{role}", f"{agency} stands {times} times; write it once")
        for agency in dict.fromkeys(found.publishers):
            if set(found.readers) == {agency}:
                self._say(f"{at}.readers", f"nobody but {agency} reads what {agency} publishes")
        return found

    def _known_party(self, at: str, agency: str) -> None:
        if agency not in self._parties:
            hint = toml_file.did_you_mean(agency, self._parties)
            self._say(at, f"{agency} is no party of this agreement; {hint}")

    def _check(self, model: type[toml_file.TableT], value: object, at: str) -> toml_file.TableT | None:
        found, problems = toml_file.check(model, value, at)
        self._problems += problems
        return found

    def _part(self, *keys: str) -> dict[str, Any]:
        return {key: self._raw[key] for key in keys if key in self._raw}

    def _say(self, key: str, what: str) -> None:
        self._problems.append(Problem(key, what))


def _tables(raw: dict[str, Any], key: str) -> dict[str, Any]:
    found = raw.get(key)
    return found if isinstance(found, dict) else {}


def _as_party(
    agency: str,
    number: str,
    found: _Party,
    keys: list[VerifyingKey],
    receipts: list[ReceiptKey],
) -> Party:
    return Party(agency, found.name, number, tuple(keys), tuple(receipts))


def _as_terms(event_type: str, found: _Events) -> Terms:
    return Terms(
        event_type,
        tuple(found.publishers),
        tuple(found.readers),
        tuple(found.purposes),
        found.partitions,
        found.retention,
    )
