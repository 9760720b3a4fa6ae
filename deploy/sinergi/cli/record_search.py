"""Finds one record by its event type and identity, in the topics that may be read here."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.progress import BarColumn, TextColumn

from sinergi.cli import journaled_run, match_report, replay_topics, terminal, verdict
from sinergi.cli.reading_place import reading_place
from sinergi.cli.replay_progress import message_progress
from sinergi.exit_status import ExitStatus
from sinergi.records.receipt_tables import tables_of
from sinergi_consumers.audit.records.possession import PossessionReport, possession
from sinergi_consumers.audit.records.reading import SealedRecord, read_record
from sinergi_consumers.audit.records.relations import RecordRelations, relations
from sinergi_consumers.bus import Bus
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sinergi.cli.journaled_run import AuditRequest, JournaledRun
    from sinergi.settings.settings import Settings
    from sinergi_consumers.audit.audit import Audit
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.topics import Topic

# Errors about one topic. The record may be in another.
_OF_ONE_TOPIC = (errors.TopicMissing, errors.NotPermitted, errors.PartitionsDiffer)


@dataclass(slots=True)
class FoundRecord:
    """What a search for a record has found.

    Attributes:
        record: None if no topic that was read has it.
        report: since when whose databases have had it.
        searched: the audits of all topics that were read.
        unread: why topics could not be read, by their names.
    """

    record: SealedRecord | None = None
    report: PossessionReport = field(default_factory=lambda: PossessionReport({}, []))
    searched: list[SealedRecord] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def judged(self) -> list[SealedRecord]:
        """What the verdict is about: the record, or all that was searched if it is not there."""
        return self.searched if self.record is None else [self.record]

    @property
    def verdict(self) -> str:
        """What the partitions that were read are worth, in words."""
        return "; ".join(verdict.sentence_of_partitions(each.audit) for each in self.judged)

    @property
    def exit_status(self) -> ExitStatus:
        """0 if the record is there and holds, 1 if not, 2 if not all of it could be found out."""
        verdicts = [each.audit.is_proved for each in self.judged]
        if False in verdicts:
            return ExitStatus.NEGATIVE
        if None in verdicts:
            return ExitStatus.ERROR
        if self.record is not None:
            return ExitStatus.SUCCESS if self.report.is_complete else ExitStatus.ERROR
        return ExitStatus.ERROR if self.unread else ExitStatus.NEGATIVE


class RecordSearch:
    """A search in the topics of one event type.

    Args:
        settings: of the agency or auditor that searches.
        event_type: of the record.
        agency: that publishes it; None for any.
        archive: the archive that is read; None for the brokers.

    Attributes:
        settings: of who searches.
        agreements: those that hold here.
        readable: all topics that may be read here.
        topics: the topics that are searched.

    Raises:
        RecordRefused: there is no such topic that may be read here.
    """

    def __init__(
        self, settings: Settings, event_type: str, agency: str | None, archive: Path | None = None
    ) -> None:
        self.settings = settings
        self._catalog = Catalog.shipped()
        self.agreements: Agreements = settings.agreements()
        self._place = reading_place(settings, self.agreements, archive)
        self.readable = self._place.readable()
        where = "may be read here" if archive is None else f"is in {archive}"
        self.topics = _chosen(self.readable, event_type, agency, self.agreements, where)

    def bus(self, topic: Topic) -> Bus:
        """How a topic is read."""
        return self._place.bus(topic, self._catalog)

    def journaled(self, request: AuditRequest) -> AbstractContextManager[JournaledRun]:
        """Record what the block reads in the journal; see `journaled_run.journaled`."""
        return journaled_run.journaled(self._place, self.topics, request)

    def find(self, record_id: str, run: JournaledRun) -> FoundRecord:
        """Find the record, and since when whose databases have had it.

        Args:
            run: is told what was read.

        Raises:
            RecordRefused: several agencies have a record with this identity.
            SinergiError: a topic or a database cannot be read.
        """
        found = FoundRecord()
        run.audits = audits = []
        with _progress() as report:
            for topic in self.topics:
                try:
                    read = read_record(self.bus(topic), topic, record_id, report)
                    found.searched.append(read)
                    audits.append(read.audit)
                except _OF_ONE_TOPIC as why:
                    if len(self.topics) == 1:
                        raise
                    found.unread[topic.name] = str(why)
        having = [each for each in found.searched if each.revisions]
        if len(having) > 1:
            names = ", ".join(each.topic.agency for each in having)
            what = f"{names} each have a record with this identity; name one with --agency"
            raise errors.RecordRefused(what)
        if having:
            found.record = having[0]
            found.report = possession(
                self.agreements, having[0], tables_of(self.settings, having[0].topic)
            )
        run.counts["revisions"] = sum(len(each.revisions) for each in having)
        run.verdict = found.verdict
        return found

    def relations(self, record: SealedRecord) -> RecordRelations:
        """The relations of a record in both directions; all topics that may be read are read.

        Raises:
            Unavailable: the broker does not answer.
        """
        topics = ((self.bus(each), each) for each in self.readable)
        with terminal.progress(TextColumn("searching {task.description}"), BarColumn()) as bar:
            task = bar.add_task("", total=None)
            return relations(
                record, topics, lambda replay: bar.update(task, description=replay.name)
            )


def show_verdict(record: SealedRecord) -> None:
    """Write to standard output what the partition of a record is worth."""
    holds = record.audit.is_proved
    terminal.show_line(verdict.sentence_of_partitions(record.audit), "" if holds else "bold red")
    if not holds:
        terminal.show_line("what could not be verified may have further revisions", "bold red")


def report_verdict(found: FoundRecord, record_id: str) -> None:
    """Say on standard error what was verified, and what is wrong."""
    for each in found.judged:
        verdict.report_partitions(each.audit)
    for name, why in found.unread.items():
        terminal.note(f"{name} was not searched: {why}")
    for remark in found.report.remarks:
        terminal.note(f"sinergi: {remark}")
    if found.record is None:
        where = ", ".join(each.topic.name for each in found.searched) or "no topic"
        is_whole = all(each.audit.is_proved for each in found.searched)
        what = match_report.no_record(where, record_id, is_whole=is_whole)
        terminal.note(f"sinergi: {what}")
        for each in found.searched:
            hint = match_report.key_hint(each.near_keys, is_whole=each.audit.is_proved is True)
            if each.is_topic_compared:
                terminal.note(f"  {each.topic.name}: {hint}")
                continue
            place = f"partition {each.partition}"
            terminal.note(f"  {each.topic.name}, {place}, where this key would be: {hint}")
            replay = f"`sinergi replay {each.topic.name} --key {shlex.quote(record_id)}`"
            terminal.note(f"    {replay} compares the keys of its other partitions too")


def _chosen(
    readable: list[Topic], event_type: str, agency: str | None, agreements: Agreements, where: str
) -> list[Topic]:
    types = sorted({each.event_type for each in readable})
    if not types:
        raise errors.RecordRefused("no agreement lets you read a topic")
    if event_type not in types:
        what = f"no topic of the event type {event_type!r} {where}"
        agreed = {each.event_type for each in agreements.topics()}
        raise errors.RecordRefused(f"{what}; {replay_topics.instead(event_type, types, agreed)}")
    found = [each for each in readable if each.event_type == event_type]
    if agency is None:
        return found
    agencies = [each.agency for each in found]
    if agency not in agencies:
        what = f"no topic of {agency!r} with this event type {where}"
        hint = replay_topics.instead(agency, agencies, agreements.agencies)
        raise errors.RecordRefused(f"{what}; {hint}")
    return [each for each in found if each.agency == agency]


@contextmanager
def _progress() -> Iterator[Callable[[Audit], None]]:
    """A progress bar; it gives what is called after each batch."""
    with message_progress() as progressed:

        def report(audit: Audit) -> None:
            counts = audit.partition_counts
            end = sum(each.offsets[1] - each.first_offset for each in counts)
            progressed(audit.messages_read, end)

        yield report
