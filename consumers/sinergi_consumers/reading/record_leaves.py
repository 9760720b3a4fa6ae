"""The leaves of one record, without the others of its partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_consumers.reading.partition import Leaves
    from sinergi_schemas.message import Message
    from sinergi_schemas.topics import Topic


@dataclass(frozen=True, slots=True)
class RecordLeaves:
    """Leaves whose key is that of one record; to show the record, no other needs to be decoded.

    A decoder refuses a datum of another record under this key, and one of this record under another
    key.
    """

    topic: Topic
    partition: int
    messages: Sequence[Message]

    @classmethod
    def of(cls, batch: Leaves, record_id: str) -> RecordLeaves:
        """The leaves of a record in a batch."""
        key = record_id.encode()
        found = [each for each in batch.messages if each.key == key]
        return cls(batch.topic, batch.partition, found)

    def message(self, leaf_index: int) -> Message:
        """The message with a leaf index."""
        return next(each for each in self.messages if each.leaf_index == leaf_index)
