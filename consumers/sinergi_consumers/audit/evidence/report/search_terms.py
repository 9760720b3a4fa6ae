"""What was looked for, as a sentence in Indonesian and English.

The statement in a bundle has the options as its maker gave them. The same words are in
`verifier.html`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_consumers.audit.evidence.report.wording import Wording

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TERMS = {
    "since": Wording("recorded at or after", "dicatat pada atau setelah"),
    "until": Wording("recorded before", "dicatat sebelum"),
    "occurred_since": Wording("occurred at or after", "terjadi pada atau setelah"),
    "occurred_until": Wording("occurred before", "terjadi sebelum"),
    "key": Wording("record", "nomor catatan (record)"),
    "case": Wording("case number", "nomor perkara"),
    "nik": Wording("a person with the NIK", "orang dengan NIK"),
    "name": Wording("a person with the whole name", "orang dengan nama lengkap"),
    "like": Wording("a person with a name similar to", "orang dengan nama yang mirip dengan"),
    "unit": Wording("the correctional unit", "unit pemasyarakatan (UPT)"),
    "region": Wording("a place in the region with the code", "tempat di dalam wilayah dengan kode"),
    "leaf": Wording("the leaf (partition/leaf)", "daun (partisi/daun)"),
    "topics": Wording("in the topics", "dalam topik"),
    "agencies": Wording("published by", "diterbitkan oleh"),
    "event_types": Wording("events of the type", "peristiwa dengan jenis"),
}
"""The words before the value of each option that chooses events."""
RELATED = Wording("with related records", "beserta catatan terkait")


def looked_for(asked_for: Mapping[str, object]) -> str:
    """The options that chose the events, in words; those without a value are left out."""
    told = search_words(asked_for)
    return str(told) if told.english else ""


def search_words(asked_for: Mapping[str, object]) -> Wording:
    """The same in each language.

    Args:
        asked_for: as the maker of a bundle states it: options of any name, values of any kind.
    """
    given = {name: value for name, value in asked_for.items() if value}
    return Wording(*(_told(given, at) for at in range(len(Wording._fields))))


def _told(given: Mapping[str, object], language: int) -> str:
    """The sentence in the language at a place of `Wording`."""
    conditions = "; ".join(_conditions(given, language))
    related = [RELATED[language]] if given.get("related") is True else []
    return ", ".join([*filter(None, [conditions]), *related])


def _conditions(given: Mapping[str, object], language: int) -> Iterator[str]:
    for name, value in given.items():
        if name == "related" and value is True:
            continue
        values = list(value) if isinstance(value, list | tuple) else [value]
        is_plain = all(isinstance(each, str | int | float) for each in values)
        if name in TERMS and is_plain and value is not True:
            yield f"{TERMS[name][language]} {', '.join(map(str, values))}"
        else:
            yield from (f"{path}: {text}" for path, text in _texts(value, name))


def _texts(value: object, path: str) -> Iterator[tuple[str, str]]:
    """The values within a value, each with its path."""
    match value:
        case dict():
            for name, each in value.items():
                yield from _texts(each, f"{path}.{name}")
        case list() | tuple():
            for number, each in enumerate(value, 1):
                yield from _texts(each, f"{path} {number}")
        case None | False:
            return
        case _:
            yield path, "true" if value is True else str(value)
