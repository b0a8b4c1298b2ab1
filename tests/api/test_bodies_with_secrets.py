"""Does anything the gateway keeps of a request let its secret be searched for, one guess after the other?"""

import hashlib
import json
import secrets

import sqlalchemy as sa

from gateway.store.tables import events, idempotency
from tests.counterparts.bank import Bank
from tests.journeys.stage import Stage

PIN = "4711"


def _issue(bank: Bank, user: str, key: str, secret: str = PIN) -> tuple[int, str, bytes]:
    """Issue a keyset; returns status, code of a refusal, and the body as it was sent."""
    raw = json.dumps({"delivery": "online", "secret": secret}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    answer = bank.request("POST", f"/v1/users/{user}/keysets", content=raw, headers=headers)
    return answer.status_code, answer.json().get("code", ""), raw


def _kept(stage: Stage, user: str, key: str) -> list[bytes]:
    """Every hash that is kept of the user's events and under the Idempotency-Key."""
    with stage.database() as connection:
        hashes = connection.execute(sa.select(events.c.body_sha256).where(events.c.action == "issueKeyset"))
        marks = connection.execute(sa.select(idempotency.c.request_sha256).where(idempotency.c.key == key))
        return [value for value in (*hashes.scalars(), *marks.scalars()) if value is not None]


def test_no_plain_hash_of_a_secret_is_kept(stage: Stage) -> None:
    bank = stage.bank_with(weak_secret=True)
    user, key = stage.user(bank), secrets.token_hex(8)
    status, _, raw = _issue(bank, user, key)
    assert status == 201
    line = f"POST /v1/users/{user}/keysets\n".encode()
    guesses = {hashlib.sha256(raw).digest(), hashlib.sha256(line + raw).digest()}
    kept = _kept(stage, user, key)
    assert len(kept) == 1
    assert guesses.isdisjoint(kept)
    (issued,) = stage.events(bank, user=user, type="keyset.issued")
    assert issued["body_sha256"] is None


def test_not_even_of_one_that_is_refused(stage: Stage) -> None:
    user, key = stage.user(), secrets.token_hex(8)
    status, code, _ = _issue(stage.bank, user, key)
    assert (status, code) == (422, "not_allowed_by_policy")
    refused = [line for line in stage.events(type="application.refused") if line["action"] == "issueKeyset"]
    assert refused
    assert {line["body_sha256"] for line in refused} == {None}


def test_a_repeat_is_known_and_another_secret_under_the_key_as_well(stage: Stage) -> None:
    bank = stage.bank_with(weak_secret=True)
    user, key = stage.user(bank), secrets.token_hex(8)
    assert _issue(bank, user, key)[0] == 201
    assert _issue(bank, user, key)[:2] == (409, "already_delivered")
    assert _issue(bank, user, key, "4712")[:2] == (422, "idempotency_mismatch")


def test_the_body_of_another_call_is_known_by_its_hash(stage: Stage) -> None:
    user = stage.user()
    stage.bank.block(user, "lost")
    (line,) = stage.events(user=user, type="user.blocked")
    assert line["body_sha256"] is not None
