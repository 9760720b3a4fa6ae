"""The agreements that a process takes: signed, of its bus, and with the agency's own key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.settings.model import refused
from sinergi.settings.own_keys import readable_keys
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.plain_text import listing
from sinergi_schemas.seal.keys import VerifyingKey
from sinergi_schemas.seal.note import key_names

if TYPE_CHECKING:
    from pathlib import Path

    from sinergi.settings.model import Values


def load(values: Values) -> Agreements:
    """The agreements of the folder that the settings name.

    Raises:
        AgreementRefused: with one line for each thing wrong in them.
        SettingsRefused: they are of another bus.
    """
    signed = not values.unsigned_agreements
    found = Agreements.load(values.agreements, signed=signed, confirmed=confirmed_keys(values))
    if values.bus not in (None, found.bus):
        what = f"is {values.bus}, but the agreements in {values.agreements} are"
        raise refused(f"bus: {what} of {found.bus}; mend the one that is wrong")
    if signed and values.agency:
        _check_own_key(found, values.agency, values.keys)
    return found


def confirmed_keys(values: Values) -> list[VerifyingKey]:
    """The keys that replace others which could not sign that."""
    text = values.confirmed_keys or ""
    return [VerifyingKey.parse(each.strip()) for each in text.split(",") if each]


def _check_own_key(agreements: Agreements, agency: str, folder: Path) -> None:
    """Refuse a key in place of one that this agency holds, if it does not hold the new one.

    Whoever has stolen the old key can sign such a file, and only the agency knows that it did not.
    A process that holds no key for checkpoints, as that of a reader, cannot tell.

    Raises:
        AgreementRefused: it names the file.
    """
    files = [each for each in agreements if agency in each.parties]
    if not files:
        return
    last = max(files, key=lambda each: len(each.parties[agency].keys))
    *replaced, key = last.parties[agency].keys
    held = readable_keys(folder) if replaced else frozenset()
    if key in held or not held.intersection(replaced):
        return
    old = key_names(each for each in replaced if each in held)
    what = f"parties.{agency}.keys: is {key_names([key])}, which is not in {folder}"
    hint = f"put it there; if {agency} has not replaced its key, {old} is stolen: remove this file"
    lines = listing([f"{last.path}: {what} beside {old}; {hint}, and tell the parties"])
    raise errors.AgreementRefused(str(last.path), lines)
