"""What `sinergi agreement show` writes about one agreement, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sinergi.cli.tables import ColumnKind, TableColumn
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sinergi.settings.agreement_files import ReplacedFile, ReplacingFile, ShownAgreement
    from sinergi_schemas.agreements.model import Agreement, ReplacedKey

RIGHTS = (
    TableColumn("event type", ColumnKind.HEADING),
    TableColumn("may"),
    TableColumn("who"),
    TableColumn("as", ColumnKind.PROSE),
    TableColumn("for", ColumnKind.PROSE),
)


def heading(shown: ShownAgreement, now: datetime) -> Iterator[str]:
    """What an agreement is, when it is in force, and who its parties are: a line for each."""
    agreement = shown.agreement
    yield f"{agreement.path}: {agreement.title}"
    yield _period(shown, now)
    yield f"SHA-256 {agreement.hash}"
    yield from map(_replaced, shown.replaces)
    for law in agreement.legal_basis:
        yield f"based on {law}"
    if agreement.audit_needs_reason:
        yield "whoever reads its topics again to audit them has to say why (--why)"
    for party in agreement.parties.values():
        yield f"party {party.agency}: {party.name}, number {party.number}"
        yield f"  key {party.key}"
        for replaced in party.replaced_keys:
            yield f"  replaced key {replaced.key}{_last_sizes(replaced)}"
        for each in party.receipt_keys:
            yield f"  receipts of {each.database} {each.key}"
    for auditor in agreement.auditors.values():
        yield f"auditor {auditor.auditor}: {auditor.name}"
    for name, agreed in agreement.events.items():
        yield f"event type {name}: {counted(agreed.partitions, 'partition')} of each publisher"


def rights(agreement: Agreement) -> Iterator[list[str]]:
    """A row for each event type, and whatever an agency or an auditor may do with it."""
    for name, agreed in agreement.events.items():
        purposes = ", ".join(each.name for each in agreed.purposes)
        for agency in agreed.publishers:
            logins = agreement.parties[agency].principals.producer
            yield [name, "publish", agency, ", ".join(logins), ""]
        for agency in agreed.readers:
            logins = agreement.parties[agency].principals.consumer
            yield [name, "read", agency, ", ".join(logins), purposes]
        for auditor in agreement.auditors_of(name):
            yield [name, "audit", auditor.auditor, ", ".join(auditor.principals), ""]


def document(shown: ShownAgreement, now: datetime) -> dict[str, Any]:
    """An agreement as JSON."""
    agreement = shown.agreement
    return {
        "file": str(agreement.path),
        "hash": agreement.hash,
        "bus": agreement.bus,
        "title": agreement.title,
        "legal_basis": agreement.legal_basis,
        "from": agreement.starts.isoformat(),
        "until": _iso(agreement.ends),
        "replaced_at": _iso(agreement.replaced_at),
        "replaced_by": [_replacing(each) for each in shown.replaced_by],
        "in_force": agreement.in_force(now),
        "replaces": agreement.replaces,
        "no_longer": [_replaced_document(each) for each in shown.replaces],
        "audit_needs_reason": agreement.audit_needs_reason,
        "parties": [
            {
                "agency": party.agency,
                "name": party.name,
                "number": party.number,
                "key": str(party.key),
                "replaced_keys": [str(each.key) for each in party.replaced_keys],
                "receipt_keys": {each.database: str(each.key) for each in party.receipt_keys},
                "principals": {
                    "producer": party.principals.producer,
                    "consumer": party.principals.consumer,
                },
            }
            for party in agreement.parties.values()
        ],
        "auditors": [
            {
                "auditor": auditor.auditor,
                "name": auditor.name,
                "reads": auditor.event_types,
                "principals": auditor.principals,
            }
            for auditor in agreement.auditors.values()
        ],
        "events": [
            {
                "event_type": name,
                "publishers": agreed.publishers,
                "readers": agreed.readers,
                "purposes": [each.name for each in agreed.purposes],
                "partitions": agreed.partitions,
            }
            for name, agreed in agreement.events.items()
        ],
    }


def _period(shown: ShownAgreement, now: datetime) -> str:
    agreement = shown.agreement
    ends = agreement.in_force_until
    until = "without an end" if ends is None else f"until {_moment(agreement, ends)}"
    state = "in force"
    if now < agreement.starts:
        state = "not yet in force"
    elif not agreement.in_force(now):
        state = "replaced" if ends == agreement.replaced_at else "ended"
    period = f"{state}: from {_moment(agreement, agreement.starts)} {until}"
    if not shown.replaced_by or ends != agreement.replaced_at:
        return period
    return f"{period}, when it is replaced by {', '.join(map(_named, shown.replaced_by))}"


def _replaced(each: ReplacedFile) -> str:
    if each.path is None:
        what = f"replaces the file with the SHA-256 {each.hash}, which is not here"
        return f"{what}: what ends with it is not known"
    ends = "; ".join(each.no_longer)
    return f"replaces {each.path.name}, and " + (
        f"this is given no longer: {ends}" if ends else "nothing that it gives ends"
    )


def _replaced_document(each: ReplacedFile) -> dict[str, Any]:
    path = None if each.path is None else str(each.path)
    return {"file": path, "hash": each.hash, "what": each.no_longer if path else None}


def _last_sizes(replaced: ReplacedKey) -> str:
    """Up to which sizes a replaced key still signs, for each event type and partition."""
    sizes = "; ".join(
        f"{name} {', '.join(map(str, last))}" for name, last in sorted(replaced.until.items())
    )
    return f", signs up to {sizes}" if sizes else ""


def _named(each: ReplacingFile) -> str:
    name = each.agreement.path.name
    return name if each.is_signed else f"{name} (which not all have signed)"


def _replacing(each: ReplacingFile) -> dict[str, Any]:
    found = each.agreement
    return {"file": str(found.path), "hash": found.hash, "signed_by_all": each.is_signed}


def _moment(agreement: Agreement, at: datetime) -> str:
    """A time in the zone of the agreement, or without one in that of this machine."""
    try:
        local = at.astimezone(agreement.zone)
    except OverflowError:  # as of the year 1, which is not in the range of every zone
        local = at
    return local.isoformat(timespec="seconds")


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
