"""What does a personalization package say, and how are its keys unwrapped?

Source: docs/reference/wire.md, "Personalization package".
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntFlag

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from tests.counterparts.phone_tlv import Malformed, base45_decode, element, fields, parse, unb64
from tests.counterparts.qr_image import is_image, read_qr

PACKAGE_PREFIX = "PC1:"
VERSION = b"\x01"
BY_SECRET, BY_RSA = 1, 2
KEY_BYTES = 32
PASSWORD_LENGTHS, PASSWORD_CLASSES = range(6, 65), 15
SHORT_CODE_DIGITS = range(6, 11)
MOST_TEXT_BYTES = 64
MOST_URL_BYTES = 256
LEAST_ITERATIONS = 10_000
WRAPPED_BYTES = 40
CROCKFORD = frozenset("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
CARRIED_SECRET_SYMBOLS = 26
OAEP_HASHES: dict[int, Callable[[], hashes.HashAlgorithm]] = {
    1: hashes.SHA1,
    2: hashes.SHA256,
    3: hashes.SHA384,
    4: hashes.SHA512,
}


class WrongSecret(Exception):
    """The secret or activation code does not open the package."""


class Flags(IntFlag):
    """What the package asks of the phone."""

    BIND_TO_DEVICE = 0x0001
    COLLECT_EVENTS = 0x0002
    COLLECT_DEVICE_DATA = 0x0004
    FORBID_BIOMETRICS = 0x0008
    KPUBLIC_REQUIRED = 0x0010


ALL_FLAGS = 0x001F


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules the issuer gives the phone. `password_classes`: 1 lower, 2 upper, 4 digit, 8 other."""

    flags: Flags
    password_length: int
    password_classes: int
    step_seconds: int
    digits: int
    device_fields: int

    @classmethod
    def decode(cls, value: bytes) -> "Policy":
        """From the value of tag A7."""
        found = fields(value, required=(0x80, 0x81, 0x82, 0x83, 0x84, 0x85))
        sizes = [len(found[tag]) for tag in sorted(found)]
        if sizes != [2, 1, 1, 2, 1, 2]:
            raise Malformed("a field of the policy has a wrong size")
        numbers = {tag: int.from_bytes(raw, "big") for tag, raw in found.items()}
        if numbers[0x80] & ~ALL_FLAGS or numbers[0x82] > PASSWORD_CLASSES:
            raise Malformed("the policy asks for something unknown")
        if numbers[0x81] not in PASSWORD_LENGTHS or not numbers[0x83]:
            raise Malformed("a password length or a step length that cannot be")
        if numbers[0x84] and numbers[0x84] not in SHORT_CODE_DIGITS:
            raise Malformed("a short code has 6 to 10 digits")
        return cls(
            flags=Flags(numbers[0x80]),
            password_length=numbers[0x81],
            password_classes=numbers[0x82],
            step_seconds=numbers[0x83],
            digits=numbers[0x84],
            device_fields=numbers[0x85],
        )

    def password_fault(self, password: str) -> str | None:
        """In plain words what the password lacks, or None."""
        if len(password) < self.password_length:
            return f"it needs at least {self.password_length} characters"
        tests: tuple[tuple[int, str, Callable[[str], bool]], ...] = (
            (1, "a lower-case letter", str.islower),
            (2, "an upper-case letter", str.isupper),
            (4, "a digit", str.isdigit),
            (8, "another sign", lambda sign: not sign.isalnum()),
        )
        for bit, name, test in tests:
            if self.password_classes & bit and not any(map(test, password)):
                return f"it needs {name}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A decoded package; `digest` is SHA-256 of the TLV without tag 8B, `door_pin` 32 bytes or None."""

    issuer: str
    application: str
    user: str
    keyset: str
    url: str
    valid_until: datetime
    policy: Policy
    method: int
    salt: bytes
    iterations: int
    oaep_hash: int
    khmac: bytes
    kauth: bytes
    secret: str | None
    door_pin: bytes | None
    digest: bytes

    @classmethod
    def decode(cls, data: bytes) -> "Package":
        """Strictly, from the TLV."""
        required = (0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0xA7, 0xA8, 0x89, 0x8A)
        found = fields(data, required=required, optional=(0x8B, 0x8C))
        if found[0x80] != VERSION or len(found[0x86]) != 8 or len(found.get(0x8C, bytes(32))) != 32:
            raise Malformed("unknown version, or a field has a wrong size")
        method, salt, iterations, oaep_hash = _wrapping(found[0xA8])
        secret = read_text(found[0x8B]) if 0x8B in found else None
        _check_keys(method, found[0x89], found[0x8A], secret)
        return cls(
            issuer=read_text(found[0x81]),
            application=read_text(found[0x82]),
            user=read_text(found[0x83]),
            keyset=read_text(found[0x84]),
            url=_url(found[0x85]),
            valid_until=moment(found[0x86]),
            policy=Policy.decode(found[0xA7]),
            method=method,
            salt=salt,
            iterations=iterations,
            oaep_hash=oaep_hash,
            khmac=found[0x89],
            kauth=found[0x8A],
            secret=secret,
            door_pin=found.get(0x8C),
            digest=digest(data),
        )

    def unwrap(self, secret: str | None, wrap_key: rsa.RSAPrivateKey | None) -> tuple[bytes, bytes]:
        """(Khmac, Kauth), 32 bytes each; raises WrongSecret."""
        wrapped = (self.khmac, self.kauth)
        try:
            if self.method == BY_RSA:
                if wrap_key is None:
                    raise WrongSecret("the package is sealed to a key this phone does not have")
                scheme = _oaep(self.oaep_hash)
                khmac, kauth = (wrap_key.decrypt(block, scheme) for block in wrapped)
            else:
                key = self._kek(secret)
                khmac, kauth = (aes_key_unwrap(key, block) for block in wrapped)
        except (InvalidUnwrap, ValueError):
            raise WrongSecret("the secret does not open the package") from None
        if len(khmac) != KEY_BYTES or len(kauth) != KEY_BYTES:
            raise Malformed("a key has a wrong length")
        return khmac, kauth

    def _kek(self, secret: str | None) -> bytes:
        word = self.secret if self.secret is not None else secret
        if word is None:
            raise WrongSecret("the package needs a secret or an activation code")
        return hashlib.pbkdf2_hmac("sha256", word.encode(), self.salt, self.iterations, KEY_BYTES)


