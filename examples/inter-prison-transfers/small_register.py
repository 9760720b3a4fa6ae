"""Generates a small register with the shape and the difficulties of the real one, always the same.

It has a blank first line, CR LF, no line end after the last line, dates such as 2-Jul-18, no
natural key, rows that equal each other in every column, 27 spellings of the legal status, three
rows whose origin is their destination, and one day on which a prison is emptied.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PRISONS = [
    "MECF",
    "SHCF",
    "Waikeria",
    "Rimutaka",
    "NRCF",
    "Christchurch",
    "Hawkes Bay",
    "OCF",
    "Whanganui",
    "Auckland",
    "ASCF",
    "Manawatu",
    "Rolleston",
    "Tongariro",
    "Invercargill",
    "ARWCF",
    "Arohata",
    "Christchurch Womens",
]
REASONS = [
    "Population Management",
    "Judicial",
    "Placement Review",
    "Accepted for Programme",
    "Placement Management",
    "Release",
    "Personal Request",
    "In Transit/Multi-Site Move",
    "Medical",
]
_LEVELS = ["Minimum", "Low", "Low Medium", "High", "Maximum"]
STATUSES = [
    "Remand - Accused",
    "Remand - Convicted",
    "Remand - Accused (Low Medium)",
    "Sentenced",
    *(f"Sentenced ({level})" for level in _LEVELS),
    "Recall Outstanding",
    *(f"Recall Outstanding ({level})" for level in _LEVELS[:4]),
    *(f"({level})" for level in _LEVELS[1:]),
    *_LEVELS[:3],
    "In Transit",
    "Unclassified",
    "Escaped",
    "(Bb)",
    "Aa (Aa)",
    "",
]
_FIRST_DAY = date(2020, 12, 1)
_EMPTIED = date(2020, 12, 30)


def write(path: Path, rows: int = 600) -> None:
    """Write the register: a header on line 2 and `rows` rows below it."""
    chance = random.Random(27780)  # noqa: S311 (the same file every time, no secret)
    table = [
        _row(chance, _FIRST_DAY + timedelta(days=at * 45 // rows)) for at in range(rows * 2 // 3)
    ]
    for at, status in enumerate(STATUSES):
        table[at * 7][4] = status
    for at in (50, 150, 250):
        table[at][1] = table[at][0]
    table += [["Waikeria", "SHCF", "Population Management", _day(_EMPTIED), "Sentenced"]] * (
        rows // 10
    )
    moved = [row for row in table if row[0] != row[1]]
    table += [list(chance.choice(moved)) for _ in range(rows - len(table))]
    chance.shuffle(table)
    header = "From,To,Reason,Transfer Date,Status At Transfer"
    text = "\r\n".join(["", header, *(",".join(row) for row in table)])
    path.write_bytes(text.encode("ascii"))


def _row(chance: random.Random, day: date) -> list[str]:
    origin, destination = chance.sample(PRISONS, 2)
    return [origin, destination, chance.choice(REASONS), _day(day), chance.choice(STATUSES)]


def _day(day: date) -> str:
    return f"{day.day}-{day:%b-%y}"
