"""Plausibility of a population number (NIK). An implausible number is never refused.

A NIK never changes, even if it was wrong from the beginning (PP 40/2019 art. 30), so a doubt is
only a reason to check. Sinergi does not derive sex, date of birth or residence from it.
"""

from __future__ import annotations

from datetime import date

_TEST_REGION = "999999"
_PROVINCES = frozenset(
    {
        *range(11, 20),
        21,
        *range(31, 37),
        *range(51, 54),
        *range(61, 66),
        *range(71, 77),
        81,
        82,
        *range(91, 98),
    }
)
_LEAP_YEAR = 2000


def doubt(nik: str) -> str | None:
    """Why a number of 16 digits is not a plausible NIK, or None.

    Digits 1 to 6 are province, regency and district of the first registration. Digits 7 to 12 are
    the date of birth; the day of a woman has 40 added. Digits 13 to 16 are a serial number from
    0001.
    """
    region, day, month = nik[:6], int(nik[6:8]), int(nik[8:10])
    if region != _TEST_REGION and not _is_region(region):
        return "its first six digits are not a region"
    if not _is_date(day - 40 if day > 40 else day, month):
        return "its digits 7 to 10 are not a day and month"
    if nik[12:] == "0000":
        return "its serial number is 0000"
    return None


def _is_region(region: str) -> bool:
    return int(region[:2]) in _PROVINCES and "00" not in (region[2:4], region[4:])


def _is_date(day: int, month: int) -> bool:
    try:
        date(_LEAP_YEAR, month, day)
    except ValueError:
        return False
    return True
