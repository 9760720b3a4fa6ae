"""`sinergi agreement`: check, show, sign and verify the files of agreements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import root, terminal
from sinergi.cli.options import AsJson, command_group
from sinergi.cli.tables import ColumnKind, TableCell, TableColumn
from sinergi.exit_status import ExitStatus
from sinergi.settings import agreement_files
from sinergi.settings.agreement_folder import confirmed_keys
from sinergi_schemas.agreements import signatures
from sinergi_schemas.agreements.collection import files_in
from sinergi_schemas.agreements.signatures import SignatureState, note_path
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sinergi_schemas.agreements.key_steps import KnownFiles
    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.agreements.signatures import PartySignature

_STYLES = {
    SignatureState.SIGNED: "green",
    SignatureState.MISSING: "yellow",
    SignatureState.INVALID: "bold red",
}
_RIGHTS = (
    TableColumn("event type", ColumnKind.HEADING),
    TableColumn("may"),
    TableColumn("who"),
    TableColumn("as", ColumnKind.PROSE),
    TableColumn("for", ColumnKind.PROSE),
)
_SIGNATURES = (
    TableColumn("file", ColumnKind.HEADING),
    TableColumn("party"),
    TableColumn("key", ColumnKind.PROSE),
    TableColumn("signature"),
    TableColumn("why", ColumnKind.PROSE),
)

app = command_group("agreement", "Check, show, sign and verify the files of agreements.")

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FILE]…", help="Left out: every *.toml in the folder of agreements."),
]

UnknownTypes = Annotated[
    list[str] | None,
    typer.Option(
        "--unknown-type",
        metavar="EVENT_TYPE",
        help="It is right although this version does not know it. May be repeated.",
    ),
]


@app.command()
def check(
    files: Files = None, *, unknown_types: UnknownTypes = None, as_json: AsJson = False
) -> None:
    """Name everything that is wrong in agreements, each on a line: file, key, what, how to mend it.

    An event type that this version does not know may be misspelt, and counts as wrong. Signatures
    are checked by `verify`. Of files that are named, an earlier one need not be among them; a line
    on standard error says that it was not checked.

    Exit status: 0 nothing is wrong, 1 something is, 2 a file cannot be read.

    Example: sinergi agreement check pks.toml
    """
    paths = _paths(files)
    found, remarks = agreement_files.examine(
        paths, unknown_types or (), is_whole_folder=files is None
    )
    for path, each in remarks:
        terminal.note(f"sinergi: {path}: {each}")
    if as_json:
        terminal.show_json(
            [{"file": str(path), "key": each.key, "what": each.what} for path, each in found]
        )
    else:
        for path, each in found:
            terminal.show_line(f"{path}: {each}")
        if not found:
            terminal.show_line(f"nothing is wrong in {counted(len(paths), 'file')}")
    if found:
        raise typer.Exit(ExitStatus.NEGATIVE)


@app.command()
def show(files: Files = None, *, as_json: AsJson = False) -> None:
    """Show who may publish, read and audit what, as which principals, and until when.

    Example: sinergi agreement show pks.toml
    """
    agreements = agreement_files.read(_paths(files))
    now = SYSTEM.now()
    if as_json:
        terminal.show_json([_document(each, now) for each in agreements])
        return
    for number, each in enumerate(agreements):
        if number:
            terminal.show_line("")
        terminal.show_line(f"{each.path}: {each.title}")
        terminal.show_line(_period(each, now))
        terminal.show_line(f"SHA-256 {each.hash}")
        for party in each.parties.values():
            terminal.show_line(f"party {party.agency}: {party.name}, number {party.number}")
        for auditor in each.auditors.values():
            terminal.show_line(f"auditor {auditor.auditor}: {auditor.name}")
        terminal.show_line("")
        terminal.show_table(_RIGHTS, _rights(each))


@app.command()
def sign(
    file: Annotated[Path, typer.Argument(help="The agreement that this agency agrees to.")],
    unknown_types: UnknownTypes = None,
) -> None:
    """Sign an agreement with this agency's key; the signature goes into FILE.note.

    If the file replaces a key of this agency, the replaced key signs as well: keep it in the folder
    of keys until then.

    Pass the note on to the next party, which adds its signature to it. Read the file before you
    sign it (`sinergi agreement show`): from then on it says who may read this agency's events.

    Example: sinergi agreement sign agreements/pks.toml
    """
    settings = root.settings()
    (agreement,) = agreement_files.read([file])
    known = _known(agreement)
    found = agreement_files.sign(
        agreement, settings.agency, settings.values.keys, unknown_types or (), known
    )
    left = dict.fromkeys(_still_to_sign(each) for each in found)
    whose = ", ".join(filter(None, left))
    whose = f"still to sign: {whose}" if whose else "all have signed"
    terminal.note(f"sinergi: signed by {settings.agency} in {note_path(file)}; {whose}")


@app.command()
def verify(files: Files = None, *, as_json: AsJson = False) -> None:
    """Show who has signed agreements, and whether the signatures hold.

    All parties have to sign, and so do those that it leaves out of an agreement that it replaces.
    A key that a file replaces by another one has to sign too, in one file that says so, unless the
    setting confirmed_keys has the new key.

    No signature holds in a note that is malformed, or that belongs to another file.

    Exit status: 0 all have signed, 1 a signature is missing or does not hold, or a note is
    malformed, 2 an agreement or a note cannot be read.

    Example: sinergi agreement verify
    """
    found = [
        (each, signatures.judged(each, _known(each)))
        for each in agreement_files.read(_paths(files))
    ]
    if as_json:
        terminal.show_json([_signed(*each) for each in found])
    else:
        rows: list[list[str | TableCell]] = [
            [
                str(each.path),
                party.agency,
                party.key,
                TableCell(party.state, _STYLES[party.state]),
                party.why,
            ]
            for each, parties in found
            for party in parties
        ]
        terminal.show_table(_SIGNATURES, rows)
    states = {party.state for _, parties in found for party in parties}
    if states != {SignatureState.SIGNED}:
        raise typer.Exit(ExitStatus.NEGATIVE)


def _known(agreement: Agreement) -> KnownFiles:
    """An agreement with those of its own folder and of that of the settings."""
    settings = root.settings()
    folders = (agreement.path.parent, settings.values.agreements)
    found = agreement_files.beside(agreement, folders)
    for digest in sorted({*agreement.replaces} - {each.hash for each in found}):
        what = f"{agreement.path} replaces the file with the SHA-256 {digest}, which is not here"
        terminal.note(f"sinergi: {what}: whoever it leaves out of that one has to sign too")
    return signatures.known_files(found, confirmed_keys(settings.values))


def _still_to_sign(found: PartySignature) -> str:
    """Whose signature is missing; the key too if it is one that the file replaces."""
    if found.state is SignatureState.SIGNED:
        return ""
    return f"{found.agency} with {found.key} ({found.why})" if found.why else found.agency


def _paths(files: list[Path] | None) -> list[Path]:
    return files or files_in(root.settings().values.agreements)


def _rights(agreement: Agreement) -> Iterator[list[str | TableCell]]:
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


def _period(agreement: Agreement, now: datetime) -> str:
    ends = agreement.in_force_until
    until = "without an end" if ends is None else f"until {_moment(ends)}"
    state = "in force"
    if now < agreement.starts:
        state = "not yet in force"
    elif not agreement.in_force(now):
        state = "replaced" if ends == agreement.replaced_at else "ended"
    return f"{state}: from {_moment(agreement.starts)} {until}"


def _moment(at: datetime) -> str:
    return at.astimezone().isoformat(timespec="seconds")


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _document(agreement: Agreement, now: datetime) -> dict[str, Any]:
    return {
        "file": str(agreement.path),
        "hash": agreement.hash,
        "bus": agreement.bus,
        "title": agreement.title,
        "legal_basis": agreement.legal_basis,
        "from": agreement.starts.isoformat(),
        "until": _iso(agreement.ends),
        "replaced_at": _iso(agreement.replaced_at),
        "in_force": agreement.in_force(now),
        "replaces": agreement.replaces,
        "parties": [
            {
                "agency": party.agency,
                "name": party.name,
                "number": party.number,
                "key": str(party.key),
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


def _signed(agreement: Agreement, parties: Sequence[PartySignature]) -> dict[str, Any]:
    return {
        "file": str(agreement.path),
        "hash": agreement.hash,
        "signed_by_all": all(each.state is SignatureState.SIGNED for each in parties),
        "parties": [each._asdict() for each in parties],
    }
