"""Errors of events, their schemas and their Avro encoding."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused


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
    """There is no event type {event_type}; there are {known}. Name one of these, or install the
    version of Sinergi that has it.
    """

    event_type: str
    known: str


class VersionUnknown(Refused):
    """There is no version {version} of {event_type}; the newest is {newest}."""

    event_type: str
    version: str
    newest: int
