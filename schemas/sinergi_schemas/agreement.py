"""The agreements of a bus together: the one configuration that all parties share.

Keys, partitions and permissions are taken from here and from nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sinergi_schemas import agreement_file, errors
from sinergi_schemas.plain_text import listing
from sinergi_schemas.seal.key_ring import KeyRing
from sinergi_schemas.seal.note import key_names
from sinergi_schemas.terms import Agreement, Party, ReceiptKey, Terms
from sinergi_schemas.toml_file import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from sinergi_schemas.seal.heads import Heads
    from sinergi_schemas.seal.keys import VerifyingKey
    from sinergi_schemas.topics import Topic

__all__ = ["Agreement", "Agreements", "Party", "ReceiptKey", "Terms"]


class Agreements:
    """All agreements that an agency knows, past and coming ones too; they agree among themselves.

    Several may cover the same publisher and event type; then the newest in force holds.
    """

    def __init__(self, agreements: Iterable[Agreement]) -> None:
        """Take agreements that do not contradict each other.

        Raises:
            AgreementRefused: they do, or there are none.
        """
        self._newest_first = tuple(
            sorted(agreements, key=lambda each: (each.starts, each.hash), reverse=True)
        )
        if not self._newest_first:
            raise errors.AgreementRefused("the list of agreements", "\n  it is empty")
        found = list(_contradictions(self._newest_first))
        if found:
            lines = "".join(agreement_file.listing(path, [problem]) for path, problem in found)
            raise errors.AgreementRefused(_names(self._newest_first), lines)

    @classmethod
    def load(cls, folder: Path) -> Agreements:
        """Read every `*.toml` of a folder.

        Raises:
            AgreementRefused: with one line for each thing wrong in each file.
        """
        try:
            files = sorted(each for each in folder.iterdir() if each.suffix == ".toml")
            read = [(each, each.read_bytes()) for each in files]
        except OSError as why:
            what = f"{why.filename}: cannot be read ({why.strerror})"
            raise errors.AgreementRefused(str(folder), listing([what])) from None
        if not read:
            hint = "holds no agreement; put the parties' *.toml files there"
            raise errors.AgreementRefused(str(folder), listing([f"{folder}: {hint}"]))
        examined = [(path, *agreement_file.examine(path, data)) for path, data in read]
        lines = "".join(agreement_file.listing(path, problems) for path, _, problems in examined)
        if lines:
            raise errors.AgreementRefused(str(folder), lines)
        return cls(agreement for _, agreement, _ in examined if agreement)

    def __iter__(self) -> Iterator[Agreement]:
        return iter(self._newest_first)

    @property
    def bus(self) -> str:
        """The bus's name."""
        return self._newest_first[0].bus

    @property
    def agencies(self) -> list[str]:
        """Every agency that is a party anywhere, sorted."""
        return sorted({name for each in self for name in each.parties})

    def covering(self, agency: str, event_type: str, at: datetime) -> Agreement | None:
        """The agreement under which an agency may publish an event type at a moment, if any."""
        return next((each for each in self if each.permits(agency, event_type, at)), None)

    def by_hash(self, digest: str) -> Agreement | None:
        """The agreement whose file has this SHA-256 (hex), as events name it."""
        return next((each for each in self if each.hash == digest), None)

    def partitions(self, topic: Topic) -> int:
        """How many partitions a topic has, for its whole life.

        Raises:
            NotAgreed: no agreement speaks of the topic.
        """
        for each in self:
            if each.covers(topic.agency, topic.event_type):
                return each.events[topic.event_type].partitions
        raise errors.NotAgreed(topic.name)

    def topics(self, at: datetime | None = None) -> list[Topic]:
        """The topics of the agreements in force at a moment, or of all of them, sorted."""
        return sorted({topic for each in self._at(at) for topic in each.topics()})

    def readers(self, topic: Topic, at: datetime | None = None) -> list[str]:
        """Who may read a topic under the agreements in force at a moment, or under any, sorted."""
        return sorted({reader for each in self._at(at) for reader in each.readers(topic)})

    def read_by(self, agency: str, at: datetime | None = None) -> list[Topic]:
        """The topics of others that an agency may read, in force at a moment or ever, sorted.

        What was published while an agreement was in force may be read after its end.
        """
        return [
            topic
            for topic in self.topics(at)
            if topic.agency != agency and agency in self.readers(topic, at)
        ]

    def published_by(self, agency: str, at: datetime | None = None) -> list[Topic]:
        """The topics that an agency owns, in force at a moment or ever, sorted."""
        return [topic for topic in self.topics(at) if topic.agency == agency]

    def ring(self, topic: Topic, partition: int) -> KeyRing:
        """The keys that sign the checkpoints of a topic-partition, by tree size.

        They are those of the newest agreement that covers the topic, replaced ones included, and of
        no other: an agreement on something else gives its parties no key for this topic. Without
        such an agreement the ring is empty.
        """
        for each in self:
            if each.covers(topic.agency, topic.event_type):
                is_there = partition in range(each.events[topic.event_type].partitions)
                party = each.parties[topic.agency]
                return party.ring(topic.event_type, partition) if is_there else KeyRing(())
        return KeyRing(())

    def keys(self, agency: str) -> list[VerifyingKey]:
        """Every key that any agreement gives an agency, the newest first.

        They sign what is said of no single topic: the heads in its control topic. What one of them
        says of a topic counts only if the ring of that topic accepts it.
        """
        return _distinct(key for party in self._party(agency) for key in reversed(party.keys))

    def credible(self, stated: Heads) -> Heads:
        """The lines of verified heads that are signed by the key of their own topic and size.

        A key that an agreement on something else gives an agency can sign heads, but no line of
        them about this topic holds; nor does one that a replaced key signs beyond its last size.
        """
        known = {each.name: each for each in self.published_by(stated.agency)}
        lines = tuple(
            each
            for each in stated.heads
            if each.topic in known
            and self.ring(known[each.topic], each.partition).accepts(each.size, stated.signers)
        )
        return replace(stated, heads=lines)

    def receipt_keys(self, agency: str) -> list[VerifyingKey]:
        """The keys of an agency's databases, named `<bus>/<agency>/<database>`."""
        return _distinct(each.key for party in self._party(agency) for each in party.receipt_keys)

    def _party(self, agency: str) -> list[Party]:
        return [each.parties[agency] for each in self if agency in each.parties]

    def _at(self, at: datetime | None) -> list[Agreement]:
        return [each for each in self if at is None or each.in_force(at)]


