"""The types of the values in events, each with its rule.

An error names the rule and never the value. Values are never rounded, cut or guessed: a value that
breaks its rule is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, Strict, StringConstraints
from pydantic_core import PydanticCustomError

from sinergi_schemas.limits import MOST_KEY_BYTES
from sinergi_schemas.topics import is_slug
from sinergi_schemas.zones import find_zone

Hashed = TypeVar("Hashed", bound=Hashable)

MOST_INT = 2**31 - 1
WEIGHT_DIGITS = 18
WEIGHT_PLACES = 4

_STEP = Decimal(1).scaleb(-WEIGHT_PLACES)
_MOST_WEIGHT = Decimal(10) ** (WEIGHT_DIGITS - WEIGHT_PLACES)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cf"})
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII
)
_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)


def refusal(kind: str, rule: str) -> PydanticCustomError:
    """The error of a broken rule, for pydantic. In the text, `rule` follows the field's name."""
    return PydanticCustomError(kind, "{rule}", {"rule": rule})


def plain(text: str) -> str:
    """Check that text is not blank and has no control character."""
    # Nearly all text is: of controls, invisible characters and spaces only U+0020 is printable.
    if text.isprintable() and text.strip():
        return text
    if _CONTROL.search(text):
        raise refusal("control_character", "contains a control character")
    if all(unicodedata.category(character) in _INVISIBLE for character in text):
        raise refusal("blank", "is blank: leave it out if nothing is known")
    return text


def distinct(values: tuple[Hashed, ...]) -> tuple[Hashed, ...]:
    """Check that no value occurs twice."""
    if len(set(values)) < len(values):
        raise refusal("twice", "contains a value twice")
    return values


def _key(text: str) -> str:
    if len(text.encode()) > MOST_KEY_BYTES:
        raise refusal("key_too_long", f"is longer than {MOST_KEY_BYTES} bytes")
    return text


def _slug(text: str) -> str:
    if not is_slug(text):
        raise refusal("slug", "is not a slug: lower-case words joined by hyphens, 63 at most")
    return text


def _slug_or_nothing(text: str) -> str:
    return _slug(text) if text else text


def _zone(name: str) -> str:
    if find_zone(name) is None:
        raise refusal("zone", "is not an IANA zone, such as Asia/Jakarta")
    return name


def _instant(given: object) -> datetime:
    if isinstance(given, str) and _TIME.fullmatch(given):
        given = _parsed_time(given)
    if not isinstance(given, datetime):
        raise refusal("instant", "is not a time, such as 2026-03-03T09:50:00+07:00")
    if given.utcoffset() is None:
        raise refusal("naive", "has no offset from UTC: state its zone")
    try:
        return given.astimezone(UTC)
    except OverflowError:
        raise refusal("instant", "is outside the years 1 to 9999 in UTC") from None


def _parsed_time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _day(given: object) -> date:
    if isinstance(given, str) and _DATE.fullmatch(given):
        try:
            return date.fromisoformat(given)
        except ValueError:
            given = None
    if not isinstance(given, date) or isinstance(given, datetime):
        raise refusal("day", "is not a date, such as 2026-03-03")
    return given


def _weight(given: object) -> Decimal:
    if isinstance(given, str):
        if not _NUMBER.fullmatch(given):
            raise refusal("decimal", "is not a plain number: write 4.82, with a decimal point")
        given = Decimal(given)
    if isinstance(given, int) and not isinstance(given, bool):
        given = Decimal(given)
    if not isinstance(given, Decimal):
        raise refusal("decimal", "is not a decimal: give text or a Decimal, never a binary float")
    if not given.is_finite():
        raise refusal("decimal", "is not a finite number")
    if given < 0:
        raise refusal("negative", "is negative")
    if given >= _MOST_WEIGHT:
        raise refusal("too_large", f"has more than {WEIGHT_DIGITS - WEIGHT_PLACES} whole digits")
    return _to_places(given)


def _to_places(number: Decimal) -> Decimal:
    try:
        exact = number.quantize(_STEP)
    except InvalidOperation:
        raise refusal("decimal", "has too many digits") from None
    if exact != number:
        raise refusal("places", f"has more than {WEIGHT_PLACES} decimal places")
    return abs(exact)  # removes the sign of a negative zero


def _degrees(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float, Decimal)):
        raise refusal("degrees", "is not a number of degrees")
    try:
        return float(given)
    except OverflowError:
        raise refusal("degrees", "is not a number of degrees") from None


def _text(most: int) -> StringConstraints:
    return StringConstraints(strict=True, max_length=most)


Text = Annotated[str, _text(300), AfterValidator(plain)]
"""One line of text as written, up to 300 characters."""

LongText = Annotated[str, _text(20_000), AfterValidator(plain)]
"""Free text, up to 20,000 characters, without line breaks, which are control characters."""

Key = Annotated[str, _text(MOST_KEY_BYTES), AfterValidator(plain), AfterValidator(_key)]
"""The id of a record in an agency's own system: up to 256 bytes of UTF-8."""

Slug = Annotated[str, _text(63), AfterValidator(_slug)]
"""Lower-case words joined by hyphens."""

IssuedSlug = Annotated[str, _text(63), AfterValidator(_slug_or_nothing)]
"""A slug, or "" if the event is not issued yet."""

Zone = Annotated[str, _text(64), AfterValidator(_zone)]
"""The name of an IANA time zone."""

Digest = Annotated[str, _text(64), Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in lower-case hexadecimal."""

IssuedDigest = Annotated[str, _text(64), Field(pattern=r"^([0-9a-f]{64})?$")]
"""A digest, or "" if the event is not issued yet."""

Nik = Annotated[str, StringConstraints(strict=True), Field(pattern=r"^[0-9]{16}$")]
"""Population number (Nomor Induk Kependudukan): text of 16 digits, since it may begin with 0."""

RegionCode = Annotated[
    str, _text(13), Field(pattern=r"^[0-9]{2}(\.[0-9]{2}(\.[0-9]{2}(\.[0-9]{4})?)?)?$")
]
"""A region code of the Ministry of Home Affairs (Kemendagri), dotted, such as 35.10."""

Instant = Annotated[datetime, BeforeValidator(_instant)]
"""A point in time, given with an offset, stored in UTC to the microsecond."""

Day = Annotated[date, BeforeValidator(_day)]
"""A calendar date."""

Weight = Annotated[Decimal, BeforeValidator(_weight)]
"""Grams (or millilitres), at least 0, with exactly four decimal places."""

Count = Annotated[int, Strict(), Field(ge=1, le=MOST_INT)]
"""A number of things, at least 1."""

Latitude = Annotated[float, BeforeValidator(_degrees), Field(ge=-90, le=90, allow_inf_nan=False)]
"""Degrees north in WGS 84."""

Longitude = Annotated[float, BeforeValidator(_degrees), Field(ge=-180, le=180, allow_inf_nan=False)]
"""Degrees east in WGS 84."""
