"""Does the document of the client door allow every request that the published vectors call valid?"""

import json

import jsonschema
import pytest

from tests.house.tree import ROOT

DOCUMENT = json.loads((ROOT / "docs" / "reference" / "client-door.openapi.json").read_text())
CASES = json.loads((ROOT / "tests" / "vectors" / "door.json").read_text())["cases"]
VALID = [
    pytest.param(case["action"], case["raw"], id=case["name"])
    for case in CASES
    if case["kind"] == "request" and case["valid"]
]


def _is_allowed(action: str, raw: str) -> bool:
    told = DOCUMENT["paths"][f"/client/v1/{action}"]["post"]["requestBody"]["content"]["application/json"]
    schema = {**told["schema"], "components": DOCUMENT["components"]}
    return bool(jsonschema.Draft202012Validator(schema).is_valid(json.loads(raw)))


@pytest.mark.parametrize(("action", "raw"), VALID)
def test_every_request_of_the_vectors_that_is_valid_is_allowed(action: str, raw: str):
    assert _is_allowed(action, raw)


@pytest.mark.parametrize(("action", "raw"), VALID)
def test_a_member_too_many_or_too_few_is_forbidden(action: str, raw: str):
    request = json.loads(raw)
    assert not _is_allowed(action, json.dumps({**request, "more": 1}))
    assert not _is_allowed(action, json.dumps({**request, "body": {**request["body"], "more": 1}}))
    for name in request:
        assert not _is_allowed(action, json.dumps({each: request[each] for each in request if each != name}))
