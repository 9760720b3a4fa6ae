"""The private keys of an agency: those that the agreements require, and all in its folder."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import tomli_w

from sinergi.settings.model import refused
from sinergi_schemas import errors
from sinergi_schemas.agreements.tables import NAME_PLACEHOLDER
from sinergi_schemas.files.input_file import matching
from sinergi_schemas.files.read_failures import unread
from sinergi_schemas.plain_text import some
from sinergi_schemas.seal.keys import Algorithm, SigningKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sinergi_schemas.seal.keys import VerifyingKey


def held_keys(folder: Path) -> dict[Path, SigningKey]:
    """Every key of a folder, by its file; none if there is no such folder.

    Raises:
        SettingsRefused: the folder cannot be read.
        KeyFileRefused: a file in the folder is no key, or others may read it.
    """
    try:
        found = matching(folder, "*.key")
    except FileNotFoundError:
        return {}
    except OSError as why:
        raise refused(f"keys: {folder} {unread(why, is_folder=True)}") from None
    return {path: SigningKey.load(path) for path in found}


def readable_keys(folder: Path) -> frozenset[VerifyingKey]:
    """The public halves of the keys of a folder that this user may read and use."""
    found = set()
    try:
        paths = matching(folder, "*.key")
    except OSError:
        return frozenset()  # an application that only publishes has no right to it
    for path in paths:
        # Whoever needs the key itself reads it by `held_keys`, and is told what is wrong.
        with suppress(errors.KeyFileRefused):
            found.add(SigningKey.load(path).public)
    return frozenset(found)


def wanted_keys(folder: Path, wanted: Sequence[VerifyingKey], what: str) -> list[SigningKey]:
    """The private keys whose public halves the agreements show.

    Args:
        what: the name of the wanted key, for the error.

    Raises:
        SettingsRefused: there is none; it says what is wanted, and what was found instead. Or the
            folder cannot be read.
        KeyFileRefused: as `held_keys`.
    """
    held = held_keys(folder)
    known = {str(key) for key in wanted}
    found = [key for key in held.values() if str(key.public) in known]
    if not found:
        raise _absent(folder, wanted, what, held)
    return found


def party(agency: str, held: Sequence[VerifyingKey], name: str = NAME_PLACEHOLDER) -> str:
    """An agency's part of an agreement with its public keys, in TOML."""
    lines = [f"[parties.{agency}]", tomli_w.dumps({"name": name}).rstrip()]
    checkpoints = [f'"{key}"' for key in held if key.algorithm is Algorithm.ED25519]
    receipts = [
        f'{{ database = "{key.name.rpartition("/")[2]}", key = "{key}" }}'
        for key in held
        if key.algorithm is Algorithm.COSIGNATURE
    ]
    lines.append(f"keys = [{', '.join(checkpoints)}]")
    lines.append(f"receipt_keys = [{', '.join(receipts)}]")
    return "\n".join((*lines, ""))


def _absent(
    folder: Path, wanted: Sequence[VerifyingKey], what: str, held: dict[Path, SigningKey]
) -> errors.SettingsRefused:
    if not folder.is_dir():
        why = "there is no such folder"
    elif not held:
        why = "it holds no *.key file"
    else:
        holding = (f"{path.name} holds {key.public.name_with_id}" for path, key in held.items())
        why = some(holding, ", ")
    names = " or ".join(each.name_with_id for each in wanted)
    hint = f"the agreements show {names}: put the file with that private key there"
    if held:
        hint += ", or let the parties agree on a key that is there (`sinergi keys show`)"
    return refused(f"keys: {what} is not in {folder} ({why}); {hint}")
