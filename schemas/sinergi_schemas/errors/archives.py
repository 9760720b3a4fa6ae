"""Errors of archives of topics."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused


class ArchiveRefused(Refused):
    """{path} cannot be used as an archive: {what}. `sinergi archive create` writes one."""

    path: str
    what: str


class ArchiveDamaged(Refused):
    """{path} is not as it was written: {member}, byte {at}: {what}. Nothing after that place is
    used. Fetch the file again from where it was kept.

    Attributes:
        member: of the ZIP file.
        at: the place in the member.
    """

    path: str
    member: str
    at: int
    what: str


class NotArchived(Refused):
    """{path} has no {topic}. `sinergi archive show` lists what it has; archive the topic too, or
    read it from the brokers.
    """

    path: str
    topic: str


class RestoreRefused(Refused):
    """The topic cannot be restored: {what}."""

    what: str
