"""Counts of events that an agency signs, so that another one can compare without its database.

    <bus>/<agency>/counts
    <POSIX time>
    <zone in which days begin, an IANA name>
    size <side> <topic>/<partition> <leaves>
    day <side> <topic> <day or "unknown"> <events> <quarantined> <base64 of a SHA-256>

A side is `outbox` or the name of a database. `size` says that the side should have all leaves below
it, and `day` counts these by day; those in quarantine are among the events. The hash is over the
event_ids of the day in the order of partition and leaf, 16 bytes each. The lines are sorted by
their bytes. The whole is a C2SP signed note, with the agency's key. Its first line keeps it apart
from trees and agreements: no origin of a tree has this form.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.seal.note import (
    MOST_CHARACTERS,
    MOST_SIGNATURES,
    parse_base64,
    parse_bounded,
    parse_size,
    sign_note,
    verify_note,
)
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import polars as pl

    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey

_UNKNOWN = "unknown"
_LAST_SECOND = 253_402_300_799
_SIZE_WORDS, _DAY_WORDS, _HASH_BYTES = 4, 7, 32
_NO_EVENT = struct.pack(">QQ", 0, 0)  # in place of an event_id that nobody can read


class DayKey(NamedTuple):
    """A day of a topic at a side; the day is None for events whose day is unknown."""

    side: str
    topic: str
    day: date | None


class DayCount(NamedTuple):
    """The events of one day.

    Attributes:
        events: how many there are, those in quarantine too.
        quarantined: how many of them are in quarantine.
        digest: the hash of their event_ids.
    """

    events: int
    quarantined: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class SignedCounts:
    """All counts of an agency at one time.

    Attributes:
        sizes: how many leaves each side should have, by its name and the topic-partition.
        days: the counts of each day.
    """

    bus: str
    agency: str
    posix_time: int
    zone: str
    sizes: Mapping[tuple[str, TopicPartition], int]
    days: Mapping[DayKey, DayCount]

    def __str__(self) -> str:
        lines = [f"size {side} {tp} {size}" for (side, tp), size in self.sizes.items()]
        for (side, topic, day), count in self.days.items():
            when = _UNKNOWN if day is None else day.isoformat()
            digest = base64.b64encode(count.digest).decode()
            lines.append(f"day {side} {topic} {when} {count.events} {count.quarantined} {digest}")
        first = (f"{self.bus}/{self.agency}/counts", str(self.posix_time), self.zone)
        return "\n".join([*first, *sorted(lines)]) + "\n"

    @property
    def signed_at(self) -> datetime:
        """The time of the counts, by the clock of the agency that signed them."""
        return datetime.fromtimestamp(self.posix_time, UTC)

    @property
    def sides(self) -> list[str]:
        """The names of the sides that are counted."""
        return sorted({side for side, _ in self.sizes} | {each.side for each in self.days})


def digests(events: pl.DataFrame) -> dict[date | None, tuple[int, bytes]]:
    """How many events each day has, and the hash of their event_ids.

    Args:
        events: with the columns partition, leaf, high, low and day.
    """
    found: dict[date | None, tuple[int, bytes]] = {}
    for (day,), of_day in events.sort("partition", "leaf").group_by("day", maintain_order=True):
        hashed = hashlib.sha256()
        for high, low in of_day.select("high", "low").iter_rows():
            hashed.update(_NO_EVENT if high is None else struct.pack(">QQ", high, low))
        found[day] = of_day.height, hashed.digest()
    return found


def sign(counts: SignedCounts, keys: Iterable[SigningKey]) -> str:
    """Sign counts. Returns the note.

    Raises:
        NoteMalformed: there is no key, or the note is too long: count fewer topics.
    """
    note = sign_note(str(counts), keys)
    _parse(parse_bounded(note, "counts", MOST_CHARACTERS, MOST_SIGNATURES).text)
    return note


def verify(note: str, bus: str, keys: Mapping[str, Sequence[VerifyingKey]]) -> SignedCounts:
    """Read counts, and verify that the agency that they are of has signed them.

    Args:
        keys: of each agency.

    Raises:
        NoteMalformed: these are not counts of an agency of this bus.
        SignatureInvalid, SignatureMissing: see `verify_note`.
    """
    parsed = parse_bounded(note, "counts", MOST_CHARACTERS, MOST_SIGNATURES)
    stated = _parse(parsed.text)
    if stated.bus != bus or stated.agency not in keys:
        raise errors.NoteMalformed(f"these are no counts of a party on the bus {bus}")
    verify_note(parsed, keys[stated.agency])
    return stated


def _parse(text: str) -> SignedCounts:
    first, *rest = text[:-1].split("\n")
    bus, _, subject = first.partition("/")
    agency, _, kind = subject.partition("/")
    if kind != "counts" or len(rest) < 2:
        raise errors.NoteMalformed("the text does not hold counts")
    sizes: dict[tuple[str, TopicPartition], int] = {}
    days: dict[DayKey, DayCount] = {}
    for line in rest[2:]:
        words = line.split(" ")
        if words[0] == "size" and len(words) == _SIZE_WORDS:
            topic, _, partition = words[2].rpartition("/")
            sizes[words[1], TopicPartition(topic, parse_size(partition))] = parse_size(words[3])
        elif words[0] == "day" and len(words) == _DAY_WORDS:
            digest = parse_base64(words[6])
            if len(digest) != _HASH_BYTES:
                raise errors.NoteMalformed("a hash of the counts has not 32 bytes")
            count = DayCount(parse_size(words[4]), parse_size(words[5]), digest)
            days[DayKey(words[1], words[2], _day(words[3]))] = count
        else:
            raise errors.NoteMalformed("a line of the counts is neither a size nor a day")
    posix_time = parse_size(rest[0])
    if posix_time > _LAST_SECOND:
        raise errors.NoteMalformed("the time of the counts lies after the year 9999")
    found = SignedCounts(bus, agency, posix_time, rest[1], sizes, days)
    if str(found) != text:
        raise errors.NoteMalformed("the lines of the counts are not in their one form")
    return found


def _day(text: str) -> date | None:
    try:
        return None if text == _UNKNOWN else date.fromisoformat(text)
    except ValueError:
        raise errors.NoteMalformed("a line of the counts has no day") from None
