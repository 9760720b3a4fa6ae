"""Errors of events, their schemas and their Avro encoding."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused
from sinergi_schemas.near_names import near_name


class EventRefused(Refused):
    """The {event_type} is refused: {summary}.

    Attributes:
        problems: everything that is wrong, each as field and rule, never with the value.
    """

    event_type: str
    problems: tuple[str, ...]

    @property
    def summary(self) -> str:
        """All problems in one line."""
        return "; ".join(self.problems)


class DatumInvalid(Refused):
    """A datum is not one of {schema}: {what}. Its owner must publish the record's next revision."""

    schema: str
    what: str


class SchemaRefused(Refused):
    """The schema {name} cannot be used: {what}."""

    name: str
    what: str


class EventTypeUnknown(Refused):
    """There is no event type {event_type}; {hint} install the version of Sinergi that has it.

    Attributes:
        known: the event types that there are.
    """

    event_type: str
    known: tuple[str, ...]

    @property
    def hint(self) -> str:
        """The nearest of them as a question, or all of them if they are too different."""
        if near := near_name(self.event_type, self.known):
            return f"did you mean {near}? If not,"
        return f"there are {', '.join(self.known)}. Name one of these, or"


class VersionUnknown(Refused):
    """There is no version {version} of {event_type}; the newest is {newest}."""

    event_type: str
    version: str
    newest: int
