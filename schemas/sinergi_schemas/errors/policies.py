"""The root of all errors, and the bases that say what is done about one.

Each class has exactly one of the five bases `Refused`, `Unavailable`, `TopicHalted`, `Fatal` and
`Superseded`. Every process follows the base, so none needs a list of errors of its own.

The first paragraph of a class's docstring is its message. Its attributes are filled in, a number
with its noun as `{size:leaves}`. The message says what is wrong, where, and how to mend it. It
never carries personal data: the attributes are names of things, numbers and digests, never the
contents of an event. A name that comes from somewhere else (a file, a table, a broker) may hold any
characters; the message shows it as plain text on one line. Only `listing` has several lines, and
whoever fills it makes each line plain.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import dataclass_transform

from sinergi_schemas.plain_text import plain, plain_lines

_SEVERAL_LINES = ("listing",)
# An attribute may end with a question, or be another error's message.
_DOUBLE_STOP = re.compile(r"(?<!\.)([?!.])\.(?=\s|$)")
_SINGULARS = {"leaves": "leaf"}


@dataclass_transform(eq_default=False)
class SinergiError(Exception):
    """Base of every error that Sinergi raises.

    Each subclass becomes a dataclass by itself: its annotations are its typed attributes.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(eq=False, repr=False)(cls)

    def __str__(self) -> str:
        paragraph = inspect.cleandoc(type(self).__doc__ or "").split("\n\n")[0]
        message = " ".join(paragraph.split()).format_map(_Attributes(self))
        return _DOUBLE_STOP.sub(r"\1", message)


class _Attributes(dict[str, object]):
    """The attributes and properties of an error by name, ready for its message."""

    def __init__(self, error: SinergiError) -> None:
        super().__init__()
        self._error = error

    def __missing__(self, name: str) -> object:
        value: object = getattr(self._error, name)
        if type(value) is int:
            return _Number(value)
        if not isinstance(value, str):
            return value
        return plain_lines(value) if name in _SEVERAL_LINES else plain(value)


class _Number(int):
    """A number that can be formatted with a noun, given in the plural: `{size:leaves}`."""

    def __format__(self, plural: str) -> str:
        if not plural:
            return str(int(self))
        singular = _SINGULARS.get(plural, plural.removesuffix("s"))
        return f"{int(self)} {singular if self == 1 else plural}"


class Refused(SinergiError):
    """The input is refused, and nothing was done with it. Whoever gave it has to correct it.

    A command or a process ends with exit status 2. Where one event or one message of many was
    refused, it alone is set aside.
    """


class Unavailable(SinergiError):
    """A service is not available now. It is tried again until it is.

    A running process waits, says why, and tries again for ever. A command ends with exit status 2.
    """


class ServiceAway(Unavailable):
    """A service does not answer. It is tried again until it does.

    The service may come back by itself, or another client may reach it. The other errors of
    `Unavailable` come from a service that answers: its operator has to mend something first.
    """


class Broken(SinergiError):
    """Something is broken and cannot be used.

    Every such error is either `TopicHalted` or `Fatal`. No process decides by this base.
    """


class TopicHalted(Broken):
    """A topic-partition is halted, and nothing more of it becomes visible.

    A running process looks at it again by itself, and goes on once the cause is mended. The
    materialiser goes on with all other topic-partitions meanwhile. A relay seals all of its
    topic-partitions in common transactions, so all of them wait.
    """


class Fatal(Broken):
    """This process cannot work, and ends with exit status 2."""


class Superseded(SinergiError):
    """Another process has taken over. Unfinished work is dropped, and nothing more is written.

    A running process goes on with what is assigned to it next.
    """
