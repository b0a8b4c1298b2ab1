"""Can a bank see or touch anything of another bank, or a phone anything of another user?"""

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from gateway.store.tables import applications, devices, keysets, transactions, users
from tests.api.probe import Probe, problem
from tests.counterparts.bank import Bank
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation
from tests.journeys.stage import Json, Stage

# What a call needs to be read at all; ids come from the bank that is attacked.
BODIES: dict[str, Json] = {
    "createUser": {},
    "blockUser": {"reason": "none of your business"},
    "unblockUser": {},
    "putUserSettings": {"settings": {}},
    "issueKeyset": {"delivery": "qr"},
    "fetchActivationCode": {},
    "createTransaction": {"user": "USER", "media_type": "text/plain", "text": "Pay"},
    "cancelTransaction": {},
    "submitCode": {"code": "12345678"},
    "verifySignature": {"transaction": "TRANSACTION", "step": 1, "code": b64(bytes(32))},
    "passAuthenticationOn": {
        "user": "USER",
        "media_type": "text/plain",
        "text": "Log in",
        "step": 1,
        "code": b64(bytes(32)),
    },
    "putPolicy": {"policy": {}},
    "rotateWebhookSecret": {},
}
OF_THE_ASKER = {"createUser", "getPolicy", "getPolicyVersion", "putPolicy", "rotateWebhookSecret"}


@pytest.fixture(scope="module")
def victim(stage: Stage) -> Json:
    """Ids of the bank that is attacked: a user with keys that wait for their code, and a transaction."""
    phone = stage.phone()
    shown = stage.ask(phone)
    waiting = stage.user()
    issued = stage.bank.issue_keyset(waiting, "qr_and_code")
    return {
        "USER": phone.account.user,
        "WAITING": waiting,
        "KEYSET": issued.id,
        "DEVICE": stage.bank.devices(phone.account.user)[0]["id"],
        "TRANSACTION": shown.transaction,
    }


def _everything(stage: Stage, victim: Json) -> list[Any]:
    """Every row of the attacked bank that a call could change; of transactions, those that do not end meanwhile."""
    mine = stage.keys["application"]
    end = sa.select(transactions.c.expires_at).where(transactions.c.id == victim["TRANSACTION"])
    with stage.database() as connection:
        found: list[Any] = []
        for table in (users, devices, keysets, transactions):  # callbacks go their own way meanwhile
            chosen = sa.select(table).where(table.c.application_id == mine)
            if table is transactions:
                chosen = chosen.where(transactions.c.expires_at >= end.scalar_subquery())
            found += connection.execute(chosen.order_by(*table.primary_key)).all()
        found += connection.execute(sa.select(applications).where(applications.c.id == mine)).all()
        return found


def _calls(stage: Stage) -> Iterator[tuple[str, str, str]]:
    for path, methods in stage.bank.openapi()["paths"].items():
        for method, call in methods.items():
            yield method.upper(), path, call["operationId"]


def _fill(text: str, victim: Json) -> str:
    return re.sub("USER|TRANSACTION|KEYSET|DEVICE|WAITING", lambda found: victim[found[0]], text)


def _send(bank: Bank, method: str, path: str, name: str, victim: Json) -> httpx2.Response:
    waiting = name == "fetchActivationCode"
    path = path.replace("{user_id}", "WAITING" if waiting else "USER")
    path = path.replace("{keyset_id}", "KEYSET").replace("{transaction_id}", "TRANSACTION")
    path = path.replace("{device_id}", "DEVICE")
    body = json.loads(_fill(json.dumps(BODIES[name]), victim)) if name in BODIES else None
    headers = {"Idempotency-Key": secrets.token_hex(16)}
    return bank.request(method, _fill(path, victim), json=body, headers=headers)


