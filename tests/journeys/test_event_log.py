"""Does the log hold every request of a phone and every change, with where it came from and nothing secret?"""

import base64
import hashlib
import json
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from gateway.store.tables import contents, events
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import Answer
from tests.counterparts.phone_wire import Operation
from tests.journeys.stage import Stage


def _send(phone: Phone, action: str, body: dict[str, Any]) -> tuple[bytes, Answer]:
    raw = phone.envelope(action, body)
    return raw, phone.open_answer(phone.send(action, raw))


def test_every_request_of_a_phone_is_an_event_with_its_body_hash_and_code(stage: Stage) -> None:
    phone = stage.enrol(stage.user())
    sent = [_send(phone, "keys.register", phone.registration_body())]
    phone.account = _registered(phone)
    made = stage.bank.create_transaction(phone.account.user, text="Pay")["id"]
    sent += [
        _send(phone, "transactions.pending", {}),
        _send(phone, "transactions.get", {"transaction": made}),
        _send(phone, "transactions.content", {"transaction": made, "offset": 0, "length": 3}),
        _send(phone, "devices.update", {"push": {"provider": "none", "identifier": "x"}}),
    ]
    shown = phone.show(made)
    body = phone.confirmation_body(shown, Operation.APPROVE)
    sent += [_send(phone, "transactions.approve", body), _send(phone, "transactions.approve", body)]
    by_request = {event["request"]: event for event in stage.events(user=phone.account.user)}
    for raw, answer in sent:
        event = by_request[answer.headers["request-id"]]
        assert event["body_sha256"] == base64.b64encode(hashlib.sha256(raw).digest()).decode()
        assert event["authcode"] == base64.b64encode(phone.authcode(raw)).decode()
        assert event["keyset"] == phone.account.keyset
        assert event["address"] == "127.0.0.1"
        assert event["action"] == json.loads(raw)["action"]


def _registered(phone: Phone) -> Any:
    return replace(phone.account, registered=True, package_digest=None)


def test_the_log_answers_which_keys_were_active_when(stage: Stage) -> None:
    user = stage.user()
    first, second = stage.phone(user), stage.phone(user)
    told = [
        (event["type"], event["keyset"])
        for event in stage.events(user=user)
        if event["type"].startswith("keyset.")
    ]
    assert told == [
        ("keyset.issued", first.account.keyset),
        ("keyset.registered", first.account.keyset),
        ("keyset.issued", second.account.keyset),
        ("keyset.ended", first.account.keyset),
        ("keyset.registered", second.account.keyset),
    ]


def test_the_log_holds_neither_content_nor_secrets_nor_full_codes_of_transactions(stage: Stage) -> None:
    user, content = stage.user(), "Pay to the account of Zaphod"
    issued = stage.bank.issue_keyset(user, "qr_and_code")
    code = stage.bank.activation_code(user, issued.id)
    phone = stage.personalise(issued.qr_text, activation_code=code)
    phone.register()
    shown = stage.ask(phone, content)
    phone.approve(shown)
    confirmed = stage.bank.transaction(shown.transaction)["confirmation"]
    with stage.database() as connection:
        rows = connection.execute(
            sa.select(events).where(events.c.user_id == user).order_by(events.c.number)
        ).all()
        assert (
            connection.execute(
                sa.select(contents).where(contents.c.transaction_id == shown.transaction)
            ).all()
            == []
        )
    log = stage.gateway.log_file.read_text() + "".join(str(row) for row in rows)
    secrets = [
        content,
        code,
        code.replace("-", ""),
        issued.package,
        confirmed["code"],
        confirmed["signature"],
    ]
    keys = [phone.keys.khmac, phone.keys.kauth]
    secrets += [key.hex() for key in keys] + [base64.b64encode(key).decode() for key in keys]
    secrets += [stage.keys["api_key"], stage.keys["webhook_secret"]]
    assert [secret for secret in secrets if secret in log] == []


def test_pages_of_events_hold_each_event_once(stage: Stage) -> None:
    user = stage.phone().account.user
    whole = [event["number"] for event in stage.events(user=user)]
    paged, after = list[int](), 0
    while True:
        page = stage.bank.events(user=user, limit=1, after=after)
        paged += [event["number"] for event in page["events"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert paged == whole
    assert sorted(set(whole)) == whole


def test_the_device_that_asked_stands_in_every_event_of_a_phone(stage: Stage) -> None:
    phone = stage.phone()
    phone.approve(stage.ask(phone))
    told = [
        event
        for event in stage.bank.events(user=phone.account.user, limit=200)["events"]
        if event["authcode"]
    ]
    assert {event["type"] for event in told} >= {"keyset.registered", "client.request", "transaction.settled"}
    assert [event["type"] for event in told if event["detail"].get("device") != {"uv": "password"}] == []
