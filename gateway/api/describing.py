"""How is any door described: the parts that the OpenAPI 3.1 documents of both have in common."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from gateway import __version__
from gateway.api.problems import CONTENT_TYPE, STATUS, problem_reply, problem_type
from gateway.refusals import CATALOGUE, Refusal

REQUEST_ID = "Request-Id"
_REF = "#/components/schemas/{model}"
_ANSWER_REF = "#/components/responses/{name}"
_LAST_WORD = {1: "[AQgw]==", 2: "[AEIMQUYcgkosw048]="}  # canonical: what fills up the last bytes is zero

Json = dict[str, Any]


class ProblemView(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    errors: list[dict[str, str]] | None = None


def base64_pattern(size: int | None = None) -> str:
    """Return the pattern of canonical base64 (RFC 4648 section 4) of so many bytes, or of any number."""
    word = "[A-Za-z0-9+/]"
    ends = {left: word * left + end for left, end in _LAST_WORD.items()}
    if size is None:
        return f"^({word}{{4}})*({ends[1]}|{ends[2]})?$"
    whole, left = divmod(size, 3)
    return f"^{word}{{{4 * whole}}}{ends.get(left, '')}$"


Base64 = Annotated[
    str,
    Field(description="canonical base64 with padding", json_schema_extra={"pattern": base64_pattern()}),
]


def new_document(
    title: str, about: str, server: Json, paths: Json, schemas: Mapping[str, Json], security: Json
) -> Json:
    """Return a document; it depends on nothing but the code.

    Args:
        title: what the door is called.
        about: what whoever reads the document should know first.
        server: where the door is (``server_at``).
        paths: the operations by path and method.
        schemas: every body and answer that the operations refer to (``ref``), by name.
        security: the security schemes, of which each request needs all.
    """
    known = {**schemas, **schemas_of([ProblemView])}
    kept = _share(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "description": about,
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [server],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(known.items())),
            "responses": dict(sorted(kept.items())),
            "securitySchemes": security,
        },
        "security": [{name: [] for name in security}],
    }


def _share(paths: Json) -> dict[str, Json]:
    """Put a reference in the place of each problem, and return what is referred to: most answer to many operations."""
    kept = {}
    for operation in (each for methods in paths.values() for each in methods.values()):
        for status, told in operation["responses"].items():
            if CONTENT_TYPE in told["content"]:
                name = ".".join([status, *re.findall(r"`(\w+)`", told["description"])])
                kept[name] = told
                operation["responses"][status] = {"$ref": _ANSWER_REF.format(name=name)}
    return kept


def schemas_of(models: Iterable[type[BaseModel]]) -> dict[str, Json]:
    """Return the schemas of the models and of what they hold, by name."""
    ordered = sorted(models, key=lambda model: model.__name__)
    _, made = models_json_schema([(model, "validation") for model in ordered], ref_template=_REF)
    found: dict[str, Json] = made["$defs"]
    return found


def ref(name: str) -> Json:
    """Return a reference to a schema of the document."""
    return {"$ref": _REF.format(model=name)}


def server_at(address: str, about: str) -> Json:
    """Return where a door is: at the address that a setting has by default, or another."""
    return {
        "url": "https://{address}",
        "variables": {"address": {"default": address, "description": about}},
    }


def answer(
    description: str,
    schema: Json,
    headers: Json,
    content_type: str = "application/json",
    example: object = None,
) -> Json:
    """Return one answer: what it means, its form, and what it may look like."""
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"description": description, "headers": headers, "content": {content_type: content}}


def open_operation(
    name: str, about: str, schema: Json, statuses: Iterable[int] = (200,), example: object = None
) -> Json:
    """Return an operation that takes nothing and needs no credentials."""
    responses = {str(status): answer("told", schema, {}, example=example) for status in statuses}
    return {"operationId": name, "summary": about, "security": [], "responses": responses}


def problem_answers(codes: Iterable[str], headers: Mapping[str, Json]) -> dict[str, Json]:
    """Return the answers that are problems, by status; each names the codes it may have there."""
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(STATUS[CATALOGUE[code].meaning], []).append(code)
    return {
        str(status): answer(
            _naming(names), _problem(status, names), dict(headers), CONTENT_TYPE, _told(names[0])
        )
        for status, names in sorted(by_status.items())
    }


def _told(code: str) -> object:
    """Return what a door answers to a request with this fault."""
    reply, _ = problem_reply(Refusal(code), "req_01a205a271e07c71b24242d09dfee516")
    return json.loads(reply.body)


def _naming(codes: list[str]) -> str:
    return "problem: " + ", ".join(f"`{code}`" for code in codes)


def _problem(status: int, codes: list[str]) -> Json:
    told = {
        "code": {"enum": codes},
        "type": {"enum": [problem_type(code) for code in codes]},
        "status": {"const": status},
    }
    return {"allOf": [ref(ProblemView.__name__), {"properties": told}]}
