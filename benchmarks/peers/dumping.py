"""Writes a topic into a file for the verifier in Go: of each message its leaf data and note.

Each of the two is preceded by its length in four bytes; the note is empty on most messages.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sinergi_schemas import message
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from stage import Stage


def run(stage: Stage, path: str, count: int) -> tuple[float, float]:
    """Write so many messages."""
    began = SYSTEM.monotonic()
    tp = TopicPartition(stage.topic.name, 0)
    with open_scan(stage.connection, tp) as scan, Path(path).open("wb") as file:
        for chunk in scan.read(0, count):
            for each in map(message.parse, chunk):
                note = each.sealed.note.encode() if each.sealed else b""
                parts = (each.leaf_data, note)
                file.writelines(len(part).to_bytes(4, "big") + part for part in parts)
    return began, SYSTEM.monotonic()
