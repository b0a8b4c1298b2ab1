"""May a credential with no more than the usual scopes do what has to be given by name?"""

import json
import re
import secrets
from collections.abc import Iterator

import pytest

from gateway.api.application.calls import CALLS
from gateway.scenarios.access import DEFAULT_SCOPES, EXTRA_SCOPES
from tests.counterparts.bank import Bank
from tests.journeys.stage import Stage

ONE_DATABASE = True
# Of the specification: changing policy, unblocking, deleting, fetching activation codes.
NEVER_USUAL = {"policy:write", "user:unblock", "user:delete", "device:delete", "keyset:activation-code"}


@pytest.fixture(scope="module")
def usual(stage: Stage) -> Iterator[Bank]:
    """A bank whose credential was made without naming any scope."""
    made = stage.gateway.run("application", "add", f"usual {secrets.token_hex(4)}", "--json").stdout
    with stage.gateway.bank(json.loads(made)["api_key"]) as bank:
        yield bank


def test_a_usual_credential_gets_past_the_scope_of_the_usual_calls_alone(usual: Bank) -> None:
    """Each call is asked with a query that none takes, which is looked at after the scope."""
    missing = set()
    for call in CALLS:
        answer = usual.request(call.method, re.sub(r"\{\w+\}", "x", call.path), params={"nonsense": 1})
        assert answer.status_code in (400, 403, 415), (call.name, answer.text)
        if answer.json()["code"] == "scope_missing":
            assert call.scope in answer.json()["detail"]
            missing.add(call.scope)
    assert missing == {*EXTRA_SCOPES}
    assert {call.scope for call in CALLS} == {*DEFAULT_SCOPES, *EXTRA_SCOPES}
    assert missing >= NEVER_USUAL
