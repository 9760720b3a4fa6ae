"""The signatures of the parties of an agreement: a C2SP signed note beside its file.

    <bus>/agreement
    <SHA-256 of the file's bytes, 64 hexadecimal digits>
                                                              an empty line
    — <bus>/<agency> <base64(key id ‖ signature)>             one line for each party

The note of `pks.toml` is `pks.toml.note`. Each party signs with the key that the file gives it for
its checkpoints. The first line keeps a signature of an agreement apart from one of a tree: no
origin of a tree has this form.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.files.input_file import read_regular
from sinergi_schemas.files.toml_file import FileProblem
from sinergi_schemas.seal.note import (
    MOST_SIGNATURES,
    Note,
    Signature,
    parse_bounded,
    parse_note,
    sign_note,
    verify_note,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sinergi_schemas.agreements.model import Agreement, Party
    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey

MOST_BYTES = 64 * 1024
_KEY = "signatures"


class SignatureState(StrEnum):
    """Whether a party has signed."""

    SIGNED = "signed"
    MISSING = "missing"
    INVALID = "invalid"


class PartySignature(NamedTuple):
    """Whether one party has signed an agreement, and with which key it has to.

    Attributes:
        why: why its signature is invalid; empty otherwise.
    """

    agency: str
    key: str
    state: SignatureState
    why: str = ""


def note_path(agreement: Path) -> Path:
    """Where the signatures of an agreement's file are."""
    return agreement.with_name(f"{agreement.name}.note")


def read_note(agreement: Agreement) -> str | None:
    """The text of the note beside an agreement's file; None if there is none.

    Raises:
        NoteFileRefused: it cannot be read.
        SignaturesRefused: it is not text.
    """
    path = note_path(agreement.path)
    try:
        _, data = read_regular(path, MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as why:
        raise errors.NoteFileRefused(str(path), f"cannot be read ({why.strerror})") from None
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise errors.SignaturesRefused(str(path), "is not UTF-8") from None


def statement(agreement: Agreement) -> str:
    """The text that the parties sign."""
    return f"{agreement.bus}/agreement\n{agreement.hash}\n"


def signers(agreement: Agreement, others: Iterable[Agreement]) -> list[Party]:
    """Who has to sign: its parties, and those that it leaves out of an agreement that it replaces.

    Without the signatures of the latter, any two agencies could end the rights of all others.

    Args:
        others: agreements, among which are those that it replaces.
    """
    leaving = {
        party.agency: party
        for each in others
        if each.hash in agreement.replaces
        for party in each.parties.values()
        if party.agency not in agreement.parties
    }
    return [*agreement.parties.values(), *leaving.values()]


def signatures(
    agreement: Agreement, note: str | None, others: Iterable[Agreement] = ()
) -> list[PartySignature]:
    """The state of each signature that is needed: first of the parties, in the file's order.

    Args:
        note: the text of the note, if there is one.
        others: see `signers`.

    Raises:
        SignaturesRefused: it is no note, or that of another file.
    """
    parsed = None if note is None else _parse(agreement, note)
    return [_of_party(each, _state(each.key, parsed)) for each in signers(agreement, others)]


def judged(agreement: Agreement, others: Iterable[Agreement] = ()) -> list[PartySignature]:
    """As `signatures` of the note beside the file; if that cannot be used, none of them holds.

    Raises:
        NoteFileRefused: the note cannot be read.
    """
    try:
        return signatures(agreement, read_note(agreement), others)
    except errors.SignaturesRefused as refused:
        why = f"the note {refused.what}"
        wanted = signers(agreement, others)
        return [_of_party(each, SignatureState.INVALID, why) for each in wanted]


def add_signature(agreement: Agreement, note: str | None, key: SigningKey) -> str:
    """The note with a signature of this key, in place of an earlier one.

    Raises:
        SignaturesRefused: the given text is no note, or that of another file.
    """
    made = parse_note(sign_note(statement(agreement), [key]))
    others: Sequence[Signature] = ()
    if note is not None:
        others = [
            each for each in _parse(agreement, note).signatures if not each.claims(key.public)
        ]
    return str(Note(made.text, (*others, *made.signatures)))


def problems(agreement: Agreement, others: Iterable[Agreement] = ()) -> list[FileProblem]:
    """Why an agreement is not signed by all who have to sign it; empty if it is.

    Args:
        others: see `signers`.
    """
    try:
        states = signatures(agreement, read_note(agreement), others)
    except (errors.SignaturesRefused, errors.NoteFileRefused) as why:
        return [FileProblem(_KEY, f"{why.path} {why.what}")]
    return [
        FileProblem(_KEY, _what(each, agreement.path))
        for each in states
        if each.state is not SignatureState.SIGNED
    ]


def _of_party(party: Party, state: SignatureState, why: str = "") -> PartySignature:
    if state is SignatureState.INVALID and not why:
        why = "it is no signature of this file by this key"
    return PartySignature(party.agency, f"{party.key.name}+{party.key.id.hex()}", state, why)


def _what(found: PartySignature, path: Path) -> str:
    if found.state is SignatureState.MISSING:
        return f"{found.agency} has not signed; it runs `sinergi agreement sign {path.name}`"
    hint = "ask for its note, and compare the file byte by byte with its copy"
    return f"the signature of {found.agency} does not hold; {hint}"


def _parse(agreement: Agreement, note: str) -> Note:
    path = str(note_path(agreement.path))
    try:
        parsed = parse_bounded(note, _KEY, MOST_BYTES, MOST_SIGNATURES)
    except errors.NoteMalformed as why:
        raise errors.SignaturesRefused(path, f"is not a signed note ({why.what})") from None
    if parsed.text != statement(agreement):
        what = "signs another file: the agreement was changed after it was signed, or the note"
        raise errors.SignaturesRefused(path, f"{what} belongs to another version")
    return parsed


def _state(key: VerifyingKey, note: Note | None) -> SignatureState:
    if note is None:
        return SignatureState.MISSING
    try:
        verify_note(note, [key])
    except errors.SignatureMissing:
        return SignatureState.MISSING
    except errors.SignatureInvalid:
        return SignatureState.INVALID
    return SignatureState.SIGNED
