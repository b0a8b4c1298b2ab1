"""Has every callback the form that the document of the application door says, and does it say one of each?"""

import json
from pathlib import Path

import jsonschema
import pytest
import sqlalchemy as sa

from gateway.api.application.openapi import document
from gateway.refusals import Refusal
from gateway.rules.callback import CallbackType
from gateway.rules.policy import from_json
from gateway.rules.scoring_policy import FACTORS
from gateway.rules.user import UserAction
from gateway.scenarios.device_lifecycle import remove_device
from gateway.scenarios.transactions import cancel_transaction
from gateway.store.tables import deliveries
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.scenarios.authenticating import RULES, authenticate, bench_with_rules, body_of, login_text
from tests.scenarios.bench import ORIGIN, Bench, run

Json = dict[str, object]
ONLY_ROOTED = {"weights": dict.fromkeys(map(str, FACTORS), 0) | {"rooted": 1000}, "refuse_above": "low"}
POLICY = from_json({"authentication_rules": RULES, "scoring": ONLY_ROOTED})


def _answers(bench: Bench, phone: Phone) -> None:
    """Have the phone say yes and no, and yes although it is rooted; and have one cancelled."""
    for operation, action in ((1, "transactions.approve"), (2, "transactions.decline")):
        shown = run(bench.show(phone, run(bench.ask_to_confirm("anna"))))
        run(bench.ask(phone, action, phone.confirmation_body(shown, operation)))
    run(cancel_transaction(bench.ctx, bench.asker, run(bench.ask_to_confirm("anna")), None, ORIGIN))
    run(authenticate(bench, phone, body_of(phone, login_text(bench, phone))))
    phone.device = {"uv": "password", "rooted": True}
    with pytest.raises(Refusal, match="score_too_high"):
        run(bench.approve(phone, run(bench.show(phone, run(bench.ask_to_confirm("anna"))))))
    with pytest.raises(Refusal, match="score_too_high"):
        run(authenticate(bench, phone, body_of(phone, login_text(bench, phone, 1))))


def _told(bench: Bench) -> list[Json]:
    """Return every callback that there is to be told."""
    answered, other = run(bench.enrol("anna")), run(bench.enrol("berta"))
    _answers(bench, answered)
    for action in (UserAction.BLOCK, UserAction.UNBLOCK, UserAction.DELETE):
        run(bench.change("anna", action))
    device = bench.keyset(other.account.keyset).device_id
    assert device is not None
    run(remove_device(bench.ctx, bench.asker.application, "berta", device, ORIGIN))
    rows = bench.rows(sa.select(deliveries.c.body).order_by(deliveries.c.id))
    return [json.loads(row.body) for row in rows]


def test_every_callback_is_one_of_the_document_and_each_of_the_document_is_told(
    tmp_path: Path, own_device: Device
):
    described = document()
    with bench_with_rules("sqlite", tmp_path, own_device, POLICY) as bench:
        told = _told(bench)
    assert {body["type"] for body in told} == set(described["webhooks"]) == set(CallbackType)
    assert any("scoring" in body["data"] for body in told if body["type"] == "transaction.cancelled")  # type: ignore[operator]
    for body in told:
        content = described["webhooks"][body["type"]]["post"]["requestBody"]["content"]
        schema = {**content["application/json"]["schema"], "components": described["components"]}
        jsonschema.validate(body, schema, cls=jsonschema.Draft202012Validator)
