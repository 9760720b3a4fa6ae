"""The rules of single values in events."""

from __future__ import annotations

import sys
import unicodedata

from pydantic_core import PydanticCustomError

from sinergi_schemas.events.values import plain

INVISIBLE = {"Zs", "Zl", "Zp", "Cf"}


def kind_of_refusal(text: str) -> str | None:
    try:
        plain(text)
    except PydanticCustomError as refused:
        return refused.type
    return None


def test_each_character_of_unicode_alone_is_text_blank_or_a_control_character() -> None:
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        control = "control_character" if category == "Cc" else None
        expected = "blank" if category in INVISIBLE else control
        assert kind_of_refusal(character) == expected, hex(ord(character))
        assert kind_of_refusal(f" {character}") == expected, hex(ord(character))
        assert kind_of_refusal(f"a{character} ") == control, hex(ord(character))
