"""What would Apple's push service make of a push? HTTP/2 alone, provider tokens, its headers and its reasons."""

import json
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.counterparts.push_server import Asked, Json, PushServer, Refused, der_of, split_token

KEY_ID, TEAM, TOPIC = "ABC123DEFG", "DEF123GHIJ", "com.example.bank"
HOUR_SECONDS = 3600


def reason(status: int, word: str, headers: dict[str, str] | None = None) -> Refused:
    """A refusal as Apple answers it."""
    return Refused(status, {"reason": word}, headers)


class ApnsService(PushServer):
    """Takes notifications of one team for one app."""

    def __init__(self, chain: Path, key: Path, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(chain, key, clock)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.phones: set[str] = set()
        self.provider_tokens: list[str] = []

    def write_key(self, file: Path) -> Path:
        """Write the .p8 file."""
        file.write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return file

    def install(self) -> str:
        """A phone with the app: its device token."""
        self.phones.add(token := secrets.token_hex(32))
        return token

    def answer(self, asked: Asked) -> tuple[int, Json, dict[str, str]]:
        """Take a notification, or name the reason not to."""
        if asked.version != "2":
            raise Refused(505)
        self._require_team(asked.headers.get("authorization", ""))
        if asked.headers.get("apns-topic") != TOPIC:
            raise reason(400, "TopicDisallowed")
        if asked.headers.get("apns-push-type") not in ("alert", "background"):
            raise reason(400, "InvalidPushType")
        if len(asked.headers.get("apns-collapse-id", "")) > 64:
            raise reason(400, "BadCollapseId")
        if not asked.headers.get("apns-expiration", "").isdigit():
            raise reason(400, "BadExpirationDate")
        if "aps" not in json.loads(asked.body):
            raise reason(400, "PayloadEmpty")
        if asked.path.removeprefix("/3/device/") not in self.phones:
            raise reason(410, "Unregistered")
        return 200, {}, {"apns-id": secrets.token_hex(16)}

    def _require_team(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme != "bearer":
            raise reason(403, "MissingProviderToken")
        head, claims, signed, signature = split_token(token)
        try:
            self._key.public_key().verify(der_of(signature), signed, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            raise reason(403, "InvalidProviderToken") from None
        if head.get("alg") != "ES256" or head.get("kid") != KEY_ID or claims["iss"] != TEAM:
            raise reason(403, "InvalidProviderToken")
        if not 0 <= self.now().timestamp() - claims["iat"] <= HOUR_SECONDS:
            raise reason(403, "ExpiredProviderToken")
        if token not in self.provider_tokens:
            self.provider_tokens.append(token)
