"""Checks that hold for every argument and option of every command.

Python reads a byte that is not UTF-8 as a lone surrogate. Kafka's client crashes the process on
one, and a database's driver, a log and a settings file each fail in their own way. Paths may hold
any bytes: the operating system takes them as they are.
"""

from __future__ import annotations

from typing import Any

import typer

from sinergi_schemas.plain_text import is_text

# A setting may be a path: `settings.load`, which knows each setting, checks it.
_CHECKED_LATER = {"override"}


def checked(command: Any) -> Any:
    """The command, whose parameters, and those of the commands below it, are checked.

    Its help loses the line ends of the source, which would break lines in a narrow terminal, and
    the type of a flag, which takes no value.
    """
    command.help = command.help and unwrapped(command.help)
    find_help = command.get_help_option
    command.get_help_option = lambda context: _without_type(find_help(context))
    for parameter in map(_without_type, command.params):
        if parameter.name not in _CHECKED_LATER:
            _check(parameter)
    for inner in getattr(command, "commands", {}).values():
        checked(inner)
    return command


def _without_type(parameter: Any) -> Any:
    """The parameter; if it is a flag, the help shows no type of a value beside it."""
    if getattr(parameter, "is_flag", False):
        parameter.metavar = ""
    return parameter


def unwrapped(text: str) -> str:
    """A help text with a line a paragraph; a paragraph with indented lines stays as it is."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(each if "\n " in each else " ".join(each.split("\n")) for each in paragraphs)


def _check(parameter: Any) -> None:
    """Let a parameter refuse values that are empty or no text, without showing them: passwords."""
    convert = parameter.process_value

    def process(context: Any, given: Any) -> Any:
        if "" in _each(given):  # as a shell variable gives that is not set
            hint = "give it a value" if parameter.required else "give it a value or leave it out"
            raise typer.BadParameter(f"it is empty; {hint}", context, parameter)
        value = convert(context, given)
        for each in _each(value):
            if isinstance(each, str) and not is_text(each):
                raise typer.BadParameter("it is no text in UTF-8", context, parameter)
        return value

    parameter.process_value = process


def _each(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)
