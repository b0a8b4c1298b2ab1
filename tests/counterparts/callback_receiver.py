"""What reaches the bank as callbacks, and can it be trusted?

A small HTTP(S) server in a thread. It accepts a callback only with a valid Standard Webhooks seal and, when
it knows the gateway's published keys, a valid receipt. It keeps each `webhook-id` once, and fails on demand.
"""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from standardwebhooks import Webhook

Json = dict[str, Any]
RECEIPT_TYPE = "pc-receipt+jwt"
TOLERANCE = timedelta(minutes=5)
LONGEST_BODY = 1024 * 1024
SUCCESS, REFUSED = 204, 400
FOR_EVER = -1


class WrongSeal(Exception):
    """The callback is not provably the gateway's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """One accepted callback. `receipt` are the verified claims, None if there was none to verify."""

    id: str
    type: str
    body: Json
    raw: bytes
    receipt: Json | None

    @property
    def transaction(self) -> str | None:
        """The id of the transaction it is about."""
        found = self.body.get("data", {}).get("transaction")
        return found["id"] if isinstance(found, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request as it came, also a refused or failed one, and what it was answered."""

    id: str
    status: int
    raw: bytes
    headers: dict[str, str]
    reason: str = ""


@dataclass(slots=True)
class _Trouble:
    """How the receiver misbehaves, and for how many more requests."""

    status: int = 0
    delay_seconds: float = 0.0
    left: int = 0

    def take(self) -> tuple[int, float]:
        if self.left == 0:
            return 0, 0.0
        self.left -= 1 if self.left > 0 else 0
        return self.status, self.delay_seconds


def verify_receipt(compact: str, jwks: Json) -> Json:
    """The claims of a receipt (compact JWS, ES256) under the published keys; raises WrongSeal."""
    try:
        found = jws.deserialize_compact(compact, KeySet.import_key_set(jwks), algorithms=["ES256"])  # type: ignore[arg-type]
    except (JoseError, ValueError, KeyError) as error:
        raise WrongSeal(f"the receipt does not verify: {error}") from error
    header = found.headers()
    if header.get("alg") != "ES256" or header.get("typ") != RECEIPT_TYPE or found.payload is None:
        raise WrongSeal("the receipt is of another kind")
    claims = json.loads(found.payload)
    if not isinstance(claims, dict):
        raise WrongSeal("the receipt holds no claims")
    return claims


@dataclass(slots=True, kw_only=True)
class SealPolicy:
    """Whom the receiver trusts. Without a clock the seal's age is judged by the wall clock."""

    secrets: list[str] = field(default_factory=list)
    jwks: Callable[[], Json] | None = None
    clock: Callable[[], datetime] | None = None

    def check(self, raw: bytes, headers: dict[str, str]) -> Callback:
        """The callback, if its seal and its receipt are good; raises WrongSeal."""
        if not any(self._sealed(secret, raw, headers) for secret in self.secrets):
            raise WrongSeal("no secret gives this seal")
        try:
            body = json.loads(raw)
            data, kind = body["data"], str(body["type"])
            compact = data.get("receipt")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WrongSeal(f"a sealed body of another shape: {error!r}") from error
        claims = verify_receipt(compact, self.jwks()) if compact and self.jwks else None
        if claims is not None and claims.get("transaction") != data["transaction"]["id"]:
            raise WrongSeal("the receipt is of another transaction")
        return Callback(id=headers["webhook-id"], type=kind, body=body, raw=raw, receipt=claims)

    def _sealed(self, secret: str, raw: bytes, headers: dict[str, str]) -> bool:
        if self.clock is not None:
            return self._sealed_by_clock(secret, raw, headers, self.clock())
        # The package lets ValueError through where a header is malformed.
        with contextlib.suppress(Exception):
            Webhook(secret).verify(raw, headers, json_parse=False)
            return True
        return False

    def _sealed_by_clock(self, secret: str, raw: bytes, headers: dict[str, str], now: datetime) -> bool:
        """The package's verification knows the wall clock only, so its signing function is compared."""
        try:
            stamped = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
            expected = Webhook(secret).sign(headers["webhook-id"], stamped, raw.decode())
        except (KeyError, ValueError):
            return False
        given = headers.get("webhook-signature", "").split(" ")
        return abs(now - stamped) <= TOLERANCE and expected in given


