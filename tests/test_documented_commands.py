"""Every command line of `sinergi` in the documents is of a command with options that it has."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from sinergi.cli import commands, root

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1]
PAGES = sorted(
    page
    for page in (*FOLDER.glob("*.md"), *FOLDER.glob("[d-e]*/**/*.md"))
    if "reference.md" not in page.name  # it is made of the commands themselves
)

_BLOCK = re.compile(r"(?ms)^ *```.*?^ *```$")
_PROMPT = re.compile(r"(?m)^ *[$#] ((?:[A-Z_]+=\S+ )*sinergi .*)$")
_INLINE = re.compile(r"`(sinergi [^`]+)`")
_ENDS = re.compile(r"[|&;<>(]|\d>|#")


def command_lines(text: str) -> Iterator[str]:
    """Those at a prompt in a block, and those in backticks within a sentence."""
    blocks = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ")
    yield from _PROMPT.findall(blocks)
    yield from (" ".join(each.split()) for each in _INLINE.findall(_BLOCK.sub("", text)))


def unknown(line: str) -> str | None:
    """The first word of a line that is no command, or no option of its command."""
    words = shlex.split(line.partition(" # ")[0].replace("$(", "").replace(")", " "))
    command: Any = typer.main.get_command(root.app)
    is_root = True
    rest = iter(words[words.index("sinergi") + 1 :])
    for word in rest:
        if _ENDS.match(word) or "…" in word:
            return None
        if word.startswith("-") and word != "-":
            name, is_joined, _ = word.partition("=")
            found = next((each for each in command.params if name in each.opts), None)
            if found is None and name not in ("-h", "--help"):
                return word
            if found is not None and not (found.is_flag or is_joined):
                next(rest, None)
        elif is_root or hasattr(command, "commands"):
            if word not in (commands.installed() if is_root else command.commands):
                return word
            command = commands.load(word) if is_root else command.commands[word]
            is_root = False
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(FOLDER)))
def test_every_command_line_of_a_page_can_be_given(page: Path) -> None:
    wrong = [(line, word) for line in command_lines(page.read_text()) if (word := unknown(line))]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("sinergi local up --secured --folder FOLDER", "--secured"),
        ("sinergi provison apply", "provison"),
        ("sinergi provision aply", "aply"),
        ("sinergi --config x local up", None),
        ("sinergi status --json | jq", None),
    ],
)
def test_what_cannot_be_given_is_found(line: str, word: str | None) -> None:
    assert unknown(line) == word


def test_the_pages_have_command_lines() -> None:
    assert len([line for page in PAGES for line in command_lines(page.read_text())]) > 200
