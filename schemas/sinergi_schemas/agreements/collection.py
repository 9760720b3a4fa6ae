"""All agreements of a bus: the configuration that all parties share.

Keys, partition counts and permissions come only from the agreements.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.agreements import file, signatures
from sinergi_schemas.agreements.contradictions import contradictions
from sinergi_schemas.agreements.model import Agreement, Party, ReceiptKey
from sinergi_schemas.agreements.replacement import with_replacements
from sinergi_schemas.files.file_rights import writable_by_all
from sinergi_schemas.files.input_file import read_regular
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.files.toml_limits import MOST_BYTES
from sinergi_schemas.plain_text import listing, some
from sinergi_schemas.seal.key_ring import KeyRing
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from sinergi_schemas.seal.heads import SignedHeads
    from sinergi_schemas.seal.keys import VerifyingKey

__all__ = ["Agreement", "Agreements", "Party", "ReceiptKey"]


class Agreements:
    """All agreements that an agency has, including past and future ones, without contradictions.

    If several agreements cover the same publisher and event type, the newest one applies.
    """

    def __init__(self, agreements: Iterable[Agreement]) -> None:
        """Check that the agreements do not contradict each other.

        Raises:
            AgreementRefused: two agreements contradict each other, or there are none.
        """
        self._newest_first = with_replacements(newest_first(agreements))
        if not self._newest_first:
            raise errors.AgreementRefused("the list of agreements", "\n  it is empty")
        found = list(contradictions(self._newest_first))
        if found:
            lines = listing(f"{path}: {problem}" for path, problem in found)
            raise errors.AgreementRefused(_names(self._newest_first), lines)
        self._by_hash = {each.hash: each for each in self._newest_first}
        self._by_topic: dict[Topic, list[Agreement]] = {}
        for each in self._newest_first:
            for topic in each.topics():
                self._by_topic.setdefault(topic, []).append(each)

    @classmethod
    def load(
        cls, folder: Path, *, signed: bool = False, confirmed: Iterable[VerifyingKey] = ()
    ) -> Agreements:
        """Read every `*.toml` file of a folder.

        Args:
            signed: refuse an agreement without all signatures that it needs; see
                `signatures.needed`.
            confirmed: keys that replace others although these have not signed that.

        Raises:
            AgreementRefused: with one line per problem in each file.
        """
        files = files_in(folder)
        try:
            read = [(each, read_regular(each, MOST_BYTES)[1]) for each in files]
            found = [place for each in (folder, *files) for place in writable_by_all(each)]
            writable = dict.fromkeys(found)
        except OSError as why:
            what = f"{why.filename}: {unread(why)}"
            raise errors.AgreementRefused(str(folder), listing([what])) from None
        if writable:
            what = "every user may write there, and could let any key sign"
            hint = "run `chmod o-w` on it, and check its content"
            lines = listing(f"{each}: {what}; {hint}" for each in writable)
            raise errors.AgreementRefused(str(folder), lines)
        examined = [(path, *file.examine(path, data)) for path, data in read]
        if signed:
            all_ = [agreement for _, agreement, _ in examined if agreement]
            known = signatures.known_files(all_, confirmed)
            examined = [
                (path, one, problems if one is None else signatures.problems(one, known))
                for path, one, problems in examined
            ]
        if lines := listing(f"{path}: {each}" for path, _, found in examined for each in found):
            raise errors.AgreementRefused(str(folder), lines)
        return cls(agreement for _, agreement, _ in examined if agreement)

    def __iter__(self) -> Iterator[Agreement]:
        return iter(self._newest_first)

    @property
    def bus(self) -> str:
        """The name of the bus."""
        return self._newest_first[0].bus

    @property
    def versions(self) -> frozenset[str]:
        """The hashes of all files. If they are unchanged, so are all agreements."""
        return frozenset(each.hash for each in self)

    @property
    def agencies(self) -> list[str]:
        """Every agency that is a party of an agreement, sorted."""
        return sorted({name for each in self for name in each.parties})

    def changes_between(self, since: datetime, until: datetime) -> list[datetime]:
        """When an agreement begins, ends or is replaced in an interval, without its bounds."""
        moments = {at for each in self for at in (each.starts, each.in_force_until) if at}
        return sorted(at for at in moments if since < at < until)

    def covering(self, agency: str, event_type: str, at: datetime) -> Agreement | None:
        """The agreement under which an agency may publish an event type at a time, or None."""
        covering = self.covering_ever(Topic(agency, event_type))
        return next((each for each in covering if each.in_force(at)), None)

    def covering_ever(self, topic: Topic, begun_by: datetime | None = None) -> list[Agreement]:
        """The agreements that cover a topic and have begun by a time, the newest first.

        Args:
            begun_by: None for those to come, too.
        """
        covering = self._by_topic.get(topic, [])
        return [each for each in covering if begun_by is None or each.starts <= begun_by]

    def why_not_in_force(self, agency: str, event_type: str, at: datetime) -> str:
        """The file that covers an event type, and when it comes into force or when it ended.

        It is empty if no agreement lets the agency publish the event type at any time, or if one is
        in force. If several files do, it is the one that ended last, or else the one that begins
        first.
        """
        covering = self.covering_ever(Topic(agency, event_type))
        if any(each.in_force(at) for each in covering):
            return ""
        begun = [each for each in covering if each.starts <= at and each.in_force_until]
        if begun:
            last = max(begun, key=lambda each: each.in_force_until or each.starts)
            return last.why_not_in_force(at)
        return covering[-1].why_not_in_force(at) if covering else ""

    def by_hash(self, digest: str) -> Agreement | None:
        """The agreement whose file has this SHA-256 (hex), or None. Events name it by this hash."""
        return self._by_hash.get(digest)

    def partitions(self, topic: Topic) -> int:
        """The number of partitions of a topic, which never changes.

        Raises:
            NotAgreed: no agreement covers the topic.
        """
        return self._newest(topic).events[topic.event_type].partitions

    def file_of(self, topic: Topic) -> str:
        """The path of the agreement that says how many partitions a topic has.

        Raises:
            NotAgreed: no agreement covers the topic.
        """
        return str(self._newest(topic).path)

    def topics(self, at: datetime | None = None) -> list[Topic]:
        """The topics of the agreements in force at a time (None: of all agreements), sorted."""
        return sorted({topic for each in self._at(at) for topic in each.topics()})

    def topics_since(self, at: datetime) -> list[Topic]:
        """The topics of the agreements that have begun by a time, ended or not, sorted."""
        return sorted({topic for each in self._begun(at) for topic in each.topics()})

    def readers(self, topic: Topic, at: datetime | None = None) -> list[str]:
        """The agencies that may read a topic, sorted.

        Args:
            topic: an event topic.
            at: use only agreements in force at this time; None: use all agreements.
        """
        standing = [each for each in self.covering_ever(topic) if at is None or each.in_force(at)]
        return sorted({reader for each in standing for reader in each.readers(topic)})

    def readers_since(self, topic: Topic, at: datetime | None = None) -> dict[str, Agreement]:
        """Each agency that was ever let read a topic, and the newest agreement that lets it.

        Args:
            topic: an event topic.
            at: use only agreements that have begun by this time; None: use all agreements.
        """
        found: dict[str, Agreement] = {}
        for each in self.covering_ever(topic, at):
            for reader in each.readers(topic):
                found.setdefault(reader, each)
        return dict(sorted(found.items()))

    def read_by(self, agency: str, at: datetime | None = None) -> list[Topic]:
        """The topics of other agencies that an agency may read, sorted.

        An agency may read events that were published while an agreement was in force, even after
        the agreement has ended.

        Args:
            agency: the reader.
            at: use only agreements in force at this time; None: use all agreements.
        """
        return [
            topic
            for topic in self.topics(at)
            if topic.agency != agency and agency in self.readers(topic, at)
        ]

    def audited_by(self, principal: str) -> list[Topic]:
        """The topics that an auditor may read by any agreement, sorted.

        Args:
            principal: under which the auditor logs in, without `User:`.
        """
        return sorted(
            {
                topic
                for each in self
                for topic in each.topics()
                for auditor in each.auditors_of(topic.event_type)
                if principal in auditor.principals
            }
        )

    def demanding_reason(self, topic: Topic, at: datetime) -> Agreement | None:
        """The agreement that demands a reason of whoever reads a topic again; None if none does.

        It is one of those in force that cover the topic, or else the newest one that did.
        """
        covering = self.covering_ever(topic, at)
        standing = [each for each in covering if each.in_force(at)] or covering[:1]
        return next((each for each in standing if each.audit_needs_reason), None)

    def published_by(self, agency: str, at: datetime | None = None) -> list[Topic]:
        """The topics that an agency owns in agreements in force at a time (None: all), sorted."""
        return [topic for topic in self.topics(at) if topic.agency == agency]

    def ring(self, topic: Topic, partition: int) -> KeyRing:
        """The keys that sign the checkpoints of a topic-partition, by tree size.

        They come only from the newest agreement that covers the topic, and include the replaced
        keys. An agreement about other topics gives its parties no key for this topic. If no
        agreement covers the topic, the ring is empty.
        """
        if not (covering := self.covering_ever(topic)):
            return KeyRing(())
        is_there = partition in range(covering[0].events[topic.event_type].partitions)
        party = covering[0].parties[topic.agency]
        return party.ring(topic.event_type, partition) if is_there else KeyRing(())

    def keys(self, agency: str) -> list[VerifyingKey]:
        """Every key that any agreement gives an agency, the newest first.

        They sign the heads in the agency's control topic, which cover many topics. A line of the
        heads is valid only if the key ring of its topic accepts the signer.
        """
        return _distinct(key for party in self._party(agency) for key in reversed(party.keys))

    def is_dated(self, stated: SignedHeads) -> bool:
        """Whether the time of verified heads counts: a key has signed them that was not replaced.

        A replaced key verifies the trees that it has signed, and proves nothing about the present:
        somebody may have stolen it, and can write any time.
        """
        parties = self._party(stated.agency)
        replaced = {each.key for party in parties for each in party.replaced_keys}
        return not replaced.issuperset(stated.signers)

    def credible(self, stated: SignedHeads) -> SignedHeads:
        """The lines of verified heads that the required key of their topic and size has signed.

        It removes lines that are signed only by a key from an agreement about other topics, or by a
        replaced key beyond its last tree size.
        """
        known = {each.name: each for each in self.published_by(stated.agency)}
        lines = tuple(
            each
            for each in stated.heads
            if each.topic in known
            and self.ring(known[each.topic], each.partition).accepts(each.size, stated.signers)
        )
        return replace(stated, heads=lines)

    def receipt_keys(
        self, agency: str, topic: Topic | None = None, at: datetime | None = None
    ) -> list[VerifyingKey]:
        """The keys of an agency's databases, named `<bus>/<agency>/<database>`, the newest first.

        Args:
            agency: the reader.
            topic: if given, only keys from agreements that let the agency read this topic.
            at: use only agreements in force at this time; None: use all agreements.
        """
        return _distinct(
            key.key
            for each in self._at(at)
            if agency in each.parties and (topic is None or agency in each.readers(topic))
            for key in each.parties[agency].receipt_keys
        )

    def replaced_receipt_keys(self, agency: str, at: datetime | None = None) -> set[VerifyingKey]:
        """The keys of an agency's databases that another key has replaced.

        A party lists the keys of a database with the newest one first. The others verify what they
        have signed, and prove nothing about the present: somebody may have stolen them.

        Args:
            at: use only agreements that have begun by this time; None: use all agreements.
        """
        found: set[VerifyingKey] = set()
        for each in self._begun(at):
            databases: set[str] = set()
            for key in each.parties[agency].receipt_keys if agency in each.parties else ():
                if key.database in databases:
                    found.add(key.key)
                databases.add(key.database)
        return found

    def _newest(self, topic: Topic) -> Agreement:
        """The newest agreement that covers a topic.

        Raises:
            NotAgreed: no agreement covers it.
        """
        covering = self.covering_ever(topic)
        if not covering:
            raise errors.NotAgreed(topic.name)
        return covering[0]

    def _party(self, agency: str) -> list[Party]:
        return [each.parties[agency] for each in self if agency in each.parties]

    def _begun(self, at: datetime | None) -> list[Agreement]:
        return [each for each in self if at is None or each.starts <= at]

    def _at(self, at: datetime | None) -> list[Agreement]:
        return [each for each in self if at is None or each.in_force(at)]


def files_in(folder: Path) -> list[Path]:
    """The files of agreements in a folder, `*.toml`, sorted.

    Raises:
        AgreementFolderRefused: the folder cannot be read, or has none.
    """
    try:
        found = sorted(each for each in folder.iterdir() if each.suffix == ".toml")
    except OSError as why:
        what = unread(why, is_folder=True)
        raise errors.AgreementFolderRefused(str(folder), listing([what])) from None
    if not found:
        hint = "it contains no agreement; put the parties' *.toml files there"
        raise errors.AgreementFolderRefused(str(folder), listing([hint]))
    return found


def newest_first(agreements: Iterable[Agreement]) -> tuple[Agreement, ...]:
    """Agreements by the time from which they are in force, the latest first."""
    return tuple(sorted(agreements, key=lambda each: (each.starts, each.hash), reverse=True))


def _distinct(keys: Iterable[VerifyingKey]) -> list[VerifyingKey]:
    return list(dict.fromkeys(keys))


def _names(agreements: Iterable[Agreement]) -> str:
    return some(sorted(str(each.path) for each in agreements))
