"""How are keys, signatures and codes checked, with `cryptography` and with the openssl command?"""

import hashlib
import hmac
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.vectors.reading.octets import FOR_URLS, need, to_base64

N = 115792089210356248762697446949407573529996955224135760342422259061068512044369
P = 115792089210356248762697446949407573530086143415290314195533631308867097853951
B = 41058363725152142129326129780047268409114441015993725554835256314039467401291
OAEP = {1: hashes.SHA1, 2: hashes.SHA256, 3: hashes.SHA384, 4: hashes.SHA512}


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA-256 by its definition (RFC 2104), for keys of at most 64 bytes."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + data).digest()
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).digest()
    need(hmac.compare_digest(outer, hmac.new(key, data, "sha256").digest()), "hmac")
    return outer


def short_code(value: bytes, digits: int) -> str:
    """Truncation to decimal digits."""
    need(6 <= digits <= 10, "digits")
    start = value[-1] % 16
    if digits < 9:
        found = int.from_bytes(value[start : start + 4], "big") % 2**31
    else:
        found = int.from_bytes(value[start : start + 8], "big") % 2**63
    return str(found)[-digits:].rjust(digits, "0")


def _der_integer(data: bytes) -> tuple[int, bytes]:
    need(len(data) > 2 and data[0] == 2 and 1 <= data[1] <= len(data) - 2, "der")
    value, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    need(value[0] < 128, "der")
    need(len(value) == 1 or value[0] or value[1] >= 128, "der")
    return int.from_bytes(value, "big"), rest


def raw_signature(der: bytes) -> bytes:
    """r || s of a strict DER signature."""
    need(2 < len(der) < 130 and der[0] == 0x30 and der[1] == len(der) - 2, "der")
    r, rest = _der_integer(der[2:])
    s, rest = _der_integer(rest)
    need(not rest, "der")
    need(0 < r < N and 0 < s < N, "signature_range")
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def point(spki: bytes) -> bytes:
    """The point of a P-256 key in its only accepted form."""
    head = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
    need(len(spki) == 91 and spki[:26] == head, "spki")
    x, y = int.from_bytes(spki[27:59], "big"), int.from_bytes(spki[59:], "big")
    need(spki[26] == 4 and x < P and y < P and pow(y, 2, P) == (pow(x, 3, P) - 3 * x + B) % P, "point")
    return spki[26:]


def thumbprint(at: bytes) -> str:
    """RFC 7638."""
    x, y = (to_base64(half, alphabet=FOR_URLS) for half in (at[1:33], at[33:]))
    return to_base64(
        hashlib.sha256(f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode()).digest(),
        alphabet=FOR_URLS,
    )


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 + len(octets)]) + octets + content


def rsa_numbers(spki: bytes, least_bits: int) -> tuple[int, int]:
    """(modulus, exponent): `cryptography` reads, and the result must encode to the same bytes again."""
    try:
        key = load_der_public_key(spki)
    except ValueError:
        key = None
    if key is None:
        return _rsa_by_hand(spki, least_bits)
    need(isinstance(key, rsa.RSAPublicKey), "spki")
    numbers = key.public_numbers()
    return _bounded(spki, numbers.n, numbers.e, least_bits)


def _rsa_by_hand(spki: bytes, least_bits: int) -> tuple[int, int]:
    """A key the library does not like (an even modulus, an odd exponent) is still read for its numbers."""
    at = spki.find(b"\x02\x82")
    need(at > 0, "spki")
    size = int.from_bytes(spki[at + 2 : at + 4], "big")
    modulus = int.from_bytes(spki[at + 4 : at + 4 + size], "big")
    return _bounded(spki, modulus, int.from_bytes(spki[at + 6 + size :], "big"), least_bits)


def _bounded(spki: bytes, modulus: int, exponent: int, least_bits: int) -> tuple[int, int]:
    integers = b"".join(_der(2, v.to_bytes(v.bit_length() // 8 + 1, "big")) for v in (modulus, exponent))
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    need(spki == _der(0x30, algorithm + _der(3, b"\0" + _der(0x30, integers))), "spki")
    need(least_bits <= modulus.bit_length() <= 8192 and modulus % 2, "rsa_size")
    need(65537 <= exponent < 2**64 and exponent % 2, "rsa_size")
    return modulus, exponent


def verify(spki: bytes, message: bytes, der: bytes) -> None:
    """ECDSA over SHA-256 of the message."""
    at = point(spki)
    raw_signature(der)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), at)
    try:
        key.verify(der, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        need(condition=False, reason="signature")


@lru_cache
def kek(secret: str, salt: bytes, iterations: int) -> bytes:
    """PBKDF2-HMAC-SHA-256, 32 bytes."""
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, iterations, 32)


def unwrap(key: bytes, wrapped: bytes) -> bytes:
    """RFC 3394."""
    return aes_key_unwrap(key, wrapped)


def unwrap_rsa(private: dict[str, str], which: int, block: bytes) -> bytes:
    """RSA-OAEP with MGF1 of the same hash and an empty label."""
    algorithm = OAEP[which]()
    oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
    return _private_key(private["modulus"], private["private_exponent"]).decrypt(block, oaep)


@lru_cache
def _private_key(modulus: str, exponent: str) -> rsa.RSAPrivateKey:
    n, d, e = int(modulus, 16), int(exponent, 16), 65537
    p, q = rsa.rsa_recover_prime_factors(n, e, d)
    parts = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    return rsa.RSAPrivateNumbers(p, q, d, *parts, rsa.RSAPublicNumbers(e, n)).private_key()


def openssl_agrees(spki: bytes, message: bytes, der: bytes) -> bool:
    """Whether `openssl dgst` accepts the signature too."""
    with TemporaryDirectory() as folder:
        at = Path(folder)
        for name, data in (("key", spki), ("message", message), ("signature", der)):
            (at / name).write_bytes(data)
        command = [
            "openssl",
            "dgst",
            "-sha256",
            "-keyform",
            "DER",
            "-verify",
            "key",
            "-signature",
            "signature",
        ]
        return subprocess.run([*command, "message"], cwd=at, capture_output=True, check=False).returncode == 0


def openssl_kek(secret: str, salt: bytes, iterations: int) -> bytes:
    """PBKDF2 as `openssl kdf` computes it."""
    options = {
        "digest": "SHA256",
        "hexpass": secret.encode().hex(),
        "hexsalt": salt.hex(),
        "iter": str(iterations),
    }
    arguments = [part for name, value in options.items() for part in ("-kdfopt", f"{name}:{value}")]
    command = ["openssl", "kdf", "-binary", "-keylen", "32", *arguments, "PBKDF2"]
    return subprocess.run(command, capture_output=True, check=True).stdout
