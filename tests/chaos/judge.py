"""The judge: compares what an agency has committed with what everybody else has of it.

It shares no code with what it judges. It reads the agency's own register and the reader's tables by
plain SQL, the topic with a plain consumer and fastavro, and computes the seal's root by itself
(RFC 6962 §2.1). It believes the register: rows that the agency's own transactions wrote.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import fastavro
import psycopg
from confluent_kafka import Consumer, KafkaError, TopicPartition
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from confluent_kafka import Message

_SHOWN = 3
_SILENT_POLLS = 30
_FRAME = 5


class Fact(NamedTuple):
    """What an event says, as far as the judge compares it."""

    record: str
    number: int
    said: str


@dataclass(frozen=True)
class Case:
    """Where everything lies that is to be compared.

    Attributes:
        agency: libpq's name of the agency's database; `reader` likewise.
        key: the agency's public key, `name+hash+base64`, as the agreement shows it.
        schemas: the folder with the schema files of the event type.
        foreign: the partition and offset of each message of the topic that the harness wrote in
            the name of somebody else. The judge does not look at them.
    """

    agency: str
    reader: str
    bootstrap: str
    topic: str
    partitions: int
    key: str
    schemas: Path
    foreign: AbstractSet[tuple[int, int]] = frozenset()

    @property
    def publisher(self) -> str:
        """The agency's name, under which its rows stand beside those of other agencies."""
        return self.key.partition("+")[0].rpartition("/")[2]


@dataclass
class Verdict:
    """What the comparison found; no problems means that everything agrees.

    Attributes:
        resent: messages that are on the topic more than once under the same leaf index, which is
            permitted: every reader ignores them.
    """

    events: int = 0
    lost: int = 0
    doubled: int = 0
    forged: int = 0
    resent: int = 0
    problems: list[str] = field(default_factory=list)


