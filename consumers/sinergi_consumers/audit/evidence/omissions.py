"""What the search for a bundle left out, as its maker states it."""

from __future__ import annotations

from typing import Any, NamedTuple

NOT_CHOSEN, NOT_AGREED, NOT_ARCHIVED = "not-chosen", "not-agreed", "not-archived"
NOT_READ, NOT_SEALED = "not-read", "not-sealed"

REASONS = {
    NOT_CHOSEN: "was not asked for",
    NOT_AGREED: "may not be read by the maker, by the agreements",
    NOT_ARCHIVED: "is not in the archive that was searched",
    NOT_READ: "could not be read",
    NOT_SEALED: "is not what its owner sealed",
}


class UnsearchedTopic(NamedTuple):
    """A topic of the agreements, or one partition of it, of which the bundle holds no tree.

    Attributes:
        partition: None for the whole topic.
        reason: `not-chosen`, `not-agreed`, `not-archived`, `not-read` or `not-sealed`.
        detail: more about the reason, or an empty text.
    """

    topic: str
    partition: int | None
    reason: str
    detail: str

    @property
    def name(self) -> str:
        """The topic, or `<topic>/<partition>`."""
        return self.topic if self.partition is None else f"{self.topic}/{self.partition}"

    @property
    def is_failure(self) -> bool:
        """Whether it should have been searched, and could not be."""
        return self.reason in (NOT_READ, NOT_SEALED)

    def __str__(self) -> str:
        more = f": {self.detail}" if self.detail else ""
        return f"{self.name} {REASONS[self.reason]}{more}"


class UnreadRelated(NamedTuple):
    """Records that relations lead to, in a topic that was not read.

    Attributes:
        records: how many there are.
    """

    topic: str
    records: int


class SearchStatement(NamedTuple):
    """What the search left out."""

    not_searched: tuple[UnsearchedTopic, ...] = ()
    related_not_read: tuple[UnreadRelated, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether all that was asked for could be read."""
        return not self.related_not_read and not any(each.is_failure for each in self.not_searched)

    def members(self) -> dict[str, Any]:
        """The members of `search.json` that state it."""
        return {
            "not_searched": [each._asdict() for each in self.not_searched],
            "related_not_read": [each._asdict() for each in self.related_not_read],
        }
