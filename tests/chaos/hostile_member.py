"""A member agency with valid keys that attacks: what it seals in its own topic, and what it signs.

Its seal holds, so that every reader has to take in what stands under it: datums that are none, too
large, or contradict their topic, their key or the agreements. It also reads the honest agency's
topic, for which it signs false receipts.
"""

from __future__ import annotations

import copy
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count, groupby
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import fastavro
from confluent_kafka.admin import NewTopic

from agency_pair import BUS, agreement, transfer
from chaos.foreign_writer import ForeignMessage
from foreign_messages import false_seal_of, leaf
from signed_agreement import write_signed
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import message, topics
from sinergi_schemas.catalog import Schema
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal import checkpoint, heads
from sinergi_schemas.seal.checkpoint import Checkpoint
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.topics import Topic
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from random import Random

    from agency_pair import AgencyPair
    from chaos.foreign_writer import OwnersMessages
    from foreign_messages import Headers
    from sinergi_consumers.testing.tape import TapeMessage

PARTITIONS = 3
CONTRADICTED = PARTITIONS - 1
"""The partition in which it contradicts itself, so that readers halt there; only there."""

_MOST_IN_BATCH = 40
_DATABASE = "main"
_TIMES = (10**17, 253_402_300_800, 1_800_000_000_000, 0, 1)
"""Seconds since 1970: far beyond the calendar, just beyond it, milliseconds, long ago."""
_SIZES = (10**17, 10**9, 0, 1)


class Crafted(NamedTuple):
    """An event that it seals.

    Attributes:
        is_refused: no database may have a row of it.
    """

    event_id: UUID
    key: str
    datum: bytes
    is_refused: bool = True
    schema: Schema | None = None


