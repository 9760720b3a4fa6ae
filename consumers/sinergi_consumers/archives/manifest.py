"""The manifest of an archive: which topics it has, and where each block of messages lies."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sinergi_schemas.topics import (
    Topic,
    TopicPartition,
    control_topic,
    is_kafka_name,
    receipts_topic,
)

FORM: Literal["sinergi-archive/1"] = "sinergi-archive/1"
NAME = "manifest.json"
MOST_BYTES = 64 * 1024 * 1024
"""Of the manifest, which a reader needs 16 times the memory for, and of an agreement."""

MOST_TEXT = 10_000

_MOST = 2**63 - 1
_MOST_LENGTH = 128 * 1024 * 1024  # of a block in the file
_MOST_PLACE = 200  # characters of the place of an error; a key may have any length
Count = Annotated[int, Field(ge=0, le=_MOST)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=MOST_TEXT)]


class ManifestInvalid(ValueError):
    """The bytes are not the manifest of an archive. The text says why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BlockPlace(_Part):
    """Where a block of messages lies.

    Attributes:
        first: the offset of its first message.
        at: its place in the member.
        sha256: of its bytes.
    """

    first: Count
    messages: Annotated[int, Field(ge=1, le=_MOST)]
    at: Count
    length: Annotated[int, Field(ge=1, le=_MOST_LENGTH)]
    sha256: Digest


class UnreadableBatch(_Part):
    """A batch that the Kafka client could not read, so that its messages are missing."""

    offset: Count
    cause: Annotated[str, Field(max_length=1_000)]


class ArchivedTree(_Part):
    """What the owner had sealed of a topic-partition when it was archived.

    Attributes:
        leaves: how many a valid checkpoint covers: those from 0 up to this number.
        root: of their tree, in hex.
        unsealed: how many leaves follow, which no checkpoint covered yet.
        broken: why no further ones are valid, or which statement is contradicted; empty if nothing
            is wrong.
    """

    leaves: Count
    root: Digest
    unsealed: Count
    broken: Text


class ArchivedPartition(_Part):
    """The messages of one topic-partition.

    Attributes:
        first_offset, end_offset: those of the cluster when it was archived.
        tree: of an event topic; None for another one.
        sha256: of the member.
    """

    topic: str
    partition: Annotated[int, Field(ge=0, le=1_000_000)]
    first_offset: Count
    end_offset: Count
    messages: Count
    tree: ArchivedTree | None
    unreadable: list[UnreadableBatch]
    size: Count
    sha256: Digest
    blocks: list[BlockPlace]

    @property
    def tp(self) -> TopicPartition:
        """Which one it is."""
        return TopicPartition(self.topic, self.partition)

    @property
    def member(self) -> str:
        """The name of the member with the messages."""
        return member_name(self.tp)

    @model_validator(mode="after")
    def _is_consistent(self) -> ArchivedPartition:
        if (self.tree is not None) != is_event_topic(self.topic):
            raise ValueError("its tree is missing, or it is no topic of events and has one")
        offset = self.first_offset
        for each in self.blocks:
            if each.first < offset:
                raise ValueError("the offsets of its blocks overlap")
            offset = each.first + each.messages
        if offset > self.end_offset or sum(each.messages for each in self.blocks) != self.messages:
            raise ValueError("its blocks have other messages than it says")
        if any(b.at != a.at + a.length for a, b in pairwise(self.blocks)):
            raise ValueError("its blocks do not follow one another")
        if self.blocks and self.blocks[-1].at + self.blocks[-1].length != self.size:
            raise ValueError("its blocks do not end where it ends")
        return self


class ArchivedTopic(_Part):
    """One topic.

    Attributes:
        partitions: how many it had on the cluster; those that were agreed are in the archive.
    """

    name: str
    partitions: Annotated[int, Field(ge=1, le=1_000_000)]


class Manifest(_Part):
    """The whole manifest.

    Attributes:
        form: the version of this format.
        bus: the name of the bus.
        made_at: when it was made, by the clock of its maker.
        made_by: with which logins the topics were read.
        software: the program, with its version.
        agreements: the SHA-256 of each agreement in the archive.
        topics: those that it has.
        partitions: their topic-partitions, in the order in which they were read.
    """

    form: Literal["sinergi-archive/1"]
    bus: Text
    made_at: Text
    made_by: Text
    software: Text
    agreements: list[Digest]
    topics: list[ArchivedTopic]
    partitions: list[ArchivedPartition]

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Manifest:
        names = [each.name for each in self.topics]
        tps = [each.tp for each in self.partitions]
        if len({*names}) < len(names) or len({*tps}) < len(tps):
            raise ValueError("a topic occurs twice")
        counts = {each.name: each.partitions for each in self.topics}
        if not all(map(is_kafka_name, names)) or {each.topic for each in tps} != {*names}:
            raise ValueError("its topics and its partitions do not belong together")
        if any(each.partition >= counts[each.topic] for each in tps):
            raise ValueError("a topic has more partitions than it says")
        return self

    def encode(self) -> bytes:
        """Its bytes in the archive: JSON in ASCII with sorted keys and no spaces."""
        return _encoded(self.model_dump(mode="json"))


def decode(data: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ManifestInvalid: it is none, or not in its one form.
    """
    try:
        found = Manifest.model_validate_json(data)
    except ValidationError as why:
        first = why.errors()[0]
        place = ".".join(map(str, first["loc"]))
        what = first["msg"].removeprefix("Value error, ")
        raise ManifestInvalid(f"{place[:_MOST_PLACE] or 'it'}: {what}") from None
    if found.encode() != data:
        raise ManifestInvalid("it is not written in its one form")
    return found


def is_event_topic(name: str) -> bool:
    """Whether a topic of this name has events, and so is sealed."""
    try:
        topic = Topic.parse(name)
    except ValueError:
        return False
    return name not in (control_topic(topic.agency), receipts_topic(topic.agency))


def member_name(tp: TopicPartition) -> str:
    """The name of the member with the messages of a topic-partition."""
    return f"topics/{tp.topic}/{tp.partition}.avro"


def _encoded(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
