"""How does a no look over HTTP: problem documents (RFC 9457) for refusals, outages and bugs.

The only place that knows which status belongs to which meaning.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from gateway.api import faults
from gateway.refusals import CATALOGUE, Meaning, Outage, Problem, Refusal
from gateway.wire.errors import WireError
from hsm.errors import DeliveryRefused, DeviceError, DeviceUnavailable, DuplicateKey, InvalidUri, KeyMissing

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 60
STATUS: dict[Meaning, int] = {
    Meaning.INVALID: 400,
    Meaning.UNAUTHENTICATED: 401,
    Meaning.FORBIDDEN: 403,
    Meaning.MISSING: 404,
    Meaning.METHOD: 405,
    Meaning.CONFLICT: 409,
    Meaning.TOO_SLOW: 408,
    Meaning.TOO_LARGE: 413,
    Meaning.TOO_MANY: 429,
    Meaning.MEDIA: 415,
    Meaning.UNPROCESSABLE: 422,
    Meaning.OUTAGE: 503,
    Meaning.BUG: 500,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is sent: status, exact body bytes, content type, further headers."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    # Of an answer that is not sent at once: makes it, from all its headers.
    respond: Callable[[Mapping[str, str]], Response] | None = None


def json_reply(status: int, value: object, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON answer."""
    return Reply(status, _json(value), headers=dict(headers or {}))


def problem_type(code: str) -> str:
    """Return the URI that names the problem; it is documented in docs/reference/problems.md."""
    return f"urn:countersign:problem:{code}"


def problem_reply(error: Exception, request_id: str) -> tuple[Reply, str]:
    """Return the answer to a failed request, and the reason for the log.

    Args:
        error: what was raised.
        request_id: names the request in log and answer.
    """
    refusal = _as_refusal(error)
    if refusal is not None:
        return _document(refusal.problem, request_id, refusal.detail, refusal.errors), refusal.reason
    if isinstance(error, Outage | DeviceUnavailable):
        headers = {"retry-after": str(error.retry_after_seconds)}
        return _document(CATALOGUE["outage"], request_id, headers=headers), str(error)
    # The row names a key that is not there, or is there twice.
    if isinstance(error, KeyMissing | DuplicateKey | InvalidUri):
        return _document(CATALOGUE["integrity_failure"], request_id), str(error)
    if isinstance(error, DeliveryRefused):
        return _document(CATALOGUE["delivery_unavailable"], request_id), str(error)
    if isinstance(error, DeviceError):
        return _document(CATALOGUE["outage"], request_id, headers={"retry-after": "5"}), str(error)
    return _document(CATALOGUE["internal_error"], request_id), type(error).__name__


def _as_refusal(error: Exception) -> Refusal | None:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, WireError):
        code = "too_large" if error.reason == "too_large" else "malformed_request"
        return Refusal(code, str(error), detail=faults.of_wire(error))
    if isinstance(error, ValidationError):
        return Refusal("malformed_request", "body does not fit its schema", errors=faults.of_body(error))
    return None


def _document(
    problem: Problem,
    request_id: str,
    detail: str | None = None,
    errors: tuple[dict[str, str], ...] = (),
    headers: Mapping[str, str] | None = None,
) -> Reply:
    status = STATUS[problem.meaning]
    document: dict[str, object] = {
        "type": problem_type(problem.code),
        "title": problem.title,
        "status": status,
        "detail": detail or problem.advice,
        "code": problem.code,
        "instance": f"urn:countersign:request:{request_id}",
    }
    if errors:
        document["errors"] = list(errors)
    extra = dict(headers or {})
    if problem.meaning is Meaning.TOO_MANY:
        extra["retry-after"] = str(RETRY_SECONDS)
    if problem.meaning is Meaning.UNAUTHENTICATED:
        extra["www-authenticate"] = "Bearer" if problem.code == "unauthenticated" else "PC-Authorization"
    return Reply(status, _json(document), CONTENT_TYPE, extra)


def _json(value: object) -> bytes:
    return orjson.dumps(value)
