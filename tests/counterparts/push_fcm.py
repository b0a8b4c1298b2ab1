"""What would Firebase make of a push? Its token service and the HTTP v1 interface, as Google documents them."""

import json
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.counterparts.push_server import Asked, Json, PushServer, Refused, split_token

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
HOUR_SECONDS = 3600
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
PROJECT, EMAIL, KEY_ID = "a-bank", "push@a-bank.iam.gserviceaccount.com", "key-1"


def failure(
    status: int, name: str, code: str | None = None, headers: dict[str, str] | None = None
) -> Refused:
    """An error as Google's services answer it, with the code of FCM where there is one."""
    details = [{"@type": FCM_ERROR, "errorCode": code}] if code else []
    error = {"code": status, "message": "no token here", "status": name, "details": details}
    return Refused(status, {"error": error}, headers)


class FcmService(PushServer):
    """Gives access tokens to one service account and takes its messages."""

    def __init__(self, chain: Path, key: Path, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__(chain, key, clock)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.tokens: dict[str, float] = {}
        self.phones: set[str] = set()
        self.messages: list[Json] = []

    def write_account(self, file: Path) -> Path:
        """Write the file of the service account."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        account = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": KEY_ID,
            "private_key": pem,
            "client_email": EMAIL,
            "token_uri": f"{self.url}/token",
        }
        file.write_text(json.dumps(account))
        return file

    def install(self) -> str:
        """A phone with the app: its registration token."""
        self.phones.add(token := f"{secrets.token_urlsafe(16)}:APA91b{secrets.token_urlsafe(100)}")
        return token

    def answer(self, asked: Asked) -> tuple[int, Json, dict[str, str]]:
        """Serve both interfaces."""
        if asked.path == "/token":
            return self._give_token(asked)
        if asked.path != f"/v1/projects/{PROJECT}/messages:send":
            raise failure(404, "NOT_FOUND")
        bearer = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(bearer, 0) <= self.now().timestamp():
            raise failure(401, "UNAUTHENTICATED")
        message = json.loads(asked.body)["message"]
        ttl = message["android"]["ttl"]
        if not (ttl.endswith("s") and ttl[:-1].isdigit() and int(ttl[:-1]) <= 28 * 86400):
            raise failure(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
        if message["token"] not in self.phones:
            raise failure(404, "NOT_FOUND", "UNREGISTERED")
        self.messages.append(message)
        return 200, {"name": f"projects/{PROJECT}/messages/{len(self.messages)}"}, {}

    def _give_token(self, asked: Asked) -> tuple[int, Json, dict[str, str]]:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        head, claims, signed, signature = split_token(form["assertion"])
        try:
            self._key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise Refused(400, {"error": "invalid_grant"}) from None
        now = self.now().timestamp()
        good = claims["iss"] == EMAIL and claims["aud"] == f"{self.url}/token" and claims["scope"] == SCOPE
        timely = claims["iat"] <= now < claims["exp"] <= claims["iat"] + HOUR_SECONDS
        named = head == {"alg": "RS256", "typ": "JWT", "kid": KEY_ID} and form["grant_type"] == GRANT
        if not (good and timely and named):
            raise Refused(400, {"error": "invalid_grant"})
        self.tokens[token := secrets.token_urlsafe(40)] = now + HOUR_SECONDS
        return 200, {"access_token": token, "expires_in": HOUR_SECONDS, "token_type": "Bearer"}, {}
