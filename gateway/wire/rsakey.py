"""Which bytes are an RSA public key that new keys may be wrapped to?

RFC 8017 RSAPublicKey in the SPKI of RFC 3279, strict DER. Source: docs/reference/wire.md, "Renewing keys".
"""

from gateway.wire.errors import WireError

LEAST_BITS_TO_RENEW = 3072
LEAST_BITS_SEALED = 2048
MOST_BITS = 8192
_ALGORITHM = bytes.fromhex("300d06092a864886f70d0101010500")
_SEQUENCE, _BIT_STRING, _INTEGER = 0x30, 0x03, 0x02
_LEAST_EXPONENT = 65537
_MOST_EXPONENT = 2**64
_SIGN = 0x80


def _length(size: int) -> bytes:
    if size < _SIGN:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([_SIGN | len(octets)]) + octets


def _wrapped(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + _length(len(content)) + content


def _integer(value: int) -> bytes:
    return _wrapped(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def spki_from_rsa(modulus: int, exponent: int = 65537) -> bytes:
    """Return the SPKI of an RSA public key, DER."""
    key = _wrapped(_SEQUENCE, _integer(modulus) + _integer(exponent))
    return _wrapped(_SEQUENCE, _ALGORITHM + _wrapped(_BIT_STRING, b"\x00" + key))


def rsa_from_spki(der: bytes, *, least_bits: int) -> tuple[int, int]:
    """Return (modulus, exponent). Raises WireError `spki`, or `rsa_size` for numbers out of bounds.

    The bytes must be what `spki_from_rsa` writes for these numbers: every other reading of them is refused.
    """
    modulus, rest = _find_integer(der, der.find(_ALGORITHM) + len(_ALGORITHM))
    exponent, rest = _find_integer(der, rest)
    if rest != len(der) or spki_from_rsa(modulus, exponent) != der:
        raise WireError("spki")
    if not least_bits <= modulus.bit_length() <= MOST_BITS or not modulus % 2:
        raise WireError("rsa_size")
    if not _LEAST_EXPONENT <= exponent < _MOST_EXPONENT or not exponent % 2:
        raise WireError("rsa_size")
    return modulus, exponent


def _find_integer(der: bytes, at: int) -> tuple[int, int]:
    """Return (value, offset behind) of the next INTEGER; looks only at lengths, the caller compares."""
    while at < len(der):
        tag, size, begin = _header(der, at)
        if tag == _INTEGER:
            return int.from_bytes(der[begin : begin + size], "big"), begin + size
        at = begin + 1 if tag == _BIT_STRING else begin
    raise WireError("spki")


def _header(der: bytes, at: int) -> tuple[int, int, int]:
    """Return (tag, length, offset of the content)."""
    tag, first = der[at], der[at + 1] if at + 1 < len(der) else 0
    if first < _SIGN:
        return tag, first, at + 2
    begin = at + 2 + (first & 0x7F)
    return tag, int.from_bytes(der[at + 2 : begin], "big"), begin
