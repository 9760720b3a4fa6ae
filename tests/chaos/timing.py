"""Waiting until a condition holds, and random moments that a seed determines."""

from __future__ import annotations

from random import Random
from threading import Event
from typing import TYPE_CHECKING

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_SECONDS = 0.02
_SELDOM_SECONDS = 0.2
_LOOKS = 40
"""A time is measured to this part of itself."""
_BROKEN_OFF = Event()


class Overdue(Exception):
    """Something did not come about in time."""


class Interrupted(Exception):
    """The whole run is broken off: whoever waits gives up, and what it has started ends."""


def interrupt() -> None:
    """Let everybody in this process who waits, or is about to, raise `Interrupted`."""
    _BROKEN_OFF.set()


def go_on() -> None:
    """Nothing, unless the run is broken off.

    Raises:
        Interrupted: it is.
    """
    if _BROKEN_OFF.is_set():
        raise Interrupted


def until(is_so: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until something is so; how many seconds it took.

    Raises:
        Overdue: it is not so after `seconds`.
    """
    begun = SYSTEM.monotonic()
    while not is_so():
        waited = SYSTEM.monotonic() - begun
        if waited > seconds:
            raise Overdue(f"after {seconds:.0f} s still not: {what}")
        # Looking costs too, most of all where many look.
        pause(min(max(_LOOK_SECONDS, waited / _LOOKS), _SELDOM_SECONDS))
    return SYSTEM.monotonic() - begun


def until_grown(measure: Callable[[], int], enough: int, seconds: float, what: str) -> float:
    """Wait until a number is large enough, for as long as it grows; how many seconds it took.

    Raises:
        Overdue: it is not, and has not grown for `seconds`.
    """
    begun = SYSTEM.monotonic()
    seen = measure()

    def has_grown() -> bool:
        return measure() > seen

    while seen < enough:
        until(has_grown, seconds, what)
        seen = measure()
    return SYSTEM.monotonic() - begun


def pause(seconds: float) -> None:
    """Let a drawn moment pass."""
    _BROKEN_OFF.wait(seconds)
    go_on()


def drawn(seed: str, *words: object) -> Random:
    """A source of chance for one purpose: what others draw does not change it."""
    return Random("/".join(map(str, (seed, *words))))  # noqa: S311 - it must be the same again
