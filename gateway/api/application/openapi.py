"""How is the application door described: an OpenAPI 3.1 document made from the table of calls."""

import re

from gateway.api.answers import recorded
from gateway.api.application.callbacks import DATA, webhooks
from gateway.api.application.calls import CALLS, Call, Query
from gateway.api.application.examples import examples_of
from gateway.api.describing import (
    REQUEST_ID,
    Json,
    answer,
    new_document,
    open_operation,
    problem_answers,
    ref,
    schemas_of,
    server_at,
)
from gateway.api.health import HEALTH_PATHS
from gateway.settings import Settings

_ANSWERS = recorded("application")
_HEADERS = {REQUEST_ID: {"required": True, "schema": {"type": "string"}}}
_JWK: Json = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("kty", "crv", "x", "y", "kid", "use", "alg")},
    "required": ["kty", "crv", "x", "y", "kid"],
}
_OPEN_PATHS: Json = {
    "/openapi.json": {"get": open_operation("getDocument", "Read this document.", {"type": "object"})},
    "/.well-known/jwks.json": {
        "get": open_operation(
            "getReceiptKeys",
            "Read the public keys of receipts, also those that are retired, with their times (`nbf`, `exp`).",
            {
                "type": "object",
                "properties": {"keys": {"type": "array", "items": _JWK}},
                "required": ["keys"],
            },
            example=_ANSWERS["getReceiptKeys"],
        )
    },
}
_SERVER = server_at(
    Settings.model_fields["application_bind"].default,
    "what `COUNTERSIGN_APPLICATION_BIND` says, or the address of what stands in front",
)
_ABOUT = (
    "What a bank's system asks. Credentials: `Authorization: Bearer` with an API key, as `countersign application "
    "add` shows it once. Bodies are JSON, strictly: a member that is not described is refused. Bytes are base64 with "
    "padding, times `YYYY-MM-DDTHH:MM:SSZ`. Every refusal is a problem document (RFC 9457): act on `code` and "
    "`status`, and name `instance` to the operator. Outcomes come as callbacks too: see `webhooks`."
)
ALWAYS = (
    "unauthenticated",
    "scope_missing",
    "malformed_request",
    "too_large",
    "too_slow",
    "too_many_failures",
    "outage",
    "internal_error",
)


def document() -> Json:
    """Return the document; it depends on nothing but the code."""
    models = {call.gives for call in CALLS} | {call.takes for call in CALLS if call.takes} | {*DATA.values()}
    paths: Json = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    paths |= {**_OPEN_PATHS, **HEALTH_PATHS}
    security = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "csk_<id>.<secret>"}}
    described = new_document(
        "Countersign, application door", _ABOUT, _SERVER, paths, schemas_of(models), security
    )
    return described | {"webhooks": webhooks()}


def _operation(call: Call) -> Json:
    operation: Json = {
        "operationId": call.name,
        "tags": [call.scope.partition(":")[0]],
        "summary": call.about,
        "description": f"Needs the scope `{call.scope}`.",
        "parameters": _parameters(call),
        "responses": _responses(call),
    }
    if call.takes is not None:
        body = {"schema": ref(call.takes.__name__), "examples": examples_of(call.name)}
        operation["requestBody"] = {"required": True, "content": {"application/json": body}}
    if call.is_content:
        operation["requestBody"] = {"required": True, "content": {"*/*": {}}}
    return operation


def _parameters(call: Call) -> list[Json]:
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 64},
        }
        for name in re.findall(r"{(\w+)}", call.path)
    ]
    parameters = in_path + [_query(query) for query in call.query]
    if call.key_accepted:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": call.key_required,
                "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
            }
        )
    if call.follows:
        parameters.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "begin after the event of this number; comes before `after`",
                "schema": {"type": "string", "pattern": r"^\d{1,15}$"},
            }
        )
    return parameters


def _query(query: Query) -> Json:
    if query.bounds is None:
        schema: Json = {"type": "string", "pattern": f"^({query.pattern})$"}
    else:
        schema = {"type": "integer", "minimum": query.bounds[0], "maximum": query.bounds[1]}
    return {"name": query.name, "in": "query", "description": query.about, "schema": schema}


def _responses(call: Call) -> Json:
    schema = ref(call.gives.__name__)
    done = answer("done", schema, _HEADERS, example=_ANSWERS.get(call.name))
    if call.follows:
        # OpenAPI 3.1 cannot say what a single event holds, so words do; the schema is among the components.
        about = f"server-sent events; `data` of each is one `{call.gives.__name__}`, `id` its number"
        done = answer(about, {"type": "string"}, _HEADERS, "text/event-stream")
    codes = list(ALWAYS)
    codes += ["unsupported_media_type"] if call.takes is not None else []
    codes += ["idempotency_key_required"] if call.key_accepted else []
    return {
        **{str(status): done for status in call.statuses},
        **problem_answers([*codes, *call.problems], _HEADERS),
    }
