"""Counts the same file without any code of Sinergi."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Counted(NamedTuple):
    """The counts of a register.

    Attributes:
        lines: rows below the header.
        moves: rows per origin, destination and month, as ("MECF", "NRCF", "2018-07").
        statuses: rows per spelling of the legal status.
        same: rows whose origin is their destination.
    """

    lines: int
    moves: Counter[tuple[str, str, str]]
    statuses: Counter[str]
    same: int


def count(register: Path) -> Counted:
    """Count a register, whose header is on line 2."""
    with register.open(encoding="utf-8", newline="") as file:
        _blank, _header, *rows = csv.reader(file)
    return Counted(
        len(rows),
        Counter((row[0], row[1], _month(row[3])) for row in rows),
        Counter(row[4] for row in rows),
        sum(row[0] == row[1] for row in rows),
    )


def _month(day: str) -> str:
    return f"{datetime.strptime(day, '%d-%b-%y'):%Y-%m}"  # noqa: DTZ007 - a day has no zone
