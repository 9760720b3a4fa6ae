"""The file of an agreement: TOML, checked completely, with one line per problem.

    bus = "sinergi.banyuwangi.example"
    title = "…"
    legal_basis = ["…"]
    replaces = ["…"]                                  SHA-256 of earlier files on the same topics
    audit_needs_reason = true                         whoever reads again to audit says why
    numbers = [{ party = "…", number = "…" }, …]      one for each party
    [in_force]                                        from, until, zone
    [parties.<agency>]                                name, keys, replaced_keys, receipt_keys,
                                                      principals
    [auditors.<auditor>]                              name, reads, principals
    [events.<event type>]                             publishers, readers, purposes, partitions, …

A public key may occur only once in a file, so that a signature has one owner. A party has one key
that signs. Its replaced keys stay in the file, the oldest first, each with the last tree size that
it may sign in each partition, because nothing else verifies what they have signed:

    [[parties.<agency>.replaced_keys]]
    key = "…"
    until = { transfer = [120, 97, 104] }
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sinergi_schemas import errors
from sinergi_schemas.agreements.mistaken_file import settings_problem
from sinergi_schemas.agreements.model import (
    AgreedEventType,
    Agreement,
    Party,
    ReceiptKey,
    ReplacedKey,
)
from sinergi_schemas.agreements.period import AgreementPeriod, read_period
from sinergi_schemas.agreements.principals import AuditorsExamination, party_principals
from sinergi_schemas.agreements.tables import (
    EventsTable,
    HeadTable,
    InForceTable,
    NumbersTable,
    PartyTable,
)
from sinergi_schemas.codes import Purpose
from sinergi_schemas.files import toml_file
from sinergi_schemas.files.toml_file import FileProblem, members_at, table_at
from sinergi_schemas.near_names import did_you_mean
from sinergi_schemas.plain_text import listing
from sinergi_schemas.seal.keys import Algorithm, VerifyingKey
from sinergi_schemas.seal.note import MOST_SIGNATURES
from sinergi_schemas.topics import is_bus, is_slug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_RESERVED_TYPES = frozenset({"control", "receipts"})
_FEWEST_PARTIES = 2
_MOST_PROBLEMS = 1_000


def parse(path: Path, data: bytes) -> Agreement:
    """Read an agreement from the bytes of its file.

    Raises:
        AgreementRefused: with one line per problem.
    """
    agreement, problems = examine(path, data)
    if agreement is None:
        raise errors.AgreementRefused(str(path), listing(f"{path}: {each}" for each in problems))
    return agreement


def examine(path: Path, data: bytes) -> tuple[Agreement | None, list[FileProblem]]:
    """Read an agreement, or return all problems of its file, at most a thousand."""
    try:
        document = toml_file.read(data)
    except ValueError as why:
        return None, [FileProblem("", str(why))]
    if problem := settings_problem(path, document):
        return None, [problem]
    examination = _Examination(document)
    try:
        agreement = examination.run(path, sha256(data).hexdigest())
    except _TooManyProblems:
        agreement = None
    return agreement, examination.problems


class _TooManyProblems(Exception):
    """The limit of problems is reached. Their number can grow with the square of the file size."""


class _Examination:
    """The check of one file.

    Each value is checked by itself first. The rules between values are checked for all values of
    the right type, so that one mistake does not hide another.

    Args:
        document: the parsed TOML.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._parties = table_at(document, "parties")
        self._events = table_at(document, "events")
        self.problems: list[FileProblem] = []
        self._owners: dict[bytes, str] = {}
        self._named: dict[str, tuple[str, str]] = {}
        self._published = self._event_types()

    def run(self, path: Path, digest: str) -> Agreement | None:
        """Check everything. Returns the agreement, or None if there are problems."""
        self._check_top_level()
        head = self._check(HeadTable, self._part(*HeadTable.model_fields), "")
        numbers = self._numbers()
        period = self._in_force()
        parties = [self._party(name, numbers.get(name, "")) for name in self._parties]
        self._check_key_names()
        events = [self._event_type(name) for name in self._events]
        auditors = AuditorsExamination(self._document)
        for each in auditors.problems:
            self._report(each.key, each.what)
        if self.problems or head is None or period.starts is None:
            return None
        return Agreement(
            path=path,
            remarks=tuple(self._remarks()),
            hash=digest,
            bus=head.bus,
            title=head.title,
            starts=period.starts,
            ends=period.ends,
            zone=period.zone,
            legal_basis=tuple(head.legal_basis),
            replaces=tuple(head.replaces),
            audit_needs_reason=head.audit_needs_reason,
            parties=MappingProxyType({each.agency: each for each in parties if each}),
            events=MappingProxyType({each.event_type: each for each in events if each}),
            auditors=MappingProxyType(auditors.auditors),
        )

    def _remarks(self) -> Iterator[str]:
        for name, table in self._events.items():
            if "retention" in table:
                what = "it has no effect: Sinergi deletes no rows, and topics keep all messages"
                hint = "omit it from the next version; the agreement's own text may contain it"
                yield f"events.{name}.retention: {what}; {hint}"

    def _check_top_level(self) -> None:
        known = {*HeadTable.model_fields, "numbers", "in_force", "parties", "events", "auditors"}
        for key in sorted(self._document.keys() - known):
            self._report_unknown(key, "there is no such key", key, known)
        if len(self._parties) < _FEWEST_PARTIES:
            hint = "write [parties.<agency>] for each"
            self._report("parties", f"must contain two or more parties; {hint}")
        if len(self._parties) > MOST_SIGNATURES:
            what = f"contains {len(self._parties)} parties; their signatures are one note,"
            hint = f"which has at most {MOST_SIGNATURES}: write several agreements"
            self._report("parties", f"{what} {hint}")
        if not self._events:
            hint = "write [events.<event type>]"
            self._report("events", f"must contain one or more event types; {hint}")
        for name in self._parties:
            if not is_slug(name):
                hint = "write lower-case words joined by hyphens"
                self._report(f"parties.{name}", f"is not a name of an agency; {hint}")
        for name in self._events:
            if not is_slug(name) or name in _RESERVED_TYPES:
                hint = 'write one such as "seizure"'
                self._report(f"events.{name}", f"is not a name of an event type; {hint}")

    def _numbers(self) -> dict[str, str]:
        self._check(NumbersTable, self._part("numbers"), "")
        found = [
            (index, each)
            for index, each in members_at(self._document, "numbers", dict)
            if isinstance(each.get("party"), str)
        ]
        for index, each in found:
            self._known_party(f"numbers[{index}].party", each["party"])
        times = Counter(each["party"] for _, each in found)
        for party in self._parties:
            if times[party] > 1:
                what = f"{party} occurs {times[party]} times; write one number per party"
                self._report("numbers", what)
            if not times[party] and isinstance(self._document.get("numbers"), list):
                hint = f'add {{ party = "{party}", number = "…" }}'
                self._report("numbers", f"{party} has no number; {hint}")
        return {each["party"]: str(each.get("number")) for _, each in found}

    def _in_force(self) -> AgreementPeriod:
        if "in_force" not in self._document:
            self._report("in_force", "it is missing; write [in_force] with from, until and zone")
            return AgreementPeriod(None, None, ())
        self._check(InForceTable, self._document["in_force"], "in_force")
        period = read_period(table_at(self._document, "in_force"))
        for key, what in period.problems:
            self._report(f"in_force.{key}", what)
        return period

    def _party(self, name: str, number: str) -> Party | None:
        at = f"parties.{name}"
        found = self._check(PartyTable, self._parties[name], at)
        table = table_at(self._parties, name)
        keys = [
            self._key(f"{at}.keys[{index}]", text, Algorithm.ED25519, name)
            for index, text in members_at(table, "keys", str)
        ]
        if len(keys) > 1:
            what = f"contains {len(keys)} keys, but only one may sign; move replaced keys to"
            hint = "replaced_keys, each with the last sizes that it may sign"
            self._report(f"{at}.keys", f"{what} {hint}")
        replaced = self._replaced_keys(f"{at}.replaced_keys", table, name)
        receipts = [
            self._receipt_key(f"{at}.receipt_keys[{index}]", each, name)
            for index, each in members_at(table, "receipt_keys", dict)
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
            principals=party_principals(name, table),
        )

    def _replaced_keys(self, at: str, table: dict[str, Any], agency: str) -> list[ReplacedKey]:
        found: list[ReplacedKey] = []
        before: dict[str, tuple[int, ...]] = {}
        for index, each in members_at(table, "replaced_keys", dict):
            where = f"{at}[{index}]"
            until = self._until(f"{where}.until", each, agency)
            for name in sorted(until.keys() & before.keys()):
                pairs = zip(until[name], before[name], strict=False)
                if any(last < earlier for last, earlier in pairs):
                    what = "is lower than that of the key before it; list the oldest key first"
                    self._report(f"{where}.until.{name}", what)
            before = until
            text = each.get("key")
            if isinstance(text, str):
                key = self._key(f"{where}.key", text, Algorithm.ED25519, agency)
                found += [ReplacedKey(key, MappingProxyType(until))] if key else []
        return found

    def _until(self, at: str, table: dict[str, Any], agency: str) -> dict[str, tuple[int, ...]]:
        """The last tree sizes of a replaced key, per partition of the agency's event types."""
        given, published = table_at(table, "until"), self._published.get(agency, {})
        for name in sorted(given.keys() - published.keys()):
            what = f"{agency} is not a publisher of this event type; remove it"
            self._report(f"{at}.{name}", what)
        for name in sorted(published.keys() - given.keys()):
            self._report(at, f"{name} is missing; write its last sizes, one for each partition")
        sizes = {name: tuple(size for _, size in members_at(given, name, int)) for name in given}
        for name in sorted(published.keys() & given.keys()):
            count = len(sizes[name])
            partitions = published[name]
            if isinstance(partitions, int) and count != partitions:
                what = f"contains {count} sizes for {partitions} partitions; write one for each"
                self._report(f"{at}.{name}", what)
        return sizes

    def _event_types(self) -> dict[str, dict[str, object]]:
        """The event types of each publisher, with their unchecked value of `partitions`."""
        found: dict[str, dict[str, object]] = {}
        for name in self._events:
            table = table_at(self._events, name)
            for _, agency in members_at(table, "publishers", str):
                found.setdefault(agency, {})[name] = table.get("partitions")
        return found

    def _receipt_key(self, at: str, table: dict[str, Any], agency: str) -> ReceiptKey | None:
        database, text = table.get("database"), table.get("key")
        if not isinstance(database, str) or not isinstance(text, str):
            return None
        if not is_slug(database):
            self._report(f"{at}.database", "write lower-case words joined by hyphens")
            return None
        key = self._key(f"{at}.key", text, Algorithm.COSIGNATURE, f"{agency}/{database}")
        return ReceiptKey(database, key) if key else None

    def _key(self, at: str, text: str, kind: Algorithm, owner: str) -> VerifyingKey | None:
        try:
            key = VerifyingKey.parse(text)
        except ValueError as why:
            hint = "copy what `sinergi init` printed"
            self._report(at, f"is not a public key: {why}; {hint}")
            return None
        if key.algorithm != kind:
            kinds = ("checkpoint key", "receipt key")
            given, needed = kinds if kind == Algorithm.COSIGNATURE else kinds[::-1]
            self._report(at, f"is a {given}; copy the {needed} instead")
        self._named[at] = (key.name, owner)
        if key.public in self._owners:
            other = toml_file.shown_key(self._owners[key.public])
            what = f"is the same key as {other}; a key may occur only once"
            self._report(at, what)
        self._owners.setdefault(key.public, at)
        return key

    def _check_key_names(self) -> None:
        """The name of a key is that of the bus and its owner.

        If all keys are of one other bus, the name of the bus is wrong, and that is one problem.
        """
        bus = self._document.get("bus")
        if not isinstance(bus, str):
            return
        others = {
            name.removesuffix(f"/{owner}") if name.endswith(f"/{owner}") else ""
            for name, owner in self._named.values()
        }
        other = next(iter(others)) if len(others) == 1 else ""
        if other != bus and is_bus(other):
            hint = f'write "{other}", or ask the parties for keys of {bus}'
            self._report("bus", f"is {bus}, but all keys are of the bus {other}; {hint}")
            return
        for at, (name, owner) in self._named.items():
            if name != f"{bus}/{owner}":
                self._report(at, f"has the name {name}; the key must have the name {bus}/{owner}")

    def _event_type(self, name: str) -> AgreedEventType | None:
        at = f"events.{name}"
        found = self._check(EventsTable, self._events[name], at)
        table = table_at(self._events, name)
        publishers = self._agencies(at, table, "publishers")
        readers = self._agencies(at, table, "readers")
        for agency in publishers:
            if readers == [agency]:
                what = f"{agency} is the only reader of its own events; add another reader"
                self._report(f"{at}.readers", what)
        if found is None:
            return None
        return AgreedEventType(
            event_type=name,
            publishers=tuple(publishers),
            readers=tuple(readers),
            purposes=tuple(Purpose[each] for each in found.purposes),
            partitions=found.partitions,
        )

    def _agencies(self, at: str, table: dict[str, Any], role: str) -> list[str]:
        found = members_at(table, role, str)
        for index, agency in found:
            self._known_party(f"{at}.{role}[{index}]", agency)
        times = Counter(agency for _, agency in found)
        for agency in times:
            if times[agency] > 1:
                what = f"{agency} occurs {times[agency]} times; write it once"
                self._report(f"{at}.{role}", what)
        return list(times)

    def _known_party(self, at: str, agency: str) -> None:
        what = f"{agency} is not a party of this agreement"
        if not self._parties:
            self._report(at, f"{what}, which names none; write [parties.<agency>] for each")
        elif agency not in self._parties:
            self._report_unknown(at, what, agency, self._parties)

    def _check(
        self, model: type[toml_file.TableT], value: object, at: str
    ) -> toml_file.TableT | None:
        found, problems = toml_file.check(model, value, at, self._hints)
        for each in problems:
            self._report(each.key, each.what)
        return found

    @property
    def _hints(self) -> int:
        """The number of further problems that may suggest a similar name."""
        return toml_file.MOST_HINTS - len(self.problems)

    def _part(self, *keys: str) -> dict[str, Any]:
        return {key: self._document[key] for key in keys if key in self._document}

    def _report_unknown(self, key: str, what: str, name: str, known: Iterable[str]) -> None:
        hint = did_you_mean(name, known) if self._hints > 0 else "correct or remove it"
        self._report(key, f"{what}; {hint}")

    def _report(self, key: str, what: str) -> None:
        self.problems.append(FileProblem(key, what))
        if len(self.problems) == _MOST_PROBLEMS:
            raise _TooManyProblems
