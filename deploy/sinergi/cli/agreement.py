"""`sinergi agreement`: check, show, sign and verify the files of agreements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sinergi.cli import agreement_output, root, terminal
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
    from collections.abc import Iterable, Iterator, Sequence

    from sinergi_schemas.agreements.key_steps import KnownFiles
    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.agreements.signatures import PartySignature

_STYLES = {
    SignatureState.SIGNED: "green",
    SignatureState.MISSING: "yellow",
    SignatureState.INVALID: "bold red",
}
_SIGNATURES = (
    TableColumn("file", ColumnKind.HEADING),
    TableColumn("party"),
    TableColumn("signature"),
    TableColumn("why", ColumnKind.PROSE),
    TableColumn("key"),
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

    The other files of the same folder, and those of the folder of agreements, are looked at for one
    that replaces a shown file, and for those that it replaces: who published, read or audited what
    by these, and does not by the shown file, is named. Times are in the zone of the file.

    Exit status: 0 shown, 1 the files contradict each other, 2 a file cannot be read.

    Example: sinergi agreement show pks.toml
    """
    values, paths = root.settings().values, _paths(files)
    folders = {values.agreements, *(each.parent for each in paths)}
    found = agreement_files.shown(paths, folders, confirmed_keys(values))
    now = SYSTEM.now()
    if as_json:
        terminal.show_json([agreement_output.document(each, now) for each in found.agreements])
    else:
        for number, each in enumerate(found.agreements):
            if number:
                terminal.show_line("")
            for line in agreement_output.heading(each, now):
                terminal.show_line(line)
            terminal.show_line("")
            rights = agreement_output.rights(each.agreement)
            terminal.show_table(agreement_output.RIGHTS, rights)
    for path in found.unread:
        what = "something is wrong in it (`sinergi agreement check`)"
        terminal.note(f"sinergi: {path} was not looked at for what it replaces: {what}")
    for path, contradiction in found.contradictions:
        terminal.note(f"sinergi: {path}: {contradiction}")
    if found.contradictions:
        raise typer.Exit(ExitStatus.NEGATIVE)


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
        terminal.show_table(_SIGNATURES, _signature_rows(found))
    states = {party.state for _, parties in found for party in parties}
    if states != {SignatureState.SIGNED}:
        raise typer.Exit(ExitStatus.NEGATIVE)


def _signature_rows(
    found: Iterable[tuple[Agreement, Sequence[PartySignature]]],
) -> Iterator[list[str | TableCell]]:
    """A row for each signature that is needed; a reason that repeats itself is given once."""
    for agreement, parties in found:
        given = ""
        for party in parties:
            state = TableCell(party.state, _STYLES[party.state])
            why = "as above" if party.why and party.why == given else party.why
            yield [str(agreement.path), party.agency, state, why, party.public_key]
            given = party.why


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


def _signed(agreement: Agreement, parties: Sequence[PartySignature]) -> dict[str, Any]:
    return {
        "file": str(agreement.path),
        "hash": agreement.hash,
        "signed_by_all": all(each.state is SignatureState.SIGNED for each in parties),
        "parties": [each._asdict() for each in parties],
    }
