"""Points of Ed25519: which 32 bytes can be a public key (RFC 8032 §5.1.3, and its prime order).

OpenSSL accepts any 32 bytes as a public key. If a key A has small order, anybody can make valid
signatures without a private key, because h·A is the neutral point for one h in eight or for every
h. If a key has a component of small order, some libraries accept the same signatures for it and for
another key. A correct key generator makes neither.
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


@lru_cache(maxsize=16_384)  # more than the keys of a bus: a check takes a millisecond
def check_public_key(encoded: bytes) -> None:
    """Check that 32 bytes are a public key that a correct key generator can make.

    Raises:
        ValueError: they are not a point, are not its canonical encoding, or the point does not have
            prime order.
    """
    point = _decode(encoded)
    if _is_neutral(_times(8, point)):
        raise ValueError("the key has small order, so anybody can sign with it")
    if not _is_neutral(_times(_ORDER, point)):
        raise ValueError("the key does not have prime order")


def _decode(encoded: bytes) -> _Point:
    """RFC 8032 §5.1.3."""
    if len(encoded) != LENGTH:
        raise ValueError(f"the key has {len(encoded)} bytes, not {LENGTH}")
    number = int.from_bytes(encoded, "little")
    y, is_odd = number % _SIGN, number >= _SIGN
    if y >= _P:
        raise ValueError("the key is not canonical: its y is not below the prime of the curve")
    x = _x(y)
    if x == 0 and is_odd:
        raise ValueError("the key is not canonical: its x is 0, but its sign bit is set")
    if x % 2 != is_odd:
        x = _P - x
    return x, y, 1, x * y % _P


def _x(y: int) -> int:
    """One of the two x with this y: x² = (y² - 1) / (d·y² + 1)."""
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == u:
        return x
    x = x * _ROOT_OF_MINUS_ONE % _P
    if v * x * x % _P == u:
        return x
    raise ValueError("the key is not a point of the curve")


def _times(factor: int, point: _Point) -> _Point:
    total = _NEUTRAL
    for bit in f"{factor:b}":
        total = _sum(total, total)
        if bit == "1":
            total = _sum(total, point)
    return total


def _sum(one: _Point, other: _Point) -> _Point:
    """RFC 8032 §5.1.4. The formula is complete, so it also doubles a point."""
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _is_neutral(point: _Point) -> bool:
    return point[0] == 0 and (point[1] - point[2]) % _P == 0
