"""Errors of settings, agreements and the commands that set up a bus."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused


class AgencyCommand(Refused):
    """`sinergi {command}` is for an agency: it compares the agency's own database, and these
    settings name no agency. An auditor verifies topics with `sinergi verify`, shows one record with
    `sinergi record`, and makes a file of both with `sinergi evidence create`.
    """

    command: str


class ReaderCommand(Refused):
    """`sinergi {command}` works on the database of a reading agency, and these settings name none
    (consumer.database). That agency can run it, with its settings: `sinergi --config FILE
    {command}`.
    """

    command: str


class SettingsRefused(Refused):
    """The settings cannot be used:{listing}

    The listing holds every problem on a line of its own: who gave it, key, what, how to mend it.
    """

    listing: str


class ExtraMissing(Refused):
    """`{command}` needs the library {library}, which is not installed here. Install it from your
    clone of Sinergi: `pip install '/path/to/the/clone[{extra}]'`. No package index has Sinergi.
    """

    command: str
    library: str
    extra: str


class ListenRefused(Refused):
    """`--listen {address}` cannot be used: {why}."""

    address: str
    why: str


class InitRefused(Refused):
    """{what}. Nothing was written."""

    what: str


class ProvisionRefused(Refused):
    """This is refused and was left as it is; all else is done:{listing}"""

    listing: str


class ExportRefused(Refused):
    """Nothing was exported:{listing}"""

    listing: str


class PlanRefused(Refused):
    """{path} {what}. Make a plan with `sinergi provision plan --out FILE`."""

    path: str
    what: str


class PlanOutdated(Refused):
    """{path} is not the plan that would be made now, so nothing was done: {cause}. Make a new plan
    and read it. The differences:{listing}
    """

    path: str
    cause: str
    listing: str


class PlanDone(Refused):
    """Everything in the plan {path} is done already: delete it. Nothing is left to do."""

    path: str


class RotationRefused(Refused):
    """The passwords of {owner} cannot be replaced: {what}."""

    owner: str
    what: str


class PasswordFileRefused(Refused):
    """{path} {what}. A new password goes there; it was not set on the brokers."""

    path: str
    what: str


class AgreementRefused(Refused):
    """{path} cannot be used as an agreement:{listing}

    The listing holds every problem on a line of its own: file, key, what, how to mend it.
    """

    path: str
    listing: str


class AgreementFolderRefused(AgreementRefused):
    """{path} cannot be used as the folder of agreements (the setting `agreements`):{listing}"""


class SigningRefused(Refused):
    """{agency} cannot sign {path}: {what}."""

    agency: str
    path: str
    what: str


class NoteFileRefused(Refused):
    """{path} {what}. It is the note with the parties' signatures of an agreement: let this user
    read and write it.
    """

    path: str
    what: str


class SignaturesRefused(Refused):
    """{path} {what}. It is the note with the parties' signatures of an agreement: ask the other
    parties for theirs, or move it away and sign again.
    """

    path: str
    what: str


class NotAgreed(Refused):
    """No agreement in force covers {topic}{period}. Agreements are the *.toml files in the folder
    that sinergi.toml names; ask the parties for the one that covers it.
    """

    topic: str
    when: str = ""
    """Which file covered it until when, or covers it from when; empty without one."""

    @property
    def period(self) -> str:
        """The part of the message that says so."""
        return f" ({self.when})" if self.when else ""


class NothingToPublish(Refused):
    """The agreements in {folder} let {agency} publish nothing; it needs no relay."""

    folder: str
    agency: str


class NothingToRead(Refused):
    """The agreements in {folder} let {agency} read nothing. Ask the parties for one that names it
    among the readers of an event type.
    """

    folder: str
    agency: str
