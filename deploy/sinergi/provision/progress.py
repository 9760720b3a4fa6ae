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
    """Counts the changes that the brokers have confirmed, by their kind."""

    def __init__(self) -> None:
        self.counts = Counter[str]()

    def __str__(self) -> str:
        return ", ".join(counted(self.counts[kind], kind) for kind in (TOPIC, USER, RIGHT))

    def confirm(self, kind: str, answers: Iterable[Callable[[], object]]) -> None:
        """Wait for the answer to each change; all are asked for, also after one that failed.

        Args:
            answers: each waits for one answer.

        Raises:
            SinergiError: the first that an answer has raised.
        """
        first: errors.SinergiError | None = None
        for answer in answers:
            try:
                answer()
            except errors.SinergiError as why:
                first = first or why
            else:
                self.counts[kind] += 1
        if first is not None:
            raise first