class Judge:
    """One comparison."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._verdict = Verdict()
        self._schemas = {
            hashlib.sha256(text).hexdigest(): fastavro.parse_schema(json.loads(text))
            for text in (each.read_bytes() for each in sorted(case.schemas.glob("*.avsc")))
        }

    def compare(self, *, tables: bool = True) -> Verdict:
        """Compare the register with the topic and, where a reader took part, with its tables."""
        with psycopg.connect(self._case.agency) as connection:
            rows = connection.execute(
                "SELECT event_id, record_id, number, said, guards FROM register.movement"
            ).fetchall()
        committed = {event: Fact(record, number, said) for event, record, number, said, _ in rows}
        self._verdict.events = len(committed)
        self._hold("the topic", committed, self._topic())
        if tables:
            self._tables(committed, {row[0]: row[4] for row in rows})
        return self._verdict

    def _say(self, what: str) -> None:
        self._verdict.problems.append(what)

    def _hold(
        self, place: str, committed: Mapping[UUID, Fact], found: list[tuple[UUID, Fact]]
    ) -> None:
        """Hold what a place has to what was committed."""
        times = Counter(event for event, _ in found)
        lost = committed.keys() - times.keys()
        doubled = [event for event, count in times.items() if count > 1]
        forged = [event for event, fact in found if committed.get(event) != fact]
        self._verdict.lost += len(lost)
        self._verdict.doubled += len(doubled)
        self._verdict.forged += len(forged)
        for what, events in (("lacks", lost), ("doubles", doubled), ("forges", forged)):
            if events:
                shown = ", ".join(str(each) for each in list(events)[:_SHOWN])
                self._say(f"{place} {what} {len(events)} events ({shown})")

    def _tables(self, committed: Mapping[UUID, Fact], guards: Mapping[UUID, int]) -> None:
        with psycopg.connect(self._case.reader) as connection:

            def facts(table: str) -> list[tuple[UUID, Fact]]:
                return [
                    (event, Fact(*fact))
                    for event, *fact in connection.execute(
                        "SELECT event_id, record_id, revision, origin_name"
                        f" FROM {table} WHERE agency = %s",
                        [self._case.publisher],
                    )
                ]

            self._hold("the history", committed, facts("sinergi.transfer_history"))
            newest: dict[str, tuple[int, UUID]] = {}
            for event, fact in committed.items():
                newest[fact.record] = max(newest.get(fact.record, (0, event)), (fact.number, event))
            current = {event: committed[event] for _, event in newest.values()}
            self._hold("the current table", current, facts("sinergi.transfer"))
            self._count(connection, "transfer_escort", sum(guards[each] for each in current))
            self._count(connection, "transfer_history_escort", sum(guards.values()))
            for table in ("quarantine", "halt"):
                for reason, count in connection.execute(
                    f"SELECT reason, count(*) FROM sinergi_consumer.{table}"
                    " WHERE topic = %s GROUP BY reason",
                    [self._case.topic],
                ):
                    self._say(f"{count} rows in {table}: {reason}")
            for name, size in connection.execute(
                "SELECT projection, sum(tree_size) FROM sinergi_consumer.position"
                " WHERE topic = %s GROUP BY 1",
                [self._case.topic],
            ):
                if size != len(committed):
                    self._say(f"{name} is at {size} of {len(committed)} leaves")

    def _count(self, connection: psycopg.Connection, table: str, expected: int) -> None:
        found = connection.execute(
            f"SELECT count(*) FROM sinergi.{table} WHERE agency = %s", [self._case.publisher]
        ).fetchone()
        if found != (expected,):
            self._say(f"{table} has {found and found[0]} rows and not {expected}")

    def _topic(self) -> list[tuple[UUID, Fact]]:
        """The events of the topic, leaf by leaf; what does not hold is said."""
        found: list[tuple[UUID, Fact]] = []
        homes: dict[str, int] = {}
        for partition in range(self._case.partitions):
            last: dict[str, int] = {}
            for event, fact in self._partition(partition):
                found.append((event, fact))
                if homes.setdefault(fact.record, partition) != partition:
                    self._say(f"record {fact.record} is in two partitions")
                if fact.number <= last.get(fact.record, 0):
                    self._say(f"record {fact.record}: revision {fact.number} comes too late")
                last[fact.record] = fact.number
        return found

    def _partition(self, partition: int) -> list[tuple[UUID, Fact]]:
        events: list[tuple[UUID, Fact]] = []
        leaves: list[bytes] = []
        note = ""
        for each in self._read(partition):
            headers = _headers(each)
            index, data = int(headers["sinergi_leaf"]), _leaf(each, headers["sinergi_schema"])
            hashed = hashlib.sha256(b"\x00" + data).digest()
            if index > len(leaves):
                self._say(f"partition {partition}: leaf {len(leaves)} is missing before {index}")
                break
            if index < len(leaves):
                self._verdict.resent += 1
                if leaves[index] != hashed:
                    self._say(f"partition {partition}: leaf {index} came again with other contents")
                continue
            leaves.append(hashed)
            note = headers.get("sinergi_checkpoint", "")
            events.append(self._event(each, headers["sinergi_schema"]))
        if leaves:
            self._seal(partition, leaves, note)
        return events

    def _read(self, partition: int) -> list[Message]:
        foreign = {offset for number, offset in self._case.foreign if number == partition}
        return read(self._case.bootstrap, self._case.topic, partition, foreign)

    def _event(self, message: Message, fingerprint: str) -> tuple[UUID, Fact]:
        datum = io.BytesIO((message.value() or b"")[_FRAME:])
        event: Any = fastavro.schemaless_reader(datum, self._schemas[fingerprint], None)
        fact = Fact(event["record_id"], event["revision"], event["origin"]["name"])
        if message.key() != fact.record.encode():
            self._say(f"the key of {event['event_id']} is not its record")
        return UUID(str(event["event_id"])), fact

    def _seal(self, partition: int, leaves: list[bytes], note: str) -> None:
        """Hold the last message's checkpoint to all leaves, and to its owner's key."""
        origin = f"{self._case.key.partition('/')[0]}/{self._case.topic}/{partition}"
        body, _, signatures = note.partition("\n\n")
        expected = (origin, str(len(leaves)), base64.b64encode(root(leaves)).decode())
        if tuple(body.split("\n")) != expected:
            self._say(f"partition {partition}: its last checkpoint is not that of its leaves")
            return
        name, _, encoded = self._case.key.split("+", 2)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])
        for line in signatures.splitlines():
            _, signer, signature = line.split(" ")
            if signer == name:
                key.verify(base64.b64decode(signature)[4:], f"{body}\n".encode())
                return
        self._say(f"partition {partition}: its last checkpoint is not signed by {name}")


class EpochFence:
    """A claim of the judge's own: from here on nobody may move a position who has not claimed it.

    It raises the epoch of every position, as another worker that claims it would. A worker may
    claim it back, which raises the epoch again; moving it under an epoch that is the judge's is
    what a worker does that has woken up too late.
    """

    def __init__(self, reader: str) -> None:
        self._reader = reader
        with psycopg.connect(reader) as connection:
            rows = connection.execute(
                "UPDATE sinergi_consumer.position SET epoch = epoch + 1"
                " RETURNING projection, topic, partition, epoch, tree_size"
            )
            self._fenced = {tuple(place): (epoch, size) for *place, epoch, size in rows}

    def problems(self) -> list[str]:
        """The positions that were moved under the judge's epoch. A caller may ask at any time."""
        found = []
        with psycopg.connect(self._reader) as connection:
            for *place, epoch, size in connection.execute(
                "SELECT projection, topic, partition, epoch, tree_size"
                " FROM sinergi_consumer.position"
            ):
                fenced, before = self._fenced.get(tuple(place), (-1, -1))
                if epoch == fenced and size != before:
                    found.append(f"{place[0]} was moved by a worker whose epoch was over")
        return found


def read(
    bootstrap: str, topic: str, partition: int, leave_out: AbstractSet[int] = frozenset()
) -> list[Message]:
    """Every message that lies in a partition now, but for those at some offsets."""
    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": "judge",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        # As the readers do: a transaction of others that stays open must hide nothing.
        "isolation.level": "read_uncommitted",
    }
    found: list[Message] = []
    with closing(Consumer(settings)) as consumer:
        low, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        consumer.assign([TopicPartition(topic, partition, low)])
        silent = 0
        while silent < _SILENT_POLLS:
            chunk = consumer.consume(5_000, 0.2)
            silent = 0 if chunk else silent + 1
            for each in chunk:
                error = each.error()
                if error is None:
                    if each.offset() not in leave_out:
                        found.append(each)
                elif error.code() == KafkaError._PARTITION_EOF:
                    return found
                else:
                    raise RuntimeError(error.str())
    raise RuntimeError(f"{topic}/{partition} has no end")


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes: subtrees of equal size are joined as they arise."""
    stack: list[tuple[int, bytes]] = []
    for leaf in leaves:
        stack.append((0, leaf))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            (level, right), (_, left) = stack.pop(), stack.pop()
            stack.append((level + 1, _node(left, right)))
    found = stack.pop()[1]
    while stack:
        found = _node(stack.pop()[1], found)
    return found


def _headers(message: Message) -> dict[str, str]:
    found: Any = message.headers() or []
    return {name: value.decode() for name, value in found}


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _leaf(message: Message, fingerprint: str) -> bytes:
    key, value = message.key() or b"", message.value() or b""
    return bytes.fromhex(fingerprint) + len(key).to_bytes(4, "big") + key + value[_FRAME:]
