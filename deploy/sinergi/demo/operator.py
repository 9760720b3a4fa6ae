"""The operator of the demo's brokers: what the agreement needs is made, and passwords handed over.

1. plan and apply, as `sinergi provision apply` does
2. give each password to its owner, whose settings name the file
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from sinergi.provision.passwords import PasswordFolder
from sinergi.provision.provisioner import Provisioner
from sinergi.settings import settings
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sinergi_schemas.kafka.connection import Connection


def provision(file: Path, owners: Mapping[str, Path]) -> Connection:
    """Make topics, users and rights.

    Args:
        file: the operator's settings.
        owners: the folder of each agency and auditor, by its name on the bus.

    Returns:
        How the operator connects.
    """
    held = settings.load(file, environment={})
    connection = held.connection()
    written: list[Path] = []
    passwords = PasswordFolder(held.values.provision.passwords, written.append)
    provisioner = Provisioner(open_admin(connection), passwords)
    plan = provisioner.plan(held.agreements(), SYSTEM.now())
    provisioner.apply(plan)  # 1
    plan.check_refused()
    for each in written:  # 2
        owner, _, _ = each.name.partition(".")
        shutil.move(each, owners[owner] / "passwords" / each.name)
    return connection
