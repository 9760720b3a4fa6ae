"""A record's life as a JSON document, of which the page in HTML is made too."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sinergi.cli import verdict
from sinergi.cli.received import receipt_document
from sinergi_consumers.audit.records.changes import code_meaning
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.codes import Action, RecordRelation
from sinergi_schemas.seal.merkle import leaf_hash
from sinergi_schemas.seal.note import parse_note

if TYPE_CHECKING:
    from datetime import datetime

    from sinergi_consumers.audit.evidence.case_zone import CaseZone
    from sinergi_consumers.audit.records.life import QuarantineEntry, RecordLife, RevisionLife
    from sinergi_consumers.audit.records.relations import StatedRelation


def document(
    life: RecordLife, *, made_by: str | None, has_searched: bool, has_quarantine: bool
) -> dict[str, Any]:
    """All that is known of a record, with all times in one zone.

    Args:
        made_by: the agency that asks; None for an auditor.
        has_searched: whether the records that name this one were searched.
        has_quarantine: whether there is a database of which the quarantine is known.
    """
    record = life.record
    zone = record.zone
    quarantine = [_quarantined(each, zone) for one in life.revisions for each in one.quarantine]
    return {
        "event_type": record.topic.event_type,
        "record_id": record.record_id,
        "agency": record.topic.agency,
        "topic": record.topic.name,
        "partition": record.partition,
        "about": life.about,
        "zone": zone.name,
        "holds": record.audit.is_proved,
        "verdict": verdict.sentence_of_partitions(record.audit),
        "findings": [each.why for each in record.audit.verdict.findings],
        "remarks": life.remarks,
        "revisions": [_revision(life, each, zone) for each in life.revisions],
        "related": [_relation(each) for each in life.relations.stated],
        "related_not_listed": life.relations.not_listed,
        "searched_related": has_searched,
        "not_searched": life.relations.unsearched,
        "quarantine": quarantine if has_quarantine else None,
        "made_at": zone.local(SYSTEM.now()).isoformat(timespec="seconds"),
        "made_by": made_by,
        "version": version("sinergi"),
    }


def _revision(life: RecordLife, one: RevisionLife, zone: CaseZone) -> dict[str, Any]:
    sealed = one.sealed
    event = sealed.event or {}
    agreement = event.get("agreement")
    return {
        "revision": one.number,
        "action": one.action or None,
        "action_meaning": code_meaning(Action, one.action),
        "event_id": str(event["event_id"]) if event else None,
        "agreement": agreement,
        "agreement_file": life.agreements.get(str(agreement)),
        "occurred_at": _iso(one.at("occurred_at"), zone),
        "occurred_precision": event.get("occurred_precision"),
        "recorded_at": _iso(one.at("recorded_at"), zone),
        "cannot_be_read": sealed.unread or None,
        "not_agreed": sealed.not_agreed or None,
        "repeats": one.repeats,
        "leaf": sealed.leaf_index,
        "sealed": {
            "size": sealed.size,
            "root": sealed.root.hex(),
            "leaf_hash": leaf_hash(sealed.leaf_data).hex(),
            "signed_by": [each.name_with_id for each in parse_note(sealed.proof.note).signatures],
            # By the clock of the owner's database. The checkpoint itself has no time.
            "sealed_at_by_own_clock": _iso(one.sealed_at, zone),
        },
        "receipts": [receipt_document(each, zone) for each in one.possessions],
        "changes": [
            {
                "field": each.path,
                "meaning": each.meaning.doc,
                "protected": each.meaning.protected,
                "before": each.before,
                "after": each.after,
            }
            for each in one.changes
        ],
        "proof": str(sealed.proof),
    }


def _relation(each: StatedRelation) -> dict[str, Any]:
    return {
        **each.other._asdict(),
        "relation": each.relation,
        "relation_meaning": code_meaning(RecordRelation, each.relation),
        "names_us": each.names_us,
        "stated_in_revision": each.revision,
    }


def _quarantined(each: QuarantineEntry, zone: CaseZone) -> dict[str, Any]:
    return {
        "leaf": each.leaf_index,
        "projection": each.projection,
        "state": each.state,
        "reason": each.reason,
        "detail": each.detail,
        "quarantined_at": _iso(each.quarantined_at, zone),
    }


def _iso(at: datetime | None, zone: CaseZone) -> str | None:
    return None if at is None else zone.local(at).isoformat()
