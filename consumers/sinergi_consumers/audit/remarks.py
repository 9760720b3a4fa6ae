"""What an audit remarks about a partition: facts that do not disprove the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from sinergi_consumers.audit.replay import ReplayCounts
    from sinergi_schemas.seal.skipped import SkippedMessages

_MOST_PLACES = 3


def partition_remarks(name: str, counts: ReplayCounts) -> list[str]:
    """The remarks about one partition, one per line.

    Args:
        name: of the topic that was read, with the number of the partition.
        counts: what was read of it.
    """
    kinds = (
        ("message", "skipped,", counts.skipped),
        ("sealed event", "not shown,", counts.refused),
        ("event", "in quarantine,", counts.quarantined),
        ("event", "not as then:", counts.unlike),
        ("event", "not agreed,", counts.not_agreed),
    )
    found = [
        f"{name}: {counted(each.count, noun)} {words} {each.cause}{_places(each)}"
        for noun, words, by_cause in kinds
        for each in by_cause.causes
    ]
    if counts.unsealed:
        leaves = counted(counts.unsealed, "leaf", "leaves")
        found.append(f"{name}: {leaves} after the last checkpoint not shown")
    return found


def _places(skipped: SkippedMessages) -> str:
    """The places of the first skipped messages, as text."""
    found = [
        f"offset {offset}" if leaf is None else f"leaf {leaf} at offset {offset}"
        for offset, leaf in skipped.places[:_MOST_PLACES]
    ]
    more = ", …" if skipped.count > len(found) else ""
    return f": {', '.join(found)}{more}"
