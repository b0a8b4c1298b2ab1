"""How is a browser woken, or an app through UnifiedPush: Web Push (RFC 8030, 8291) under a VAPID key (RFC 8292).

The address is the subscription as browsers write it: a JSON text with ``endpoint`` and ``keys``. It comes from a phone,
so where it leads to is checked like the address of a callback.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from joserfc import jwt
from joserfc.jwk import ECKey

from gateway.clock import Clock
from gateway.wire import base64s
from gateway.worker.posting import NotDelivered, Post, exchange
from gateway.worker.push.encryption import encrypt, point_of
from gateway.worker.push.provider import COLLAPSE, WAITING, AddressGone, NotWoken, is_success, not_taken

_TOKEN_LIFE = timedelta(hours=12)  # RFC 8292 allows 24
_GONE = (404, 410)
_AUTH_BYTES = 16
_HTTPS = 443


@dataclass(frozen=True, slots=True)
class Subscription:
    """Where a browser is reached, and the keys to encrypt to it."""

    endpoint: str
    receiver: EllipticCurvePublicKey
    auth: bytes

    @classmethod
    def read(cls, push_id: str) -> "Subscription":
        """Return the subscription in an address; raises AddressGone: whoever wrote another text is never woken."""
        try:
            found = json.loads(push_id)
            endpoint, keys = found["endpoint"], found["keys"]
            point, auth = _bytes(keys["p256dh"]), _bytes(keys["auth"])
            receiver = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
            parts = urlsplit(endpoint)
            plain = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint
            good = (
                plain
                and parts.scheme == "https"
                and parts.hostname
                and "@" not in parts.netloc
                and parts.port != 0
            )
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError, UnsupportedAlgorithm):
            raise AddressGone("not a subscription") from None
        if not good or len(auth) != _AUTH_BYTES:
            raise AddressGone("not a subscription")
        return cls(endpoint, receiver, auth)


def _bytes(text: str) -> bytes:
    """Return the bytes of base64url; some browsers pad it."""
    return base64s.url_decode(text.rstrip("="), what="key")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPush:
    """Wakes phones through whichever push service their browser chose."""

    post: Post
    clock: Clock
    key: ECKey
    contact: str
    hosts: frozenset[str]

    async def wake(self, push_id: str, seconds: int) -> None:
        """See ``Provider``."""
        subscription = Subscription.read(push_id)
        parts = urlsplit(subscription.endpoint)
        if not self._is_allowed(parts.hostname or ""):
            raise NotWoken("the push service is not one of the settings", final=True)
        headers = {
            "authorization": self._authorization(parts),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(seconds),
            "topic": COLLAPSE,
            "urgency": "high",
        }
        body = encrypt(WAITING, subscription.receiver, subscription.auth)
        try:
            answer = await exchange(self.post, subscription.endpoint, body, headers)
        except NotDelivered as error:
            raise NotWoken(str(error)) from None
        if answer.status_code in _GONE:
            raise AddressGone(f"answered with status {answer.status_code}")
        if not is_success(answer.status_code):
            raise not_taken(answer)

    async def close(self) -> None:
        """See ``Provider``: each push has a connection of its own."""

    def _is_allowed(self, host: str) -> bool:
        """Say whether a host is one of the settings, or below one."""
        labels = host.lower().rstrip(".").split(".")
        names = {".".join(labels[start:]) for start in range(len(labels))}
        return not self.hosts or bool(self.hosts & names)

    def _authorization(self, parts: SplitResult) -> str:
        expires = self.clock.now() + _TOKEN_LIFE
        claims = {
            "aud": _origin(parts),
            "exp": int(expires.timestamp()),
            "sub": self.contact,
        }
        token = jwt.encode({"alg": "ES256", "typ": "JWT"}, claims, self.key)
        return f"vapid t={token}, k={application_server_key(self.key)}"


def _origin(parts: SplitResult) -> str:
    """Return the origin as RFC 6454 writes it: in lower case, without the port that is usual."""
    host = parts.netloc.lower()
    return f"https://{host.removesuffix(':443') if parts.port == _HTTPS else host}"


def application_server_key(key: ECKey) -> str:
    """Return the public key as apps subscribe with it: base64url of the point."""
    return base64s.url_encode(point_of(key.get_op_key("verify")))