def _contradictions(agreements: tuple[Agreement, ...]) -> Iterator[tuple[Path, Problem]]:
    """What does not go together, told at the later of two files."""
    for index, one in enumerate(agreements):
        for other in agreements[index + 1 :]:
            yield from ((one.path, each) for each in _between(one, other))


def _between(one: Agreement, other: Agreement) -> Iterator[Problem]:
    if one.hash == other.hash:
        yield Problem("", f"is the same file as {other.path}; remove one")
        return
    if one.bus != other.bus:
        yield Problem("bus", f"is {one.bus}, but {other.bus} in {other.path}; a bus has one name")
    owners = {key.public: key.name for party in other.parties.values() for key in party.keys}
    for name, party in one.parties.items():
        for key in party.keys:
            owner = owners.get(key.public, key.name)
            if owner != key.name:
                what = f"{key.name} is the same key as {owner} in {other.path}; make another"
                yield Problem(f"parties.{name}.keys", what)
    for name in sorted(one.parties.keys() & other.parties.keys()):
        yield from _of_keys(name, one, other)
    for topic in sorted({*one.topics()} & {*other.topics()}):
        yield from _about(topic, one, other)


def _of_keys(agency: str, one: Agreement, other: Agreement) -> Iterator[Problem]:
    """Two files may know different keys of an agency only where one tells which replaced which."""
    ours, theirs = (each.parties[agency].keys for each in (one, other))
    at = f"parties.{agency}.keys"
    common = min(len(ours), len(theirs))
    if ours[:common] != theirs[:common]:
        what = f"is {key_names(ours)}, but {key_names(theirs)} in {other.path}, and neither file"
        hint = "shows the other's among its replaced_keys; ask the agency which are its own"
        yield Problem(at, f"{what} {hint}")
    elif len(ours) < len(theirs) and any(
        topic.agency == agency for topic in {*one.topics()} & {*other.topics()}
    ):
        what = f"ends with {key_names(ours[-1:])}, which {key_names(theirs[common : common + 1])}"
        hint = "replaces: this file is the newer one, and has to show it"
        yield Problem(at, f"{what} of {other.path} {hint}")


def _about(topic: Topic, one: Agreement, other: Agreement) -> Iterator[Problem]:
    key = f"events.{topic.event_type}"
    ours, theirs = (each.events[topic.event_type].partitions for each in (one, other))
    if ours != theirs:
        what = f"is {ours} for {topic.name}, but {theirs} in {other.path}; it is fixed for ever"
        yield Problem(f"{key}.partitions", what)
    if one.starts == other.starts:
        what = f"is the same as in {other.path}, so which holds for {topic.name} cannot be told"
        yield Problem("in_force.from", what)


def _distinct(keys: Iterable[VerifyingKey]) -> list[VerifyingKey]:
    return list(dict.fromkeys(keys))


def _names(agreements: Iterable[Agreement]) -> str:
    return ", ".join(sorted(str(each.path) for each in agreements))
