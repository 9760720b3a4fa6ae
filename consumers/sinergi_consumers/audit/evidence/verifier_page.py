"""The page that verifies bundles in a browser, with the words that the report has too.

They are put in when the page is written, so that no list of them is kept twice. A bundle has none
of them: its schemas have the codes and the English meanings of their fields.
"""

from __future__ import annotations

import json
from importlib.resources import files

from sinergi_consumers.audit.records.changes import code_meaning
from sinergi_schemas import codes
from sinergi_schemas.indonesian_meanings import MEANINGS

_NO_WORDS = "const WORDS = { codes: {}, meanings: {} };"


def page_text() -> str:
    """The page as one HTML document."""
    lists = [each for each in vars(codes).values() if _is_code_list(each)]
    words = {
        "codes": {
            kind.__name__: {str(each): [each.indonesian, code_meaning(kind, each)] for each in kind}
            for kind in lists
        },
        "meanings": MEANINGS,
    }
    text = (files("sinergi_consumers.audit.evidence") / "verifier.html").read_text("utf-8")
    # A script ends at a "<" that begins the end tag, even within a text.
    data = json.dumps(words, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    before, after = text.split(_NO_WORDS)
    return f"{before}const WORDS = {data};{after}"


def _is_code_list(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, codes.Code) and kind is not codes.Code
