"""Sinergi's relay, unmodified: sealed, sent, every report awaited, accounted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from peers import told
from sinergi_producers.relay.factory import build_relay
from sinergi_producers.relay.store import OutboxStore
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stage import Stage

    from sinergi_producers.relay.sealing import TreeUpdate
    from sinergi_producers.relay.watermark import UnsealedRows, Watermarks


class _Watched(OutboxStore):
    """Notes when the relay first looked for rows, and when it last accounted for some."""

    began: ClassVar[list[float]] = []
    ended: ClassVar[list[float]] = []

    def unsealed_rows(self, watermarks: Watermarks) -> UnsealedRows:
        self.began.append(SYSTEM.monotonic())
        return super().unsealed_rows(watermarks)

    def mark_sent(self, updates: Iterable[TreeUpdate]) -> None:
        super().mark_sent(updates)
        self.ended.append(SYSTEM.monotonic())


def run(stage: Stage, url: str) -> tuple[float, float]:
    """Relay until standard input ends; when it began to look, and when it had sent all."""
    build_relay(stage.relay_setup(url), store_class=_Watched).run(told.stopping())
    return _Watched.began[0], _Watched.ended[-1]
