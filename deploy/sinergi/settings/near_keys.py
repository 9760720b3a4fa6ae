"""Hints at the nearest setting, for a key or an environment variable that is none.

Only keys of the same table are compared, without what all of them begin with: that would make any
two of them look alike.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sinergi.settings.model import KEYS, PREFIX, variable
from sinergi_schemas.near_names import did_you_mean, near_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_OTHER_VARIABLES = {f"{PREFIX}{name}" for name in ("CONFIG", "LOG_LEVEL", "LOG_JSON", "DEBUG")}
_BETWEEN_TABLES = "__"


def stray_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Environment variables that look like settings but are none, each with a hint."""
    known = {variable(key) for key in KEYS} | _OTHER_VARIABLES
    stray = (name for name in sorted(environment) if name.startswith(PREFIX))
    return [
        f"{name}: {_near(name, known, _BETWEEN_TABLES) or _near(name, known, PREFIX)}"
        for name in stray
        if name not in known
    ]


def hint(key: str) -> str:
    """A hint at the nearest key, else a list of those that are known."""
    return _near(key, KEYS, ".") or did_you_mean(key, KEYS)


def _near(name: str, known: Collection[str], mark: str) -> str:
    """A hint at a name of the same table; empty where there is no such table.

    Args:
        mark: what stands between the name of a table and that of a key.
    """
    table, found, last = name.rpartition(mark)
    beside = {each.rpartition(mark)[2]: each for each in known if each.startswith(table + found)}
    names = {end: each for end, each in beside.items() if each == table + found + end}
    if not found or not names:
        return ""
    near = near_name(last, names)
    return f"did you mean {names[near]}?" if near else did_you_mean("", names.values())
