"""What the verification of a bundle has found out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_consumers.audit.evidence.case_zone import CaseZone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_consumers.audit.evidence.bag import BundleProblem
    from sinergi_consumers.audit.evidence.omissions import SearchStatement
    from sinergi_consumers.audit.evidence.places import EvidencePlace


class Conclusion(StrEnum):
    """What a verification says of a whole bundle.

    Nobody can prove from a bundle that no event matches. So one without events is never proved: at
    best its trees are, and a key that was given has signed what the maker states.
    """

    PROVED = "proved"
    ATTESTED = "attested"
    NOT_PROVED = "not proved"
    DISPROVED = "disproved"


class ProvedReceipt(NamedTuple):
    """A database that had an event, and when its key signed that by its own clock.

    Attributes:
        database: `<reader>/<database>`.
        posix_time: of the signature, in seconds since 1970.
    """

    database: str
    posix_time: int


@dataclass(frozen=True, slots=True)
class ProvedEvent:
    """An event whose owner has sealed it at its place.

    Attributes:
        document: what its leaf says.
        receipts: those that were verified.
    """

    place: EvidencePlace
    document: Mapping[str, Any]
    receipts: tuple[ProvedReceipt, ...]


class ProvedTree(NamedTuple):
    """A topic-partition that was searched: its size under the owner's checkpoint.

    Attributes:
        name: `<topic>/<partition>`.
        size: the number of leaves.
        heads_time: when the owner signed heads of this history, in seconds since 1970; None if the
            bundle has none, or they could not be verified.
        heads_size: the number of leaves that they state.
    """

    name: str
    size: int
    heads_time: int | None
    heads_size: int | None


@dataclass(slots=True)
class EvidenceVerdict:
    """The result of a verification.

    Attributes:
        digest: the SHA-256 of the file, in hex.
        disproved: what is wrong, by file. Empty if nothing is.
        unchecked: what could not be checked, by file, as for a missing key.
        event_count: how many events the bundle has, proved or not.
        events: the events that are proved.
        trees: the topic-partitions that are proved.
        agreements: the files of the agreements that are what their names say.
        custody: who made the bundle, when and why: a statement of its maker.
        asked_for: what its maker has looked for, also a statement.
        statement: what the maker says was not searched.
        signed_by: the names of given keys that have signed all that the maker states.
    """

    digest: str
    disproved: list[BundleProblem] = field(default_factory=list)
    unchecked: list[BundleProblem] = field(default_factory=list)
    event_count: int = 0
    events: list[ProvedEvent] = field(default_factory=list)
    trees: list[ProvedTree] = field(default_factory=list)
    agreements: list[bytes] = field(default_factory=list)
    custody: Mapping[str, Any] = field(default_factory=dict)
    asked_for: Mapping[str, Any] = field(default_factory=dict)
    statement: SearchStatement | None = None
    signed_by: list[str] = field(default_factory=list)

    @property
    def is_proved(self) -> bool | None:
        """Whether all that the bundle shows is so; None if a part of it could not be checked."""
        if self.disproved:
            return False
        return None if self.unchecked else True

    @property
    def zone(self) -> CaseZone:
        """The zone in which all times are shown."""
        events = (each.document for each in self.events)
        return CaseZone.of(events, self.agreements, str(self.custody.get("made_at", "")))

    @property
    def conclusion(self) -> Conclusion:
        """The verdict in one word."""
        if self.disproved:
            return Conclusion.DISPROVED
        if self.unchecked:
            return Conclusion.NOT_PROVED
        return Conclusion.PROVED if self.events else Conclusion.ATTESTED
