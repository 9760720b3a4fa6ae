"""Points of Ed25519: which 32 bytes can be a public key (RFC 8032 §5.1.3, and its prime order).

OpenSSL takes every 32 bytes for a key. Under a key of small order anybody makes signatures that it
accepts, without a private key: h·A is the neutral point for one h in eight, or for each. A key with
a part of small order is another key that verifies the same signatures in some libraries. An honest
key generator makes none of these.
"""

from __future__ import annotations

from functools import lru_cache

LENGTH = 32

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_ONE = pow(2, (_P - 1) // 4, _P)
_SIGN = 1 << 255

# Extended coordinates (RFC 8032 §5.1.4): x = X/Z, y = Y/Z, x·y = T/Z.
_Point = tuple[int, int, int, int]
_NEUTRAL: _Point = (0, 1, 1, 0)


@lru_cache(maxsize=1024)
def check_public_key(encoded: bytes) -> None:
    """Hold 32 bytes to what an honest key generator makes.

    Raises:
        ValueError: they are no point, not its one encoding, or a point that is not of prime order.
    """
    point = _decode(encoded)
    if _is_neutral(_times(8, point)):
        raise ValueError("it is of small order, so that anybody can sign with it")
    if not _is_neutral(_times(_ORDER, point)):
        raise ValueError("it is not of prime order")


def _decode(encoded: bytes) -> _Point:
    """RFC 8032 §5.1.3."""
    if len(encoded) != LENGTH:
        raise ValueError(f"it has {len(encoded)} bytes, not {LENGTH}")
    number = int.from_bytes(encoded, "little")
    y, is_odd = number % _SIGN, number >= _SIGN
    if y >= _P:
        raise ValueError("it is not canonical: its number is not below the prime of the curve")
    x = _x(y)
    if x == 0 and is_odd:
        raise ValueError("it is not canonical: zero has no sign")
    if x % 2 != is_odd:
        x = _P - x
    return x, y, 1, x * y % _P


def _x(y: int) -> int:
    """One of the two x that belong to a y: x² = (y² - 1) / (d·y² + 1)."""
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == u:
        return x
    x = x * _ROOT_OF_MINUS_ONE % _P
    if v * x * x % _P == u:
        return x
    raise ValueError("it is no point of the curve")


def _times(factor: int, point: _Point) -> _Point:
    total = _NEUTRAL
    for bit in f"{factor:b}":
        total = _sum(total, total)
        if bit == "1":
            total = _sum(total, point)
    return total


def _sum(one: _Point, other: _Point) -> _Point:
    """RFC 8032 §5.1.4; the formula is complete, so it doubles as well."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _is_neutral(point: _Point) -> bool:
    return point[0] == 0 and (point[1] - point[2]) % _P == 0
