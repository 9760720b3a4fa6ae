"""One agreement (PKS, perjanjian kerja sama): which agencies share which events with whom.

Only `agreements.file` creates an `Agreement`, so every `Agreement` has passed all checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi_schemas.seal.key_ring import KeyRing, KeySpan
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from sinergi_schemas.codes import Purpose
    from sinergi_schemas.seal.keys import VerifyingKey


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """The key with which one database of a party cosigns the trees that it has materialised."""

    database: str
    key: VerifyingKey


@dataclass(frozen=True, slots=True)
class ReplacedKey:
    """A key that another key has replaced, from a tree size on.

    Attributes:
        key: the public key.
        until: the last tree size that it may sign, per partition of each event type that the
            agreement lets its agency publish.
    """

    key: VerifyingKey
    until: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Principals:
    """The Kafka principals under which the processes of one party log in, without `User:`.

    Each is the name of a SCRAM user, or the subject of a certificate (RFC 2253).

    Attributes:
        producer: of its relay.
        consumer: of its materialiser.
    """

    producer: tuple[str, ...]
    consumer: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Auditor:
    """Somebody who is no party of an agreement and may read topics to audit them.

    Attributes:
        auditor: its slug. No agency of the agreement has it.
        name: its name in the agreement's text.
        event_types: it may read the topics of these, with their heads and receipts.
        principals: under which it logs in, without `User:`.
    """

    auditor: str
    name: str
    event_types: tuple[str, ...]
    principals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Party:
    """One party of an agreement.

    Attributes:
        agency: its slug on the bus.
        name: its name in the agreement's text.
        number: the number that this party gave the agreement; each party gives its own.
        key: signs its checkpoints and heads.
        replaced_keys: earlier keys, the oldest first. They still verify what they have signed.
        receipt_keys: the keys of its databases.
        principals: how its processes log in to the brokers.
    """

    agency: str
    name: str
    number: str
    key: VerifyingKey
    replaced_keys: tuple[ReplacedKey, ...]
    receipt_keys: tuple[ReceiptKey, ...]
    principals: Principals

    @property
    def keys(self) -> tuple[VerifyingKey, ...]:
        """All its keys for checkpoints, the oldest first."""
        return (*(each.key for each in self.replaced_keys), self.key)

    def ring(self, event_type: str, partition: int) -> KeyRing:
        """The keys of one of its topic-partitions. It must be a publisher of the event type."""
        replaced = (
            KeySpan(each.key, each.until[event_type][partition]) for each in self.replaced_keys
        )
        return KeyRing((*replaced, KeySpan(self.key)))


@dataclass(frozen=True, slots=True)
class AgreedEventType:
    """The rules of an agreement for one event type.

    Attributes:
        event_type: its slug.
        publishers, readers: slugs of agencies.
        purposes: what the readers may use the events for (tujuan).
        partitions: the number of partitions of each publisher's topic; it never changes.
    """

    event_type: str
    publishers: tuple[str, ...]
    readers: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    partitions: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """One agreement.

    Attributes:
        path: the file that it was read from.
        hash: the SHA-256 of the file's bytes in hex. Every event names its agreement by this hash.
        bus: the name of the bus. Every origin and key name begins with it.
        title: of the agreement's text.
        starts, ends: it is in force from `starts` until just before `ends`, both in UTC.
        legal_basis: the laws and regulations that it is based on (dasar hukum).
        parties: by the slug of the agency.
        events: by the slug of the event type.
        auditors: by their slugs.
        replaces: the hashes of earlier agreements on the same topics. Events name them, so their
            files must stay in the folder.
        audit_needs_reason: whether whoever reads its topics again to audit them has to say why.
        remarks: one line per key of the file that has no effect.
        replaced_at: when the first agreement that replaces it begins, in UTC; None if none of the
            loaded ones does.
        zone: the zone of its dates, in which people are shown its times; None if it names none.
    """

    path: Path = field(compare=False)
    hash: str
    bus: str
    title: str
    starts: datetime
    ends: datetime | None
    legal_basis: tuple[str, ...]
    parties: Mapping[str, Party]
    events: Mapping[str, AgreedEventType]
    auditors: Mapping[str, Auditor]
    replaces: tuple[str, ...] = ()
    audit_needs_reason: bool = False
    remarks: tuple[str, ...] = field(default=(), compare=False)
    replaced_at: datetime | None = field(default=None, compare=False)
    zone: ZoneInfo | None = field(default=None, compare=False)

    @property
    def in_force_until(self) -> datetime | None:
        """When it stops to be in force: at its end, or when another one replaces it; or None."""
        found = [each for each in (self.ends, self.replaced_at) if each is not None]
        return min(found, default=None)

    def in_force(self, at: datetime) -> bool:
        """Whether it is in force at a time.

        Events that name it are judged by `starts` and `ends` alone: their publisher may not have
        had the agreement that replaces it.
        """
        until = self.in_force_until
        return self.starts <= at and (until is None or at < until)

    def why_not_in_force(self, at: datetime) -> str:
        """The file, and when it comes into force or when it ended; empty if it is in force."""
        if at < self.starts:
            return f"{self.path.name} is not in force before {_moment(self.starts)}"
        until = self.in_force_until
        if until is not None and at >= until:
            how = "was replaced at" if until == self.replaced_at else "was in force until"
            return f"{self.path.name} {how} {_moment(until)}"
        return ""

    def covers(self, publisher: str, event_type: str) -> bool:
        """Whether it lets an agency publish an event type while it is in force."""
        agreed = self.events.get(event_type)
        return agreed is not None and publisher in agreed.publishers

    def permits(self, publisher: str, event_type: str, at: datetime) -> bool:
        """Whether an agency may publish an event type at a time."""
        return self.covers(publisher, event_type) and self.in_force(at)

    def readers(self, topic: Topic) -> tuple[str, ...]:
        """The agencies that may read a topic; none if the agreement does not cover it."""
        if not self.covers(topic.agency, topic.event_type):
            return ()
        return self.events[topic.event_type].readers

    def auditors_of(self, event_type: str) -> tuple[Auditor, ...]:
        """Who may read the topics of an event type to audit them."""
        return tuple(each for each in self.auditors.values() if event_type in each.event_types)

    def owners(self) -> Iterator[tuple[str, str]]:
        """Each principal, with the key of the table of its owner: `parties.…` or `auditors.…`."""
        for party in self.parties.values():
            for each in (*party.principals.producer, *party.principals.consumer):
                yield each, f"parties.{party.agency}"
        for auditor in self.auditors.values():
            for each in auditor.principals:
                yield each, f"auditors.{auditor.auditor}"

    def topics(self) -> list[Topic]:
        """The topics that it covers, sorted by name."""
        return sorted(
            Topic(publisher, agreed.event_type)
            for agreed in self.events.values()
            for publisher in agreed.publishers
        )


def _moment(at: datetime) -> str:
    """A time to the minute, or to the second if it is not a whole minute."""
    return at.isoformat(sep=" ", timespec="seconds" if at.second else "minutes")
