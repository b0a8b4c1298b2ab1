"""What becomes of a keyset that the token cannot deliver: a refusal of its own, and nothing left behind?"""

import json

import pytest

from gateway.api.problems import problem_reply
from hsm.errors import DeliveryRefused
from tests.scenarios.bench import Bench, run


def test_a_token_that_cannot_wrap_refuses_a_keyset_with_a_problem_that_says_so(
    any_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = any_bench
    kept = run(bench.enrol("anna")).account.keyset
    keys = bench.device.user_keys()
    monkeypatch.setattr(bench.device, "strategy", None)  # what the test at the start finds with such a token
    with pytest.raises(DeliveryRefused) as refused:
        run(bench.issue("anna"))
    reply, _ = problem_reply(refused.value, "req_1")
    assert (reply.status, json.loads(reply.body)["code"]) == (409, "delivery_unavailable")
    assert "retry-after" not in reply.headers
    assert bench.device.user_keys() == keys
    assert [row.id for row in bench.rows("SELECT id FROM keysets WHERE status = 'active'")] == [kept]
