"""The file of an agreement: TOML, checked completely, every thing wrong in it on a line of its own.

    bus = "sinergi.banyuwangi.example"
    title = "…"
    legal_basis = ["…"]
    numbers = [{ party = "…", number = "…" }, …]      one for each party
    [in_force]                                        from, until, zone
    [parties.<agency>]                                name, keys, receipt_keys
    [events.<event type>]                             publishers, readers, purposes, partitions, …

A key stands in one place only: who signed would be anybody's guess otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from sinergi_schemas import errors, toml_file
from sinergi_schemas.codes import Purpose
from sinergi_schemas.seal.keys import Algorithm, VerifyingKey
from sinergi_schemas.terms import Agreement, Party, ReceiptKey, Terms
from sinergi_schemas.toml_file import Problem, Table
from sinergi_schemas.topics import is_bus, is_slug

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PERIOD = re.compile(r"P(?=\d)(\d+Y)?(\d+M)?(\d+D)?")
_MOST_PARTITIONS = 1_000
_TAKEN_TYPES = frozenset({"control", "receipts"})
_FEWEST_PARTIES = 2

KindT = TypeVar("KindT")


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


def _purpose(text: str) -> str:
    known = [each.value for each in Purpose if each is not Purpose.UNKNOWN]
    if text not in known:
        raise ValueError(f"{text} is no purpose; {toml_file.did_you_mean(text, known)}")
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
    purposes: list[Annotated[str, AfterValidator(_purpose)]] = Field(
        min_length=1, description='what the events may be used for, as ["INVESTIGATION"]'
    )
    partitions: int = Field(
        ge=1, le=_MOST_PARTITIONS, description="a count that you will never change, as 3"
    )
    retention: Annotated[str, AfterValidator(_retention)] = Field(
        description='how long a reader may keep rows: a period as "P5Y", or "forever"'
    )


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
    """One file under examination: first its shape, then the meaning of whatever has the right
    shape, so that no mistake hides another. Parties are known by the names of their tables.
    """

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw
        self._parties = _table(raw, "parties")
        self._events = _table(raw, "events")
        self._problems: list[Problem] = []
        self._owners: dict[bytes, str] = {}

    def run(self, path: Path, digest: str) -> tuple[Agreement | None, list[Problem]]:
        """The agreement, or everything that is wrong."""
        self._outline()
        head = self._check(_Head, self._part(*_Head.model_fields), "")
        numbers = self._numbers()
        starts, ends = self._in_force()
        parties = [self._party(name, numbers.get(name, "")) for name in self._parties]
        events = [self._terms(name) for name in self._events]
        if self._problems or head is None or starts is None:
            return None, self._problems
        agreement = Agreement(
            path=path,
            hash=digest,
            bus=head.bus,
            title=head.title,
            starts=starts,
            ends=ends,
            legal_basis=tuple(head.legal_basis),
            parties=MappingProxyType({each.agency: each for each in parties if each}),
            events=MappingProxyType({each.event_type: each for each in events if each}),
        )
        return agreement, []

    def _outline(self) -> None:
        known = {*_Head.model_fields, "numbers", "in_force", "parties", "events"}
        for key in sorted(self._raw.keys() - known):
            self._say(key, f"there is no such key; {toml_file.did_you_mean(key, known)}")
        if len(self._parties) < _FEWEST_PARTIES:
            self._say("parties", "must hold two parties or more; write [parties.<agency>] for each")
        if not self._events:
            self._say("events", "must say what is shared; write [events.<event type>]")
        for name in self._parties:
            if not is_slug(name):
                self._say(f"parties.{name}", "cannot name an agency; write lower-case-with-hyphens")
        for name in self._events:
            if not is_slug(name) or name in _TAKEN_TYPES:
                self._say(f"events.{name}", 'cannot name an event type; write one as "seizure"')

    def _numbers(self) -> dict[str, str]:
        self._check(_Numbers, self._part("numbers"), "")
        found = [(i, each) for i, each in _members(self._raw, "numbers", dict) if "party" in each]
        for index, each in found:
            self._known_party(f"numbers.{index}.party", each["party"])
        times = Counter(str(each["party"]) for _, each in found)
        for party in self._parties:
            if times[party] > 1:
                self._say("numbers", f"{party} stands {times[party]} times; write one a party")
            if not times[party] and isinstance(self._raw.get("numbers"), list):
                self._say("numbers", f'{party} has none; add {{ party = "{party}", number = "…" }}')
        return {str(each["party"]): str(each.get("number")) for _, each in found}

    def _in_force(self) -> tuple[datetime | None, datetime | None]:
        if "in_force" not in self._raw:
            self._say("in_force", "it is missing; write [in_force] with from, until and zone")
            return None, None
        self._check(_InForce, self._raw["in_force"], "in_force")
        raw = _table(self._raw, "in_force")
        zone = self._zone(raw.get("zone"))
        starts = self._instant("from", raw, zone, timedelta(0))
        ends = self._instant("until", raw, zone, timedelta(days=1))
        if starts is not None and ends is not None and ends <= starts:
            self._say("in_force.until", "lies before from; write the later of the two there")
        return starts, ends

    def _zone(self, name: object) -> ZoneInfo | None:
        if not isinstance(name, str):
            return None
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._say("in_force.zone", f'{name!r} is no IANA zone; write one as "Asia/Jakarta"')
            return None

    def _instant(
        self, key: str, raw: dict[str, Any], zone: ZoneInfo | None, day: timedelta
    ) -> datetime | None:
        """A bound of the time in force. A date stands for midnight of that day or, as the last
        day, of the next one.
        """
        value, at = raw.get(key), f"in_force.{key}"
        if isinstance(value, datetime):
            if value.tzinfo is None:
                self._say(at, "has no zone; write a date, or a time as 2025-10-23T00:00:00+07:00")
                return None
            return value.astimezone(UTC)
        if isinstance(value, date):
            if zone is not None:
                return datetime.combine(value + day, time(), zone).astimezone(UTC)
            if "zone" not in raw:
                self._say(at, 'is a date, so it needs a zone; add zone = "Asia/Jakarta"')
        elif value is not None:
            self._say(at, f"must be a date without quotes, not {toml_file.kind_of(value)}")
        return None

    def _party(self, name: str, number: str) -> Party | None:
        at = f"parties.{name}"
        found = self._check(_Party, self._parties[name], at)
        raw = _table(self._parties, name)
        keys = [
            self._key(f"{at}.keys.{index}", text, Algorithm.ED25519, name)
            for index, text in _members(raw, "keys", str)
        ]
        receipts = [
            self._receipt_key(f"{at}.receipt_keys.{index}", each, name)
            for index, each in _members(raw, "receipt_keys", dict)
        ]
        if found is None:
            return None
        return Party(
            agency=name,
            name=found.name,
            number=number,
            keys=tuple(key for key in keys if key),
            receipt_keys=tuple(each for each in receipts if each),
        )

    def _receipt_key(self, at: str, raw: dict[str, Any], agency: str) -> ReceiptKey | None:
        database, text = raw.get("database"), raw.get("key")
        if not isinstance(database, str) or not isinstance(text, str):
            return None
        if not is_slug(database):
            self._say(f"{at}.database", "write lower-case words joined by hyphens")
            return None
        key = self._key(f"{at}.key", text, Algorithm.COSIGNATURE, f"{agency}/{database}")
        return ReceiptKey(database, key) if key else None

    def _key(self, at: str, text: str, kind: Algorithm, owner: str) -> VerifyingKey | None:
        try:
            key = VerifyingKey.parse(text)
        except ValueError as why:
            self._say(at, f"cannot be read as a key: {why}; copy what `sinergi init` printed")
            return None
        if key.algorithm != kind:
            other = "a checkpoint key" if kind == Algorithm.COSIGNATURE else "a receipt key"
            self._say(at, f"is {other}, which does not belong here; copy the other one")
        bus = self._raw.get("bus")
        if isinstance(bus, str) and key.name != f"{bus}/{owner}":
            self._say(at, f"is named {key.name}; the key that belongs here is named {bus}/{owner}")
        if key.public in self._owners:
            self._say(at, f"stands at {self._owners[key.public]} already; a key has one place")
        self._owners.setdefault(key.public, at)
        return key

    def _terms(self, name: str) -> Terms | None:
        at = f"events.{name}"
        found = self._check(_Events, self._events[name], at)
        raw = _table(self._events, name)
        publishers = self._agencies(at, raw, "publishers")
        readers = self._agencies(at, raw, "readers")
        for agency in publishers:
            if readers == [agency]:
                self._say(f"{at}.readers", f"nobody but {agency} reads what {agency} publishes")
        if found is None:
            return None
        return Terms(
            event_type=name,
            publishers=tuple(publishers),
            readers=tuple(readers),
            purposes=tuple(Purpose[each] for each in found.purposes),
            partitions=found.partitions,
            retention=found.retention,
        )

    def _agencies(self, at: str, raw: dict[str, Any], role: str) -> list[str]:
        found = _members(raw, role, str)
        for index, agency in found:
            self._known_party(f"{at}.{role}.{index}", agency)
        times = Counter(agency for _, agency in found)
        for agency in times:
            if times[agency] > 1:
                self._say(f"{at}.{role}", f"{agency} stands {times[agency]} times; write it once")
        return list(times)

    def _known_party(self, at: str, agency: object) -> None:
        if isinstance(agency, str) and agency not in self._parties:
            hint = toml_file.did_you_mean(agency, self._parties)
            self._say(at, f"{agency} is no party of this agreement; {hint}")

    def _check(
        self, model: type[toml_file.TableT], value: object, at: str
    ) -> toml_file.TableT | None:
        found, problems = toml_file.check(model, value, at)
        self._problems += problems
        return found

    def _part(self, *keys: str) -> dict[str, Any]:
        return {key: self._raw[key] for key in keys if key in self._raw}

    def _say(self, key: str, what: str) -> None:
        self._problems.append(Problem(key, what))


def _table(raw: dict[str, Any], key: str) -> dict[str, Any]:
    """The table under a key; what is no table has been said to be none, and counts as empty."""
    found = raw.get(key)
    return found if isinstance(found, dict) else {}


def _members(raw: dict[str, Any], key: str, kind: type[KindT]) -> list[tuple[int, KindT]]:
    """The members of a list that are of the right kind, with their places."""
    found = raw.get(key)
    members = enumerate(found) if isinstance(found, list) else ()
    return [(index, each) for index, each in members if isinstance(each, kind)]
