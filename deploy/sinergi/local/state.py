"""The stored state of a folder of local services: their ports, password and mark."""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import socket
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from sinergi.local import process
from sinergi.local.errors import LocalFolderRefused

# Below the range that the system takes outgoing ports from, so that a stopped service finds its
# port free when it comes back.
_PORTS = range(20_000, 32_000)

_NAME = "state.json"


class BrokerPorts(NamedTuple):
    """The ports of one broker.

    Attributes:
        operator: whoever sets up the brokers connects here; with access control by a certificate.
        controller: for the other controllers.
        agency: agencies connect here with a password; 0 without access control.
    """

    operator: int
    controller: int
    agency: int


@dataclass(frozen=True, slots=True)
class LocalState:
    """The values that stay the same from one start to the next.

    Attributes:
        folder: the folder's path; a copy elsewhere is another folder and gets another mark.
        mark: on the command lines of the processes of this folder.
        cluster_id: the id that Kafka's storage is formatted with.
        password: of PostgreSQL's superuser.
        kafka_port, controller_port, agency_port: those of the first broker, see `BrokerPorts`.
        is_secured: whether Kafka has access control and TLS.
        more_brokers: the ports of the other brokers.
    """

    folder: str
    mark: str
    cluster_id: str
    password: str
    kafka_port: int
    controller_port: int
    postgresql_port: int
    is_secured: bool = False
    agency_port: int = 0
    more_brokers: tuple[BrokerPorts, ...] = ()

    @classmethod
    def of(
        cls, folder: Path, *, is_secured: bool | None = None, brokers: int | None = None
    ) -> LocalState:
        """The folder's state; created at the first call.

        Args:
            is_secured: whether Kafka shall have access control; None as the folder has it, and
                yes in a new folder.
            brokers: how many there shall be; None as the folder has it, and 1 in a new folder.

        Raises:
            LocalFolderRefused: its state cannot be read, or is another one.
        """
        known = cls.read(folder)
        if known is not None:
            if is_secured not in (None, known.is_secured):
                has = "has" if known.is_secured else "has no"
                what = f"its Kafka {has} access control, which cannot be changed"
                raise LocalFolderRefused(str(folder), what)
            if brokers not in (None, len(known.brokers)):
                has = f"its Kafka has {len(known.brokers)}, not {brokers} brokers"
                what = f"{has}, which cannot be changed"
                raise LocalFolderRefused(str(folder), what)
            return known
        if (folder / "postgresql").exists() or (folder / "kafka").exists():
            raise LocalFolderRefused(str(folder), "it has data but no state.json")
        secured = is_secured is not False
        first, more, postgresql = _ports(brokers or 1, is_secured=secured)
        return cls(
            folder=str(folder),
            mark=secrets.token_hex(12),
            cluster_id=base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("="),
            password=secrets.token_urlsafe(18),
            kafka_port=first.operator,
            controller_port=first.controller,
            postgresql_port=postgresql,
            is_secured=secured,
            agency_port=first.agency,
            more_brokers=more,
        )

    @classmethod
    def read(cls, folder: Path) -> LocalState | None:
        """The folder's state, or None if nothing was ever started there.

        Raises:
            LocalFolderRefused: its state cannot be read, or its services may still run as
                those of another place.
        """
        try:
            state = cls(**json.loads((folder / _NAME).read_text("utf-8")))
            more = tuple(BrokerPorts(*each) for each in state.more_brokers)
            state = replace(state, more_brokers=more)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise LocalFolderRefused(str(folder), "it is no folder") from None
        except (ValueError, TypeError):
            raise LocalFolderRefused(str(folder), "its state.json is damaged") from None
        except OSError as why:
            raise LocalFolderRefused(str(folder), str(why.strerror)) from None
        before = Path(state.folder)
        if _is_same(before, folder):
            return replace(state, folder=str(folder))
        if not state.is_remembered_in(before) and state.runs:
            raise LocalFolderRefused(
                str(folder),
                f"it was {before}, whose services still run. Move it back there and stop them with"
                " `sinergi local down`",
            )
        return replace(state, folder=str(folder), mark=secrets.token_hex(12))

    @property
    def brokers(self) -> tuple[BrokerPorts, ...]:
        """The ports of each broker, by its node number less 1."""
        first = BrokerPorts(self.kafka_port, self.controller_port, self.agency_port)
        return (first, *self.more_brokers)

    @property
    def services(self) -> tuple[str, ...]:
        """The names of all services: `kafka`, `kafka-2`, …, `postgresql`."""
        return (*(broker_name(node + 1) for node in range(len(self.brokers))), "postgresql")

    def mark_of(self, service: str) -> str:
        """The mark on the command line of one of `services`."""
        return f"sinergi.local={self.mark}-{service}"

    @property
    def runs(self) -> bool:
        """Whether any process has a mark of this state."""
        return any(process.find(self.mark_of(each)) for each in self.services)

    def is_remembered_in(self, folder: Path) -> bool:
        """Whether a folder holds a state with this mark, so that this one is a copy of it."""
        try:
            known = json.loads((folder / _NAME).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(known, dict) and known.get("mark") == self.mark

    def with_new_ports(self) -> LocalState:
        """The same state with other ports, which are free now."""
        first, more, postgresql = _ports(len(self.brokers), is_secured=self.is_secured)
        return replace(
            self,
            kafka_port=first.operator,
            controller_port=first.controller,
            postgresql_port=postgresql,
            agency_port=first.agency,
            more_brokers=more,
        )

    def write(self) -> None:
        """Write the state completely or not at all, readable only by the owner.

        Raises:
            LocalFolderRefused: the folder cannot be written.
        """
        try:
            write_for_owner(Path(self.folder, _NAME), json.dumps(asdict(self), indent=2))
        except OSError as why:
            raise LocalFolderRefused(self.folder, str(why.strerror)) from None


def broker_name(node: int) -> str:
    """What a broker's files and process are called."""
    return "kafka" if node == 1 else f"kafka-{node}"


def write_for_owner(path: Path, text: str) -> None:
    """Write a file that only its owner may read, completely or not at all.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # the mode of a file that is there already would stay
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one folder, through any links and mounts."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _ports(brokers: int, *, is_secured: bool) -> tuple[BrokerPorts, tuple[BrokerPorts, ...], int]:
    """Free ports of the first broker, of the others, and of PostgreSQL."""
    postgresql, *free = free_ports(1 + 3 * brokers)
    first, *more = (
        BrokerPorts(operator, controller, agency if is_secured else 0)
        for operator, controller, agency in zip(free[::3], free[1::3], free[2::3], strict=True)
    )
    return first, tuple(more), postgresql


def free_ports(count: int) -> list[int]:
    """So many ports of 127.0.0.1 that a server could listen on now, drawn at random.

    They lie below the ports that operating systems give to outgoing connections (RFC 6335,
    section 6), so that no connection takes one of them before its server has started.
    """
    drawn = random.sample(_PORTS, len(_PORTS))
    free = (port for port in drawn if is_free(port))
    return [next(free) for _ in range(count)]
