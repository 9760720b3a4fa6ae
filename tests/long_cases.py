"""Parametrised tests of which a few cases suffice for `make test`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def long_after(count: int, cases: Iterable[Any]) -> list[Any]:
    """The cases of a test; all but so many first ones are left to `make test-long`.

    The first ones show the promise. The others show it for more values at the same cost each.
    """
    found: list[Any] = list(cases)
    return found[:count] + [
        pytest.param(*(each if isinstance(each, tuple) else (each,)), marks=pytest.mark.long)
        for each in found[count:]
    ]
