"""How is the client door described: an OpenAPI 3.1 document made from the table of actions."""

from gateway.api.answers import recorded
from gateway.api.client.actions import ACTIONS, Action
from gateway.api.client.forms import SCHEMAS, envelope
from gateway.api.describing import (
    REQUEST_ID,
    Json,
    answer,
    base64_pattern,
    new_document,
    open_operation,
    problem_answers,
    ref,
    server_at,
)
from gateway.api.health import HEALTH_PATHS
from gateway.settings import Settings
from gateway.wire.authcode import HEADER, MAC_BYTES

PREFIX = "/client/v1/"
_ABOUT = (
    "What a phone asks. Keys come from a package; how code, signature, AUTHCODE and the proof over an answer are "
    "computed is in the wire format, docs/reference/wire.md."
)
_ANSWERS = recorded("client")
_SERVER = server_at(
    Settings.model_fields["client_url"].default.removeprefix("https://"),
    "what `COUNTERSIGN_CLIENT_URL` says; each package names it",
)
_CODE = {"type": "string", "pattern": base64_pattern(MAC_BYTES)}
ALWAYS = (
    "authentication_failed",
    "malformed_request",
    "too_large",
    "too_slow",
    "too_many_failures",
    "unsupported_media_type",
    "outage",
    "internal_error",
)
_IDENTIFIED = {REQUEST_ID: {"required": True, "schema": {"type": "string"}}}
_PROOF = {
    "description": "The gateway's proof of this answer: base64 of HMAC-SHA-256(Kauth, 00 || AUTHCODE of the request "
    "|| status || SHA-256(Content-Type) || SHA-256(body)). Absent where the request was not authenticated.",
    "schema": _CODE,
}


def document() -> Json:
    """Return the document; it depends on nothing but the code."""
    about = "base64 of AUTHCODE = HMAC-SHA-256(Kauth, raw request body); exactly one header, accepted once"
    security = {"authcode": {"type": "apiKey", "in": "header", "name": HEADER, "description": about}}
    paths = {PREFIX + action.name: {"post": _operation(action)} for action in ACTIONS.values()}
    own = open_operation("getDocument", "Read this document.", {"type": "object"})
    paths |= {PREFIX + "openapi.json": {"get": own}, **HEALTH_PATHS}
    return new_document("Countersign, client door", _ABOUT, _SERVER, paths, SCHEMAS, security)


def _operation(action: Action) -> Json:
    schema = envelope(action.name, action.takes)
    return {
        "operationId": action.name,
        "summary": action.about,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": _done(action),
            **problem_answers((*ALWAYS, *action.problems), {**_IDENTIFIED, HEADER: _PROOF}),
        },
    }


def _done(action: Action) -> Json:
    headers = {**_IDENTIFIED, HEADER: {**_PROOF, "required": True}}
    if action.gives is None:
        return answer("raw bytes", {}, headers, "application/octet-stream")
    return answer("done", ref(action.gives), headers, example=_ANSWERS[action.name])
