"""Provisions again and again, so that rights begin and end with the agreements that give them.

1. read the agreements; if they cannot be used, those that were read before stay in use
2. plan, and do what there is to do
3. wait until an agreement begins, or the rights of one end, or for some time: the folder may
   change, and so may the cluster
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from sinergi.provision.access import AccessAction
from sinergi.provision.progress import Progress
from sinergi.provision.rights import NO_GRACE
from sinergi.provision.topics import TopicAction
from sinergi_schemas import errors
from sinergi_schemas.agreements.reload_report import ReloadReport
from sinergi_schemas.backoff import Backoff
from sinergi_schemas.observer import UNOBSERVED, WorkState

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from sinergi.provision.plan import ProvisionPlan
    from sinergi.provision.provisioner import Provisioner
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.observer import Observer

_log = structlog.get_logger(__name__)

_LATEST = datetime.max.replace(tzinfo=UTC)
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0


class ProvisionWatch:
    """Makes a cluster again and again what the agreements require.

    Args:
        load: reads the agreements.
        seconds: how long to wait at most before the next look.
        observer: is told what the process does.
    """

    def __init__(
        self,
        provisioner: Provisioner,
        load: Callable[[], Agreements],
        clock: Clock,
        seconds: float,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._observer = observer
        self._provisioner = provisioner
        self._load = load
        self._clock = clock
        self._seconds = seconds
        self._agreements = load()
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._reload_report = ReloadReport(observer)
        self._logged: set[str] = set()
        self._interrupted: set[str] = set()
        self._standing: tuple[int, int, int] | None = None

    def run(self, stopping: Event) -> None:
        """Provision until `stopping` is set.

        Raises:
            Refused: for example `PasswordFileRefused`: a person has to mend something first. The
                rights that have ended are removed before.
        """
        while not stopping.is_set():
            self._observer.turned()
            self._reload()  # 1
            at, progress = self._clock.now(), Progress()
            try:
                plan = self._provisioner.plan(self._agreements, at)  # 2
                self._provisioner.apply(plan, progress)
            except errors.Unavailable as why:
                if progress.counts:
                    _log.warning("interrupted after changes", **progress.counts)
                self._wait(why, stopping)
                continue
            if plan.hindrance:
                self._report(plan)
                self._wait(plan.hindrance, stopping)
                continue
            self._backoff.reset()
            self._report(plan)
            self._observer.entered(WorkState.WORKING)
            pause = self._pause(at)
            self._observer.turned(pause)
            stopping.wait(pause)  # 3

    def _wait(self, why: errors.Unavailable, stopping: Event) -> None:
        self._observer.failed(why)
        self._observer.entered(WorkState.WAITING, why)
        self._observer.turned(self._backoff.pause)
        self._backoff.wait(why, stopping)

    def _reload(self) -> None:
        try:
            found = self._load()
        except errors.Refused as why:  # as `AgreementRefused`, or `SettingsRefused` for another bus
            self._reload_report.failed(why)
            return
        self._reload_report.succeeded()
        if found.versions != self._agreements.versions:
            self._reload_report.changed(found)
        self._agreements = found

    def _report(self, plan: ProvisionPlan) -> None:
        self._observer.refused(len(plan.refused), len(plan.refused_users))
        for topic in plan.topics:
            if topic.verdict is TopicAction.REFUSED:
                self._log_once("topic refused", f"{topic.topic}: {topic.what}")
            elif topic.verdict not in (TopicAction.OK, TopicAction.WAITING):
                _log.info(f"topic: {topic.verdict}", topic=topic.topic, what=topic.what)
                self._observer.changed("topic", topic.verdict)
        for each in plan.access or ():
            if each.action is AccessAction.REFUSED and each.entry is None:
                self._log_once("user refused", f"{each.principal}: {each.why}")
            elif each.action in (AccessAction.CREATE, AccessAction.REMOVE):
                what = "user" if each.entry is None else str(each.entry)
                self._observer.changed("user" if each.entry is None else "right", each.action)
                _log.info(f"{each.action}", principal=each.principal, what=what, why=each.why)
        self._report_interrupted()
        if plan.access is None:
            self._log_once("no user and no right was made", "the brokers have no authorizer")
        self._report_standing(plan)

    def _report_interrupted(self) -> None:
        """Log the users whose password was being replaced when a command ended, or an apply failed.

        A user that the brokers do not have is no more among them: it has just got a new password.
        """
        found = set(self._provisioner.passwords.unset())
        for user in sorted(found - self._interrupted):
            _log.warning(
                "replacing a password was interrupted: the old or the new one holds",
                user=user,
                mend="run `sinergi provision rotate` for its owner",
            )
        self._interrupted = found

    def _report_standing(self, plan: ProvisionPlan) -> None:
        """Log how much the agreements want and the brokers have, at first and when it changes."""
        wanted = (AccessAction.OK, AccessAction.CREATE)
        access = [each for each in plan.access or () if each.action in wanted]
        users = sum(each.entry is None for each in access)
        topics = len(plan.topics) - len(plan.refused) - len(plan.waiting)
        found = (topics, users, len(access) - users)
        if found != self._standing:
            self._standing = found
            _log.info("as agreed", topics=found[0], users=found[1], rights=found[2])

    def _log_once(self, event: str, why: str) -> None:
        if why not in self._logged:
            self._logged.add(why)
            _log.warning(event, why=why)

    def _pause(self, at: datetime) -> float:
        """The seconds until rights begin or end, if that comes before the next look.

        Args:
            at: the time that was planned for. What begins or ends after it may have come already.
        """
        now, grace = self._clock.now(), self._provisioner.grace
        # A right that ends is taken away when the grace is over.
        left = [
            (change - now + later).total_seconds()
            for later in {NO_GRACE, grace}
            for change in self._agreements.changes_between(at - later, _LATEST)
        ]
        return min([self._seconds, *(max(0.0, each) for each in left)])