class RawKey(str):
    """A key of any bytes, which pass for text on the way to the leaf."""

    __slots__ = ("data",)

    data: bytes

    @classmethod
    def of(cls, data: bytes) -> RawKey:
        """The key of some bytes."""
        made = cls(data.decode(errors="replace"))
        made.data = data
        return made

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Its bytes."""
        del encoding, errors
        return self.data


@dataclass(frozen=True)
class AgreementHashes:
    """The hashes of the agreements that it may name."""

    good: str
    ended: str
    coming: str
    of_others: str


class Member:
    """The hostile agency beside the honest publisher of a pair, which the same reader reads.

    Make it before any process starts: it adds its agreements to the folder of all.

    Attributes:
        refused: the events that no database may have a row of, and their kinds.
        sizes: how many leaves it has sealed in each partition, but for the one that it contradicts.
    """

    def __init__(self, pair: AgencyPair) -> None:
        self._world = pair
        self.agency = pair.publisher.replace("lapas", "polres")
        self.topic = Topic(self.agency, "transfer")
        self.key = SigningKey.generate(f"{BUS}/{self.agency}")
        self._receipts = SigningKey.generate(
            f"{BUS}/{self.agency}/{_DATABASE}", Algorithm.COSIGNATURE
        )
        self._make_topics()
        agreed = self._agree()
        self._tapes = [
            Tape(BUS, self.topic, number, key=self.key, agreement=agreed.good)
            for number in range(PARTITIONS)
        ]
        self._forge = DatumForger(self._tapes[0], pair.publisher, agreed)
        self.refused: dict[UUID, str] = {}
        self.sizes = dict.fromkeys(range(CONTRADICTED), 0)

    @property
    def control(self) -> str:
        """Its control topic."""
        return topics.control_topic(self.agency)

    @property
    def receipts(self) -> str:
        """Its topic of receipts."""
        return topics.receipts_topic(self.agency)

    def sealed(self, dice: Random, events: int) -> Iterator[tuple[str, ForeignMessage]]:
        """So many events of every kind, in batches, each under a valid checkpoint."""
        names = [*KINDS]
        weights = [KINDS[each][0] for each in names]
        while events:
            size = min(events, dice.randint(1, _MOST_IN_BATCH))
            events -= size
            kinds = dice.choices(names, weights, k=size)
            tape = self._tapes[dice.randrange(CONTRADICTED)]
            crafted = [KINDS[kind][1](self._forge, dice) for kind in kinds]
            self.sizes[tape.number] += size
            self.refused |= {
                each.event_id: kind
                for kind, each in zip(kinds, crafted, strict=True)
                if each.is_refused
            }
            for kind, written in zip(kinds, _written(tape, crafted), strict=True):
                place = self.topic.name, tape.number
                headers: Headers = [*written.headers()]
                wire = written.value(), written.key(), headers
                yield kind, ForeignMessage(place, wire)

    def contradictions(self, dice: Random, number: int) -> Iterator[tuple[str, ForeignMessage]]:
        """Valid checkpoints over trees that it does not have, in one partition of its own."""
        place = self.topic.name, CONTRADICTED
        for _ in range(number):
            size = dice.randint(1, 300)
            sealed = false_seal_of(self.key, *place, size, dice.randbytes(32))
            yield "contradicting checkpoint", ForeignMessage(place, leaf(size - 1, b"x", sealed))

    def statements(
        self, dice: Random, owners_messages: OwnersMessages, number: int
    ) -> Iterator[tuple[str, ForeignMessage]]:
        """False heads and receipts under its own valid keys."""
        for _ in range(number):
            if dice.random() < 0.5:
                yield "false heads", self._false_heads(dice)
            else:
                yield "false receipt", self._false_receipt(dice, owners_messages)

    def _false_heads(self, dice: Random) -> ForeignMessage:
        names = dice.sample([self.topic.name, self._world.topic.name], dice.randint(1, 2))
        lines = tuple(
            TreeHead(name, at, size, dice.randbytes(32))
            for name in sorted(names)
            for at in range(2)
            if (size := dice.choice(_SIZES))
        )
        note = heads.sign(SignedHeads(BUS, self.agency, dice.choice(_TIMES), lines), [self.key])
        return ForeignMessage((self.control, 0), (note.encode(), b"heads", []))

    def _false_receipt(self, dice: Random, owners_messages: OwnersMessages) -> ForeignMessage:
        """For the honest agency's topic: under its own key alone, or at a time that is none."""
        topic, number = self._world.topic.name, dice.randrange(self._world.partitions)
        key = f"{_DATABASE}/{topic}/{number}".encode()
        notes = [
            said
            for _, _, headers in owners_messages.at((topic, number))
            for name, said in headers
            if name == message.CHECKPOINT and isinstance(said, bytes)
        ]
        if notes and dice.random() < 0.5:
            note = dice.choice(notes).decode()
        else:
            stated = Checkpoint(
                f"{BUS}/{topic}/{number}", dice.choice((1, 40, 10**6, 10**17)), dice.randbytes(32)
            )
            note = checkpoint.sign(stated, [dice.choice((self.key, SigningKey.generate("a/b")))])
        cosigned = checkpoint.cosign(note, self._receipts, dice.choice(_TIMES))
        return ForeignMessage((self.receipts, 0), (cosigned.encode(), key, []))

    def _make_topics(self) -> None:
        admin = open_admin(self._world.connection)
        wanted = [NewTopic(self.topic.name, PARTITIONS, 1)]
        wanted += [
            NewTopic(name, 1, 1, config={"cleanup.policy": "compact"})
            for name in (self.control, self.receipts)
        ]
        for made in admin.create_topics(wanted).values():
            made.result(timeout=PATIENCE_SECONDS)

    def _agree(self) -> AgreementHashes:
        """Write its agreements: two with the reader, one of which ended, one as a reader."""
        pair = self._world
        ours = self.key.public, pair.receipt_key.public, PARTITIONS
        (good_hash,) = (each.hash for each in pair.agreements)

        def in_force(first: int, last: int) -> dict[str, Any]:
            ends = [datetime(year, 1, 1, tzinfo=UTC) for year in (first, last)]
            return {"in_force": dict(zip(("from", "until"), ends, strict=True))}

        ended = self._write("member-ended", agreement(*ours, **in_force(2010, 2015)))
        good = self._write("member", agreement(*ours, **in_force(2020, 2090), replaces=[ended]))
        coming = self._write(
            "member-coming", agreement(*ours, **in_force(2090, 2095), replaces=[good])
        )
        reading = copy.deepcopy(pair.agreement) | in_force(2021, 2090) | {"replaces": [good_hash]}
        reading["numbers"].append({"party": self.agency, "number": "PKS/3"})
        reading["parties"][self.agency] = {
            "name": "Polres Rekaan",
            "keys": [str(self.key.public)],
            "receipt_keys": [{"database": _DATABASE, "key": str(self._receipts.public)}],
        }
        reading["events"]["transfer"]["readers"].append(self.agency)
        self._write("member-reads", reading)
        return AgreementHashes(good, ended, coming, good_hash)

    def _write(self, name: str, document: Mapping[str, Any]) -> str:
        file = self._world.folder / f"{name}.toml"
        write_signed(file, document, [self.key, *self._world.party_keys])
        return sha256(file.read_bytes()).hexdigest()


