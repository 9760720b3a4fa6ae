"""Errors of the files that a command reads or writes."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused, ServiceAway


class OutputRefused(Refused):
    """{path} cannot be written ({why}); {remedy}."""

    path: str
    why: str
    remedy: str = "name another file"


class OutputExists(Refused):
    """{path} already exists, and is not overwritten: name another file, or add --force."""

    path: str


class InputRefused(Refused):
    """{path} cannot be published: {what}. Nothing was published."""

    path: str
    what: str


class InputChanged(Refused):
    """Somebody wrote to {path} while it was read, at about line {line}. What was published before
    that stays. Let the writer finish, and publish a copy that nobody writes to.
    """

    path: str
    line: int


class IntakeStopped(ServiceAway):
    """{path} is published up to line {line} and no further: the database is not available ({why}).
    Run the same command again when it is; it goes on from there.
    """

    path: str
    line: int
    why: str


class IntakeNotBegun(ServiceAway):
    """Nothing of {path} was published: the database is not available ({why}). Check it, and its
    address, user and password in the setting `producer.database`.
    """

    path: str
    why: str


class MappingRefused(Refused):
    """{path} cannot be used as a mapping; nothing was published:{listing}

    The listing holds every problem on a line of its own.
    """

    path: str
    listing: str
