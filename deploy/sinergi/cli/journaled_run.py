"""The run of a command that reads topics again, as the journal of its database has it.

An agreement may demand a reason of whoever does so. Then nothing is read without one, or before the
journal has it, where a database is configured. Otherwise a journal that cannot be written keeps
nobody from reading: a database that is away is a reason to read the topics.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import typer

from sinergi.cli import terminal
from sinergi.cli.decisions import account
from sinergi_consumers.audit.journal import AuditOutcome, AuditRun, Journal
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.plain_text import has_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sinergi.cli.reading_place import ReadingPlace
    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.audit.replay import Replay
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.topics import Topic

_ENDED, _FAILED, _STOPPED = "ended", "failed", "stopped"


class AuditRequest(NamedTuple):
    """What somebody asks of a command that reads topics again.

    Attributes:
        command: its name.
        why: the reason that was given; None without one.
        asked_for: the options that choose what is read, as they were given.
    """

    command: str
    why: str | None
    asked_for: Mapping[str, Any]


@dataclass(slots=True)
class JournaledRun:
    """What a run has found out so far; the command fills it in.

    Attributes:
        audits: of the topics that it reads.
        replays: of topics that it reads without an audit.
        counts: what it has counted besides, by its name.
        verdict: in one line.
    """

    audits: Sequence[Audit] = ()
    replays: Sequence[Replay] = ()
    counts: dict[str, int] = field(default_factory=dict)
    verdict: str | None = None

    @property
    def trees(self) -> Iterator[dict[str, Any]]:
        """Each topic-partition with its verified leaves and their root."""
        readings: list[Audit | Replay] = [*self.audits, *self.replays]
        for reading in readings:
            for each in reading.partition_counts:
                yield {
                    "topic": reading.topic.name,
                    "read": reading.name,
                    "partition": each.partition,
                    "leaves": each.verified,
                    "root": each.root.hex(),
                }

    @property
    def all_counts(self) -> dict[str, int]:
        """What was counted, with the events that were shown."""
        return {"events_shown": sum(each.shown for each in self.audits)} | self.counts


@contextmanager
def journaled(
    place: ReadingPlace, topics: Sequence[Topic], request: AuditRequest
) -> Iterator[JournaledRun]:
    """Record what the block reads, and how it ends, in the journal of the reader's database.

    Args:
        place: where it reads, for whom.
        topics: those that it reads.

    Raises:
        ReasonRefused: an agreement demands a reason, and none was given.
        SinergiError: an agreement demands a reason, and the journal cannot be written.
    """
    demanding = _demanding(place.agreements, topics, request.why)
    found = JournaledRun()
    journal = _begun(place, topics, request, is_demanded=demanding is not None)
    if journal is None:
        yield found
        return
    try:
        yield found
    except typer.Exit as ending:
        journal.end(found, _ENDED, exit_status=ending.exit_code)
        raise
    except errors.SinergiError as why:
        journal.end(found, _FAILED, error=type(why).__name__)
        raise
    except BaseException as why:
        journal.end(found, _STOPPED, error=type(why).__name__)
        raise
    journal.end(found, _ENDED, exit_status=0)


def software() -> str:
    """The program and its version, as journals, archives and bundles name what made them."""
    return f"sinergi {version('sinergi')}"


class _OpenRun:
    """A run that the journal has, and that has not ended."""

    def __init__(self, journal: Journal, run: AuditRun) -> None:
        self._journal = journal
        self._run = run.run

    def end(
        self,
        found: JournaledRun,
        outcome: str,
        *,
        exit_status: int | None = None,
        error: str | None = None,
    ) -> None:
        """Record the end. The events are read by then: a journal that is away changes nothing."""
        trees, counts = [*found.trees], found.all_counts
        ended = AuditOutcome(self._run, outcome, exit_status, error, trees, counts, found.verdict)
        _noting("the end of this run", lambda: self._journal.end(ended))


def _demanding(
    agreements: Agreements, topics: Sequence[Topic], why: str | None
) -> Agreement | None:
    """The agreement that demands a reason, which was given; None if none does."""
    if why is not None and not has_words(why):
        raise errors.ReasonRefused("--why says nothing")
    now = SYSTEM.now()
    for topic in topics:
        if demanding := agreements.demanding_reason(topic, now):
            if why is None:
                what = f"{demanding.path.name} demands a reason of whoever reads {topic.name} again"
                raise errors.ReasonRefused(what)
            return demanding
    return None


def _begun(
    place: ReadingPlace, topics: Sequence[Topic], request: AuditRequest, *, is_demanded: bool
) -> _OpenRun | None:
    """The run in the journal; None if there is no journal."""
    settings, agreements = place.settings, place.agreements
    if not settings.values.consumer.database:
        return None
    principals = {place.source(each).login for each in topics}
    run = AuditRun(
        uuid4(),
        sorted(principals),
        account(),
        request.command,
        request.why,
        {**request.asked_for, **place.described},
        [each.name for each in topics],
        sorted(agreements.versions),
        software(),
    )
    journal = Journal(settings.consumer_database)
    if is_demanded:
        journal.begin(run)
    elif not _noting("this run", lambda: journal.begin(run)):
        return None
    return _OpenRun(journal, run)


def _noting(what: str, write: Callable[[], None]) -> bool:
    """Write to the journal, or say on standard error why that was not done; whether it was."""
    try:
        write()
    except errors.SinergiError as why:
        terminal.note(f"sinergi: {what} is not in the journal: {why}")
        return False
    return True
