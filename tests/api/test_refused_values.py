"""Does a refusal say where the wrong value stands and what is wanted there?"""

import re
import secrets
from pathlib import Path

import pytest

from gateway.api.faults import WANTED
from tests.journeys.stage import Json, Stage

ONE_DATABASE = True
REASONS = Path(__file__).parents[2] / "docs" / "reference" / "wire.md"
TEXT: Json = {"user": "nobody", "media_type": "text/plain", "text": "x"}


def _problem(stage: Stage, method: str, path: str, body: Json | None = None, **params: object) -> Json:
    headers = {"Idempotency-Key": secrets.token_hex(16)}
    answer = stage.bank.request(method, path, json=body, headers=headers, params=params)
    assert answer.status_code in (400, 404), answer.text
    told: Json = answer.json()
    return told


def _creating(stage: Stage, **members: object) -> Json:
    return _problem(stage, "POST", "/v1/transactions", TEXT | members)


def test_every_sentence_is_about_a_reason_that_the_wire_reference_has() -> None:
    table = REASONS.read_text().split("## Reasons for refusal")[1].split("\n## ")[0]
    assert set(WANTED) <= set(re.findall(r"`(\w+)`", table))


def test_base64_of_the_other_alphabet_is_told_which_one_is_wanted(stage: Stage) -> None:
    binary = {"user": "nobody", "media_type": "application/pdf", "content": "__79"}
    told = _problem(stage, "POST", "/v1/transactions", binary)
    assert "content" in told["detail"]
    assert "+ and / and not - and _" in told["detail"]


def test_an_unknown_member_and_a_broken_rule_of_the_whole_are_told_in_our_own_words(stage: Stage) -> None:
    assert _creating(stage, mediaType="x")["errors"] == [
        {"pointer": "/mediaType", "detail": "unknown member"}
    ]
    both = {"pointer": "", "detail": "exactly one of text, content and content_id is needed"}
    assert _creating(stage, content="eA==")["errors"] == [both]


@pytest.mark.parametrize(
    ("query", "told"),
    [({"limit": 1000}, "must be a whole number from 1 to 200"),
     ({"usr": 1}, "unknown parameter"),
     ({"limit": [1, 2]}, "given twice"),
     ({"status": "open"}, "must be of the form pending|confirmed|declined|cancelled")],
)  # fmt: skip
def test_a_wrong_parameter_is_told_its_bounds(stage: Stage, query: Json, told: str) -> None:
    [error] = _problem(stage, "GET", "/v1/transactions", **query)["errors"]
    assert error == {"pointer": f"?{next(iter(query))}", "detail": told}


def test_a_path_without_a_call_is_not_called_a_missing_resource(stage: Stage) -> None:
    for path in ("/v1/users/somebody/", "/v1/user/somebody", "/"):
        told = _problem(stage, "GET", path)
        assert told["code"] == "not_found"
        assert "no call at this path" in told["detail"]
    assert "no call" not in _problem(stage, "GET", "/v1/users/somebody")["detail"]