class CallbackReceiver:
    """The bank's address for callbacks, on a free port of the loopback. Use it in a `with` statement."""

    def __init__(
        self,
        *,
        secrets: Sequence[str] = (),
        jwks: Callable[[], Json] | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] | None = None,
        port: int = 0,
    ) -> None:
        self.seals = SealPolicy(secrets=list(secrets), jwks=jwks, clock=clock)
        self.received: list[Callback] = []
        self.arrivals: list[Arrival] = []
        self._trouble = _Trouble()
        self._changed = threading.Condition()
        self._server = _Server(("127.0.0.1", port), self, tls)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where to send callbacks."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}/callbacks"

    def trust(self, *secrets: str, jwks: Callable[[], Json] | None = None) -> None:
        """Accept seals of these secrets too; with `jwks` verify receipts from now on."""
        self.seals.secrets += secrets
        self.seals.jwks = jwks or self.seals.jwks

    def fail(self, status: int = 500, times: int = FOR_EVER) -> None:
        """Answer the next requests with this status and keep nothing of them."""
        self._trouble = _Trouble(status=status, left=times)

    def be_slow(self, seconds: float, times: int = FOR_EVER) -> None:
        """Keep the next callbacks, but answer late."""
        self._trouble = _Trouble(delay_seconds=seconds, left=times)

    def recover(self) -> None:
        """Behave well again."""
        self._trouble = _Trouble()

    def of(self, transaction: str) -> list[Callback]:
        """What was received about one transaction, in the order of arrival."""
        return [callback for callback in self.received if callback.transaction == transaction]

    def wait_for(
        self,
        kind: str | None = None,
        *,
        transaction: str | None = None,
        count: int = 1,
        seconds: float = 30,
    ) -> list[Callback]:
        """Wait for so many matching callbacks; raises TimeoutError."""

        def matching() -> list[Callback]:
            return [
                callback
                for callback in self.received
                if kind in (None, callback.type) and transaction in (None, callback.transaction)
            ]

        with self._changed:
            if not self._changed.wait_for(lambda: len(matching()) >= count, seconds):
                refused = [arrival.reason for arrival in self.arrivals if arrival.reason]
                raise TimeoutError(f"{len(matching())} of {count} callbacks came; refused: {refused}")
            return matching()

    def take(self, raw: bytes, headers: dict[str, str]) -> int:
        """Judge one request and give the status to answer with."""
        with self._changed:
            status, delay = self._trouble.take()
        callback, reason = None, "told to fail"
        if not status:
            callback, reason = self._judge(raw, headers)
            status = REFUSED if callback is None else SUCCESS
        name = headers.get("webhook-id", "")
        with self._changed:
            self.arrivals.append(Arrival(id=name, status=status, raw=raw, headers=headers, reason=reason))
            if callback is not None and callback.id not in {known.id for known in self.received}:
                self.received.append(callback)
            self._changed.notify_all()
        time.sleep(delay)
        return status

    def _judge(self, raw: bytes, headers: dict[str, str]) -> tuple[Callback | None, str]:
        # Outside the lock: the published keys may have to be fetched.
        try:
            return self.seals.check(raw, headers), ""
        except WrongSeal as error:
            return None, str(error)


class _Server(ThreadingHTTPServer):
    """Hands each POST to the receiver."""

    daemon_threads = True
    request_queue_size = 128  # with the usual 5, connections of a crowd are reset on a busy machine

    def __init__(
        self, address: tuple[str, int], receiver: CallbackReceiver, tls: ssl.SSLContext | None
    ) -> None:
        self.receiver, self.tls = receiver, tls
        super().__init__(address, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        # The handshake belongs to the request's own thread: a silent client must not hold up the others.
        if self.tls is not None:
            request.settimeout(10)
            request = self.tls.wrap_socket(request, server_side=True)
        with request:
            super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that breaks off is no concern of the receiver."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(min(size, LONGEST_BODY))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.send_response(self.server.receiver.take(raw, headers))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet: the tests print what they need."""
