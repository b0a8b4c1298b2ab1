"""What does an application ask about a past answer, and what is it told of what it shows and of the keys?"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from gateway.rules.keyset import Keyset
from gateway.store.authentications import Authentication
from gateway.store.transactions import Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an application asks to have verified: a code (32 bytes, or a few digits), a signature (DER), or both.

    ``about_id`` names the transaction that was answered, or the authentication that was made.
    """

    about_id: str
    operation: str
    content_sha256: bytes | None
    step: int
    code: bytes | str | None
    signature: bytes | None


def missing_proofs(question: Question, given: Attempt | Authentication) -> list[str]:
    """Return the proofs that were given then and that the question does not show."""
    pairs = {"code": (given.code, question.code), "signature": (given.signature, question.signature)}
    return [name for name, (then, shown) in pairs.items() if then is not None and shown is None]


def status_then(keyset: Keyset, then: datetime) -> str:
    """Return the state that a keyset was in at a moment."""
    if keyset.ended_at is not None and keyset.ended_at <= then:
        return str(keyset.status)
    if keyset.registered_at is not None and keyset.registered_at <= then:
        return "active"
    return "issued"


def digest_of(content: bytes) -> bytes:
    """Return the digest under which content enters a message."""
    return hashlib.sha256(content).digest()
