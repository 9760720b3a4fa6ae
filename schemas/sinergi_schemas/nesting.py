"""How deep lists and objects of a JSON document lie in each other."""

from __future__ import annotations


def is_deeper(document: object, levels: int) -> bool:
    """Whether lists and objects lie in each other on more than some levels.

    It looks no deeper than that, so that no document exhausts the stack.
    """
    if not isinstance(document, dict | list):
        return False
    inner = document.values() if isinstance(document, dict) else document
    return levels == 0 or any(is_deeper(each, levels - 1) for each in inner)
