"""Makes a bundle of evidence for `sinergi evidence create`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi.cli import replay_topics, terminal, verdict
from sinergi.cli.journaled_run import software
from sinergi.cli.replay_scope import ReplayScope
from sinergi.pages.evidence_report import html_of
from sinergi.records.receipt_tables import tables_of
from sinergi.settings.own_keys import held_keys
from sinergi_consumers.audit.audit import Copies
from sinergi_consumers.audit.evidence import places
from sinergi_consumers.audit.evidence.composition import BundleContents, compose
from sinergi_consumers.audit.evidence.omissions import (
    NOT_AGREED,
    NOT_ARCHIVED,
    NOT_CHOSEN,
    NOT_READ,
    NOT_SEALED,
    SearchStatement,
    UnreadRelated,
    UnsearchedTopic,
)
from sinergi_consumers.audit.evidence.report.contents import report_of
from sinergi_consumers.audit.evidence.report.print import pdf_of
from sinergi_consumers.audit.evidence.trust import TrustedKeys
from sinergi_consumers.audit.evidence.verification import verify
from sinergi_consumers.audit.evidence_collection import (
    CollectedEvidence,
    EvidenceAudit,
    agreement_evidence,
)
from sinergi_consumers.audit.series import AuditSeries
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.plain_text import counted, first_sentence
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sinergi.cli.reading_place import ReadingPlace
    from sinergi.settings.settings import Settings
    from sinergi_consumers.audit.event_filter import ReplayFilter
    from sinergi_consumers.audit.evidence.verdict import EvidenceVerdict
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey
    from sinergi_schemas.topics import Topic

_MANY_EVENTS = 100  # the pages of an event take some 30 ms


class EvidenceRequest(NamedTuple):
    """What a bundle is to hold, and who asks for it.

    Attributes:
        named, agencies, event_types: which topics to read, see `replay_topics.chosen`.
        asked_for: the options that choose the events, as they were given.
        made_by: who makes it; None for the agency or the login.
        key: with which the maker signs; None for those of the agency.
    """

    wanted: ReplayFilter
    named: Sequence[Topic]
    agencies: Sequence[str]
    event_types: Sequence[str]
    asked_for: Mapping[str, Any]
    why: str
    made_by: str | None
    key: SigningKey | None = None


class MadeEvidence(NamedTuple):
    """A bundle that was made.

    Attributes:
        series: the audits of the topics that were read.
        left_out: what was not searched.
        verified: the verdict about the bundle, with the keys of the agreements and of the maker.
        is_signed: whether the maker has signed what he states.
    """

    data: bytes
    series: AuditSeries
    left_out: SearchStatement
    verified: EvidenceVerdict
    is_signed: bool

    @property
    def is_complete(self) -> bool:
        """Whether all that was asked for could be read."""
        return self.left_out.is_complete


def make(
    place: ReadingPlace,
    names: Sequence[Topic],
    request: EvidenceRequest,
    run: Callable[[AuditSeries], None],
) -> MadeEvidence:
    """Read the topics, and make the bundle.

    Args:
        place: where they are read.
        names: those of `topics_of`.
        run: reads the audits to their end.

    Raises:
        EvidenceRefused: nothing could be read, or too much matches.
        SinergiError: as `AuditSeries.events`.
    """
    catalog, settings, agreements = Catalog.shipped(), place.settings, place.agreements
    collected = CollectedEvidence()
    audits = [
        EvidenceAudit(
            place.bus(each, catalog),
            each,
            collected,
            list(tables_of(settings, each)),
        )
        for each in names
    ]
    series = AuditSeries(audits, follows_related=bool(request.asked_for.get("related")))
    run(series)
    if not collected.trees:
        for each in series.audits:
            for finding in each.verdict.findings:
                terminal.note(f"sinergi: {finding.why}")
        what = "no topic-partition could be read to its end as its owner sealed it"
        raise errors.EvidenceRefused(what)
    used = collected.agreements(agreements)
    scope = ReplayScope(place, catalog, names, Copies())
    facts = scope.facts(series, request.asked_for, None)
    now = SYSTEM.now()
    left_out = _left_out(place, series, collected)
    signers = _signers(settings, agreements, request)
    contents = BundleContents(
        bus=agreements.bus,
        events=sorted(collected.events, key=lambda each: each.place),
        trees=collected.trees,
        heads=collected.heads,
        schemas=[*collected.schemas.values()],
        agreements=[agreement_evidence(each) for each in used],
        keys=dict.fromkeys((*_keys(used), *(each.public for each in signers))),
        custody=_custody(settings, request, facts, now, place.logins(names)),
        asked_for=request.asked_for,
        left_out=left_out,
        signers=signers,
    )
    if len(contents.events) >= _MANY_EVENTS:
        of = counted(len(contents.events), "event")
        terminal.note(f"sinergi: all is read; making the report of {of}, which takes a while")
    report = report_of(contents)
    reports = {
        places.REPORT_HTML: html_of(report),
        places.REPORT_PDF: pdf_of(report, now),
    }
    contents = replace(contents, reports=reports)
    try:
        data = compose(contents, now.date().isoformat(), software())
    except ValueError as why:
        raise errors.EvidenceRefused(f"{why}; choose fewer events") from None
    trusted = TrustedKeys([each.public for each in signers], agreements)
    return MadeEvidence(data, series, left_out, verify(data, trusted), bool(signers))


def _signers(
    settings: Settings, agreements: Agreements, request: EvidenceRequest
) -> list[SigningKey]:
    """The keys with which the maker signs what he states; none if he has none.

    Raises:
        KeyFileRefused: a file in the folder of keys is no key, or others may read it.
    """
    if request.key is not None:
        return [request.key]
    agency = settings.values.agency
    if agency is None or request.made_by not in (None, agency):
        return []  # somebody else makes it
    known = set(agreements.keys(agency))
    return [each for each in held_keys(settings.values.keys).values() if each.public in known]


def _left_out(
    place: ReadingPlace, series: AuditSeries, collected: CollectedEvidence
) -> SearchStatement:
    """The topics of the agreements, and their partitions, of which there is no evidence."""
    found: list[UnsearchedTopic] = []
    asked = {each.topic for each in series.audits}
    agreements, readable = place.agreements, set(place.readable())
    for topic in sorted(set(agreements.topics_since(SYSTEM.now())) - asked):
        absent = NOT_AGREED if place.archive is None else NOT_ARCHIVED
        reason = NOT_CHOSEN if topic in readable else absent
        found.append(UnsearchedTopic(topic.name, None, reason, ""))
    searched = {each.tp for each in collected.trees}
    for audit in series.audits:
        name = audit.topic.name
        if audit.verdict.not_read:
            why = first_sentence(audit.verdict.not_read)
            found.append(UnsearchedTopic(name, None, NOT_READ, why))
            continue
        for number in range(agreements.partitions(audit.topic)):
            if TopicPartition(name, number) not in searched:
                whys = [each.why for each in audit.verdict.findings if each.partition == number]
                found.append(UnsearchedTopic(name, number, NOT_SEALED, "; ".join(whys)))
    related = (UnreadRelated(each.topic, each.records) for each in series.unread or [])
    return SearchStatement(tuple(found), tuple(related))


def topics_of(place: ReadingPlace, request: EvidenceRequest) -> list[Topic]:
    """The topics that are read for a bundle.

    Raises:
        ReplayRefused: no topic is left.
    """
    return replay_topics.chosen(place, request.named, request.agencies, request.event_types)


def _custody(
    settings: Settings,
    request: EvidenceRequest,
    facts: Mapping[str, Any],
    now: datetime,
    login: str,
) -> dict[str, Any]:
    return {
        "made_at": now.isoformat(),
        "made_by": request.made_by or settings.values.agency or login,
        "why": request.why,
        "login": login,
        "software": software(),
        "agreements": facts["agreements"],
        "verdicts": facts["verdicts"],
    }


def _keys(agreements: Sequence[Agreement]) -> Iterator[VerifyingKey]:
    for each in agreements:
        for party in each.parties.values():
            yield from party.keys
            yield from (receipt.key for receipt in party.receipt_keys)


def report(made: MadeEvidence) -> None:
    """Write to standard error what the topics and the bundle are worth."""
    verdict.report_unread(made.series.unread or [])
    for audit in made.series.audits:
        for finding in audit.verdict.findings:
            terminal.note(f"sinergi: {finding.why}")
        if audit.why_undecided:
            terminal.note(f"sinergi: {audit.name}: {audit.why_undecided}")
    for each in made.verified.disproved:
        terminal.note(f"sinergi: disproved: {each}")
    for each in made.verified.unchecked:
        terminal.note(f"sinergi: not checked: {each}")
    if not made.is_signed and not made.verified.events:
        what = "only a signed statement that no event matches can be checked"
        terminal.note(f"sinergi: {what}; make the file again with --sign KEYFILE")