def read_package(source: str | bytes) -> bytes:
    """The package TLV from QR text, base64, a QR image (PNG or SVG) or the TLV itself."""
    if isinstance(source, bytes):
        if not is_image(source):
            return source
        source = read_qr(source)
    # Nothing is stripped: a space is a symbol of base45.
    if source.startswith(PACKAGE_PREFIX):
        return base45_decode(source.removeprefix(PACKAGE_PREFIX))
    return unb64(source)


def normalise_code(code: str) -> str:
    """An activation code as it enters the KEK: upper case, no hyphens or spaces, O as 0, I and L as 1."""
    kept = code.replace("-", "").replace(" ", "")
    found = kept.upper().translate(str.maketrans("OIL", "011"))
    if not kept.isascii() or not found or not CROCKFORD.issuperset(found):
        raise WrongSecret("the code has a sign that no activation code has")
    return found


def digest(data: bytes) -> bytes:
    """SHA-256 of the package TLV without tag 8B, by which the gateway knows that it arrived unchanged."""
    kept = (element(tag, value) for tag, value in parse(data) if tag != 0x8B)
    return hashlib.sha256(b"".join(kept)).digest()


def moment(raw: bytes) -> datetime:
    """Eight bytes of Unix seconds."""
    try:
        return datetime.fromtimestamp(int.from_bytes(raw, "big"), UTC)
    except (ValueError, OverflowError, OSError):
        raise Malformed("a moment outside the calendar") from None


def read_text(raw: bytes, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """UTF-8 without U+0000, of so many bytes at most."""
    if len(raw) > most_bytes:
        raise Malformed("a text is too long")
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Malformed("text that is not UTF-8") from None
    if "\0" in text:
        raise Malformed("text with U+0000")
    return text


def _wrapping(value: bytes) -> tuple[int, bytes, int, int]:
    """(method, salt, iterations, OAEP hash)."""
    method = dict(parse(value)).get(0x80)
    if method == bytes([BY_SECRET]):
        found = fields(value, required=(0x80, 0x81, 0x82))
        iterations = int.from_bytes(found[0x82], "big")
        if len(found[0x81]) == 16 and len(found[0x82]) == 4 and iterations >= LEAST_ITERATIONS:
            return BY_SECRET, found[0x81], iterations, 0
    if method == bytes([BY_RSA]):
        found = fields(value, required=(0x80, 0x83))
        if len(found[0x83]) == 1 and found[0x83][0] in OAEP_HASHES:
            return BY_RSA, b"", 0, found[0x83][0]
    raise Malformed("unknown wrapping")


def _check_keys(method: int, khmac: bytes, kauth: bytes, secret: str | None) -> None:
    if method == BY_RSA and (secret is not None or len(khmac) != len(kauth)):
        raise Malformed("keys sealed to the phone come without a secret and in blocks of one size")
    if method == BY_SECRET and not len(khmac) == len(kauth) == WRAPPED_BYTES:
        raise Malformed("a wrapped key has a wrong length")
    if secret is not None and (len(secret) != CARRIED_SECRET_SYMBOLS or not CROCKFORD.issuperset(secret)):
        raise Malformed("the secret inside is not one of 26 symbols")


def _url(raw: bytes) -> str:
    """The address of the client door: scheme, host and perhaps a path; nothing behind it."""
    text = read_text(raw, MOST_URL_BYTES)
    if not re.fullmatch(r"https?://[^/?#@\s]+(/[^/?#\s]+)*", text) or not text.isascii():
        raise Malformed("this is not the address of a client door")
    return text


def _oaep(number: int) -> padding.OAEP:
    algorithm = OAEP_HASHES[number]()
    return padding.OAEP(mgf=padding.MGF1(algorithm), algorithm=algorithm, label=None)
