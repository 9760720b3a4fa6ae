"""Files of agreements, for the commands about them: read, check, sign."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sinergi.settings.own_keys import held_keys
from sinergi_schemas import errors
from sinergi_schemas.agreements import file, signatures
from sinergi_schemas.agreements.collection import newest_first
from sinergi_schemas.agreements.contradictions import contradictions
from sinergi_schemas.files.input_file import read_regular
from sinergi_schemas.files.toml_limits import MOST_BYTES
from sinergi_schemas.plain_text import listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sinergi_schemas.agreements.model import Agreement
    from sinergi_schemas.agreements.signatures import PartySignature
    from sinergi_schemas.files.toml_file import FileProblem


def read(paths: Iterable[Path]) -> tuple[Agreement, ...]:
    """Read agreements, the newest first.

    Raises:
        AgreementRefused: one of them cannot be read, or something is wrong in it.
    """
    return newest_first(file.parse(path, _bytes(path)) for path in paths)


def faults(paths: Iterable[Path]) -> list[tuple[Path, FileProblem]]:
    """Everything that is wrong in agreements: in each, and if nothing is, between them.

    Raises:
        AgreementRefused: a file cannot be read.
    """
    examined = [(path, *file.examine(path, _bytes(path))) for path in paths]
    found = [(path, each) for path, _, problems in examined for each in problems]
    whole = newest_first(agreement for _, agreement, _ in examined if agreement)
    return found or list(contradictions(whole))


def sign(agreement: Agreement, agency: str, keys: Path) -> Sequence[PartySignature]:
    """Add the signature of an agency to the note beside an agreement.

    Args:
        keys: the folder with the agency's private keys.

    Returns:
        Which parties have signed now.

    Raises:
        SigningRefused: the agency is no party, or its private key is not in the folder.
        SignaturesRefused: the note cannot be used or written.
        SettingsRefused: the folder cannot be read.
        KeyFileRefused: a file in the folder is no key, or others may read it.
    """
    party = agreement.parties.get(agency)
    if party is None:
        parties = ", ".join(agreement.parties)
        raise errors.SigningRefused(agency, str(agreement.path), f"its parties are {parties}")
    held = held_keys(keys).values()
    key = next((each for each in held if each.public == party.key), None)
    if key is None:
        what = f"the private half of {party.key.name}+{party.key.id.hex()} is not in {keys}"
        raise errors.SigningRefused(agency, str(agreement.path), what)
    note = signatures.add_signature(agreement, signatures.read_note(agreement), key)
    _write(signatures.note_path(agreement.path), note)
    return signatures.signatures(agreement, note)


def verified(agreement: Agreement) -> list[PartySignature]:
    """Whether each party has signed an agreement.

    Raises:
        SignaturesRefused: the note beside it cannot be used.
    """
    return signatures.signatures(agreement, signatures.read_note(agreement))


def _write(path: Path, text: str) -> None:
    """Write a note completely or not at all."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        made.write_text(text, encoding="utf-8")
        made.replace(path)
    except OSError as why:
        made.unlink(missing_ok=True)
        raise errors.SignaturesRefused(str(path), f"cannot be written ({why.strerror})") from None


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path, MOST_BYTES)[1]
    except OSError as why:
        raise _refused(path, f"cannot be read ({why.strerror})") from None


def _refused(path: Path, what: str) -> errors.AgreementRefused:
    return errors.AgreementRefused(str(path), listing([f"{path}: {what}"]))
