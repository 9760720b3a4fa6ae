"""Points of Ed25519: which 32 bytes can be a public key (RFC 8032 §5.1.3, and its prime order).

OpenSSL accepts any 32 bytes as a public key. If a key A has small order, anybody can make valid
signatures without a private key, because h·A is the neutral point for one h in eight or for every
h. If a key has a component of small order, some libraries accept the same signatures for it and for
another key. A correct key generator makes neither.
"""

from __future__ import annotations

from nacl import bindings

LENGTH = 32


def check_public_key(encoded: bytes) -> None:
    """Check that 32 bytes are a public key that a correct key generator can make.

    Raises:
        ValueError: they are not a point, are not its canonical encoding, or the point does not have
            prime order.
    """
    if len(encoded) != LENGTH:
        raise ValueError(f"the key has {len(encoded)} bytes, not {LENGTH}")
    if not bindings.crypto_core_ed25519_is_valid_point(encoded):
        raise ValueError("the key is no canonical encoding of a point of prime order")
