"""Messages that others write to an owner's topic, and contradictions that the owner signs."""

from __future__ import annotations

import random
import secrets
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from agency_pair import BUS
from sinergi_schemas import message
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agency_pair import AgencyPair
    from sinergi_schemas.seal.keys import SigningKey

FINGERPRINT = bytes(32)

Headers = list[tuple[str, str | bytes | None]]
Wire = tuple[bytes | None, bytes | None, Headers]

# Headers of every kind that was seen to end a process, and whatever else there may be.
MALFORMED_INDEXES = (
    *(b"00", b" 1", b"1 ", b"+1", b"-1", b"1_0", b"", b"9" * 30, b"1\n", b"\xff"),
    "\N{ARABIC-INDIC DIGIT ONE}".encode(),
)
INDEXES = (*MALFORMED_INDEXES, b"0", b"1", b"2", b"3", b"999", b"%d" % 10**17)
FINGERPRINTS = (b"ab" * 32, b"AB" * 32, b"ab " * 32, b" " * 64, b"ab" * 31 + b"a\n", b"zz" * 32)
NAMES = (message.LEAF, message.SCHEMA, message.CHECKPOINT, message.FRONTIER, "ce_id", "", "x")


def write(
    pair: AgencyPair,
    partition: int = 0,
    value: bytes | None = b"foreign",
    key: bytes | None = b"foreign",
    headers: Headers | None = None,
) -> None:
    """Put one message into the pair's event topic."""
    write_all(pair, partition, [(value, key, headers or [])])


def write_all(
    pair: AgencyPair,
    partition: int,
    messages: Sequence[tuple[bytes | None, bytes | None, Headers]],
) -> None:
    """Put messages into the pair's event topic, in their order."""
    producer = Producer({"bootstrap.servers": pair.kafka, "linger.ms": 20})
    for value, key, headers in messages:
        producer.produce(pair.topic.name, value, key, partition, headers=headers)
    assert producer.flush(PATIENCE_SECONDS) == 0


def leaf(
    index: int, datum: bytes | None = None, sealed: SignedCheckpoint | None = None
) -> tuple[bytes, bytes, Headers]:
    """A message that says it is a leaf, which nobody has sealed."""
    headers: Headers = [
        (message.SCHEMA, FINGERPRINT.hex().encode()),
        (message.LEAF, b"%d" % index),
    ]
    if sealed:
        headers.extend(message.seal_headers(sealed))
    return message.frame(1, secrets.token_bytes(8) if datum is None else datum), b"forged", headers


def strange_messages(seed: int, count: int) -> list[Wire]:
    """Messages as a program writes them that tries everything; some say that they are leaves."""
    dice = random.Random(seed)  # noqa: S311 - a test draws from a seed
    found = []
    for _ in range(count):
        headers: Headers = [
            (dice.choice(NAMES[:-2]), dice.choice((*INDEXES, *FINGERPRINTS, None, b"x")))
            for _ in range(dice.randrange(4))
        ]
        if dice.random() < 0.7:
            headers += [(message.LEAF, b"%d" % dice.randrange(60)), (message.SCHEMA, b"ab" * 32)]
        value = dice.choice((None, b"", b"x", message.frame(1, dice.randbytes(6))))
        found.append((value, dice.choice((None, b"", b"key")), headers))
    return found


def false_seal(
    pair: AgencyPair, partition: int, size: int, key: SigningKey | None = None
) -> SignedCheckpoint:
    """A checkpoint over a tree that nobody has; signed by the owner where no key is given."""
    root = secrets.token_bytes(32)
    return false_seal_of(key or pair.key, pair.topic.name, partition, size, root)


def false_seal_of(
    key: SigningKey, topic: str, partition: int, size: int, root: bytes
) -> SignedCheckpoint:
    """The same for any topic, key and root."""
    stated = Checkpoint(f"{BUS}/{topic}/{partition}", size, root)
    return SignedCheckpoint(checkpoint.sign(stated, [key]), ())


def contradict(pair: AgencyPair, partition: int, size: int) -> None:
    """Let the owner sign a tree of a size that its topic never has."""
    write_all(pair, partition, [leaf(size - 1, sealed=false_seal(pair, partition, size))])
