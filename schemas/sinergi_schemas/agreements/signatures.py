"""The signatures of the parties of an agreement: a C2SP signed note beside its file.

    <bus>/agreement
    <SHA-256 of the file's bytes, 64 hexadecimal digits>
                                                              an empty line
    — <bus>/<agency> <base64(key id ‖ signature)>             one line for each party

The note of `pks.toml` is `pks.toml.note`. Each party signs with the key that the file gives it for
its checkpoints. If the file replaces a key of a party, that key signs as well; see `key_steps`. The
first line keeps a signature of an agreement apart from one of a tree: no origin of a tree has this
form.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas import errors
from sinergi_schemas.agreements.key_steps import KeyStep, KnownFiles, steps
from sinergi_schemas.files.input_file import read_regular
from sinergi_schemas.files.toml_file import FileProblem
from sinergi_schemas.seal.note import (
    MOST_SIGNATURES,
    Note,
    Signature,
    key_names,
    parse_bounded,
    parse_note,
    sign_note,
    verify_note,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.seal.keys import SigningKey, VerifyingKey

MOST_BYTES = 64 * 1024
_KEY = "signatures"


class SignatureState(StrEnum):
    """Whether a party has signed."""

    SIGNED = "signed"
    MISSING = "missing"
    INVALID = "invalid"


class NeededSignature(NamedTuple):
    """A signature without which an agreement is refused.

    Attributes:
        agency: whose key it is.
        key: has to sign.
        replaced_by: the key that replaces it in this file; None for the key that a party has now.
    """

    agency: str
    key: VerifyingKey
    replaced_by: VerifyingKey | None = None


class PartySignature(NamedTuple):
    """Whether a needed signature is there.

    Attributes:
        key: name and id of the key that has to sign.
        why: why the signature is invalid, or that the file replaces the key; else empty.
        public_key: the whole key, for people who compare it.
    """

    agency: str
    key: str
    state: SignatureState
    why: str
    public_key: str


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


def known_files(
    agreements: Sequence[Agreement], confirmed: Iterable[VerifyingKey] = ()
) -> KnownFiles:
    """The files of a folder, and which of them witness a replacement of a key.

    Args:
        confirmed: keys that the operator has compared with their agencies.
    """
    witnesses: dict[KeyStep, set[str]] = {}
    for each in agreements:
        for step in _signed_steps(each):
            witnesses.setdefault(step, set()).add(each.hash)
    frozen = {step: frozenset(hashes) for step, hashes in witnesses.items()}
    return KnownFiles(tuple(agreements), frozen, frozenset(confirmed))


def needed(agreement: Agreement, known: KnownFiles) -> list[NeededSignature]:
    """The signatures that an agreement needs, first those of its parties, in the file's order.

    Its parties sign, and those that it leaves out of an agreement that it replaces: otherwise any
    two agencies could end the rights of all others. A key that the file replaces signs too, unless
    another file witnesses the replacement: otherwise a file could give any agency any key.
    """
    found = []
    for party in agreement.parties.values():
        found.append(NeededSignature(party.agency, party.key))
        found += [
            NeededSignature(party.agency, step.before, step.after)
            for step in known.unwitnessed(agreement, party.agency)
        ]
    leaving = {
        party.agency: known.latest_key(party)
        for each in known.agreements
        if each.hash in agreement.replaces
        for party in each.parties.values()
        if party.agency not in agreement.parties
    }
    return [*found, *(NeededSignature(agency, key) for agency, key in leaving.items())]


def signatures(
    agreement: Agreement, note: str | None, known: KnownFiles | None = None
) -> list[PartySignature]:
    """The state of each signature that is needed, as `needed` lists them.

    Args:
        note: the text of the note, if there is one.
        known: None: no other file.

    Raises:
        SignaturesRefused: it is no note, or that of another file.
    """
    parsed = None if note is None else _parse(agreement, note)
    wanted = needed(agreement, known or KnownFiles())
    return [_shown(each, _state(each.key, parsed)) for each in wanted]


def judged(agreement: Agreement, known: KnownFiles | None = None) -> list[PartySignature]:
    """As `signatures` of the note beside the file; if that cannot be used, none of them holds.

    Raises:
        NoteFileRefused: the note cannot be read.
    """
    try:
        return signatures(agreement, read_note(agreement), known)
    except errors.SignaturesRefused as refused:
        why = f"the note {refused.what}"
        wanted = needed(agreement, known or KnownFiles())
        return [_shown(each, SignatureState.INVALID, why) for each in wanted]


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


def problems(agreement: Agreement, known: KnownFiles | None = None) -> list[FileProblem]:
    """Why an agreement lacks a signature that it needs; empty if it has them all."""
    known = known or KnownFiles()
    try:
        note = read_note(agreement)
        parsed = None if note is None else _parse(agreement, note)
    except (errors.SignaturesRefused, errors.NoteFileRefused) as why:
        return [FileProblem(_KEY, f"{why.path} {why.what}")]
    states = ((each, _state(each.key, parsed)) for each in needed(agreement, known))
    return [
        FileProblem(_KEY, _what(each, state, agreement.path))
        for each, state in states
        if state is not SignatureState.SIGNED
    ]


def _signed_steps(agreement: Agreement) -> Iterator[KeyStep]:
    """The steps that a file states, and that both their keys have signed in the note beside it."""
    stated = [step for party in agreement.parties.values() for step in steps(party)]
    if not stated:
        return
    try:
        note = read_note(agreement)
        parsed = None if note is None else _parse(agreement, note)
    except (errors.SignaturesRefused, errors.NoteFileRefused):
        return  # the file itself is refused for that, with the reason
    for step in stated:
        if all(_state(key, parsed) is SignatureState.SIGNED for key in step):
            yield step


def _shown(found: NeededSignature, state: SignatureState, why: str = "") -> PartySignature:
    if state is SignatureState.INVALID and not why:
        why = "it is no signature of this file by this key"
    if found.replaced_by is not None:
        replaced = f"the file replaces this key by {key_names([found.replaced_by])}"
        why = f"{why}; {replaced}" if why else replaced
    return PartySignature(found.agency, key_names([found.key]), state, why, str(found.key))


def _what(found: NeededSignature, state: SignatureState, path: Path) -> str:
    if state is SignatureState.INVALID:
        hint = "ask for its note, and compare the file byte by byte with its copy"
        return f"the signature of {found.agency} does not hold; {hint}"
    if found.replaced_by is None:
        return f"{found.agency} has not signed; it runs `sinergi agreement sign {path.name}`"
    old, new = key_names([found.key]), key_names([found.replaced_by])
    what = f"it replaces the key {old} of {found.agency} by {new}, which {old} has not signed"
    hint = f"{found.agency} runs `sinergi agreement sign {path.name}` where it holds both keys"
    lost = "if the old one is lost, compare the new one with it, and add it to confirmed_keys"
    return f"{what}; {hint}; {lost}"


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