def test_every_call_with_another_banks_ids_finds_nothing(stage: Stage, victim: Json) -> None:
    before, walked = _everything(stage, victim), 0
    for method, path, name in _calls(stage):
        if "{" not in path and not (
            {"USER", "TRANSACTION"} & set(re.findall("[A-Z]+", str(BODIES.get(name))))
        ):
            continue
        if name in OF_THE_ASKER:
            continue
        answer = _send(stage.foreign, method, path, name, victim)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path)
        assert [line["type"] for line in stage.recorded(answer)] == ["application.refused"]
        walked += 1
    assert walked >= 10
    assert _everything(stage, victim) == before


def test_no_page_holds_anything_of_another_bank(stage: Stage, victim: Json) -> None:
    user, transaction = victim["USER"], victim["TRANSACTION"]
    assert stage.foreign.transactions(user=user)["transactions"] == []
    assert stage.foreign.events(user=user)["events"] == []
    assert stage.foreign.events(transaction=transaction)["events"] == []
    for page in (stage.foreign.transactions(limit=200), stage.foreign.events(limit=200)):
        assert transaction not in json.dumps(page)
        assert user not in json.dumps([entry for entry in page.get("events", []) if entry["action"] is None])


def test_a_user_made_under_the_same_id_by_another_bank_is_another_user(stage: Stage, victim: Json) -> None:
    before = _everything(stage, victim)
    stage.foreign.create_user(victim["USER"])
    stage.foreign.issue_keyset(victim["USER"])
    stage.foreign.delete_user(victim["USER"])
    assert _everything(stage, victim) == before
    assert stage.bank.user(victim["USER"])["status"] == "active"


def test_an_idempotency_key_is_the_banks_own(stage: Stage) -> None:
    key = secrets.token_hex(16)
    mine = stage.bank.create_transaction(stage.phone().account.user, text="Pay", idempotency_key=key)
    phone = stage.phone(bank=stage.foreign)
    theirs = stage.foreign.create_transaction(phone.account.user, text="Pay", idempotency_key=key)
    assert mine["id"] != theirs["id"]


@pytest.mark.parametrize("bank", ["own", "foreign"])
def test_a_phone_finds_no_transaction_of_another_user(probe: Probe, bank: str) -> None:
    stranger = probe.stage.phone(bank=None if bank == "own" else probe.stage.foreign)
    transaction = {"transaction": probe.shown.transaction}
    calls = {
        "transactions.get": transaction,
        "transactions.content": transaction | {"offset": 0, "length": 10},
        "transactions.approve": stranger.confirmation_body(probe.shown, Operation.APPROVE),
        "transactions.decline": stranger.confirmation_body(probe.shown, Operation.DECLINE),
    }
    assert stranger.pending() == []
    for action, body in calls.items():
        answer = stranger.request(action, body)
        assert problem(answer) == (404, "not_found")
        assert answer.proved_under(stranger.keys.kauth)
        assert [line["type"] for line in probe.stage.recorded(answer)] == ["client.request"]
    assert probe.attempts() == []
    probe.still_works()


def test_another_users_transaction_looks_like_one_that_never_was(probe: Probe) -> None:
    stranger = probe.stage.phone()
    bodies = [
        stranger.request("transactions.get", {"transaction": name}).json()
        for name in (probe.shown.transaction, "txn_" + "0" * 32)
    ]
    for body in bodies:
        body.pop("instance")
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer x", "Basic dTpw", "Bearer csk_{id}.", "bearer {key}", "Bearer  {key}", "Bearer {key},",
     "Bearer csk_{id}.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
     "Bearer csk_00000000000000000000000000000000.{secret}",
     "Bearer {foreign_id}.{secret}", "Bearer {key},Bearer {key}", "Bearer {key}\u00e9"],
)  # fmt: skip
def test_a_key_that_is_not_exactly_right_is_refused_like_no_key(stage: Stage, authorization: str) -> None:
    key = stage.keys["api_key"]
    value = authorization.format(
        key=key,
        id=key.partition(".")[0].removeprefix("csk_"),
        secret=key.partition(".")[2],
        foreign_id=stage.foreign_keys["api_key"].partition(".")[0],
    )
    answer = stage.bank.request("GET", "/v1/policy", headers={"Authorization": value.encode("latin-1")})  # type: ignore[dict-item]
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
