"""Settings that are read as an agreement: both are TOML files, and often lie side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sinergi_schemas.files.toml_file import FileProblem

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = frozenset(
    {
        "agency",
        "agreements",
        "unsigned_agreements",
        "confirmed_keys",
        "keys",
        "kafka",
        "producer",
        "consumer",
        "provision",
        "timeouts",
    }
)
"""The keys of a settings file that no agreement has. Both have `bus`."""
_AGREED = frozenset(
    {"title", "legal_basis", "replaces", "numbers", "in_force", "parties", "events"}
)
_FOLDER = "agreements"


def settings_problem(path: Path, document: dict[str, Any]) -> FileProblem | None:
    """The problem of a file that has keys of settings, and none of an agreement.

    Args:
        path: of the file.
        document: the parsed TOML.
    """
    if SETTINGS.isdisjoint(document) or not _AGREED.isdisjoint(document):
        return None
    named = document.get(_FOLDER, _FOLDER)
    folder = path.parent / (named if isinstance(named, str) else _FOLDER)
    hint = f"name an agreement of its folder, as {folder / '*.toml'}"
    if folder == path.parent:
        hint = "name the agreement instead, and keep settings outside the folder of agreements"
    return FileProblem("", f"is a file of settings, and no agreement; {hint}")
