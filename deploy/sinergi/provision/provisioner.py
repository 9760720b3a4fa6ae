"""Plans and applies what the agreements in force need on one cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi.provision.access import access_steps
from sinergi.provision.access_control import AccessControl
from sinergi.provision.clock_check import removes_users, with_kept_users
from sinergi.provision.cluster import Cluster
from sinergi.provision.plan import ProvisionPlan
from sinergi.provision.progress import Progress
from sinergi.provision.rights import NO_GRACE
from sinergi.provision.topics import wanted
from sinergi_schemas.kafka.admin import cluster_id, latest_time
from sinergi_schemas.topics import control_topic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sinergi.provision.access import AccessStep, FoundAccess
    from sinergi.provision.passwords import PasswordFolder
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.kafka.admin import Admin


@dataclass(frozen=True, slots=True)
class Provisioner:
    """What changes a cluster according to the agreements.

    Attributes:
        passwords: where the passwords of new users go.
        copies: of each partition of a new topic; see `Cluster`.
        unknown_types: event types whose topics are made although this version lacks them.
        grace: for how long after an agreement's end its rights and users are kept.
        takes_open_brokers: brokers without access control are meant so.
        trusts_clock: this machine's clock alone may end a login; see `clock_check`.
    """

    admin: Admin
    passwords: PasswordFolder
    copies: int | None = None
    unknown_types: Sequence[str] = ()
    grace: timedelta = NO_GRACE
    takes_open_brokers: bool = False
    trusts_clock: bool = False

    @property
    def access_control(self) -> AccessControl:
        """The users and rights of the cluster."""
        return AccessControl(self.admin, self.passwords)

    def plan(self, agreements: Agreements, at: datetime) -> ProvisionPlan:
        """What has to be done; it changes nothing.

        Rights and users that have ended are in it whatever hinders a topic that is missing.

        Raises:
            NotPermitted, SinergiError: as `Cluster.plan` and `AccessControl.read`.
        """
        topics = Cluster(self.admin, self.copies).plan(wanted(agreements, at, self.unknown_types))
        open_brokers = () if self.takes_open_brokers else self.access_control.open_brokers()
        found = self.access_control.read()
        access = None if found is None else self._access(agreements, at, found)
        files = {each.path.name: each.hash for each in agreements}
        cluster = cluster_id(self.admin)
        types = self.unknown_types
        return ProvisionPlan(agreements.bus, cluster, files, types, topics, access, open_brokers)

    def _access(
        self, agreements: Agreements, at: datetime, found: FoundAccess
    ) -> Sequence[AccessStep]:
        steps = access_steps(agreements, at, found, self.grace)
        if self.trusts_clock or not removes_users(steps):
            return steps
        heads = sorted(control_topic(each) for each in agreements.agencies)
        return with_kept_users(steps, agreements, latest_time(self.admin, heads))

    def _check_passwords(self, plan: ProvisionPlan) -> None:
        """Check that the passwords of new users can be written, before anything is made.

        Raises:
            PasswordFileRefused: the folder cannot hold them.
        """
        if plan.new_users:
            self.passwords.check()

    def apply(self, plan: ProvisionPlan, progress: Progress | None = None) -> None:
        """Do what a plan says: first remove the rights and users that have ended.

        So nothing that cannot be made keeps a right that has ended. Topics come next, so that no
        right that begins stands in their way. A topic that is refused or waits is left as it is,
        and the caller reports it.

        Args:
            progress: counts what the brokers have confirmed.

        Raises:
            PasswordFileRefused, NotPermitted, SinergiError: as `AccessControl.remove`, `create`
                and `Cluster.apply`. Doing it again does what is left.
        """
        done, access = progress or Progress(), plan.access or ()
        self.access_control.remove(access, done)
        self._check_passwords(plan)
        Cluster(self.admin, self.copies).apply(plan.topics, done)
        self.access_control.create(access, done)
