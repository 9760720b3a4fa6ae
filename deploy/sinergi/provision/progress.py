"""The changes that an apply has made on the brokers so far. It may fail in the middle."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sinergi_schemas import errors
from sinergi_schemas.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TOPIC, USER, RIGHT = "topic", "user", "right"


class Progress:
    """Counts the changes that the brokers have confirmed, by their kind.

    Args:
        report: is called with a kind and how many of it there are: when the first ones are asked
            for, and after each.
    """

    def __init__(self, report: Callable[[str, int], object] | None = None) -> None:
        self.counts = Counter[str]()
        self._begun = set[str]()
        self._report = report

    def __str__(self) -> str:
        return ", ".join(counted(self.counts[kind], kind) for kind in (TOPIC, USER, RIGHT))

    def confirm(self, kind: str, groups: Iterable[Iterable[Callable[[], object]]]) -> None:
        """Wait for the answer to each change, also after one that failed.

        Args:
            groups: each asks for some changes when it is taken, and has what waits for each answer.
                Once a group was not answered, no further one is taken.

        Raises:
            SinergiError: the first that an answer has raised.
        """
        first: errors.SinergiError | None = None
        for group in groups:
            self._begin(kind)
            is_away = False
            for answer in group:
                try:
                    answer()
                except errors.SinergiError as why:
                    first = first or why
                    is_away |= isinstance(why, errors.ServiceAway | errors.HandshakeRefused)
                else:
                    self._count(kind)
            if is_away:
                break
        if first is not None:
            raise first

    def _begin(self, kind: str) -> None:
        if kind not in self._begun:
            self._begun.add(kind)
            self._tell(kind)

    def _count(self, kind: str) -> None:
        self.counts[kind] += 1
        self._tell(kind)

    def _tell(self, kind: str) -> None:
        if self._report is not None:
            self._report(kind, self.counts[kind])
