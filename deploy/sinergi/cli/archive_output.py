"""What an archive has, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sinergi.cli import terminal
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sinergi.restoring.topic_restoring import RestoredTopic
    from sinergi_consumers.archives.manifest import ArchivedPartition, Manifest

_COLUMNS = (
    TableColumn("topic", ColumnKind.HEADING),
    TableColumn("part.", ColumnKind.NUMBER),
    TableColumn("offsets", ColumnKind.NUMBER),
    TableColumn("messages", ColumnKind.NUMBER),
    TableColumn("leaves sealed", ColumnKind.NUMBER),
    TableColumn("not yet", ColumnKind.NUMBER),
    TableColumn("root"),
)
_DIGITS = 16  # of a root in the table; the document has all


def document(manifest: Manifest) -> dict[str, Any]:
    """The manifest without the places of its blocks."""
    parts = {"partitions": {"__all__": {"blocks"}}}
    return manifest.model_dump(mode="json", exclude=parts)


def show(manifest: Manifest) -> None:
    """Show its topic-partitions on standard output."""
    terminal.show_table(_COLUMNS, map(_row, manifest.partitions))


def report(manifest: Manifest, path: Path) -> None:
    """Say on standard error what the archive has, and what was wrong with its topics."""
    for line in _problems(manifest):
        terminal.note(f"sinergi: {line}")
    messages = counted(sum(each.messages for each in manifest.partitions), "message")
    leaves = counted(
        sum(each.tree.leaves for each in manifest.partitions if each.tree), "leaf", "leaves"
    )
    topics = counted(len(manifest.topics), "topic")
    made = f"made at {manifest.made_at} by {manifest.made_by}"
    terminal.note(f"sinergi: {path} has {messages} of {topics}, {leaves} sealed; {made}")


def report_restored(found: RestoredTopic) -> None:
    """Say on standard error what was restored of a topic, and what is to be done."""
    written = counted(found.written, "message")
    kept = f", {found.kept:,} were there" if found.kept else ""
    terminal.note(f"sinergi: {found.topic}: {written} restored{kept}")
    if found.has_lasting_settings is None:
        what = "its settings were not checked, for this login lacks the right DescribeConfigs"
        hint = "the operator's `sinergi provision plan` shows whether the brokers delete messages"
        terminal.note(f"  {what}; {hint}")
    if found.has_times is False:
        what = "its messages bear the times at which they arrived (LogAppendTime)"
        terminal.note(f"  {what}; no seal covers a timestamp")


def _problems(manifest: Manifest) -> Iterator[str]:
    for each in manifest.partitions:
        if each.tree is not None and each.tree.broken:
            yield f"{each.tp} was archived as it is: {each.tree.broken}"
        if each.unreadable:
            batches = counted(len(each.unreadable), "batch", "batches")
            yield f"{each.tp} lacks {batches} that the client could not read"


def _offsets(each: ArchivedPartition) -> str:
    first, last = each.first_offset, each.end_offset - 1
    return f"{first} to {last}" if first < last else str(first) if first == last else "none"


def _row(each: ArchivedPartition) -> list[str | TableCell]:
    tree = each.tree
    return [
        each.topic,
        str(each.partition),
        _offsets(each),
        f"{each.messages:,}",
        "" if tree is None else f"{tree.leaves:,}",
        "" if tree is None else f"{tree.unsealed:,}",
        "" if tree is None else tree.root[:_DIGITS],
    ]
