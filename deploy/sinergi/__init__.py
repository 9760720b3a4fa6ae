"""Sinergi: the bus over which agencies share what they know about drug trafficking.

An agency's own system and an integrator import this package. Each name is loaded when it is first
used, so that an agency's system never loads the libraries of a consumer.

    outbox = sinergi.open_outbox()
    with Session(engine) as session, session.begin():
        session.add(row)
        outbox.publish(session, sinergi.Transfer(…))
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # a command handles Ctrl-C once this is loaded, and `typing` takes long
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from sinergi_consumers.projections.projection import Projection, projection
    from sinergi_producers.outbox.publishing import Outbox
    from sinergi_schemas.codes import Action
    from sinergi_schemas.errors import Broken, Refused, SinergiError, Unavailable
    from sinergi_schemas.events import (
        Escort,
        Event,
        Exhibit,
        Find,
        Letter,
        Person,
        Place,
        RelatedRecord,
        Search,
        Seizure,
        SuspiciousVisit,
        Transfer,
        Unit,
    )

__all__ = [
    "Action",
    "Broken",
    "Escort",
    "Event",
    "Exhibit",
    "Find",
    "Letter",
    "Outbox",
    "Person",
    "Place",
    "Projection",
    "Refused",
    "RelatedRecord",
    "Search",
    "Seizure",
    "SinergiError",
    "SuspiciousVisit",
    "Transfer",
    "Unavailable",
    "Unit",
    "open_outbox",
    "projection",
]

_NAMES_OF_MODULES = {
    "sinergi_consumers.projections.projection": ("Projection", "projection"),
    "sinergi_producers.outbox.publishing": ("Outbox",),
    "sinergi_schemas.codes": ("Action",),
    "sinergi_schemas.errors": ("Broken", "Refused", "SinergiError", "Unavailable"),
    "sinergi_schemas.events": (
        "Escort",
        "Event",
        "Exhibit",
        "Find",
        "Letter",
        "Person",
        "Place",
        "RelatedRecord",
        "Search",
        "Seizure",
        "SuspiciousVisit",
        "Transfer",
        "Unit",
    ),
}
_MODULE_OF_NAME = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names}


def open_outbox(config: Path | str | None = None) -> Outbox:
    """The agency's outbox, by its settings and agreements.

    Args:
        config: the settings file, if it is not in the usual place.

    Raises:
        SettingsRefused: the settings cannot be used, or their agency is party to no agreement.
        AgreementRefused: an agreement cannot be used.
    """
    from pathlib import Path  # noqa: PLC0415 - importing the package loads nothing

    from sinergi.settings.settings import load  # noqa: PLC0415 - as above

    return load(None if config is None else Path(config)).outbox()


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF_NAME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
