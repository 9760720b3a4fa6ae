"""Reports, in every process that reads the agreements again, whether that succeeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from sinergi_schemas import errors
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.observer import Observer

_log = structlog.get_logger(__name__)

FAILED = "agreements could not be reloaded; the loaded ones stay in use"
MENDED = "agreements can be reloaded again"
CHANGED = "agreements have changed"


class ReloadReport:
    """Logs when the agreements cannot be reloaded, and when they can be again.

    A reason is logged once, and not at every attempt.

    Args:
        observer: is told of each attempt.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._logged: str | None = None

    def failed(self, why: errors.Refused) -> None:
        """They cannot be used; those that were loaded before stay in use."""
        self._observer.reloaded(is_loaded=False)
        if str(why) != self._logged:
            self._logged = str(why)
            _log.error(FAILED, why=self._logged)

    def succeeded(self) -> None:
        """They can be used, whether or not they have changed."""
        self._observer.reloaded(is_loaded=True)
        if self._logged is not None:
            self._logged = None
            _log.info(MENDED)

    def changed(self, agreements: Agreements) -> None:
        """They differ from those that were loaded before, and are in use from now on."""
        _log.info(CHANGED, files=[each.path.name for each in agreements])
