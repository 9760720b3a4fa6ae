"""Archives that somebody has forged: each digest in them is right, and something else is not."""

from __future__ import annotations

import json
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from sinergi_consumers.archives import manifest, message_blocks
from sinergi_consumers.archives.message_blocks import MessageBlock
from sinergi_consumers.archives.zip_form import ZipStream
from sinergi_schemas.avro_types.encoding import encode_bytes, encode_long
from sinergi_schemas.files.output_file import OutputFile
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

Document = dict[str, Any]


def forge(
    source: Path,
    target: Path,
    change: Callable[[Document], None] = lambda _: None,
    blocks: Mapping[TopicPartition, Sequence[MessageBlock]] | None = None,
) -> Path:
    """Write an archive again with other blocks and another manifest.

    Args:
        change: changes the manifest; members that it does not have any more are left out.
        blocks: of these topic-partitions, in place of their own. They follow one another.
    """
    with ZipFile(source) as zipped:
        contents = {name: zipped.read(name) for name in zipped.namelist()}
    document: Document = json.loads(contents.pop(manifest.NAME))
    change(document)
    for tp, others in (blocks or {}).items():
        contents[manifest.member_name(tp)] = _replaced(document, tp, others)
    parts = [TopicPartition(each["topic"], each["partition"]) for each in document["partitions"]]
    known = {*map(manifest.member_name, parts)}
    contents = {
        name: data
        for name, data in contents.items()
        if name in known or not name.startswith("topics/")
    }
    contents[manifest.NAME] = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    with OutputFile.open(target, force=True) as output:
        stream = ZipStream(output)
        for name, data in contents.items():
            stream.begin(name)
            stream.write(data)
            stream.end()
        stream.finish()
    return target


def block_of(tp: TopicPartition, messages: bytes, count: int, first: int = 0) -> MessageBlock:
    """A block with these bytes as its messages."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(messages) + packer.flush()
    marker = message_blocks.header(tp)[-16:]
    data = encode_long(count) + encode_bytes(packed) + marker
    return MessageBlock(first, count, data)


def part_of(document: Document, tp: TopicPartition) -> Document:
    """What a manifest says of a topic-partition."""
    parts: list[Document] = document["partitions"]
    (found,) = (each for each in parts if (each["topic"], each["partition"]) == tp)
    return found


def _replaced(document: Document, tp: TopicPartition, blocks: Sequence[MessageBlock]) -> bytes:
    """The member with these blocks, which the manifest then has."""
    data, places = message_blocks.header(tp), []
    for each in blocks:
        place = {"at": len(data), "length": len(each.data), "sha256": each.digest}
        places.append({"first": each.first, "messages": each.messages, **place})
        data += each.data
    part_of(document, tp).update(
        first_offset=blocks[0].first,
        end_offset=blocks[-1].first + blocks[-1].messages,
        messages=sum(each.messages for each in blocks),
        size=len(data),
        sha256=sha256(data).hexdigest(),
        blocks=places,
        unreadable=[],
    )
    return data
