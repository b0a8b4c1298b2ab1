"""What would a browser and its push service make of a push? RFC 8030, 8188, 8291 and 8292, from the RFCs alone."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.counterparts.push_server import (
    Asked,
    Json,
    PushServer,
    Refused,
    b64url,
    der_of,
    split_token,
    unb64url,
)

DAY_SECONDS = 86400


@dataclass
class Browser:
    """One subscription: its keys, and the messages its push service holds for it, by topic."""

    key: ec.EllipticCurvePrivateKey
    auth: bytes
    waiting: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    @classmethod
    def make(cls) -> "Browser":
        """A browser with fresh keys."""
        return cls(ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(16))

    @property
    def point(self) -> bytes:
        """Its public key."""
        return self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def read(self) -> list[str]:
        """Come online: decrypt what waits."""
        found = [decrypt(body, self.key, self.auth).decode() for _, body in self.waiting.values()]
        self.waiting.clear()
        return found


def decrypt(body: bytes, key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """The text of an aes128gcm body of one record (RFC 8188), keyed as RFC 8291 says; raises InvalidTag, ValueError."""
    salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
    sender, sealed = body[21 : 21 + length], body[21 + length :]
    if len(sealed) > size:
        raise ValueError("more than one record")
    own = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
    # HKDF (RFC 5869) by hand: each of these needs one block.
    first = _mac(_mac(auth, shared), b"WebPush: info\x00" + own + sender + b"\x01")
    secret = _mac(salt, first)
    content_key = _mac(secret, b"Content-Encoding: aes128gcm\x00\x01")[:16]
    nonce = _mac(secret, b"Content-Encoding: nonce\x00\x01")[:12]
    padded = AESGCM(content_key).decrypt(nonce, sealed, None).rstrip(b"\x00")
    if padded[-1:] != b"\x02":
        raise ValueError("not the last record")
    return padded[:-1]


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


class WebPushService(PushServer):
    """Keeps pushes for the browsers that subscribed; takes them only from the server they subscribed to."""

    def __init__(
        self, chain: Path, key: Path, server_key: str, clock: Callable[[], datetime] | None = None
    ) -> None:
        super().__init__(chain, key, clock)
        self.browsers: dict[str, Browser] = {}
        self._server_key = server_key

    def subscribe(self) -> tuple[Browser, str]:
        """A browser, and its subscription as browsers write it."""
        browser, name = Browser.make(), secrets.token_urlsafe(12)
        self.browsers[name] = browser
        keys = {"p256dh": b64url(browser.point), "auth": b64url(browser.auth)}
        endpoint = f"{self.url}/push/{name}"
        return browser, json.dumps({"endpoint": endpoint, "expirationTime": None, "keys": keys})

    def unsubscribe(self, browser: Browser) -> None:
        """The user has had enough."""
        self.browsers = {name: known for name, known in self.browsers.items() if known is not browser}

    def answer(self, asked: Asked) -> tuple[int, Json, dict[str, str]]:
        """Keep a push; one of the same topic replaces what waits (RFC 8030, 5.4)."""
        self._require_server(asked.headers.get("authorization", ""))
        browser = self.browsers.get(asked.path.removeprefix("/push/"))
        if browser is None:
            raise Refused(410)
        if asked.headers.get("content-encoding") != "aes128gcm" or not asked.headers.get("ttl", "").isdigit():
            raise Refused(400)
        topic = asked.headers.get("topic") or secrets.token_urlsafe(8)
        if len(topic) > 32:
            raise Refused(400)
        browser.waiting[topic] = int(asked.headers["ttl"]), asked.body
        return 201, {}, {"location": f"{self.url}/message/{secrets.token_urlsafe(8)}"}

    def _require_server(self, authorization: str) -> None:
        """VAPID: a token of at most a day for this origin, under the key the browsers subscribed with."""
        scheme, _, rest = authorization.partition(" ")
        given = dict(part.strip().split("=", 1) for part in rest.split(","))
        if scheme != "vapid" or given.get("k") != self._server_key:
            raise Refused(401)
        point = unb64url(given["k"])
        head, claims, signed, signature = split_token(given["t"])
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        try:
            public.verify(der_of(signature), signed, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            raise Refused(403) from None
        left = claims["exp"] - self.now().timestamp()
        good = head["alg"] == "ES256" and claims["aud"] == self.url and 0 < left <= DAY_SECONDS
        if not good or not claims["sub"].startswith(("mailto:", "https:")):
            raise Refused(403)
