"""Which server does the phone talk to, and is an answer the gateway's own?

TLS is verified against the system's authorities or the given ones. A pin from the package narrows them to the
authority whose public key it names. Above TLS each answer must carry the gateway's proof.
"""

import hashlib
import hmac
import json
import ssl
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

from tests.counterparts.phone_tlv import Malformed, unb64
from tests.counterparts.phone_wire import answer_proof

PREFIX = "/client/v1"
PROOF_HEADER = "PC-Authorization"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
UNAUTHORIZED = 401
ERRORS_FROM = 400
# A long poll holds an answer back for 30 s.
TIMEOUT_SECONDS = 40.0

Headers = Mapping[str, str] | list[tuple[str, str]]
Clock = Callable[[], datetime]


class PhoneError(Exception):
    """Anything the phone has to tell its user."""


class NetworkFailure(PhoneError):
    """No answer, or none that is provably the gateway's. Nothing is known about what happened there."""


class NotRecognised(NetworkFailure):
    """An unproved 401: as a rule the password was wrong. It is a hint only, for nobody signed it."""

    def __init__(self, text: str, date: datetime | None = None) -> None:
        super().__init__(text)
        self.date = date


class Refused(PhoneError):
    """The gateway said no, and proved that it was the gateway. `code` is the problem's stable name."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status, self.problem = status, problem
        self.code = str(problem.get("code", ""))
        super().__init__(str(problem.get("detail") or problem.get("title") or f"refused with {status}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One raw answer. `authcode` is what the request carried (None if it was not 32 bytes)."""

    status: int
    headers: httpx2.Headers
    body: bytes
    authcode: bytes | None

    @property
    def content_type(self) -> str:
        """The Content-Type value as received."""
        return self.headers.get("content-type", "")

    def json(self) -> dict[str, Any]:
        """The body as an object."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise NetworkFailure("the answer is not a JSON object")
        return found

    def proved_under(self, kauth: bytes) -> bool:
        """Whether exactly one valid proof covers this answer to this request."""
        values = self.headers.get_list(PROOF_HEADER)
        if len(values) != 1 or self.authcode is None:
            return False
        kind = self.content_type.encode("latin-1")
        expected = answer_proof(kauth, self.authcode, self.status, kind, self.body)
        try:
            return hmac.compare_digest(expected, unb64(values[0]))
        except Malformed:
            return False

    def date(self) -> datetime | None:
        """The Date header, if it can be read."""
        try:
            return parsedate_to_datetime(self.headers["date"])
        except (KeyError, ValueError):
            return None


class Line:
    """The HTTP connection to one client door. `ca_pem` replaces the system's authorities."""

    def __init__(self, url: str, *, ca_pem: str | None = None, pin: bytes | None = None) -> None:
        self.base = url.rstrip("/")
        parts = urlsplit(self.base)
        self.secure = parts.scheme == "https"
        if not self.secure and (pin is not None or parts.scheme != "http" or parts.hostname not in LOOPBACK):
            raise PhoneError(f"the phone does not talk to {url} without TLS")
        is_narrow = self.secure and (ca_pem is not None or pin is not None)
        self._context = tls_context(ca_pem, pin) if is_narrow else None

    @cached_property
    def _http(self) -> httpx2.Client:
        """Made when it is first used: a phone that only signs needs none, and the system's authorities take long."""
        context = self._context or ssl.create_default_context()
        return httpx2.Client(verify=context, trust_env=False, follow_redirects=False, timeout=TIMEOUT_SECONDS)

    def close(self) -> None:
        """Close the connections."""
        if "_http" in vars(self):
            self._http.close()

    def post(self, path: str, body: bytes, headers: Headers) -> httpx2.Response:
        """Send as it is and read the raw bytes; raises NetworkFailure."""
        items = list(headers.items()) if isinstance(headers, Mapping) else headers
        try:
            request = self._http.build_request("POST", self.base + path, content=body, headers=items)
            response = self._http.send(request, stream=True)
            try:
                response.extensions["raw_body"] = b"".join(response.iter_raw())
            finally:
                response.close()
        except httpx2.TransportError as error:
            raise NetworkFailure(f"the gateway could not be reached: {error}") from error
        return response


def tls_context(ca_pem: str | None, pin: bytes | None) -> ssl.SSLContext:
    """Verifies chains to the given authorities; with a pin only to those whose public key it names."""
    context = ssl.create_default_context(cadata=ca_pem)
    if pin is None:
        return context
    pinned = [der for der in context.get_ca_certs(binary_form=True) if spki_digest(der) == pin]
    if not pinned:
        raise PhoneError("no known authority has the public key that the package pins")
    narrow = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The pinned authority may be an intermediate one: it is an anchor of its own.
    narrow.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    for der in pinned:
        narrow.load_verify_locations(cadata=der)
    return narrow


def spki_digest(certificate: bytes) -> bytes:
    """SHA-256 of the SPKI of a DER certificate, as tag 8C has it."""
    with warnings.catch_warnings():  # of the system's authorities some are older than today's rules
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
