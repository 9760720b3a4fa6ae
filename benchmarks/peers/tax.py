"""One of an agency's writers: transactions of its own insert, with or without `publish`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import samples
import sqlalchemy as sa
from sqlalchemy.orm import Session

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from stage import Stage

_OWN = sa.text(
    "INSERT INTO own (number, place, seized_at, note) VALUES (:number, :place, :at, :note)"
)


def run(
    stage: Stage, url: str, mode: str, writer: int, seconds: float, report: str
) -> tuple[float, float]:
    """Write for so long. `mode` is alone, second (another bare insert) or publish.

    The file `report` gets the seconds that each transaction took, and each call of `publish`.
    """
    engine = sa.create_engine(url)
    outbox = stage.outbox()
    number = writer * 10_000_000
    calls: list[float] = []
    transactions: list[float] = []
    with Session(engine) as session:  # connected, and everything loaded
        session.execute(sa.text("SELECT 1"))
    samples.event(stage.publisher, number)
    print("ready", flush=True)
    sys.stdin.readline()
    began = SYSTEM.monotonic()
    while SYSTEM.monotonic() - began < seconds:
        number += 1
        event = samples.event(f"{stage.publisher}/{mode}", number)
        start = SYSTEM.monotonic()
        with Session(engine) as session, session.begin():
            row = {"number": event.record_id, "place": event.place.name, "at": event.seized_at}
            session.execute(_OWN, row | {"note": "barang bukti disegel"})
            if mode == "second":
                session.execute(_OWN, row | {"note": "barang bukti disegel"})
            elif mode == "publish":
                before = SYSTEM.monotonic()
                outbox.publish(session, event)
                calls.append(SYSTEM.monotonic() - before)
        transactions.append(SYSTEM.monotonic() - start)
    ended = SYSTEM.monotonic()
    told = {"transactions": transactions, "calls": calls}
    Path(report).write_text(json.dumps(told), encoding="utf-8")
    return began, ended
