"""Is a key of the gateway on this token the same as on that one? Told by a value that everybody may know.

The value of a secret key is a MAC over its name and CKA_ID; that of a pair is a hash over its ids and point, made only
after a signature of the private key was verified. Equal values are equal keys under equal ids.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hsm.derivation import MASTER
from hsm.device import Device
from hsm.errors import (
    DeviceError,
    DeviceUnavailable,
    DuplicateKey,
    HouseKeyDoubled,
    HouseKeyMissing,
    KeyMissing,
)
from hsm.keys import DerivedRef, KeyRef

_QUESTION = b"countersign key check"  # of no text that anything else has a MAC over


@dataclass(frozen=True, slots=True, order=True)
class HouseName:
    """One version of one of the gateway's own keys."""

    name: str
    version: int
    is_pair: bool = False

    def __str__(self) -> str:
        return f"countersign-{self.name}-{self.version}"


def check_value(device: Device, key: HouseName, known: dict[HouseName, tuple[KeyRef, ...]]) -> bytes:
    """Return the value of a key, 32 bytes. `known` remembers where it was found, so that it is looked for once.

    Raises HouseKeyMissing, HouseKeyDoubled, KeyMissing; DeviceRefused if the token cannot use it.
    """
    refs = known.get(key)
    if refs is None:
        found = (
            device.house_pair(key.name, key.version)
            if key.is_pair
            else (device.house_key(key.name, key.version),)
        )
        refs = known[key] = found
    question = b"\0".join((_QUESTION, str(key).encode(), *(ref.id for ref in refs)))
    if key.is_pair:
        return _pair(device, refs[0], refs[1], question)
    if key.name == MASTER:
        return _master(device, key.version, question)
    return device.mac(refs[0], question)


def difference(
    device: Device, key: HouseName, value: bytes, known: dict[HouseName, tuple[KeyRef, ...]]
) -> str | None:
    """Return what is wrong with a key on this token, or None. Raises DeviceUnavailable."""
    try:
        if check_value(device, key, known) == value:
            return None
    except DeviceUnavailable:
        raise
    except (HouseKeyMissing, KeyMissing):
        known.pop(key, None)
        return f"{key} is missing"
    except (HouseKeyDoubled, DuplicateKey):
        known.pop(key, None)
        return f"{key} is there more than once"
    except DeviceError as error:
        return f"{key} cannot be used ({type(error).__name__})"
    known.pop(key, None)
    return f"{key} is another key"


def _pair(device: Device, private: KeyRef, public: KeyRef, question: bytes) -> bytes:
    digest = hashlib.sha256(question).digest()
    point = device.public_point(public)
    if not device.verify(public, digest, device.sign(private, digest)):
        return b""  # equal to nothing
    return hashlib.sha256(question + point).digest()


def _master(device: Device, version: int, question: bytes) -> bytes:
    derived = DerivedRef(version, hashlib.sha256(_QUESTION).digest())
    return device.mac(derived, question)
