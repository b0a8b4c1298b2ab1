"""How is an Android phone woken: Firebase Cloud Messaging, HTTP v1, as a service account.

The account's key signs a claim (RFC 7523), the token service gives an access token for it, good for about an hour.
"""

import asyncio
import json
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import RSAKey

from gateway.clock import Clock
from gateway.worker.push.provider import (
    COLLAPSE,
    AddressGone,
    NotWoken,
    is_success,
    not_taken,
    read_json,
    word_of,
)

_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CLAIM_LIFE = timedelta(minutes=10)
_RENEWED_BEFORE = timedelta(minutes=5)
_TOKEN_SECONDS_MOST = 3600
_NO_PERMISSION = (401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A service account, as its file has it."""

    project: str
    email: str
    key: RSAKey
    key_id: str
    token_uri: str

    @classmethod
    def read(cls, file: Path) -> "Account":
        """Read the JSON file that Google's console gives out. Raises OSError, or ValueError without its content."""
        try:
            found = json.loads(file.read_bytes())
            names = ("project_id", "client_email", "private_key", "private_key_id", "token_uri")
            project, email, key, key_id, token_uri = (str(found[name]) for name in names)
            return cls(
                project=project, email=email, key=RSAKey.import_key(key), key_id=key_id, token_uri=token_uri
            )
        except (KeyError, TypeError, ValueError):
            raise ValueError("not the JSON file of a service account") from None


class Fcm:
    """Wakes phones through Firebase."""

    def __init__(self, account: Account, url: str, tls: ssl.SSLContext, clock: Clock) -> None:
        self._account, self._clock = account, clock
        self._url = f"{url}/v1/projects/{account.project}/messages:send"
        self._client = httpx2.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=None)
        self._token: tuple[str, datetime] | None = None
        self._renewing = asyncio.Lock()

    async def wake(self, push_id: str, seconds: int) -> None:
        """See ``Provider``."""
        token = await self._access_token()
        message = {
            "token": push_id,
            "data": {"waiting": "true"},
            "android": {"collapse_key": COLLAPSE, "priority": "HIGH", "ttl": f"{seconds}s"},
        }
        sent = self._client.stream(
            "POST", self._url, json={"message": message}, headers={"authorization": f"Bearer {token}"}
        )
        async with sent as answer:
            if is_success(answer.status_code):
                return
            error = (await read_json(answer)).get("error")
        code = _code_of(error)
        if answer.status_code in _NO_PERMISSION:
            self._token = None  # taken back before its end; the next try asks for a new one
        if code == "UNREGISTERED":
            raise AddressGone(code)
        raise not_taken(answer, code)

    async def close(self) -> None:
        """See ``Provider``."""
        await self._client.aclose()

    async def _access_token(self) -> str:
        async with self._renewing:  # one asks, the others use what it got
            now = self._clock.now()
            if self._token is None or now >= self._token[1]:
                self._token = await self._ask_for_token(now)
            return self._token[0]

    async def _ask_for_token(self, now: datetime) -> tuple[str, datetime]:
        """Return an access token and until when to use it."""
        account = self._account
        claims = {
            "iss": account.email,
            "scope": _SCOPE,
            "aud": account.token_uri,
            "iat": int(now.timestamp()),
            "exp": int((now + _CLAIM_LIFE).timestamp()),
        }
        claim = jwt.encode({"alg": "RS256", "kid": account.key_id, "typ": "JWT"}, claims, account.key)
        form = {"grant_type": _GRANT, "assertion": claim}
        async with self._client.stream("POST", account.token_uri, data=form) as answer:
            found = await read_json(answer)
        token, seconds = found.get("access_token"), found.get("expires_in")
        if not is_success(answer.status_code) or not isinstance(token, str) or type(seconds) is not int:
            raise NotWoken(
                f"no access token: status {answer.status_code} {word_of(found.get('error'))}".strip()
            )
        life = timedelta(seconds=min(seconds, _TOKEN_SECONDS_MOST))
        return token, now + max(life - _RENEWED_BEFORE, life / 2)


def _code_of(error: Any) -> str:
    """Return the error code of FCM where there is one, else the status that all of Google's services name."""
    if not isinstance(error, dict):
        return ""
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict) and str(detail.get("@type", "")).endswith(
            "google.firebase.fcm.v1.FcmError"
        ):
            return word_of(detail.get("errorCode"))
    return word_of(error.get("status"))
