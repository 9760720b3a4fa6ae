"""Messages of strangers on an owner's topic, and of an owner who contradicts itself."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from sinergi_schemas import message
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.seal.checkpoint import Checkpoint, Sealed
from world import BUS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_schemas.seal.keys import SigningKey
    from world import World

FINGERPRINT = bytes(32)

Headers = list[tuple[str, str | bytes | None]]


def write(
    world: World,
    partition: int = 0,
    value: bytes | None = b"foreign",
    key: bytes | None = b"foreign",
    headers: Headers | None = None,
) -> None:
    """Put one message into the world's event topic."""
    write_all(world, partition, [(value, key, headers or [])])


def write_all(
    world: World,
    partition: int,
    messages: Sequence[tuple[bytes | None, bytes | None, Headers]],
) -> None:
    """Put messages into the world's event topic, in their order."""
    producer = Producer({"bootstrap.servers": world.kafka, "linger.ms": 20})
    for value, key, headers in messages:
        producer.produce(world.topic.name, value, key, partition, headers=headers)
    assert producer.flush(30) == 0


def leaf(
    index: int, datum: bytes | None = None, sealed: Sealed | None = None
) -> tuple[bytes, bytes, Headers]:
    """A message that says it is a leaf, which nobody has sealed."""
    headers: Headers = [
        (message.SCHEMA, FINGERPRINT.hex().encode()),
        (message.LEAF, b"%d" % index),
    ]
    if sealed:
        headers.extend(message.seal_headers(sealed))
    return message.frame(1, secrets.token_bytes(8) if datum is None else datum), b"forged", headers


def false_seal(world: World, partition: int, size: int, key: SigningKey | None = None) -> Sealed:
    """A checkpoint over a tree that nobody has; signed by the owner where no key is given."""
    stated = Checkpoint(f"{BUS}/{world.topic.name}/{partition}", size, secrets.token_bytes(32))
    return Sealed(checkpoint.sign(stated, [key or world.key]), ())


def contradict(world: World, partition: int, size: int) -> None:
    """Let the owner sign a tree of a size that its topic never has."""
    write_all(world, partition, [leaf(size - 1, sealed=false_seal(world, partition, size))])
