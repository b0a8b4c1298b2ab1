"""Which way of delivering keys is safe with this module?

Found at start with throw-away keys: the wrapped key must unwrap by RFC 3394 in software, compute the same
MACs as the kept copy, and the kept copy must refuse to be wrapped. Some modules accept the change of an
attribute and wrap the key all the same; they are refused here, not discovered in production.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap
from pkcs11 import Session
from pkcs11.exceptions import PKCS11Error

from hsm.cryptoki import DirectCalls
from hsm.errors import DeliveryUnsafe, DeviceError
from hsm.faults import Fault, classify
from hsm.handles import find_by_label, find_one
from hsm.keys import ID_LENGTH, KeyKind, KeyRef
from hsm.rawkey import hmac_sha256
from hsm.rsawrap import HASHES, RsaCover, usable_hashes
from hsm.templates import hmac_key
from hsm.wrapping import (
    KEK_LENGTH,
    Cover,
    NotUndone,
    Strategy,
    destroy_all,
    generate,
    import_kek,
    issue,
    open_cover,
    undo_in,
    wrap,
)

LABEL = "countersign-probe"
_QUESTION = b"countersign conformance"
_STAMP = 8  # bytes of the id that say when the probe was made, seconds since 1970
_LEFT_OVER_SECONDS = 600
_ALGORITHMS: dict[str, hashes.HashAlgorithm] = {
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
    "SHA-1": hashes.SHA1(),  # noqa: S303  # within OAEP it is not broken, and some modules have no other
}


def choose_strategy(
    session: Session, strategies: Sequence[Strategy] = tuple(Strategy), direct: DirectCalls | None = None
) -> Strategy | None:
    """Return the first of `strategies` that is safe, or None if the token cannot wrap under AES keys at all.

    Without wrapping nothing can be delivered so, safely or not, and delivered keys can still be used. Raises
    DeliveryUnsafe if it does wrap, but no way is safe. The lock is held alone.
    """
    _destroy_left_over(session)
    if not can_wrap(session):
        return None
    failures = []
    for strategy in strategies:
        failure = try_strategy(session, strategy, direct)
        if failure is None:
            return strategy
        failures.append(f"{strategy}: {failure}")
    raise DeliveryUnsafe(
        f"The module can hand out no key safely ({'; '.join(failures)}).",
        "Use a module or token policy that allows C_CopyObject, or C_UnwrapKey, with CKA_EXTRACTABLE false.",
    )


def can_wrap(session: Session) -> bool:
    """Whether an extractable key can be wrapped under an imported AES key, as RFC 3394 has it."""
    made: list[Any] = []
    try:
        made.append(import_kek(session, secrets.token_bytes(KEK_LENGTH)))
        template = hmac_key(_probe_id(), LABEL, stored=False, extractable=True, modifiable=True)
        made.append(generate(session, template))
        wrap(*made)
    except PKCS11Error as exc:
        if classify(exc) is not Fault.CALLER:
            raise
        return False
    finally:
        for each in made:
            with suppress(PKCS11Error):  # session objects: they end with their session anyway
                each.destroy()
    return True


@dataclass(frozen=True, slots=True)
class Trial:
    """What a throw-away key is wrapped under, and how we open it in software."""

    cover: Cover
    open: Callable[[bytes], bytes]  # raises ValueError


def by_aes() -> Trial:
    """Return a trial under a fresh AES key, by RFC 3394."""
    kek = secrets.token_bytes(KEK_LENGTH)

    def opened(wrapped: bytes) -> bytes:
        try:
            return aes_key_unwrap(kek, wrapped)
        except InvalidUnwrap:
            raise ValueError("the wrapping is not RFC 3394") from None

    return Trial(kek, opened)


def by_rsa(own: rsa.RSAPrivateKey, hash_name: str) -> Trial:
    """Return a trial under an RSA key of ours, by OAEP with one of `rsawrap.HASHES`."""
    numbers = own.public_key().public_numbers()
    algorithm = _ALGORITHMS[hash_name]
    oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, None)
    return Trial(RsaCover(numbers.n, numbers.e, hash_name), lambda wrapped: own.decrypt(wrapped, oaep))


def choose_sealing(session: Session, direct: DirectCalls | None = None) -> Strategy | None:
    """Return the first way that is safe with RSA keys of phones, for a token that wraps under no AES key; else None.

    The lock is held alone.
    """
    own = rsa.generate_private_key(65537, 2048)
    numbers = own.public_key().public_numbers()
    try:
        usable = usable_hashes(session, numbers.n, numbers.e)
    except PKCS11Error as exc:
        if classify(exc) is not Fault.CALLER:
            raise
        return None
    name = next((name for name in HASHES if name in usable), None)
    if name is None:
        return None
    trial = by_rsa(own, name)
    return next(
        (each for each in Strategy if try_strategy(session, each, direct, LABEL, trial) is None), None
    )


def try_strategy(
    session: Session,
    strategy: Strategy,
    direct: DirectCalls | None = None,
    label: str = LABEL,
    trial: Trial | None = None,
) -> str | None:
    """Run one strategy with a throw-away key and destroy it. Returns what was wrong, or None."""
    probe = KeyRef(KeyKind.SECRET, _probe_id())
    trial = trial or by_aes()
    try:
        undo = undo_in(session, lambda: True)
        (wrapped,) = issue(session, trial.cover, [probe.id], label, strategy, undo, direct)
        return _judge(session, probe, trial, wrapped, direct)
    except PKCS11Error as exc:
        return type(exc).__name__
    except (DeviceError, NotUndone) as exc:
        return str(exc)
    finally:
        with suppress(PKCS11Error):  # a left-over is destroyed at a later start
            destroy_all(session, probe)


def _judge(
    session: Session, probe: KeyRef, trial: Trial, wrapped: bytes, direct: DirectCalls | None = None
) -> str | None:
    kept = find_one(session, probe)
    try:
        value = trial.open(wrapped)
    except ValueError as exc:
        return str(exc) or "the wrapping is not what it should be"
    expected = hmac.new(value, _QUESTION, hashlib.sha256).digest()
    if hmac_sha256(direct, session, int(kept.handle), _QUESTION) != expected:
        return "the kept key is not the delivered one"
    return None if _refuses_wrapping(session, kept, trial) else "the kept key can still be wrapped"


def _refuses_wrapping(session: Session, kept: object, trial: Trial) -> bool:
    made: list[Any] = []
    wrap_out = open_cover(session, trial.cover, made)
    try:
        wrap_out(kept)
    except PKCS11Error as exc:
        if classify(exc) is not Fault.CALLER:
            raise
        return True
    finally:
        for each in made:
            with suppress(PKCS11Error):
                each.destroy()
    return False


def _probe_id() -> bytes:
    return int(time.time()).to_bytes(_STAMP, "big") + secrets.token_bytes(ID_LENGTH - _STAMP)


def _destroy_left_over(session: Session) -> None:
    """Destroy probes of a start that was killed; younger ones may be of a process that starts just now."""
    oldest = int(time.time()) - _LEFT_OVER_SECONDS
    for probe in find_by_label(session, KeyKind.SECRET, LABEL):
        if int.from_bytes(probe.id[:_STAMP], "big") < oldest:
            destroy_all(session, probe)
