"""The file of an agreement: TOML, checked completely, every thing wrong in it on a line of its own.

    bus = "sinergi.banyuwangi.example"
    title = "…"
    legal_basis = ["…"]
    replaces = ["…"]                                  SHA-256 of earlier ones on the same topics
    numbers = [{ party = "…", number = "…" }, …]      one for each party
    [in_force]                                        from, until, zone
    [parties.<agency>]                                name, keys, replaced_keys, receipt_keys
    [events.<event type>]                             publishers, readers, purposes, partitions, …

A key stands in one place only: who signed would be anybody's guess otherwise. One key of a party
signs. A key that was replaced stays in the file, the oldest first, with the last tree size that it
may sign in each partition, since what it has signed is proved by nothing else:

    [[parties.<agency>.replaced_keys]]
    key = "…"
    until = { transfer = [120, 97, 104] }
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sinergi_schemas import errors, plain_text
from sinergi_schemas.agreements.model import Agreement, Party, ReceiptKey, ReplacedKey, TypeTerms
from sinergi_schemas.agreements.tables import (
    EventsTable,
    HeadTable,
    InForceTable,
    NumbersTable,
    PartyTable,
)
from sinergi_schemas.codes import Purpose
from sinergi_schemas.files import toml_file
from sinergi_schemas.files.toml_file import FileProblem
from sinergi_schemas.seal.keys import Algorithm, VerifyingKey
from sinergi_schemas.topics import is_slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_TAKEN_TYPES = frozenset({"control", "receipts"})
_FEWEST_PARTIES = 2
_MOST_PROBLEMS = 1_000
_EARLIEST = datetime.min.replace(tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)

KindT = TypeVar("KindT")


def parse(path: Path, data: bytes) -> Agreement:
    """An agreement out of the bytes of its file.

    Raises:
        AgreementRefused: with one line for each thing wrong.
    """
    agreement, problems = examine(path, data)
    if agreement is None:
        raise errors.AgreementRefused(str(path), listing(path, problems))
    return agreement


def listing(path: Path, problems: Iterable[FileProblem]) -> str:
    """Problems of one file, one to a line."""
    return plain_text.listing(f"{path}: {each}" for each in problems)


def examine(path: Path, data: bytes) -> tuple[Agreement | None, list[FileProblem]]:
    """An agreement, or everything that is wrong in its file: as far as a thousand problems."""
    try:
        raw = toml_file.read(data)
    except ValueError as why:
        return None, [FileProblem("", str(why))]
    examination = _Examination(raw)
    try:
        agreement = examination.run(path, sha256(data).hexdigest())
    except _TooMuchWrong:
        agreement = None
    return agreement, examination.problems


class _TooMuchWrong(Exception):
    """There are as many problems as are looked for. Some grow with the square of the file."""


class _Examination:
    """One file under examination: first its shape, then the meaning of whatever has the right
    shape, so that no mistake hides another. Parties are known by the names of their tables.
    """

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw
        self._parties = _table(raw, "parties")
        self._events = _table(raw, "events")
        self.problems: list[FileProblem] = []
        self._owners: dict[bytes, str] = {}
        self._published = self._event_types()

    def run(self, path: Path, digest: str) -> Agreement | None:
        """The agreement, or None where there are problems."""
        self._outline()
        head = self._check(HeadTable, self._part(*HeadTable.model_fields), "")
        numbers = self._numbers()
        starts, ends = self._in_force()
        parties = [self._party(name, numbers.get(name, "")) for name in self._parties]
        events = [self._terms(name) for name in self._events]
        if self.problems or head is None or starts is None:
            return None
        return Agreement(
            path=path,
            remarks=tuple(self._remarks()),
            hash=digest,
            bus=head.bus,
            title=head.title,
            starts=starts,
            ends=ends,
            legal_basis=tuple(head.legal_basis),
            replaces=tuple(head.replaces),
            parties=MappingProxyType({each.agency: each for each in parties if each}),
            events=MappingProxyType({each.event_type: each for each in events if each}),
        )

    def _remarks(self) -> Iterator[str]:
        for name, terms in self._events.items():
            if "retention" in terms:
                what = "nothing goes by it: Sinergi deletes no rows, and the topics keep everything"
                hint = "leave it out of the next version; the agreement's own text may say it"
                yield f"events.{name}.retention: {what}; {hint}"

    def _outline(self) -> None:
        known = {*HeadTable.model_fields, "numbers", "in_force", "parties", "events"}
        for key in sorted(self._raw.keys() - known):
            self._say_unknown(key, "there is no such key", key, known)
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
        self._check(NumbersTable, self._part("numbers"), "")
        found = [
            (index, each)
            for index, each in _members(self._raw, "numbers", dict)
            if isinstance(each.get("party"), str)
        ]
        for index, each in found:
            self._known_party(f"numbers.{index}.party", each["party"])
        times = Counter(each["party"] for _, each in found)
        for party in self._parties:
            if times[party] > 1:
                self._say("numbers", f"{party} stands {times[party]} times; write one a party")
            if not times[party] and isinstance(self._raw.get("numbers"), list):
                self._say("numbers", f'{party} has none; add {{ party = "{party}", number = "…" }}')
        return {each["party"]: str(each.get("number")) for _, each in found}

    def _in_force(self) -> tuple[datetime | None, datetime | None]:
        if "in_force" not in self._raw:
            self._say("in_force", "it is missing; write [in_force] with from, until and zone")
            return None, None
        self._check(InForceTable, self._raw["in_force"], "in_force")
        raw = _table(self._raw, "in_force")
        zone = self._zone(raw.get("zone"))
        starts = self._instant("from", raw, zone, is_last=False)
        ends = self._instant("until", raw, zone, is_last=True)
        if starts == _LATEST:
            self._say("in_force.from", "lies behind the end of the calendar; write an earlier date")
        elif starts is not None and ends is not None and ends <= starts:
            self._say("in_force.until", "lies before from; write the later of the two there")
        return starts, None if ends == _LATEST else ends

    def _zone(self, name: object) -> ZoneInfo | None:
        if not isinstance(name, str):
            return None
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._say("in_force.zone", f'{name!r} is no IANA zone; write one as "Asia/Jakarta"')
            return None

    def _instant(
        self, key: str, raw: dict[str, Any], zone: ZoneInfo | None, *, is_last: bool
    ) -> datetime | None:
        """A bound of the time in force. A date stands for midnight of that day or, as the last
        day, of the next one.

        Where UTC has no such moment it is the first or the last one that UTC has: people write
        9999-12-31 where they mean no end.
        """
        value, at = raw.get(key), f"in_force.{key}"
        if isinstance(value, datetime):
            if value.tzinfo is None:
                self._say(at, "has no zone; write a date, or a time as 2025-10-23T00:00:00+07:00")
                return None
            return _in_utc(value)
        if isinstance(value, date):
            if zone is not None and is_last and value == date.max:
                return _LATEST
            if zone is not None:
                day = value + timedelta(days=1) if is_last else value
                return _in_utc(datetime.combine(day, time(), zone))
            if "zone" not in raw:
                self._say(at, 'is a date, so it needs a zone; add zone = "Asia/Jakarta"')
        elif value is not None:
            self._say(at, f"must be a date without quotes, not {toml_file.kind_of(value)}")
        return None

    def _party(self, name: str, number: str) -> Party | None:
        at = f"parties.{name}"
        found = self._check(PartyTable, self._parties[name], at)
        raw = _table(self._parties, name)
        keys = [
            self._key(f"{at}.keys.{index}", text, Algorithm.ED25519, name)
            for index, text in _members(raw, "keys", str)
        ]
        if len(keys) > 1:
            what = f"holds {len(keys)} keys, and one signs; put those that it replaced into"
            self._say(f"{at}.keys", f"{what} replaced_keys, each with the last sizes it may sign")
        replaced = self._replaced_keys(f"{at}.replaced_keys", raw, name)
        receipts = [
            self._receipt_key(f"{at}.receipt_keys.{index}", each, name)
            for index, each in _members(raw, "receipt_keys", dict)
        ]
        if found is None or not keys or keys[0] is None:
            return None
        return Party(
            agency=name,
            name=found.name,
            number=number,
            key=keys[0],
            replaced_keys=tuple(replaced),
            receipt_keys=tuple(each for each in receipts if each),
        )

    def _replaced_keys(self, at: str, raw: dict[str, Any], agency: str) -> list[ReplacedKey]:
        found: list[ReplacedKey] = []
        before: dict[str, tuple[int, ...]] = {}
        for index, each in _members(raw, "replaced_keys", dict):
            where = f"{at}.{index}"
            until = self._until(f"{where}.until", each, agency)
            for name in sorted(until.keys() & before.keys()):
                pairs = zip(until[name], before[name], strict=False)
                if any(last < earlier for last, earlier in pairs):
                    what = "ends before the key that it replaced; list the oldest key first"
                    self._say(f"{where}.until.{name}", what)
            before = until
            text = each.get("key")
            if isinstance(text, str):
                key = self._key(f"{where}.key", text, Algorithm.ED25519, agency)
                found += [ReplacedKey(key, MappingProxyType(until))] if key else []
        return found

    def _until(self, at: str, raw: dict[str, Any], agency: str) -> dict[str, tuple[int, ...]]:
        """The last sizes of a replaced key, for each partition of all that its agency publishes."""
        given, published = _table(raw, "until"), self._published.get(agency, {})
        for name in sorted(given.keys() - published.keys()):
            self._say(f"{at}.{name}", f"{agency} does not publish this here; remove it")
        for name in sorted(published.keys() - given.keys()):
            self._say(at, f"{name} is missing; write its last sizes, one for each partition")
        sizes = {name: tuple(size for _, size in _members(given, name, int)) for name in given}
        for name in sorted(published.keys() & given.keys()):
            count = len(sizes[name])
            partitions = published[name]
            if isinstance(partitions, int) and count != partitions:
                what = f"holds {count} sizes for {partitions} partitions; write one for each"
                self._say(f"{at}.{name}", what)
        return sizes

    def _event_types(self) -> dict[str, dict[str, object]]:
        """The event types that each agency publishes, with their partitions as they are written."""
        found: dict[str, dict[str, object]] = {}
        for name in self._events:
            terms = _table(self._events, name)
            for _, agency in _members(terms, "publishers", str):
                found.setdefault(agency, {})[name] = terms.get("partitions")
        return found

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

    def _terms(self, name: str) -> TypeTerms | None:
        at = f"events.{name}"
        found = self._check(EventsTable, self._events[name], at)
        raw = _table(self._events, name)
        publishers = self._agencies(at, raw, "publishers")
        readers = self._agencies(at, raw, "readers")
        for agency in publishers:
            if readers == [agency]:
                self._say(f"{at}.readers", f"nobody but {agency} reads what {agency} publishes")
        if found is None:
            return None
        return TypeTerms(
            event_type=name,
            publishers=tuple(publishers),
            readers=tuple(readers),
            purposes=tuple(Purpose[each] for each in found.purposes),
            partitions=found.partitions,
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

    def _known_party(self, at: str, agency: str) -> None:
        if agency not in self._parties:
            what = f"{agency} is no party of this agreement"
            self._say_unknown(at, what, agency, self._parties)

    def _check(
        self, model: type[toml_file.TableT], value: object, at: str
    ) -> toml_file.TableT | None:
        found, problems = toml_file.check(model, value, at, self._hints)
        for each in problems:
            self._say(each.key, each.what)
        return found

    @property
    def _hints(self) -> int:
        """How many more problems may bear a hint at a known name."""
        return toml_file.MOST_HINTS - len(self.problems)

    def _part(self, *keys: str) -> dict[str, Any]:
        return {key: self._raw[key] for key in keys if key in self._raw}

    def _say_unknown(self, key: str, what: str, name: str, known: Iterable[str]) -> None:
        hint = toml_file.did_you_mean(name, known) if self._hints > 0 else "mend or remove it"
        self._say(key, f"{what}; {hint}")

    def _say(self, key: str, what: str) -> None:
        self.problems.append(FileProblem(key, what))
        if len(self.problems) == _MOST_PROBLEMS:
            raise _TooMuchWrong


def _in_utc(moment: datetime) -> datetime:
    """A moment in UTC; the nearest one that UTC has, where the calendar begins or ends."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _EARLIEST if moment.year == _EARLIEST.year else _LATEST


def _table(raw: dict[str, Any], key: str) -> dict[str, Any]:
    """The table under a key; what is no table has been said to be none, and counts as empty."""
    found = raw.get(key)
    return found if isinstance(found, dict) else {}


def _members(raw: dict[str, Any], key: str, kind: type[KindT]) -> list[tuple[int, KindT]]:
    """The members of a list that are of the right kind, with their places."""
    found = raw.get(key)
    members = enumerate(found) if isinstance(found, list) else ()
    return [(index, each) for index, each in members if isinstance(each, kind)]
