"""Batches that were damaged on the broker's disk. A broker takes no such batch from a producer."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import NewTopic

from raw_produce import Record, produce_batch, sum_of
from sinergi.local import Local
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT, CHECKSUM, ATTRIBUTES = 16, 17, 21  # their places in a batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def local(folder: Path) -> Iterator[Local]:
    """A broker whose disk is at hand, whatever services the other tests use."""
    with Local(folder, is_secured=False) as services:
        yield services


def change(folder: Path, topic: str, first: int, place: int, content: bytes) -> None:
    """Overwrite bytes of the batch that begins at an offset, and correct its checksum."""
    (file,) = folder.rglob(f"{topic}-0/00000000000000000000.log")
    data, at = bytearray(file.read_bytes()), 0
    while struct.unpack(">q", data[at : at + 8])[0] != first:
        at += 12 + struct.unpack(">i", data[at + 8 : at + 12])[0]
    end = at + 12 + struct.unpack(">i", data[at + 8 : at + 12])[0]
    data[at + place : at + place + len(content)] = content
    checksum = struct.pack(">I", sum_of(bytes(data[at + ATTRIBUTES : end])))
    data[at + CHECKSUM : at + ATTRIBUTES] = checksum
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(data[at:end])


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "place", "content", "count"),
    [("codec", ATTRIBUTES, b"\0\7", 3), ("format", FORMAT, b"\3", 1)],
)
def test_a_batch_of_unknown_compression_or_format_is_named_and_passed_over(
    local: Local, folder: Path, name: str, place: int, content: bytes, count: int
) -> None:
    admin = open_admin(Connection(local.bootstrap))
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(PATIENCE_SECONDS)
    for records in ([b"before"], [b"damaged"] * count, [b"behind"]):
        batch = [Record(each, b"key") for each in records]
        produce_batch(local.bootstrap, name, 0, batch)
    change(folder, name, 1, place, content)
    with open_scan(Connection(local.bootstrap), TopicPartition(name, 0)) as scan:
        for _ in range(2):  # the second time where it ends is known
            found = [each.value() for chunk in scan.read(*scan.bounds()) for each in chunk]
            assert found == [b"before", b"behind"]
        cause = "a batch of an unknown format or compression"
        assert [(each.offset, each.cause) for each in scan.drain_unreadable()] == [(1, cause)]
