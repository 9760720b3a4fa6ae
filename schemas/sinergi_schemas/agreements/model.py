"""One agreement (PKS, perjanjian kerja sama) as it was signed: who shares what with whom.

An agreement is only ever made by `agreement_file.parse`, so whatever holds one holds a checked one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi_schemas.seal.key_ring import KeyRing, KeySpan
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from sinergi_schemas.codes import Purpose
    from sinergi_schemas.seal.keys import VerifyingKey


@dataclass(frozen=True, slots=True)
class ReceiptKey:
    """The key by which one database of a party cosigns what it has materialised."""

    database: str
    key: VerifyingKey


@dataclass(frozen=True, slots=True)
class ReplacedKey:
    """A key that another one has replaced, by tree size and not by clock.

    Attributes:
        until: the last tree size that it may sign, for each partition of each event type that the
            agreement lets its agency publish.
    """

    key: VerifyingKey
    until: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Party:
    """One side of the agreement.

    Attributes:
        agency: its slug on the bus.
        name: as it stands in the agreement.
        number: the number that this party gave the agreement; each party gives its own.
        key: the one that signs its checkpoints and heads.
        replaced_keys: those that it replaced, the oldest first. What they have signed stays sealed.
        receipt_keys: those of its databases.
    """

    agency: str
    name: str
    number: str
    key: VerifyingKey
    replaced_keys: tuple[ReplacedKey, ...]
    receipt_keys: tuple[ReceiptKey, ...]

    @property
    def keys(self) -> tuple[VerifyingKey, ...]:
        """All its keys for checkpoints, the oldest first; each replaced the one before."""
        return (*(each.key for each in self.replaced_keys), self.key)

    def ring(self, event_type: str, partition: int) -> KeyRing:
        """The keys of one of its topic-partitions, of an event type that it may publish."""
        replaced = (
            KeySpan(each.key, each.until[event_type][partition]) for each in self.replaced_keys
        )
        return KeyRing((*replaced, KeySpan(self.key)))


@dataclass(frozen=True, slots=True)
class TypeTerms:
    """What is agreed on one event type.

    Attributes:
        purposes: what the readers may use the events for (tujuan).
        partitions: of each publisher's topic, fixed for the topic's life.
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
        path: the file it was read from.
        hash: SHA-256 of the file's bytes in hex; every event names the version it falls under.
        bus: the bus's one name, the beginning of every origin and key name.
        starts, ends: in force from `starts` until just before `ends`, both in UTC.
        remarks: what stands in the file and has no effect, a line each, with the key.
        replaces: the hashes of the agreements that it follows on the same topics. Events name them,
            so that their files stay in the folder.
        legal_basis: the laws and regulations it rests on (dasar hukum).
    """

    path: Path = field(compare=False)
    hash: str
    bus: str
    title: str
    starts: datetime
    ends: datetime | None
    legal_basis: tuple[str, ...]
    parties: Mapping[str, Party]
    events: Mapping[str, TypeTerms]
    replaces: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=(), compare=False)

    def in_force(self, at: datetime) -> bool:
        """Whether it holds at a moment."""
        return self.starts <= at and (self.ends is None or at < self.ends)

    def covers(self, publisher: str, event_type: str) -> bool:
        """Whether it lets an agency publish an event type, as long as it is in force."""
        terms = self.events.get(event_type)
        return terms is not None and publisher in terms.publishers

    def permits(self, publisher: str, event_type: str, at: datetime) -> bool:
        """Whether an agency may publish an event type at a moment."""
        return self.covers(publisher, event_type) and self.in_force(at)

    def readers(self, topic: Topic) -> tuple[str, ...]:
        """Who may read a topic; nobody, where the agreement does not speak of it."""
        if not self.covers(topic.agency, topic.event_type):
            return ()
        return self.events[topic.event_type].readers

    def topics(self) -> list[Topic]:
        """The topics it speaks of, sorted by name."""
        return sorted(
            Topic(publisher, terms.event_type)
            for terms in self.events.values()
            for publisher in terms.publishers
        )
