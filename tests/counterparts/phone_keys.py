"""How are the phone's keys stored, so that neither the file nor the password alone is of use?

Khmac, Kauth and Kprivate, 32 bytes each, are encrypted first under a key made from the password and then
under a key of the device. The password layer has no check value of any kind: each wrong password gives other
keys that look as good, and only the gateway, which counts, can tell them apart. For this:

- the cipher is AES-256 in counter mode over exactly 96 random bytes: no header, no padding, no tag;
- the private scalar d is stored as d - 1 and read back modulo n - 1, so that any 32 bytes give a valid key
  (a wrong password is betrayed by a value outside the range once in 2^32, which helps nobody);
- nothing derived from the keys is stored beside them: no public key, no package, no signature;
- a set of keys is encrypted once: two records of the same keys under the same password would be a check
  value.

The device layer is AES-256-GCM under a random key in a file of its own, standing in for the phone's
hardware; it alone detects a damaged file.
"""

import contextlib
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.counterparts.phone_tlv import b64, unb64

CURVE_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
DEFAULT_ITERATIONS = 600_000
KDF, CIPHER = "pbkdf2-hmac-sha-256", "aes-256-ctr"
KEY_BYTES, SALT_BYTES, COUNTER_BYTES, NONCE_BYTES = 32, 16, 16, 12


class StoreDamaged(Exception):
    """The stored file or the device key is missing or changed."""


@dataclass(frozen=True, slots=True)
class Keys:
    """In clear: `khmac`, `kauth` and `scalar` (the private scalar less one), 32 bytes each."""

    khmac: bytes
    kauth: bytes
    scalar: bytes

    @classmethod
    def fresh(cls, khmac: bytes, kauth: bytes) -> "Keys":
        """The received keys with a new private key."""
        return cls(khmac, kauth, secrets.randbelow(CURVE_ORDER - 1).to_bytes(KEY_BYTES, "big"))

    @property
    def private_key(self) -> ec.EllipticCurvePrivateKey:
        """Kprivate; any 32 bytes give one."""
        number = int.from_bytes(self.scalar, "big") % (CURVE_ORDER - 1) + 1
        return ec.derive_private_key(number, ec.SECP256R1())

    def __repr__(self) -> str:
        return "Keys(...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedKeys:
    """The keys under the password: how the key encryption key is made, and 96 bytes."""

    iterations: int
    salt: bytes
    counter: bytes
    ciphertext: bytes

    def to_json(self) -> dict[str, Any]:
        """The record as it is stored."""
        return {
            "kdf": KDF,
            "iterations": self.iterations,
            "salt": b64(self.salt),
            "cipher": CIPHER,
            "counter": b64(self.counter),
            "keys": b64(self.ciphertext),
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "LockedKeys":
        """From the stored record; another KDF or cipher is refused."""
        if (record["kdf"], record["cipher"]) != (KDF, CIPHER):
            raise StoreDamaged("the keys were stored by another version of this phone")
        return cls(
            iterations=record["iterations"],
            salt=unb64(record["salt"]),
            counter=unb64(record["counter"]),
            ciphertext=unb64(record["keys"]),
        )


def lock(keys: Keys, password: str, *, iterations: int = DEFAULT_ITERATIONS) -> LockedKeys:
    """Encrypt under the password, with a fresh salt. Once for each set of keys: see above."""
    salt, counter = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(COUNTER_BYTES)
    plain = keys.khmac + keys.kauth + keys.scalar
    ciphertext = _counter_mode(_password_key(password, salt, iterations), counter, plain)
    return LockedKeys(iterations=iterations, salt=salt, counter=counter, ciphertext=ciphertext)


def unlock(locked: LockedKeys, password: str) -> Keys:
    """Decrypt. A wrong password gives wrong keys, never an error."""
    key = _password_key(password, locked.salt, locked.iterations)
    plain = _counter_mode(key, locked.counter, locked.ciphertext)
    return Keys(plain[:32], plain[32:64], plain[64:])


class PhoneStore:
    """A directory: `device.key` (mode 0600, the stand-in for the hardware) and boxes encrypted under it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def exists(self, slot: str) -> bool:
        """Whether something is stored in the slot."""
        return self._path(slot).exists()

    def save(self, slot: str, account: dict[str, Any], locked: LockedKeys) -> None:
        """Replace the slot's box, durably: the old one stays whole until the new one is on the disk."""
        plain = json.dumps({"account": account, "locked_keys": locked.to_json()}).encode()
        nonce = secrets.token_bytes(NONCE_BYTES)
        box = nonce + AESGCM(self._device_key()).encrypt(nonce, plain, slot.encode())
        _write_private(self._path(slot), box)

    def load(self, slot: str) -> tuple[dict[str, Any], LockedKeys]:
        """(account, keys under the password); raises StoreDamaged."""
        try:
            box = self._path(slot).read_bytes()
            plain = AESGCM(self._device_key(create=False)).decrypt(
                box[:NONCE_BYTES], box[NONCE_BYTES:], slot.encode()
            )
        except (OSError, InvalidTag, ValueError):
            raise StoreDamaged("the stored keys are missing, damaged or of another device") from None
        record = json.loads(plain)
        return record["account"], LockedKeys.from_json(record["locked_keys"])

    def drop(self, slot: str) -> None:
        """Remove the slot's box."""
        self._path(slot).unlink(missing_ok=True)

    def _path(self, slot: str) -> Path:
        return self.directory / f"{slot}.box"

    def _device_key(self, *, create: bool = True) -> bytes:
        path = self.directory / "device.key"
        if create and not path.exists():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                _write_new(path, secrets.token_bytes(KEY_BYTES))
        return path.read_bytes()


def _password_key(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations, KEY_BYTES)


def _counter_mode(key: bytes, counter: bytes, data: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _write_private(path: Path, data: bytes) -> None:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    _write_new(draft, data)
    draft.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
