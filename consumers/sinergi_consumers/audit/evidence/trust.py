"""The keys that whoever verifies a bundle trusts. They never come from the bundle.

A key is given by itself, or an agreement gives it. An agreement also says which key must sign a
tree of a size; keys that are given by themselves may sign trees of any size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_schemas.seal.key_ring import KeyRing
from sinergi_schemas.seal.keys import Algorithm, VerifyingKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.topics import TopicPartition


class TrustedKeys:
    """The keys of owners and of readers' databases.

    Args:
        keys: those that were given by themselves.
        agreements: those that give further keys, or None.
    """

    def __init__(
        self, keys: Iterable[VerifyingKey] = (), agreements: Agreements | None = None
    ) -> None:
        self._keys = tuple(dict.fromkeys(keys))
        self._agreements = agreements

    def rings(self, bus: str, tp: TopicPartition) -> list[KeyRing]:
        """The rings of a topic-partition's owner: a checkpoint holds if one of them verifies it."""
        topic = tp.event_topic
        found = [KeyRing.of(each) for each in self._named(f"{bus}/{topic.agency}")]
        if self._agreements is not None and self._agreements.bus == bus:
            ring = self._agreements.ring(topic, tp.partition)
            found += [ring] if ring.spans else []
        return found

    def of_agency(self, bus: str, agency: str) -> list[VerifyingKey]:
        """The keys of an agency for checkpoints, heads and agreements."""
        found = self._named(f"{bus}/{agency}")
        if self._agreements is not None and self._agreements.bus == bus:
            found += self._agreements.keys(agency)
        return list(dict.fromkeys(found))

    def of_signer(self, bus: str, name: str) -> list[VerifyingKey]:
        """The keys of a name under which a maker or a party signs: of an agency, or any other."""
        agency = name.removeprefix(f"{bus}/")
        return self._named(name) if agency == name else self.of_agency(bus, agency)

    def of_database(self, bus: str, reader: str, database: str) -> list[VerifyingKey]:
        """The keys with which a reader's database signs receipts."""
        name = f"{bus}/{reader}/{database}"
        found = [each for each in self._keys if each.name == name and _cosigns(each)]
        if self._agreements is not None and self._agreements.bus == bus:
            found += [each for each in self._agreements.receipt_keys(reader) if each.name == name]
        return list(dict.fromkeys(found))

    def _named(self, name: str) -> list[VerifyingKey]:
        return [each for each in self._keys if each.name == name and not _cosigns(each)]


def _cosigns(key: VerifyingKey) -> bool:
    return key.algorithm is Algorithm.COSIGNATURE
