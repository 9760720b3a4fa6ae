"""Files of agreements, for the commands about them: read, check, sign."""

from __future__ import annotations

import os
import tomllib
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from sinergi.settings.own_keys import held_keys
from sinergi_schemas import errors
from sinergi_schemas.agreements import file, signatures
from sinergi_schemas.agreements.collection import newest_first
from sinergi_schemas.agreements.contradictions import (
    contradictions,
    contradictions_between,
    missing_files,
)
from sinergi_schemas.agreements.key_steps import KnownFiles
from sinergi_schemas.agreements.replacement import no_longer, replaced_by, with_replacements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.files.input_file import matching, read_regular
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.files.toml_file import FileProblem
from sinergi_schemas.files.toml_limits import MOST_BYTES
from sinergi_schemas.near_names import did_you_mean
from sinergi_schemas.plain_text import listing, some
from sinergi_schemas.seal.note import key_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.agreements.signatures import PartySignature
    from sinergi_schemas.seal.keys import VerifyingKey


def read(paths: Iterable[Path]) -> tuple[Agreement, ...]:
    """Read agreements, the newest first.

    Raises:
        AgreementRefused: one of them cannot be read, or something is wrong in it.
    """
    return newest_first(file.parse(path, _bytes(path)) for path in paths)


class ReplacingFile(NamedTuple):
    """An agreement that replaces another one, and whether all have signed it who have to."""

    agreement: Agreement
    is_signed: bool


class ReplacedFile(NamedTuple):
    """An earlier agreement that another one replaces.

    Attributes:
        hash: the SHA-256 of its file.
        path: None if the file is not here.
        no_longer: who published, read and audited what by it, and does not by the one that
            replaces it.
    """

    hash: str
    path: Path | None
    no_longer: Sequence[str]


class ShownAgreement(NamedTuple):
    """An agreement that knows when it is replaced, and the files with which that begins.

    Attributes:
        replaces: the files that it names as replaced, in its order.
    """

    agreement: Agreement
    replaced_by: Sequence[ReplacingFile]
    replaces: Sequence[ReplacedFile]


class ShownAgreements(NamedTuple):
    """Agreements, judged together with the other files of their folders.

    Attributes:
        agreements: the newest first.
        contradictions: between them.
        unread: other files in which something is wrong, so that they do not count.
    """

    agreements: Sequence[ShownAgreement]
    contradictions: Sequence[tuple[Path, FileProblem]]
    unread: Sequence[Path]


def shown(
    paths: Iterable[Path], folders: Iterable[Path], confirmed: Iterable[VerifyingKey] = ()
) -> ShownAgreements:
    """Read agreements, and find out from the files of some folders when they are replaced.

    Args:
        confirmed: keys that the operator has compared with their agencies.

    Raises:
        AgreementRefused: one of them cannot be read, or something is wrong in it.
    """
    named = read(paths)
    known = {each.hash for each in named}
    others: dict[str, Agreement] = {}
    unread: list[Path] = []
    for path, data in _files(sorted(folders)):
        digest = sha256(data).hexdigest()
        if digest in known:
            continue
        agreement, _ = file.examine(path, data)
        if agreement is None:
            if _may_replace(data):
                unread.append(path)
        else:
            others[digest] = agreement
    context = with_replacements(newest_first([*named, *others.values()]))
    files = signatures.known_files(context, confirmed)
    found = [
        ShownAgreement(each, _replacing(each, files), _replaced(each, files))
        for each in context
        if each.hash in known
    ]
    return ShownAgreements(found, list(contradictions_between(named)), unread)


def _may_replace(data: bytes) -> bool:
    """Whether a file that cannot be used may state what it replaces."""
    try:
        return "replaces" in tomllib.loads(data.decode())
    except ValueError:
        return True


def _replacing(one: Agreement, files: KnownFiles) -> list[ReplacingFile]:
    """The agreements that take the place of one when it is first replaced."""
    by_hash = {each.hash: each for each in files.agreements}
    return [
        ReplacingFile(each, not signatures.problems(each, files))
        for each in by_hash.values()
        if each.starts == one.replaced_at and one.hash in replaced_by(each, by_hash)
    ]


def _replaced(one: Agreement, files: KnownFiles) -> list[ReplacedFile]:
    """The agreements that one names as replaced, and what it does not give any more.

    What a third file gives is left out of account: it may not be signed.
    """
    by_hash = {each.hash: each for each in files.agreements}
    return [
        ReplacedFile(digest, by_hash[digest].path, no_longer(by_hash[digest], one))
        if digest in by_hash
        else ReplacedFile(digest, None, ())
        for digest in one.replaces
    ]


class Findings(NamedTuple):
    """The faults and remarks about files of agreements, each with its file.

    Attributes:
        faults: everything that is wrong: in each file, and if nothing is, between them.
        remarks: what could not be checked.
    """

    faults: Sequence[tuple[Path, FileProblem]]
    remarks: Sequence[tuple[Path, FileProblem]]


