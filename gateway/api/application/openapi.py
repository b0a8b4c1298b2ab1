"""How is the application door described: an OpenAPI 3.1 document made from the table of calls."""

import re
from typing import Any

from pydantic.json_schema import models_json_schema

from gateway import __version__
from gateway.api.application.calls import CALLS, Call, Query
from gateway.api.application.views import ProblemView
from gateway.api.problems import CONTENT_TYPE, STATUS
from gateway.refusals import CATALOGUE

_REF = "#/components/schemas/{model}"
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


def document() -> dict[str, Any]:
    """Return the document; it depends on nothing but the code."""
    models = {call.gives for call in CALLS} | {call.takes for call in CALLS if call.takes} | {ProblemView}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    paths: dict[str, Any] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Countersign, application door",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "csk_<id>.<secret>"}
            },
        },
        "security": [{"key": []}],
    }


def _operation(call: Call) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.name,
        "summary": call.about,
        "description": f"Needs the scope `{call.scope}`.",
        "parameters": _parameters(call),
        "responses": _responses(call),
    }
    if call.takes is not None:
        schema = {"$ref": _REF.format(model=call.takes.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _parameters(call: Call) -> list[dict[str, Any]]:
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


def _query(query: Query) -> dict[str, Any]:
    kind = "integer" if query.is_number else "string"
    schema: dict[str, Any] = {"type": kind}
    if not query.is_number:
        schema["pattern"] = f"^({query.pattern})$"
    return {"name": query.name, "in": "query", "description": query.about, "schema": schema}


def _responses(call: Call) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=call.gives.__name__)}
    responses: dict[str, Any] = {
        str(status): {"description": "done", "content": {"application/json": {"schema": schema}}}
        for status in call.statuses
    }
    extra = ("unsupported_media_type",) if call.takes is not None else ()
    codes: dict[int, list[str]] = {}
    for code in (*_ALWAYS, *extra, *call.problems):
        codes.setdefault(STATUS[CATALOGUE[code].meaning], []).append(code)
    problem = {"schema": {"$ref": _REF.format(model=ProblemView.__name__)}}
    for status, names in sorted(codes.items()):
        responses[str(status)] = {
            "description": "problem: " + ", ".join(f"`{name}`" for name in names),
            "content": {CONTENT_TYPE: problem},
        }
    return responses
