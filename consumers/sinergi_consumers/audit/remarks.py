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
    found: list[str] = []
    found += [
        f"{name}: {counted(each.count, 'message')} skipped, {each.cause}{_places(each)}"
        for each in counts.skipped.causes
    ]
    found += [
        f"{name}: {counted(each.count, 'sealed event')} not shown, {each.cause}{_places(each)}"
        for each in counts.refused.causes
    ]
    found += [
        f"{name}: {counted(each.count, 'event')} in quarantine, {each.cause}{_places(each)}"
        for each in counts.quarantined.causes
    ]
    found += [
        f"{name}: {counted(each.count, 'event')} not as then: {each.cause}{_places(each)}"
        for each in counts.unlike.causes
    ]
    found += [
        f"{name}: {counted(each.count, 'event')} not agreed, {each.cause}{_places(each)}"
        for each in counts.not_agreed.causes
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
