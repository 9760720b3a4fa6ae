"""Single values as Avro writes them (Avro 1.12, "Binary Encoding")."""

from __future__ import annotations


def encode_long(value: int) -> bytes:
    """An int or a long: zigzag, then seven bits a byte, the lowest first."""
    if 0 <= value < 64:
        return _OF_ONE_BYTE[value]
    rest = value << 1 if value >= 0 else (-value << 1) - 1
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


_OF_ONE_BYTE = [bytes([each << 1]) for each in range(64)]


def encode_bytes(value: bytes) -> bytes:
    """Bytes: their number, then the bytes. A string is written as its UTF-8."""
    return encode_long(len(value)) + value
