"""Sinergi: the bus over which agencies share what they know about drug trafficking.

This package is the roof: what an agency's own system and an integrator import, each name loaded
when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sinergi_schemas.events import Event, Person, Seizure, SuspiciousVisit, Transfer

_PLACES = {
    "Event": "sinergi_schemas.events",
    "Person": "sinergi_schemas.events",
    "Seizure": "sinergi_schemas.events",
    "SuspiciousVisit": "sinergi_schemas.events",
    "Transfer": "sinergi_schemas.events",
}

__all__ = ["Event", "Person", "Seizure", "SuspiciousVisit", "Transfer"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
