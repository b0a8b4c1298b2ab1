"""What does it take to make, wrap and copy a key for a delivery? One call into the module for each step.

python-pkcs11 reads a dozen attributes of every object that it makes. After each of these calls a thread waits for the
interpreter again, which on a busy gateway takes longer than the delivery. So where the module can be called directly,
these objects stand in for its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from pkcs11 import Attribute, Mechanism, Session

from hsm import templates
from hsm.cryptoki import DirectCalls
from hsm.keys import ID_LENGTH

_ID, _VALUE = int(Attribute.ID), int(Attribute.VALUE)


@dataclass(frozen=True, slots=True)
class PlainKey:
    """A secret key in one session. Every method raises PKCS11Error."""

    direct: DirectCalls
    session: int
    handle: int

    @classmethod
    def import_kek(cls, direct: DirectCalls, session: Session, value: bytes) -> Self:
        """Import an AES key that wraps."""
        number, key_id = _number(session), secrets.token_bytes(ID_LENGTH)
        return cls(direct, number, direct.create(number, _kek() | {_ID: key_id, _VALUE: value}))

    @classmethod
    def generate(cls, direct: DirectCalls, session: Session, id: bytes, label: str) -> Self:  # noqa: A002
        """Generate an HMAC key of 32 bytes that can be wrapped and copied."""
        number, template = _number(session), _extractable(label) | {_ID: templates.check_id(id)}
        return cls(direct, number, direct.generate(number, Mechanism.GENERIC_SECRET_KEY_GEN, template))

    def keep(self, id: bytes, label: str) -> PlainKey:  # noqa: A002
        """Store a copy of it that can never be wrapped."""
        template = _kept(label) | {_ID: templates.check_id(id)}
        return PlainKey(self.direct, self.session, self.direct.copy(self.session, self.handle, template))

    def wrap_key(self, key: Any, mechanism: Mechanism) -> bytes:
        """Wrap another under this one; that one has a handle."""
        return self.direct.wrap(self.session, mechanism, self.handle, int(key.handle))

    def get_attributes(self, names: Sequence[Attribute]) -> dict[Attribute, bool]:
        """Read attributes that are true or false."""
        values = self.direct.flags(self.session, self.handle, [int(name) for name in names])
        return dict(zip(names, values, strict=True))

    def destroy(self) -> None:
        """Destroy it."""
        self.direct.destroy(self.session, self.handle)


@cache
def _kek() -> dict[int, bytes]:
    return templates.raw(templates.aes_key(bytes(ID_LENGTH), (Attribute.WRAP,)))


@cache
def _extractable(label: str) -> dict[int, bytes]:
    template = templates.hmac_key(bytes(ID_LENGTH), label, stored=False, extractable=True, modifiable=True)
    return templates.raw(template | {Attribute.VALUE_LEN: templates.SECRET_LENGTH})


@cache
def _kept(label: str) -> dict[int, bytes]:
    return templates.raw(templates.kept_copy(bytes(ID_LENGTH), label))


def _number(session: Session) -> int:
    return int(session.handle)  # type: ignore[attr-defined]  # the type stub leaves it out
