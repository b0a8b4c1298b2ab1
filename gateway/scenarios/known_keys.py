"""Which API keys did the HSM recognise lately, for exactly the row that the credential has now?

The MAC over the same key, application and scopes is always the same. So the token need not be asked again about a key
that it recognised while every value of the key's row is unchanged. The row itself is read anew for each request: a
revoked key is refused at the next one, in every process. Of a key itself nothing is kept but a MAC under a secret
that lives as long as the process.
"""

import hmac
import secrets
from threading import Lock

from gateway.store.applications import Credential

_MOST = 4096  # keys; some hundred bytes each


class KnownKeys:
    """Rows of credentials with a trace of the key that goes with them; the oldest gives way. Safe for threads."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._own_secret = secrets.token_bytes(32)
        self._known: dict[str, tuple[Credential, bytes]] = {}  # by the credential's id
        self._changing = Lock()

    def knows(self, credential: Credential | None, secret: str) -> bool:
        """Say whether the HSM recognised this key of exactly this row."""
        trace = self._trace(secret)  # always, so that a key that is not known costs as much
        found = None if credential is None else self._known.get(credential.id)
        return found is not None and found[0] == credential and hmac.compare_digest(found[1], trace)

    def remember(self, credential: Credential, secret: str) -> None:
        """Remember that the HSM recognised this key of this row."""
        with self._changing:
            self._known[credential.id] = credential, self._trace(secret)
            if len(self._known) > self._most:
                del self._known[next(iter(self._known))]

    def _trace(self, secret: str) -> bytes:
        return hmac.digest(self._own_secret, secret.encode(), "sha256")
