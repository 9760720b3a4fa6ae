"""Sinergi's materialiser, unmodified: seal verified, quarantine and receipts on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from peers import told
from sinergi_consumers.materialise.assignment import Assignment
from sinergi_consumers.materialise.factory import build_materialiser
from sinergi_consumers.materialise.store import Store
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from country import Country
    from stage import Stage

    from sinergi_consumers.materialise.ready_batches import ReadyBatches
    from sinergi_consumers.materialise.store import Outcome
    from sinergi_consumers.reading.position import Position, TopicIncarnation
    from sinergi_consumers.reading.start import Start
    from sinergi_schemas.topics import TopicPartition


class _Began(Assignment):
    """Notes when the first share began to flow."""

    at: ClassVar[list[float]] = []

    def start(self, share: TopicPartition, position: Position, place: TopicIncarnation) -> Start:
        self.at.append(SYSTEM.monotonic())
        return super().start(share, position, place)


class _Ended(Store):
    """Notes when each batch was committed."""

    at: ClassVar[list[float]] = []

    def store(self, ready: ReadyBatches) -> Sequence[Outcome]:
        outcomes = super().store(ready)
        self.at.append(SYSTEM.monotonic())
        return outcomes


def run(stage: Stage | Country, url: str, kinds: Sequence[str]) -> tuple[float, float]:
    """Materialise until standard input ends; when it began and when it had all.

    A worker that no partition was left for has done neither.
    """
    stopping = told.stopping()
    setup = stage.materialiser_setup(url, kinds)
    build_materialiser(setup, stopping, assignment=_Began, store=_Ended).run(stopping)
    return min(_Began.at, default=math.inf), max(_Ended.at, default=-math.inf)
