"""Where trials are made: a session of its own for each, a label by which its objects are known, and clearing up."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, Session
from pkcs11.exceptions import PKCS11Error

from hsm import templates
from hsm.cryptoki import DirectCalls
from hsm.errors import DeviceError
from hsm.handles import find_by_label
from hsm.keys import ID_LENGTH, KeyKind
from hsm.module import Module
from hsm.rawkey import hmac_sha256
from hsm.rsawrap import import_rsa
from hsm.sessions import open_session
from hsm.wrapping import KEK_LENGTH, destroy_all, generate

LABEL = "countersign-doctor"
QUESTION = b"countersign doctor"
_RSA_BITS, _EXPONENT = 2048, 65537
_NO_USES = MechanismFlag(0)  # the templates say all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How far the trials go."""

    threads: int = 8
    sessions: int = 17  # how many the gateway needs, the one that holds the login among them
    most_sessions: int = 64  # how many are opened
    samples: int = 100  # of each latency at most
    seconds: float = 3.0  # a trial that repeats something stops then
    pair_label: str = ""  # the label of a stored pair whose point the inventory tells


class Bench:
    """A token that is logged in, and the session of the present trial. For one thread."""

    def __init__(self, module: Module, token: pkcs11.Token, plan: Plan) -> None:
        self.module = module
        self.token = token
        self.plan = plan
        self.session: Session = open_session(token)
        self.private_public_keys = True
        self.oaep_hash: str | None = None  # what rsa_wrap found first

    @property
    def direct(self) -> DirectCalls | None:
        """The calls past python-pkcs11, where the module can be called so."""
        return self.module.direct

    @cached_property
    def rsa(self) -> rsa.RSAPrivateKey:
        """A key in software, as a phone has one."""
        return rsa.generate_private_key(_EXPONENT, _RSA_BITS)

    def rsa_on_token(self) -> Any:
        """Import its public half as a session object that wraps."""
        numbers = self.rsa.public_key().public_numbers()
        return import_rsa(self.session, numbers.n, numbers.e, LABEL)

    def begin(self) -> None:
        """Take a new session, in which no operation is open, and no object of an earlier trial lives."""
        self.end()
        self.session = open_session(self.token)

    def end(self) -> None:
        """Close the session. Without a login of its own it logs nobody out."""
        with suppress(PKCS11Error):
            self.session.close()

    def clear(self) -> int:
        """Destroy everything on the token that a run made, this one or an earlier one; returns how many objects."""
        return sum(
            destroy_all(self.session, ref)
            for kind in KeyKind
            for ref in set(find_by_label(self.session, kind, LABEL))
        )

    def secret(self, *, stored: bool = False, extractable: bool = False, modifiable: bool = False) -> Any:
        """Generate an HMAC key, as the gateway does."""
        template = templates.hmac_key(
            new_id(), LABEL, stored=stored, extractable=extractable, modifiable=modifiable
        )
        return generate(self.session, template)

    def aes(self, *uses: Attribute) -> Any:
        """Generate an AES session key that only wraps or unwraps."""
        return self.session.generate_key(
            KeyType.AES,
            KEK_LENGTH * 8,
            mechanism=Mechanism.AES_KEY_GEN,
            capabilities=_NO_USES,
            template=templates.aes_key(new_id(), uses),
        )

    def mac(self, key: Any, data: bytes = QUESTION, session: Session | None = None) -> bytes:
        """HMAC-SHA-256 by a key object, the way that the gateway goes."""
        return hmac_sha256(self.direct, session or self.session, int(key.handle), data)


def new_id() -> bytes:
    """Return a new CKA_ID."""
    return secrets.token_bytes(ID_LENGTH)


def why(error: Exception) -> str:
    """Return how the module said no, in the words of PKCS#11; safe to show.

    Of any other exception only the name: its text may hold what was read from the token.
    """
    if isinstance(error, PKCS11Error):
        text = str(error)
        return text if text.startswith("Unmapped error code 0x") else type(error).__name__
    return str(error) if isinstance(error, DeviceError) else type(error).__name__


def deadline(plan: Plan) -> float:
    """Return when a trial that repeats something stops, on the monotonic clock."""
    return time.monotonic() + plan.seconds
