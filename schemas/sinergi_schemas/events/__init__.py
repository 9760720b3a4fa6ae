"""The event types of the contract: pydantic models that validate events before publishing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from sinergi_schemas.errors import EventRefused, EventTypeUnknown
from sinergi_schemas.events.common import (
    Event,
    Letter,
    Part,
    Person,
    Place,
    RelatedRecord,
    Unit,
)
from sinergi_schemas.events.seizure import Exhibit, Seizure
from sinergi_schemas.events.suspicious_visit import Find, Search, SuspiciousVisit
from sinergi_schemas.events.transfer import Escort, Transfer
from sinergi_schemas.events.wording import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MODELS",
    "Escort",
    "Event",
    "Exhibit",
    "Find",
    "Letter",
    "Part",
    "Person",
    "Place",
    "RelatedRecord",
    "Search",
    "Seizure",
    "SuspiciousVisit",
    "Transfer",
    "Unit",
    "parse",
    "revalidated",
]

EventT = TypeVar("EventT", bound=Event)

MODELS: dict[str, type[Event]] = {
    model.event_type: model for model in (Seizure, SuspiciousVisit, Transfer)
}
"""The model of each event type."""


def parse(event_type: str, document: Mapping[str, Any]) -> Event:
    """Validate a document and return its event.

    Args:
        event_type: its slug.
        document: as parsed from JSON, with numbers read as Decimal.

    Raises:
        EventRefused: the document breaks rules of the contract; the error names all of them.
        EventTypeUnknown: there is no such event type.
    """
    if event_type not in MODELS:
        raise EventTypeUnknown(event_type, tuple(MODELS))
    try:
        return MODELS[event_type].model_validate(document)
    except ValidationError as error:
        raise refused(event_type, MODELS[event_type], error) from None


def revalidated(event: EventT) -> EventT:
    """Validate an event again, and return it as a new event would be.

    pydantic's `model_copy` and `model_construct` validate nothing, neither values nor names.

    Raises:
        EventRefused: it breaks rules of the contract, or it has no event type.
    """
    model = type(event)
    event_type = getattr(model, "event_type", None)
    if event_type is None:
        what = "has no event type: make an event of one, such as sinergi.Transfer(…)"
        raise EventRefused(model.__name__, (what,))
    try:
        return model.model_validate(event)
    except ValidationError as error:
        raise refused(event_type, model, error) from None
