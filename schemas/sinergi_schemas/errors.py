"""Every error of Sinergi, in one tree. The base says whose fault it is, and so what to do.

    SinergiError
    ├── Refused       the caller's fault: one clear line, nothing done       (exit status 2)
    │   ├── EventRefused …       an event that must not go onto the bus
    │   └── SettingsRefused …    a file, flag or setting that cannot be used
    ├── Broken        the peer's fault: halt what it touches, loudly
    │   └── SealBroken …         what the topic says does not hold under its owner's seal
    └── Unavailable   nobody's fault: try again, for ever, and say so

The first paragraph of a class's docstring is its message, with the attributes filled in; it says
what is wrong, where, and how to mend it. No message ever carries personal data: attributes are
names of things, numbers and digests, never the contents of an event.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import dataclass_transform


@dataclass_transform(eq_default=False)
class SinergiError(Exception):
    """Something that Sinergi has to say no to.

    A subclass is a dataclass without being told so: its annotations are its typed attributes.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(eq=False, repr=False)(cls)

    def __str__(self) -> str:
        paragraph = inspect.cleandoc(type(self).__doc__ or "").split("\n\n")[0]
        return " ".join(paragraph.split()).format_map(vars(self))


class Refused(SinergiError):
    """The request was refused and nothing was done."""


class Broken(SinergiError):
    """A peer broke the contract; what it touches is halted."""


class Unavailable(SinergiError):
    """A service is away; this is tried again until it answers."""
