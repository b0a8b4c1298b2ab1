"""Which DER bytes are an ECDSA P-256 signature, and which raw r || s do they stand for?

Strict X.690 DER of SEQUENCE { INTEGER r, INTEGER s }, 1 <= r, s < n. High s is accepted: the signers of
phones do not normalise. Source: docs/reference/wire.md, "Signature".
"""

from gateway.wire.errors import WireError

RAW_BYTES = 64
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SEQUENCE = 0x30
_INTEGER = 0x02
_LEAST_BYTES, _MOST_BYTES = 8, 72
_SIGN = 0x80


def _integer(der: bytes, at: int) -> tuple[int, int]:
    """Return (value, offset behind it) of the INTEGER at `at`: minimal, positive, below the order."""
    if at + 1 >= len(der) or der[at] != _INTEGER:
        raise WireError("der")
    size = der[at + 1]
    octets = der[at + 2 : at + 2 + size]
    if len(octets) != size or not octets or octets[0] & _SIGN:
        raise WireError("der")
    if size > 1 and octets[0] == 0 and not octets[1] & _SIGN:
        raise WireError("der")
    value = int.from_bytes(octets, "big")
    if not 1 <= value < ORDER:
        raise WireError("signature_range")
    return value, at + 2 + size


def raw_from_der(der: bytes) -> bytes:
    """Return r || s, 64 bytes. Raises WireError `der` or `signature_range` (r or s not in 1..n-1)."""
    if not _LEAST_BYTES <= len(der) <= _MOST_BYTES or der[0] != _SEQUENCE or der[1] != len(der) - 2:
        raise WireError("der")
    r, at = _integer(der, 2)
    s, at = _integer(der, at)
    if at != len(der):
        raise WireError("der")
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _encode_integer(value: int) -> bytes:
    octets = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([_INTEGER, len(octets)]) + octets


def der_from_raw(raw: bytes) -> bytes:
    """Return the DER of r || s (64 bytes). Raises WireError `length` or `signature_range`."""
    if len(raw) != RAW_BYTES:
        raise WireError("length", "signature")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    if not (1 <= r < ORDER and 1 <= s < ORDER):
        raise WireError("signature_range")
    body = _encode_integer(r) + _encode_integer(s)
    return bytes([_SEQUENCE, len(body)]) + body
