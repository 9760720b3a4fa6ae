"""The code lists: what an event says with a code instead of with words.

A member's value is its symbol in the Avro files. It carries what it means in English and, where the
word comes from Indonesian practice, the Indonesian term. Every list ends in UNKNOWN, which a
publisher has to state and which readers of an older version see in place of a newer symbol.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Code(StrEnum):
    """A member of a code list.

    Attributes:
        meaning: in English.
        indonesian: the Indonesian term, or "" where there is none.
    """

    meaning: str
    indonesian: str

    def __new__(cls, symbol: str, meaning: str, indonesian: str = "") -> Self:
        """A member; the enum's own machinery calls this."""
        member = str.__new__(cls, symbol)
        member._value_ = symbol
        member.meaning = meaning
        member.indonesian = indonesian
        return member


# Every event


class Action(Code):
    """What an event does to its record (tindakan)."""

    RECORDED = "RECORDED", "first told; always revision 1", "dicatat"
    CORRECTED = "CORRECTED", "told anew, whole, because it changed or was wrong", "diperbaiki"
    RETRACTED = "RETRACTED", "taken back: it did not happen", "ditarik"
    UNKNOWN = "UNKNOWN", "an action of a newer version"


class Precision(Code):
    """How exactly a source tells when something happened (ketelitian waktu)."""

    EXACT = "EXACT", "to the minute or better", "tepat"
    ABOUT = "ABOUT", "at about this time", "sekira pukul"
    DAY = "DAY", "the day only; the time is the first instant of the day in its zone", "hari"
    UNKNOWN = "UNKNOWN", "not known"


class Purpose(Code):
    """What an event is shared for (tujuan); the agreement says which are allowed."""

    INVESTIGATION = "INVESTIGATION", "inquiry and investigation", "penyelidikan dan penyidikan"
    INTELLIGENCE = "INTELLIGENCE", "exchange of intelligence", "pertukaran data dan intelijen"
    PROSECUTION = "PROSECUTION", "prosecution and trial", "penuntutan dan peradilan"
    PRISON_SECURITY = "PRISON_SECURITY", "security and order in prisons", "keamanan dan ketertiban"
    JOINT_OPERATION = "JOINT_OPERATION", "joint raids and urine tests", "razia gabungan, tes urine"
    ESCORT = "ESCORT", "escort of inmates", "pengawalan"
    PREVENTION = "PREVENTION", "prevention of drug trafficking", "pencegahan (P4GN)"
    REHABILITATION = "REHABILITATION", "rehabilitation", "rehabilitasi"
    OVERSIGHT = "OVERSIGHT", "oversight and audit", "pengawasan"
    STATISTICS = "STATISTICS", "statistics and research", "statistik dan penelitian"
    OTHER = "OTHER", "another purpose", "lainnya"
    UNKNOWN = "UNKNOWN", "not known"


class Handling(Code):
    """How closely an event is held (klasifikasi keamanan)."""

    SR = "SR", "top secret", "sangat rahasia"
    R = "R", "secret", "rahasia"
    T = "T", "restricted", "terbatas"
    B = "B", "ordinary, open", "biasa/terbuka"
    UNKNOWN = "UNKNOWN", "not known"


_RELIABILITY = {
    "A": ("completely reliable", "dapat dipercaya sepenuhnya"),
    "B": ("usually reliable", "biasanya dapat dipercaya"),
    "C": ("fairly reliable", "cukup dapat dipercaya"),
    "D": ("not usually reliable", "biasanya tidak dapat dipercaya"),
    "E": ("unreliable", "tidak dapat dipercaya"),
    "F": ("reliability cannot be judged", "kepercayaan tidak dapat dinilai"),
}
_CREDIBILITY = {
    "1": ("confirmed by other sources", "dibenarkan sumber lain"),
    "2": ("probably true", "sangat mungkin benar"),
    "3": ("possibly true", "mungkin benar"),
    "4": ("doubtful", "diragukan kebenarannya"),
    "5": ("improbable", "tidak mungkin benar"),
    "6": ("truth cannot be judged", "kebenaran tidak dapat dinilai"),
}


class SourceGrade(Code):
    """Reliability of the source, A to F, and credibility of what it says, 1 to 6 (nilai informasi)."""

    def __new__(cls, symbol: str) -> Self:  # type: ignore[misc]  # a grade's letter and digit say it all
        """A member; the enum's own machinery calls this."""
        unknown = ("not known", "")
        source, told = _RELIABILITY.get(symbol[0], unknown), _CREDIBILITY.get(symbol[1], unknown)
        meaning, indonesian = zip(source, told, strict=True) if symbol != "UNKNOWN" else unknown
        return Code.__new__(cls, symbol, "; ".join(meaning), "; ".join(indonesian))

    A1 = "A1"
    A2 = "A2"
    UNKNOWN = "UNKNOWN"
