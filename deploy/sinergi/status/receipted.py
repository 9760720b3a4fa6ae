"""How far all readers of an agency's topics are, for a decision that needs every one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi.status.acknowledged import acknowledged, readers_at
from sinergi_producers.relay.sealing import TreeKey
from sinergi_schemas.plain_text import some

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sinergi.status.facts import Acknowledged
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.topics import Topic


@dataclass(slots=True)
class ReceiptedSizes:
    """What every reader has signed for.

    Attributes:
        sizes: how many leaves of each tree every database of every reader has; a tree is missing
            where that is unknown.
        slowest: the database that has the fewest, for each tree.
        unknown: why something is unknown, a line each.
    """

    sizes: dict[TreeKey, int] = field(default_factory=dict)
    slowest: dict[TreeKey, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def receipted_sizes(
    connection: Connection,
    agreements: Agreements,
    agency: str,
    at: datetime,
    silent_seconds: float,
) -> ReceiptedSizes:
    """How many leaves of each tree all readers have.

    Args:
        at: the agreements in force then name the readers and their databases; see `readers_at`.
        silent_seconds: see `RangeReader`.

    Raises:
        Unavailable: the brokers are away.
    """
    topics = agreements.published_by(agency)
    found, unknown, _ = acknowledged(connection, agreements, topics, silent_seconds, at)
    result = ReceiptedSizes(unknown=unknown)
    for topic in topics:
        readers = readers_at(agreements, topic, at)
        known = found.get(topic, [])
        silent = [each for each in readers if not _is_known(each, known)]
        if silent:
            named = some(silent, ", ")
            result.unknown.append(f"{topic.name}: no receipt of {named} can be checked")
        elif not readers:
            result.unknown.append(f"{topic.name}: no agreement names a reader")
        else:
            _add(result, agreements, topic, known)
    return result


def _is_known(reader: str, known: Sequence[Acknowledged]) -> bool:
    """Whether it is known how far a reader is: it has a key for receipts, and they were read."""
    return any(each.reader.startswith(f"{reader}/") for each in known)


def _add(
    result: ReceiptedSizes, agreements: Agreements, topic: Topic, known: Sequence[Acknowledged]
) -> None:
    for number in range(agreements.partitions(topic)):
        least = min(
            (each for each in known if each.partition == number), key=lambda each: each.size or 0
        )
        tree_key = TreeKey(topic.event_type, number)
        result.sizes[tree_key] = least.size or 0
        result.slowest[tree_key] = least.reader
