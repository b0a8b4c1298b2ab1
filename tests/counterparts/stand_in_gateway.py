"""Against what can the phone be tested when no gateway is there?

A client door of a hundred lines with one user and one transaction. It makes packages, judges nothing but the
AUTHCODE, proves its answers, and spoils the proof on demand.
"""

import base64
import hashlib
import json
import secrets
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.counterparts.phone_tlv import b64, element, elements, parse, unb64
from tests.counterparts.phone_wire import answer_proof, mac

KHMAC, KAUTH = bytes(range(32)), bytes(range(100, 132))
CARRIED_SECRET = "40GJ48S44MK2EA1958NJRB9E5W"
SECRET, SALT, ITERATIONS = "7DKP2M9XQ4RT6WYZ", bytes(range(16)), 10_000
CONTENT = "Pay 120.00 EUR to Ärztekammer".encode()
Json = dict[str, Any]
Spoil = Callable[[list[str]], list[str]]


def as_sent(proofs: list[str]) -> list[str]:
    """Spoil nothing."""
    return proofs


def policy_tlv(flags: int = 0x11, password_length: int = 6, classes: int = 0) -> bytes:
    """The value of tag A7: bound to the device, Kpublic required, 180 s, 8 digits."""
    parts = (flags.to_bytes(2, "big"), bytes([password_length]), bytes([classes]), b"\x00\xb4", b"\x08")
    return elements((0x80 + number, value) for number, value in enumerate((*parts, b"\x00\x00")))


def package_tlv(
    url: str,
    *,
    secret: str = SECRET,
    carry: bool = False,
    pin: bytes | None = None,
    policy: bytes | None = None,
    valid_until: datetime = datetime(2040, 1, 1, tzinfo=UTC),
) -> bytes:
    """A package by secret; with `carry` it holds the secret as in a QR-only delivery."""
    secret = CARRIED_SECRET if carry else secret
    kek = hashlib.pbkdf2_hmac("sha256", secret.encode(), SALT, ITERATIONS, 32)
    until = int(valid_until.timestamp())
    wrapping = elements([(0x80, b"\x01"), (0x81, SALT), (0x82, ITERATIONS.to_bytes(4, "big"))])
    texts = ("Example Bank", "app_1", "user-1", "ks_1", url)
    return (
        element(0x80, b"\x01")
        + elements((0x81 + number, text.encode()) for number, text in enumerate(texts))
        + element(0x86, until.to_bytes(8, "big"))
        + element(0xA7, policy or policy_tlv())
        + element(0xA8, wrapping)
        + element(0x89, aes_key_wrap(kek, KHMAC))
        + element(0x8A, aes_key_wrap(kek, KAUTH))
        + (element(0x8B, secret.encode()) if carry else b"")
        + (element(0x8C, pin) if pin else b"")
    )


class StandInGateway:
    """The server; `requests` are the envelopes that came, `spoil` changes the proofs of the answers."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Json] = []
        self.raw: list[bytes] = []
        self.spoil: Spoil = as_sent
        self.date: str | None = None
        self.content = CONTENT
        self.refusal: tuple[int, str] | None = None
        self.refuse_authcodes = 0
        self.keys = {"ks_1": (KHMAC, KAUTH)}
        self._server = _Server((host, 0), self, tls)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{host}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, raw: bytes, proofs: list[str]) -> tuple[int, str, bytes, list[str]]:
        """(status, Content-Type, body, proofs) for one request."""
        self.raw.append(raw)
        envelope = json.loads(raw)
        kauth = self.keys.get(envelope.get("keyset"), (b"", bytes(32)))[1]
        authcode = mac(kauth, raw)
        if proofs != [b64(authcode)] or self.refuse_authcodes:
            self.refuse_authcodes = max(0, self.refuse_authcodes - 1)
            return 401, "application/problem+json", b'{"code":"authentication_failed"}', []
        self.requests.append(envelope)
        status, kind, body = self._act(envelope["action"], envelope["body"], envelope["keyset"])
        proof = answer_proof(kauth, authcode, status, kind.encode(), body)
        return status, kind, body, self.spoil([b64(proof)])

    def _act(self, action: str, body: Json, keyset: str) -> tuple[int, str, bytes]:
        if self.refusal is not None:
            problem = {"code": self.refusal[1], "detail": "No."}
            return self.refusal[0], "application/problem+json", json.dumps(problem).encode()
        if action == "transactions.content":
            part = self.content[body["offset"] :][: min(body["length"], 7)]
            return 200, "application/octet-stream", part
        found: Json
        if action == "keys.register":
            found = {"keyset": keyset, "valid_until": "2031-01-01T00:00:00Z", "policy": b64(policy_tlv())}
        elif action == "keys.renew":
            found = {"package": b64(self.renewed(unb64(body["wrap_key"])))}
        elif action == "transactions.pending":
            found = {"transactions": [self.transaction()], "policy": b64(policy_tlv())}
        elif action == "transactions.get":
            found = self.transaction()
        else:
            found = {"transaction": body.get("transaction"), "status": action, "reason": None}
        return 200, "application/json", json.dumps(found).encode()

    def renewed(self, wrap_key: bytes) -> bytes:
        """A package with new keys for ks_2, sealed to the phone's RSA key."""
        public = load_der_public_key(wrap_key)
        assert isinstance(public, rsa.RSAPublicKey)
        scheme = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
        self.keys["ks_2"] = (secrets.token_bytes(32), secrets.token_bytes(32))
        parts = dict(parse(package_tlv(self.url))) | {
            0x84: b"ks_2",
            0xA8: elements([(0x80, b"\x02"), (0x83, b"\x02")]),
            0x89: public.encrypt(self.keys["ks_2"][0], scheme),
            0x8A: public.encrypt(self.keys["ks_2"][1], scheme),
        }
        return elements(parts.items())

    def transaction(self) -> Json:
        """The one transaction, as `transactions.get` answers it."""
        return {
            "transaction": "txn_1",
            "kind": "sign",
            "title": "Payment",
            "media_type": "text/plain; charset=utf-8",
            "size": len(self.content),
            "content_sha256": b64(hashlib.sha256(self.content).digest()),
            "created": "2026-11-21T22:41:03Z",
            "expires": "2031-01-01T00:00:00Z",
            "digits": 8,
            "offline": True,
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], gateway: StandInGateway, tls: ssl.SSLContext | None) -> None:
        self.gateway = gateway
        super().__init__(address, _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A phone that breaks off the handshake is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        given = self.headers.get_all("PC-Authorization") or []
        status, kind, body, proofs = self.server.gateway.answer(raw, given)
        self.send_response_only(status)
        self.send_header("Date", self.server.gateway.date or self.date_time_string())
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for proof in proofs:
            self.send_header("PC-Authorization", proof)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def flipped(proof: str) -> str:
    """The proof with its first bit changed."""
    raw = unb64(proof)
    return base64.b64encode(bytes([raw[0] ^ 0x80]) + raw[1:]).decode()
