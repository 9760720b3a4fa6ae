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

    The number of transactions, and how long each call of `publish` took, go into the file `report`.
    """
    engine = sa.create_engine(url)
    outbox = stage.outbox()
    number = writer * 10_000_000
    durations: list[float] = []
    with Session(engine) as session:  # connected, and everything loaded
        session.execute(sa.text("SELECT 1"))
    samples.event(stage.publisher, number)
    print("ready", flush=True)
    sys.stdin.readline()
    began = SYSTEM.monotonic()
    done = 0
    while SYSTEM.monotonic() - began < seconds:
        number += 1
        event = samples.event(f"{stage.publisher}/{mode}", number)
        with Session(engine) as session, session.begin():
            row = {"number": event.record_id, "place": event.place.name, "at": event.seized_at}
            session.execute(_OWN, row | {"note": "barang bukti disegel"})
            if mode == "second":
                session.execute(_OWN, row | {"note": "barang bukti disegel"})
            elif mode == "publish":
                before = SYSTEM.monotonic()
                outbox.publish(session, event)
                durations.append(SYSTEM.monotonic() - before)
        done += 1
    ended = SYSTEM.monotonic()
    told = {"transactions": done, "durations": durations}
    Path(report).write_text(json.dumps(told), encoding="utf-8")
    return began, ended
