"""How is an iPhone woken: Apple's push service over HTTP/2, with a provider token of a .p8 key."""

import re
import ssl
from datetime import datetime, timedelta

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey

from gateway.clock import Clock
from gateway.worker.push.provider import COLLAPSE, AddressGone, is_success, not_taken, read_json, word_of

# Apple wants a new one after 20 minutes at the earliest, 60 at the latest.
_TOKEN_LIFE = timedelta(minutes=50)
_IDLE_SECONDS = 900  # Apple asks to keep the connection
_DEVICE_TOKEN = re.compile(r"[0-9A-Fa-f]{16,200}")
# The app shows its own text under this name; there is none in the push.
_PAYLOAD = {"aps": {"alert": {"loc-key": "COUNTERSIGN_WAITING"}, "sound": "default"}}
_NO_PERMISSION = 403


class Apns:
    """Wakes phones through Apple."""

    def __init__(
        self,
        key: ECKey,
        key_id: str,
        team_id: str,
        topic: str,
        *,
        url: str,
        tls: ssl.SSLContext,
        clock: Clock,
    ) -> None:
        self._key, self._header = key, {"alg": "ES256", "kid": key_id}
        self._team_id, self._topic, self._url, self._clock = team_id, topic, url, clock
        self._client = httpx2.AsyncClient(
            verify=tls,
            http1=False,
            http2=True,
            trust_env=False,
            follow_redirects=False,
            timeout=None,
            limits=httpx2.Limits(max_connections=2, keepalive_expiry=_IDLE_SECONDS),
        )
        self._token: tuple[str, datetime] | None = None

    async def wake(self, push_id: str, seconds: int) -> None:
        """See ``Provider``."""
        if not _DEVICE_TOKEN.fullmatch(push_id):
            raise AddressGone("not a device token")
        now = self._clock.now()
        headers = {
            "authorization": f"bearer {self._provider_token(now)}",
            "apns-topic": self._topic,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": str(int(now.timestamp()) + seconds),
            "apns-collapse-id": COLLAPSE,
        }
        url = f"{self._url}/3/device/{push_id}"
        async with self._client.stream("POST", url, json=_PAYLOAD, headers=headers) as answer:
            if is_success(answer.status_code):
                return
            reason = word_of((await read_json(answer)).get("reason"))
        if answer.status_code == _NO_PERMISSION:
            self._token = None
        if (answer.status_code, reason) in (
            (410, "Unregistered"),
            (410, "ExpiredToken"),
            (400, "BadDeviceToken"),
        ):
            raise AddressGone(reason)
        raise not_taken(answer, reason)

    async def close(self) -> None:
        """See ``Provider``."""
        await self._client.aclose()

    def _provider_token(self, now: datetime) -> str:
        if self._token is None or now >= self._token[1]:
            claims = {"iss": self._team_id, "iat": int(now.timestamp())}
            self._token = jwt.encode(self._header, claims, self._key), now + _TOKEN_LIFE
        return self._token[0]