def _written(tape: Tape, crafted: Sequence[Crafted]) -> Iterator[TapeMessage]:
    """Messages of these events; each run of one schema ends in a checkpoint."""
    known = tape.schema
    for schema, those in groupby(crafted, lambda each: each.schema):
        tape.schema = schema or known
        yield from tape.write_datums([each[:3] for each in those])
    tape.schema = known


_MARK = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROS = timedelta(microseconds=1)


class DatumForger:
    """Makes datums as an outbox would refuse them."""

    def __init__(self, tape: Tape, honest: str, agreed: AgreementHashes) -> None:
        self._tape = tape
        self._base = tape.issued(transfer("P/0")).model_dump()
        self._numbers = count(1)
        self.honest = honest
        self.agreed = agreed
        self.schema = tape.schema
        self._writing = fastavro.parse_schema(json.loads(self.schema.text))
        document = json.loads(self.schema.text) | {"doc": "Of a later version."}
        text = json.dumps(document).encode()
        self.unknown = Schema.from_bytes(self.schema.event_type, self.schema.version + 1, 99, text)

    def unit(self, name: str) -> dict[str, Any]:
        """A correctional unit of any name."""
        return dict(self._base["origin"]) | {"name": name}

    def event(
        self, dice: Random, *, is_refused: bool = True, key: str | None = None, **changes: Any
    ) -> Crafted:
        """A sound event but for what is changed; its key is its record unless one is given."""
        # Those that may be rows differ from the others in more than one byte.
        own = "7bbb-8bbb" if is_refused else "7ccc-8ccc"
        event_id = UUID(f"01900000-0000-{own}-{next(self._numbers):012x}")
        record = dice.choice((f"M/{dice.randrange(50)}", f"N/{dice.randrange(10**6)}"))
        document = self._base | {"event_id": event_id, "record_id": record} | changes
        # Not by our own encoder, which holds the contract's limits.
        written = io.BytesIO()
        fastavro.schemaless_writer(written, self._writing, document)
        datum = written.getvalue()
        return Crafted(event_id, document["record_id"] if key is None else key, datum, is_refused)

    def at(self, dice: Random, field: str, micros: int, *, is_refused: bool) -> Crafted:
        """A sound event with a time that Python may have no datetime for."""
        marked: dict[str, Any] = {field: _MARK}
        made = self.event(dice, is_refused=is_refused, **marked)
        mark = _zigzag((_MARK - _EPOCH) // _MICROS)
        return made._replace(datum=made.datum.replace(mark, _zigzag(micros)))


def _zigzag(number: int) -> bytes:
    left = (number << 1) ^ (number >> 63)
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes((*found, left))


def _junk(forger: DatumForger, dice: Random) -> Crafted:
    return forger.event(dice)._replace(datum=dice.randbytes(dice.randrange(300)))


def _cut(forger: DatumForger, dice: Random) -> Crafted:
    made = forger.event(dice)
    if dice.random() < 0.5:
        return made._replace(datum=made.datum + dice.randbytes(dice.randint(1, 9)))
    return made._replace(datum=made.datum[: dice.randrange(len(made.datum))])


def _flipped(forger: DatumForger, dice: Random) -> Crafted:
    """One byte another: it may still be an event, under its own name."""
    made = forger.event(dice, is_refused=False)
    body = bytearray(made.datum)
    body[dice.randrange(len(body))] = dice.randrange(256)
    return made._replace(datum=bytes(body))


def _too_large(forger: DatumForger, dice: Random) -> Crafted:
    return forger.event(dice, reason_as_written="x" * dice.randint(262_200, 700_000))


def _long_list(forger: DatumForger, dice: Random) -> Crafted:
    element = {"escort_agency": dice.choice(("", "\0", "Brimob")), "count": None}
    return forger.event(dice, is_refused=False, escort=[element] * dice.choice((80, 9_000, 25_000)))


def _line_feeds(forger: DatumForger, dice: Random) -> Crafted:
    return forger.event(dice, reason_as_written=dice.choice('\n\r"') * 220_000 + "\0")


def _nul(forger: DatumForger, dice: Random) -> Crafted:
    return forger.event(dice, movement_id="M\0" * dice.randint(1, 4))


def _texts(forger: DatumForger, dice: Random) -> Crafted:
    said = dice.choice(
        ("\x1b]0;x\x07\x1b[2J", "\u202e\u2066", "[/b][red]", "=1+1", "\u2028\r\n", "%s{}")
    )
    return forger.event(dice, is_refused=False, reason_as_written=said, origin=forger.unit(said))


def _foreign_agency(forger: DatumForger, dice: Random) -> Crafted:
    """In the honest agency's name, of one of its records."""
    return forger.event(
        dice,
        agency=forger.honest,
        record_id=f"M/{dice.randrange(1_000)}",
        revision=dice.choice((1, 2, 9, 10**6)),
        action=dice.choice(("RECORDED", "CORRECTED", "RETRACTED")),
    )


def _foreign_key(forger: DatumForger, dice: Random) -> Crafted:
    keys = ("", "M/0", "x" * 300, "x" * 200_000, RawKey.of(b"\xff\xfe\x00"), RawKey.of(b"M/0\x00"))
    return forger.event(dice, key=dice.choice(keys), record_id="N/0")


def _long_key(forger: DatumForger, dice: Random) -> Crafted:
    return forger.event(dice, record_id=dice.choice(("x" * 257, "é" * 140, "x" * 90_000)))


def _revision(forger: DatumForger, dice: Random) -> Crafted:
    revision = dice.choice((0, -1, -(2**31), 2, 2**31 - 1))
    return forger.event(dice, revision=revision, action="RECORDED")


def _repeated(forger: DatumForger, dice: Random) -> Crafted:
    """A revision that another event of it may hold already."""
    return forger.event(dice, is_refused=False, record_id=f"R/{dice.randrange(5)}")


def _not_agreed(forger: DatumForger, dice: Random) -> Crafted:
    agreed = forger.agreed
    hashes = (
        agreed.ended,
        agreed.coming,
        agreed.of_others,
        "0" * 64,
        "",
        "x\0",
        agreed.good.upper(),
    )
    return forger.event(dice, agreement=dice.choice(hashes))


def _purpose(forger: DatumForger, dice: Random) -> Crafted:
    return forger.event(dice, purpose=dice.choice(("STATISTICS", "OTHER", "UNKNOWN")))


def _unknown_schema(forger: DatumForger, dice: Random) -> Crafted:
    return forger.event(dice)._replace(schema=forger.unknown)


def _zone(forger: DatumForger, dice: Random) -> Crafted:
    zones = ("", "../x", "Mars/Base", "__init__/x", "Asia/Ujung_Pandang", "x" * 2_000)
    return forger.event(dice, is_refused=False, zone=dice.choice(zones))


def _recorded_never(forger: DatumForger, dice: Random) -> Crafted:
    """Recorded at a time at which no agreement was in force."""
    times = (2**63 - 1, -(2**63), 10**17, -62_135_596_800_000_001, 253_402_300_799_999_999)
    return forger.at(dice, "recorded_at", dice.choice(times), is_refused=True)


def _occurred_never(forger: DatumForger, dice: Random) -> Crafted:
    times = (2**63 - 1, -(2**63), 10**17, 253_402_300_800_000_000, -210_866_803_200_000_001)
    return forger.at(dice, "occurred_at", dice.choice(times), is_refused=False)


KINDS: Mapping[str, tuple[float, Callable[[DatumForger, Random], Crafted]]] = {
    "sealed junk": (12, _junk),
    "sealed, cut off or longer": (12, _cut),
    "sealed, one byte another": (14, _flipped),
    "sealed above 256 KiB": (0.4, _too_large),
    "sealed long list": (0.2, _long_list),
    "sealed line feeds": (0.4, _line_feeds),
    "sealed NUL": (6, _nul),
    "sealed control characters": (4, _texts),
    "sealed in another's name": (14, _foreign_agency),
    "sealed under another key": (6, _foreign_key),
    "sealed long key": (1, _long_key),
    "sealed wrong revision": (8, _revision),
    "sealed repeated revision": (4, _repeated),
    "sealed under no agreement": (8, _not_agreed),
    "sealed for another purpose": (4, _purpose),
    "sealed with an unknown schema": (2, _unknown_schema),
    "sealed strange zone": (3, _zone),
    "sealed, recorded at no time": (3, _recorded_never),
    "sealed, occurred at no time": (3, _occurred_never),
}
"""What is sealed, and how often beside the others."""
