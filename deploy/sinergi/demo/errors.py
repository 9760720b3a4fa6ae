"""The errors of the demo."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Fatal, Refused


class DemoFailed(Fatal):
    """The demo failed: {what} ({why}). This is a bug; `sinergi demo --keep FOLDER`
    leaves the logs to send along.
    """

    what: str
    why: str


class DemoFolderRefused(Refused):
    """The folder {path} cannot keep the demo: {what}. Name another with --keep."""

    path: str
    what: str
