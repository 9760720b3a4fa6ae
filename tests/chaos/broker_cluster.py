"""Three brokers of the harness's own, each a controller too, between which connections can be cut.

Brokers and controllers reach each other by proxies; clients reach the brokers directly. A proxy
knows by the port of a connection which broker's process has begun it.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from chaos.proxy import LinkState, Proxy
from chaos.services import Server, at_once
from chaos.timing import until
from sinergi.local.kafka import LocalKafka
from sinergi.local.state import LocalState, free_ports
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import describe, open_admin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from chaos.services import Services, Starter

COUNT = 3
_IN_SYNC_SECONDS = 240.0


class LinkBetweenBrokers(Proxy):
    """The way to one listener of one broker; connections that some processes begin are refused.

    Args:
        refuses: whether to refuse a connection, by the port that it comes from.
    """

    def __init__(self, target: int, refuses: Callable[[int], bool]) -> None:
        super().__init__(target)
        self._refuses = refuses

    def is_welcome(self, _peer: tuple[str, int]) -> bool:
        """Whether a connection from there is carried."""
        return not self._refuses(_peer[1])


@dataclass(frozen=True)
class ClusterBroker(LocalKafka):
    """One of the brokers.

    Attributes:
        internal: the port at which the other brokers copy partitions, behind `links[0]` of each.
        links: the ports of the proxies, of each broker: for copying, and for the controller.
        changed: settings that replace the usual ones.
    """

    internal: int = 0
    links: tuple[tuple[int, int], ...] = ()
    changed: tuple[tuple[str, str], ...] = ()

    def _settings(self) -> str:
        here, ports = "127.0.0.1", self.state.brokers[self.node - 1]
        copying, controlling = self.links[self.node - 1]
        voters = (f"{node}@{here}:{each[1]}" for node, each in enumerate(self.links, 1))
        listeners = {"BROKER": ports.operator, "CONTROLLER": ports.controller}
        advertised = {"BROKER": ports.operator, "INTERNAL": copying, "CONTROLLER": controlling}
        settings = {
            "controller.quorum.voters": ",".join(voters),
            "listeners": _listed(listeners | {"INTERNAL": self.internal}),
            "advertised.listeners": _listed(advertised),
            "listener.security.protocol.map": (
                "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT"
            ),
            "inter.broker.listener.name": "INTERNAL",
            **dict(self.changed),
        }
        # What stands here last holds.
        return super()._settings() + "".join(f"{name}={each}\n" for name, each in settings.items())


def _listed(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


class BrokerCluster:
    """Three brokers. As a context manager it starts them, and stops them at the end."""

    def __init__(self, folder: Path, starter: Starter) -> None:
        folder.mkdir(parents=True)
        state = LocalState.of(folder, is_secured=False, brokers=COUNT)
        state.write()
        self._stack = ExitStack()
        self._cut_off: int | None = None
        internal = free_ports(COUNT)
        self._links = [
            (self._link(node, internal[node - 1]), self._link(node, ports.controller))
            for node, ports in enumerate(state.brokers, 1)
        ]
        ports = tuple((copying.port, controlling.port) for copying, controlling in self._links)
        self.brokers = [
            ClusterBroker(folder, state, None, node, internal=internal[node - 1], links=ports)
            for node in range(1, COUNT + 1)
        ]
        self.servers = [Server(each, starter) for each in self.brokers]
        self._starter = starter

    def __enter__(self) -> Self:
        try:
            for pair in self._links:
                for each in pair:
                    self._stack.enter_context(each)
            self._stack.callback(lambda: at_once(Server.stop, self.servers))
            at_once(Server.start, self.servers)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def bootstrap(self) -> str:
        """Where clients find them."""
        return ",".join(each.address for each in self.brokers)

    def leader(self, topic: str, partition: int = 0) -> int:
        """The node that leads a partition."""
        found = describe(open_admin(Connection(self.bootstrap)), [topic])[topic]
        return int(found.partitions[partition].leader.id)

    def until_in_sync(self, topics: Sequence[str]) -> float:
        """Wait until every partition of some topics is on all brokers; how many seconds it took."""
        admin = open_admin(Connection(self.bootstrap))

        def in_sync() -> bool:
            found = describe(admin, topics).values()
            return all(len(p.isr) == COUNT for each in found for p in each.partitions)

        return until(in_sync, _IN_SYNC_SECONDS, "every partition is on all brokers")

    @contextmanager
    def cut_off(self, node: int) -> Iterator[None]:
        """Cut a broker off from the others, but not from clients, while the block lasts."""
        self._cut_off = node
        try:
            for owner, pair in enumerate(self._links, 1):
                for link in pair:
                    if owner == node:
                        link.turn(LinkState.RESET)
                    else:
                        link.cut()  # those of other brokers begin anew at once
            yield
        finally:
            self._cut_off = None
            for link in self._links[node - 1]:
                link.heal()

    def wipe(self, node: int) -> None:
        """Lose the disk of a broker that has ended."""
        broker = self.brokers[node - 1]
        shutil.rmtree(broker.folder / broker.log.stem)

    def restart(self, node: int, **changed: str) -> None:
        """Stop a broker in order and start it with settings that are changed."""
        self.servers[node - 1].stop()
        settings = tuple((name.replace("_", "."), each) for name, each in changed.items())
        after = replace(self.brokers[node - 1], changed=settings)
        self.brokers[node - 1] = after
        self.servers[node - 1] = Server(after, self._starter)
        self.servers[node - 1].start()

    def _link(self, owner: int, port: int) -> LinkBetweenBrokers:
        return LinkBetweenBrokers(port, lambda peer: self._is_refused(owner, peer))

    def _is_refused(self, owner: int, peer: int) -> bool:
        """Whether a connection to a broker comes from another one that is cut off."""
        if self._cut_off is None or owner == self._cut_off:
            return False
        process = self.servers[self._cut_off - 1].running
        return any(each.laddr.port == peer for each in process.net_connections("tcp"))


class ClusterServices:
    """The services of a bus whose Kafka is a cluster; PostgreSQL is that of all parts."""

    def __init__(self, services: Services, cluster: BrokerCluster) -> None:
        self._services = services
        self.starter = services.starter
        self.links = services.links
        self.kafka = cluster.servers[0]
        self._cluster = cluster

    @property
    def bootstrap(self) -> str:
        """Where Kafka's clients find it."""
        return self._cluster.bootstrap

    @property
    def proxied_bootstrap(self) -> str:
        """The same: only the brokers reach each other by proxies."""
        return self._cluster.bootstrap

    def agency_database(self, name: str) -> str:
        """The URL of a database in the agency's server."""
        return self._services.agency_database(name)

    def reader_database(self, name: str) -> str:
        """The URL of a database in the reader's server."""
        return self._services.reader_database(name)
