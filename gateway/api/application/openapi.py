"""How is the application door described: an OpenAPI 3.1 document made from the table of calls."""

import re

from gateway.api.application.calls import CALLS, Call, Query
from gateway.api.describing import (
    REQUEST_ID,
    Json,
    answer,
    new_document,
    problem_answers,
    ref,
    schemas_of,
)

_HEADERS = {REQUEST_ID: {"required": True, "schema": {"type": "string"}}}
_ALWAYS = (
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
    models = {call.gives for call in CALLS} | {call.takes for call in CALLS if call.takes}
    paths: Json = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    security = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "csk_<id>.<secret>"}}
    return new_document("Countersign, application door", paths, schemas_of(models), security)


def _operation(call: Call) -> Json:
    operation: Json = {
        "operationId": call.name,
        "summary": call.about,
        "description": f"Needs the scope `{call.scope}`.",
        "parameters": _parameters(call),
        "responses": _responses(call),
    }
    if call.takes is not None:
        schema = ref(call.takes.__name__)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
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
    return parameters


def _query(query: Query) -> Json:
    kind = "integer" if query.is_number else "string"
    schema: Json = {"type": kind}
    if not query.is_number:
        schema["pattern"] = f"^({query.pattern})$"
    return {"name": query.name, "in": "query", "description": query.about, "schema": schema}


def _responses(call: Call) -> Json:
    schema = ref(call.gives.__name__)
    extra = ("unsupported_media_type",) if call.takes is not None else ()
    return {
        **{str(status): answer("done", schema, _HEADERS) for status in call.statuses},
        **problem_answers((*_ALWAYS, *extra, *call.problems), _HEADERS),
    }
