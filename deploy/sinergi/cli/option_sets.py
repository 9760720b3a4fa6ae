"""Options that several commands take together, declared once as the fields of a dataclass.

typer reads a command's options from its signature. A command declares one parameter for the whole
set; in the signature that typer sees, the fields of the set stand in place of it.
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from functools import wraps
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Command = Callable[..., None]


def taking(options: type, parameter: str, without: Collection[str] = ()) -> Callable[..., Any]:
    """A decorator that gives a command the options of a set in place of one parameter.

    Args:
        options: a dataclass. Each field is an argument or an option: `Annotated` with
            `typer.Argument` or `typer.Option`, and with None as its default.
        parameter: of the command; it gets an instance of the dataclass.
        without: fields that this command does not take. They keep their defaults.
    """
    names = [each.name for each in fields(options) if each.name not in without]

    def decorate(command: Command) -> Command:
        return _with_options(command, options, parameter, names)

    return decorate


def given(options: Any) -> list[str]:
    """The names of the options of a set that were given, as `--key`."""
    hints = get_type_hints(type(options), include_extras=True)
    return [
        # In `Annotated` typer takes the first name where otherwise the default stands.
        declared.default if isinstance(declared.default, str) else f"--{each.name}"
        for each in fields(options)
        if getattr(options, each.name) is not None
        for declared in hints[each.name].__metadata__
    ]


def _with_options(command: Command, options: type, parameter: str, names: list[str]) -> Command:
    hints = get_type_hints(options, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for each in inspect.signature(command, eval_str=True).parameters.values():
        if each.name == parameter:
            parameters += (_parameter(name, hints[name]) for name in names)
        else:
            parameters.append(each.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def with_options(**given: Any) -> None:
        chosen = options(**{name: given.pop(name) for name in names})
        command(**{parameter: chosen}, **given)

    with_options.__dict__.pop("__wrapped__")
    with_options.__dict__["__signature__"] = inspect.Signature(parameters)
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=annotation)
