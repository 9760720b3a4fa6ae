"""The error of the demo."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Fatal


class DemoFailed(Fatal):
    """The demo failed: {what} ({why}). This is a bug; `sinergi demo --keep FOLDER`
    leaves the logs to send along.
    """

    what: str
    why: str
