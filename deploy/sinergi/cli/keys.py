"""`sinergi keys`: show an agency's public keys, and replace the one that signs its checkpoints."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from sinergi.cli import root, terminal
from sinergi.cli.options import command_group
from sinergi.settings import key_replacement, own_keys
from sinergi.settings.model import refused
from sinergi_producers.relay import store
from sinergi_schemas import errors
from sinergi_schemas.agreements.tables import NAME_PLACEHOLDER

if TYPE_CHECKING:
    from sinergi.settings.settings import Settings

app = command_group("keys", "Show this agency's public keys; replace the one for checkpoints.")


@app.command()
def show() -> None:
    """Print the public keys again, as the agency's part of an agreement.

    They are those of all private keys in the folder, whether an agreement shows them or not. The
    agency's full name is that of the newest agreement.

    Example: sinergi keys show > party.toml
    """
    settings = root.settings()
    agency, folder = settings.agency, settings.values.keys
    held = {
        path: key.public
        for path, key in own_keys.held_keys(folder).items()
        if key.name.split("/")[1:2] == [agency]
    }
    if not held:
        what = f"{folder} holds no key of {agency}; take its keys from the backup"
        new = "a new key (`sinergi init` in an empty folder makes one) needs a new agreement"
        raise refused(f"keys: {what}: {new}")
    for path, key in held.items():
        terminal.note(f"sinergi: {path} holds {key.name_with_id}")
    name = _full_name(settings)
    if name is None:
        terminal.note(f"sinergi: write the full name of {agency} in place of {NAME_PLACEHOLDER}")
    terminal.show_text(own_keys.party(agency, [*held.values()], name or NAME_PLACEHOLDER))


def _full_name(settings: Settings) -> str | None:
    """The agency's name in the newest agreement; None if none can be used or names the agency."""
    try:
        agreements = settings.agreements()
    except (errors.AgreementRefused, errors.SettingsRefused):
        return None  # the keys are shown for the very agreement that is not there yet
    named = (
        each.parties[settings.agency] for each in agreements if settings.agency in each.parties
    )
    return next((each.name for each in named), None)


@app.command()
def replace(
    margin: Annotated[
        int,
        typer.Option(
            min=0,
            help="How many more leaves of each partition the old key signs; 0 if it is stolen.",
        ),
    ] = 1_000,
) -> None:
    """Make the next key, and print its lines for the next agreement.

    The old key ends by tree size: up to its last size both keys sign. Nothing changes before that
    agreement is loaded, which both keys have to sign (`sinergi agreement sign`). A later run prints
    the same key with the sizes of that time. If the old key is stolen, stop every relay before you
    run it with `--margin 0`.

    Example: sinergi keys replace > lines.toml
    """
    settings = root.settings()
    agreements, agency = settings.agreements(), settings.agency
    with closing(store.OutboxStore(settings.producer_database)) as outbox:
        outbox.check()
        sizes = {share: tree.size for share, tree in outbox.trees().items()}
    folder = settings.values.keys
    key = key_replacement.following_key(folder, agreements.bus, agency, agreements.keys(agency))
    for each in key_replacement.successors(agreements, agency, key.public, sizes, margin):
        terminal.show_text(f"{each}\n")
    terminal.note(
        f"sinergi: the private key is in {folder}; back it up, and keep the old one: both sign the"
        " next agreement (`sinergi agreement sign`). Load the next agreement first where"
        " this agency's relay runs, and everywhere before a partition passes its last size."
    )
