"""A small archive without a broker; as a program it writes tests/vectors/archive anew."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zipfile import ZipFile

import fastavro

from sinergi_consumers.archives.manifest import ArchivedTree
from sinergi_consumers.archives.writer import ArchiveCustody, ArchiveWriter
from sinergi_consumers.testing.sinks import transfer
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas.files.output_file import OutputFile
from sinergi_schemas.kafka.unreadable import Unreadable
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

FOLDER = Path(__file__).with_name("vectors") / "archive"
BUS = "sinergi.example"
TOPIC = Topic("lapas-rekaan", "transfer")
TP = TopicPartition(TOPIC.name, 0)
CONTROL = TopicPartition("sinergi.lapas-rekaan.control", 0)
AGREEMENT = b"# An agreement, of which an archive keeps the bytes.\n"
CUSTODY = ArchiveCustody("2026-03-03T10:00:00+00:00", "auditor", "sinergi 0.1.0")


@dataclass(frozen=True)
class StampedMessage:
    """A message with all that an archive keeps of it."""

    at: int
    key_bytes: bytes | None
    value_bytes: bytes | None
    pairs: Sequence[tuple[str, bytes | None]] | None
    stamp: tuple[int, int] = (1, 1_772_532_000_000)

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.key_bytes

    def value(self) -> bytes | None:
        return self.value_bytes

    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        if self.pairs is None:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "as the client does")
        return self.pairs

    def timestamp(self) -> tuple[int, int]:
        return self.stamp


def leaves() -> list[StampedMessage]:
    """Four leaves in two batches, and messages of others between and after them."""
    tape = Tape(BUS, TOPIC, key=SigningKey.generate(f"{BUS}/lapas-rekaan"))
    written = [
        *tape.write([transfer("P/1", 1), transfer("P/2", 1)]),
        *tape.write([transfer("P/3", 1), transfer("P/4", 1)]),
    ]
    offsets = (7, 8, 10, 11)
    sealed = [
        StampedMessage(at, each.key_bytes, each.value_bytes, each.pairs)
        for at, each in zip(offsets, written, strict=True)
    ]
    foreign = [
        StampedMessage(9, None, b"", [("twice", b"1"), ("twice", None)], (2, 1_772_532_000_001)),
        StampedMessage(12, b"key", None, None, (0, 0)),
    ]
    return sorted([*sealed, *foreign], key=lambda each: each.at)


def write(path: Path, messages: Sequence[StampedMessage]) -> None:
    """Write an archive of these messages."""
    with OutputFile.open(path, force=True) as target:
        writer = ArchiveWriter(target)
        digest = sha256(AGREEMENT).hexdigest()
        writer.add_file(f"agreements/{digest}.toml", AGREEMENT)
        writer.add_file(f"agreements/{digest}.toml.note", b"a note\n")
        with writer.partition(CONTROL) as member:
            member.offsets = range(0)
        with writer.partition(TP) as member:
            member.offsets = range(5, 14)
            member.add(cast("list[Message]", messages))
            member.add_unreadable([Unreadable(TP, 6, "a batch whose checksum is wrong")])
            member.tree = ArchivedTree(leaves=4, root="00" * 32, unsealed=0, broken="")
        writer.finish(BUS, {CONTROL.topic: 1, TP.topic: 1}, [digest], CUSTODY)


def described(path: Path) -> dict[str, Any]:
    """What other libraries read in an archive."""
    with ZipFile(path) as zipped:
        names = zipped.namelist()
        manifest = json.loads(zipped.read("manifest.json"))
        records = {
            name: [*map(_in_hex, fastavro.reader(zipped.open(name)))]
            for name in names
            if name.endswith(".avro")
        }
    return {"members": names, "manifest": manifest, "messages": records}


def _in_hex(record: Any) -> dict[str, Any]:
    def text(value: bytes | None) -> str | None:
        return None if value is None else value.hex()

    headers = record["headers"]
    pairs = None if headers is None else [[each["name"], text(each["value"])] for each in headers]
    return {
        **record,
        "key": text(record["key"]),
        "value": text(record["value"]),
        "headers": pairs,
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write(FOLDER / "small.zip", leaves())
    said = json.dumps(described(FOLDER / "small.zip"), indent=1)
    (FOLDER / "small.json").write_text(f"{said}\n", encoding="utf-8")
