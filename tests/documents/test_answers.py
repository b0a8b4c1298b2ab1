"""Are the examples of answers such as the doors give: of the form that is described, and of today's?"""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from jsonschema import Draft202012Validator

from gateway.api.answers import FILE, recorded
from gateway.api.application import openapi as application
from gateway.api.application.calls import CALLS
from gateway.api.client import openapi as client
from gateway.api.client.actions import ACTIONS
from tests.documents.story import Story
from tests.journeys.stage import Json, Stage

GIVING = {call.name for call in CALLS if not call.follows}
ANSWERING = {action.name for action in ACTIONS.values() if action.gives is not None}


def _shape(value: Any) -> Any:
    """What is left when another gateway tells the same story: names, and what kind of thing each is."""
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in value.items()}
    return [_shape(each) for each in value] if isinstance(value, list) else type(value).__name__


def test_every_answer_in_json_has_an_example() -> None:
    assert set(recorded("application")) == {*GIVING, "getReceiptKeys"}
    assert set(recorded("client")) == ANSWERING


def _examples(document: Json) -> Iterator[tuple[object, Json]]:
    """Every example of the document, with the schema of what it is an example of."""
    for operation in (each for methods in document["paths"].values() for each in methods.values()):
        answers = [operation.get("requestBody", {}), *operation["responses"].values()]
        for each in answers:
            name = each.get("$ref", "").rpartition("/")[2]
            found = document["components"]["responses"][name] if name else each
            for content in found.get("content", {}).values():
                for example in (content, *content.get("examples", {}).values()):
                    yield from (
                        (example[key], content["schema"]) for key in ("example", "value") if key in example
                    )


@pytest.mark.parametrize("document", [application.document, client.document])
def test_every_example_is_of_the_form_that_the_document_says(document: Callable[[], Json]) -> None:
    described = document()
    found = list(_examples(described))
    assert len(found) > 20
    for example, schema in found:
        Draft202012Validator({**schema, "components": described["components"]}).validate(example)


def test_the_receipt_of_the_example_is_verified_with_the_keys_of_the_example() -> None:
    told = recorded("application")
    keys = KeySet.import_key_set(told["getReceiptKeys"])
    claims = jwt.decode(told["getTransaction"]["receipt"], keys, algorithms=["ES256"]).claims
    assert claims["transaction"] == told["getTransaction"]["id"]


def test_a_gateway_of_today_answers_as_the_examples_do(stage: Stage) -> None:
    """With TEST_RECORD in the environment the answers of today become the examples."""
    told = Story(stage).told()
    if "TEST_RECORD" in os.environ:
        FILE.write_text(json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    for door, answers in told.items():
        assert {name: _shape(each) for name, each in answers.items()} == {
            name: _shape(each) for name, each in recorded(door).items()
        }
