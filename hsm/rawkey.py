"""How is a key used whose handle is known, without asking the token anything about it first?

python-pkcs11 makes key objects only from a search or a creation, with two more calls each. Its operations
need nothing but the session, the handle and the key type, so plain objects with these three do; they cost no
call and can be used in any session of the same epoch. They cannot read attributes, copy or destroy. Where the
module can be called directly, signing goes past python-pkcs11, which would ask for the length of each MAC first.
"""

from __future__ import annotations

from typing import Any

from pkcs11 import KeyType, Mechanism, Session, _pkcs11

from hsm.cryptoki import DirectCalls

_p: Any = _pkcs11  # the stub of the extension module leaves the mixins out


class _Raw:
    """The three things the operations of python-pkcs11 ask of a key."""

    def __init__(self, session: Session, handle: int, key_type: KeyType) -> None:
        self._session = session
        self._handle = handle
        self.__dict__["key_type"] = key_type  # fills the cached property, which would ask the token

    @property
    def session(self) -> Session:
        return self._session

    @property
    def handle(self) -> int:
        return self._handle


class _SigningSecret(_Raw, _p.SecretKey, _p.SignMixin, _p.Object):  # type: ignore[misc]
    pass


class _SigningPrivate(_Raw, _p.PrivateKey, _p.SignMixin, _p.Object):  # type: ignore[misc]
    pass


class _EncryptingSecret(_Raw, _p.SecretKey, _p.EncryptMixin, _p.Object):  # type: ignore[misc]
    pass


class _VerifyingPublic(_Raw, _p.PublicKey, _p.VerifyMixin, _p.Object):  # type: ignore[misc]
    pass


_MAC_LENGTH, _SIGNATURE_LENGTH = 32, 64  # bytes
_BUFFER = 64  # bytes; the longest output asked for here


def hmac_sha256(direct: DirectCalls | None, session: Session, handle: int, data: bytes) -> bytes:
    """HMAC-SHA-256 of `data`, 32 bytes: two calls directly, three through python-pkcs11."""
    if direct is not None:
        return direct.sign(_number(session), handle, Mechanism.SHA256_HMAC, data, _MAC_LENGTH)
    key = _SigningSecret(session, handle, KeyType.GENERIC_SECRET)
    return bytes(key.sign(data, mechanism=Mechanism.SHA256_HMAC, buffer_size=_BUFFER))


def secret(session: Session, handle: int) -> Any:
    """An HMAC key, for python-pkcs11 to wrap."""
    return _SigningSecret(session, handle, KeyType.GENERIC_SECRET)


def aes_encrypt(session: Session, handle: int, data: bytes) -> bytes:
    """AES of whole blocks, each by itself: to find out that a master refuses it."""
    key = _EncryptingSecret(session, handle, KeyType.AES)
    return bytes(key.encrypt(data, mechanism=Mechanism.AES_ECB))


def ecdsa_sign(direct: DirectCalls | None, session: Session, handle: int, digest: bytes) -> bytes:
    """ECDSA over a 32-byte digest; r||s, 64 bytes."""
    if direct is not None:
        return direct.sign(_number(session), handle, Mechanism.ECDSA, digest, _SIGNATURE_LENGTH)
    key = _SigningPrivate(session, handle, KeyType.EC)
    return bytes(key.sign(digest, mechanism=Mechanism.ECDSA, buffer_size=_BUFFER))


def ecdsa_verify(session: Session, handle: int, digest: bytes, signature: bytes) -> bool:
    """Whether `signature` (r||s, 64 bytes) over the 32-byte digest is of this key."""
    key = _VerifyingPublic(session, handle, KeyType.EC)
    return bool(key.verify(digest, signature, mechanism=Mechanism.ECDSA))


def _number(session: Session) -> int:
    return int(session.handle)  # type: ignore[attr-defined]  # the type stub leaves it out