def examine(
    paths: Iterable[Path], unknown_types: Collection[str] = (), *, is_whole_folder: bool
) -> Findings:
    """Examine agreements.

    Args:
        unknown_types: event types that may be in them although this version does not know them.
        is_whole_folder: an earlier file that is not among them is missing.

    Raises:
        AgreementRefused: a file cannot be read.
    """
    examined = [(path, *file.examine(path, _bytes(path))) for path in paths]
    whole = newest_first(agreement for _, agreement, _ in examined if agreement)
    found = [(path, each) for path, _, problems in examined for each in problems]
    found += [(each.path, fault) for each in whole for fault in _unknown(each, unknown_types)]
    if is_whole_folder:
        return Findings(found or list(contradictions(whole)), ())
    what = "the earlier file with the SHA-256 {} is not among the files that were checked"
    remarks = [
        (path, FileProblem("replaces", what.format(digest)))
        for path, digest in missing_files(whole)
    ]
    return Findings(found or list(contradictions_between(whole)), remarks)


def beside(agreement: Agreement, folders: Iterable[Path]) -> list[Agreement]:
    """An agreement, and those of some folders that can be read as its bus's.

    Files with faults are left out: `check` names these, and no signature depends on them.
    """
    found = {agreement.hash: agreement}
    for path, data in _files(folders):
        with suppress(errors.AgreementRefused):
            each = file.parse(path, data)
            found.setdefault(each.hash, each)
    return list(found.values())


def _files(folders: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """The files of agreements in some folders that can be read, with their bytes."""
    for folder in folders:
        paths: list[Path] = []
        # A folder that is not there, or cannot be read, has none; whoever calls says what is left.
        with suppress(OSError):
            paths = matching(folder, "*.toml")
        for path in paths:
            with suppress(errors.AgreementRefused):
                yield path, _bytes(path)


def sign(
    agreement: Agreement,
    agency: str,
    keys: Path,
    unknown_types: Collection[str] = (),
    known: KnownFiles | None = None,
) -> Sequence[PartySignature]:
    """Add the signatures of an agency to the note beside an agreement.

    It signs with its key, and with each key that this file replaces and no other file does.

    Args:
        keys: the folder with the agency's private keys.
        unknown_types: event types that may be in it although this version does not know them.
        known: the files beside it.

    Returns:
        The state of each signature that is needed.

    Raises:
        SigningRefused: the agency is no party, its private key is not in the folder, or the
            agreement has an event type that nobody knows.
        SignaturesRefused: the note cannot be used.
        NoteFileRefused: the note cannot be read or written.
        SettingsRefused: the folder cannot be read.
        KeyFileRefused: a file in the folder is no key, or others may read it.
    """
    known = known or KnownFiles()
    wanted = signatures.needed(agreement, known)
    own = [each for each in wanted if each.agency == agency]
    if not own:
        parties = some(dict.fromkeys(each.agency for each in wanted), ", ")
        raise errors.SigningRefused(agency, str(agreement.path), f"its parties are {parties}")
    if unknown := _unknown(agreement, unknown_types):
        raise errors.SigningRefused(agency, str(agreement.path), str(unknown[0]))
    held = {each.public: each for each in held_keys(keys).values()}
    if own[0].key not in held:
        what = f"the private half of {key_names([own[0].key])} is not in {keys}"
        raise errors.SigningRefused(agency, str(agreement.path), what)
    note = signatures.read_note(agreement)
    for each in own:
        if each.key in held:
            note = signatures.add_signature(agreement, note, held[each.key])
    _write(signatures.note_path(agreement.path), note or "")
    return signatures.signatures(agreement, note, known)


def _unknown(agreement: Agreement, allowed: Collection[str]) -> list[FileProblem]:
    """The event types of an agreement that may be misspelt."""
    known = Catalog.shipped().event_types
    return [
        FileProblem(
            f"events.{name}",
            f"is no event type of this version; if it is right, add `--unknown-type {name}`;"
            f" {did_you_mean(name, known)}",
        )
        for name in agreement.events
        if name not in known and name not in allowed
    ]


def _write(path: Path, text: str) -> None:
    """Write a note completely or not at all."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        made.unlink(missing_ok=True)  # where others may write, it might be a link to another file
        with made.open("x", encoding="utf-8") as file:
            file.write(text)
        made.replace(path)
    except OSError as why:
        made.unlink(missing_ok=True)
        raise errors.NoteFileRefused(str(path), f"cannot be written ({why.strerror})") from None


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path, MOST_BYTES)[1]
    except OSError as why:
        raise _refused(path, unread(why)) from None


def _refused(path: Path, what: str) -> errors.AgreementRefused:
    return errors.AgreementRefused(str(path), listing([f"{path}: {what}"]))
