"""What does the bank's door do with requests that are not the ones its description asks for?"""

import secrets
from typing import Any

import httpx2
import pytest

from tests.counterparts.phone import Phone
from tests.counterparts.phone_tlv import b64
from tests.journeys.stage import Json, Stage

ONE_DATABASE = True
TRANSACTIONS = "/v1/transactions"
JSON = {"content-type": "application/json"}


def _refusal(stage: Stage, answer: httpx2.Response) -> tuple[int, str]:
    """Status and code; every refusal to an authenticated bank is an event."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert [line["type"] for line in stage.recorded(answer)] == ["application.refused"]
    return answer.status_code, answer.json()["code"]


def _post(stage: Stage, content: bytes, key: str | None = None, **headers: str) -> httpx2.Response:
    sent = JSON | {"Idempotency-Key": key or secrets.token_hex(16)} | headers
    return stage.bank.request("POST", TRANSACTIONS, content=content, headers=sent)


BROKEN = {
    "nothing": b"",
    "array": b"[]",
    "truncated": b'{"user":"u"',
    "trailing": b"{} {}",
    "not UTF-8": b'{"user":"\xff"}',
    "lone surrogate": b'{"user":"\\ud800"}',
    "NUL": b'{"user":"a\\u0000b"}',
    "repeated member": b'{"user":"a","user":"b"}',
    "NaN": b'{"expires_in":NaN}',
    "deep": b'{"a":' * 9 + b"1" + b"}" * 9,
    "very deep": b'{"a":' + b"[" * 60000,
    "unknown member": b'{"user":"u","media_type":"text/plain","text":"x","pay":1}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_not_strict_json_is_refused(stage: Stage, content: bytes) -> None:
    assert _refusal(stage, _post(stage, content)) == (400, "malformed_request")


def test_very_many_members_are_refused_without_being_told_of_each(stage: Stage) -> None:
    answer = _post(stage, b"{" + b",".join(b'"%d":0' % number for number in range(5000)) + b"}")
    assert _refusal(stage, answer) == (400, "malformed_request")
    assert "errors" not in answer.json()


@pytest.fixture(scope="module")
def phone(stage: Stage) -> Phone:
    """A registered phone."""
    return stage.phone()


MEMBERS: dict[str, Json] = {
    "no user": {"user": None},
    "user as a number": {"user": 5},
    "user too long": {"user": "u" * 65},
    "user too long in bytes": {"user": "ü" * 33},
    "no content": {"text": None},
    "two contents": {"content": b64(b"x")},
    "empty text": {"text": ""},
    "content that is no base64": {"text": None, "content": "a b"},
    "content with stray bits": {"text": None, "content": "QUJD\n"},
    "empty content": {"text": None, "content": ""},
    "no media type": {"media_type": None},
    "media type with a line break": {"media_type": "text/plain\r\nx: y"},
    "media type without a slash": {"media_type": "text"},
    "title too long": {"title": "t" * 257},
    "title too long in bytes": {"title": "ü" * 129},
    "empty title": {"title": ""},
    "unknown kind": {"kind": "transfer"},
    "time of zero": {"expires_in": 0},
    "time as text": {"expires_in": "60"},
    "time as a fraction": {"expires_in": 60.5},
    "time as truth": {"expires_in": True},
    "five digits": {"confirmation": {"digits": 5}},
    "eleven digits": {"confirmation": {"digits": 11}},
    "unknown setting": {"confirmation": {"skip": True}},
}
POLICY: dict[str, Json] = {
    "offline": {"confirmation": {"offline": True}},
    "time beyond the policy": {"expires_in": 31 * 86400},
    "callback to another host": {"callback": "https://evil.example/callbacks"},
    "callback to another port": {"callback": "https://127.0.0.1:1/callbacks"},
    "callback without TLS": {"callback": "http://127.0.0.1/callbacks"},
    "callback with a password": {"callback": "https://a:b@127.0.0.1/callbacks"},
    "callback by another scheme": {"callback": "file:///etc/passwd"},
    "callback with a line break": {"callback": "https://127.0.0.1/\r\nx"},
}


def _create(stage: Stage, phone: Phone, changes: Json, key: str | None = None) -> httpx2.Response:
    body: Json = {"user": phone.account.user, "media_type": "text/plain", "text": "Pay"} | changes
    body = {name: value for name, value in body.items() if value is not None}
    headers = {"Idempotency-Key": key or secrets.token_hex(16)}
    return stage.bank.request("POST", TRANSACTIONS, json=body, headers=headers)


@pytest.mark.parametrize("changes", MEMBERS.values(), ids=MEMBERS)
def test_a_transaction_of_another_form_is_refused_and_its_key_stays_free(
    stage: Stage, phone: Phone, changes: Json
) -> None:
    key = secrets.token_hex(16)
    assert _refusal(stage, _create(stage, phone, changes, key)) == (400, "malformed_request")
    assert _create(stage, phone, {}, key).status_code == 201


@pytest.mark.parametrize("changes", POLICY.values(), ids=POLICY)
def test_what_the_policy_does_not_allow_is_refused(stage: Stage, phone: Phone, changes: Json) -> None:
    assert _refusal(stage, _create(stage, phone, changes)) == (422, "not_allowed_by_policy")


def test_a_callback_to_another_path_of_the_registered_host_is_allowed(stage: Stage, phone: Phone) -> None:
    url = stage.receiver.url + "/of/this/transaction?number=1"
    assert _create(stage, phone, {"callback": url}).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "ü", "k" * 129])
def test_a_creation_needs_a_usable_idempotency_key(stage: Stage, phone: Phone, key: str) -> None:
    body = {"user": phone.account.user, "media_type": "text/plain", "text": "Pay"}
    headers: Any = {"Idempotency-Key": key.encode("latin-1")}
    answer = stage.bank.request("POST", TRANSACTIONS, json=body, headers=headers)
    assert _refusal(stage, answer) == (400, "idempotency_key_required")


def test_two_idempotency_keys_are_none(stage: Stage, phone: Phone) -> None:
    body = {"user": phone.account.user, "media_type": "text/plain", "text": "Pay"}
    headers: Any = [("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    answer = stage.bank.request("POST", TRANSACTIONS, json=body, headers=headers)
    assert _refusal(stage, answer) == (400, "idempotency_key_required")


@pytest.mark.parametrize(
    ("user", "code"), [("unknown", "not_found"), ("blocked", "user_blocked"), ("deleted", "user_deleted"),
                       ("without keys", "no_active_keys")]
)  # fmt: skip
def test_no_transaction_for_a_user_who_cannot_answer(
    stage: Stage, phone: Phone, user: str, code: str
) -> None:
    name = "nobody" if user == "unknown" else stage.user()
    if user in ("blocked", "deleted"):
        (stage.bank.block if user == "blocked" else stage.bank.delete_user)(name)
    key = secrets.token_hex(16)
    status = 404 if user == "unknown" else 409
    assert _refusal(stage, _create(stage, phone, {"user": name}, key)) == (status, code)
    assert _create(stage, phone, {}, key).status_code == 201


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/transactions", {"user": "\x00"}),
        ("/v1/transactions", {"user": "u" * 65}),
        ("/v1/transactions", {"user": ""}),
        ("/v1/transactions", {"status": "lost"}),
        ("/v1/transactions", {"limit": "0"}),
        ("/v1/transactions", {"limit": "-1"}),
        ("/v1/transactions", {"limit": "1e3"}),
        ("/v1/transactions", {"limit": "٣"}),
        ("/v1/transactions", {"limit": "1٣"}),
        ("/v1/transactions", {"after": "' OR 1=1 --"}),
        ("/v1/transactions", {"order": "asc"}),
        ("/v1/events", {"user": "a\x00b"}),
        ("/v1/events", {"type": "Client.Request"}),
        ("/v1/events", {"after": "1" * 16}),
        ("/v1/transactions/txn_1", {"wait": "31"}),
        ("/v1/transactions/txn_1", {"wait": "-1"}),
        ("/v1/policy", {"verbose": "1"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_query_of_another_form_is_refused(stage: Stage, path: str, query: Json) -> None:
    assert _refusal(stage, stage.bank.request("GET", path, params=query)) == (400, "malformed_request")


def test_a_repeated_query_parameter_is_refused(stage: Stage) -> None:
    answer = stage.bank._http.get("/v1/transactions?limit=1&limit=2")
    assert _refusal(stage, answer) == (400, "malformed_request")


@pytest.mark.parametrize("user", ["%00", "%ff", "%ed%a0%80", "u" * 65])
def test_a_path_with_an_id_that_cannot_be_is_refused(stage: Stage, user: str) -> None:
    answer = stage.bank.request("PUT", f"/v1/users/{user}", content=b"{}", headers=JSON)
    assert _refusal(stage, answer) == (400, "malformed_request")


def test_a_query_that_is_not_utf8_is_refused(stage: Stage) -> None:
    answer = stage.bank._http.get("/v1/transactions?user=%ff")
    assert _refusal(stage, answer) == (400, "malformed_request")


@pytest.mark.parametrize("size", [16 * 1024 * 1024 + 1, 40 * 1024 * 1024])
def test_content_beyond_the_limit_is_refused(stage: Stage, phone: Phone, size: int) -> None:
    answer = _create(stage, phone, {"text": "x" * size})
    assert _refusal(stage, answer) == (413, "too_large")


def test_a_small_call_takes_no_large_body(stage: Stage) -> None:
    answer = stage.bank.request("PUT", "/v1/users/u", content=b"{" + b" " * 65536 + b"}", headers=JSON)
    assert _refusal(stage, answer) == (413, "too_large")


@pytest.mark.parametrize("headers", [{"content-type": "text/json"}, {"content-encoding": "gzip"}], ids=str)
def test_another_media_type_or_encoding_is_refused(stage: Stage, headers: dict[str, str]) -> None:
    assert _refusal(stage, _post(stage, b"{}", **headers)) == (415, "unsupported_media_type")


def test_a_body_where_none_belongs_is_refused(stage: Stage) -> None:
    answer = stage.bank.request("GET", "/v1/policy", content=b"{}", headers=JSON)
    assert _refusal(stage, answer) == (400, "malformed_request")


@pytest.mark.parametrize(
    "policy",
    [{"failures_most": 6}, {"failures_most": 0}, {"digits": 5}, {"steps_back": 11}, {"unknown": 1},
     {"kpublic_required": 1}, {"validity_days": True}, {"password_length": 5}],
    ids=str,
)  # fmt: skip
def test_a_policy_out_of_its_bounds_is_refused(stage: Stage, policy: Json) -> None:
    before = stage.foreign.policy()
    answer = stage.foreign.request("PUT", "/v1/policy", json={"policy": policy})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")
    assert answer.json()["errors"][0]["pointer"] == f"/policy/{next(iter(policy))}"
    assert stage.foreign.policy() == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"delivery": "online"}, "malformed_request"),
        ({"delivery": "qr", "secret": "kT4mW9xQ2zB7vN5cR8pL"}, "malformed_request"),
        ({"delivery": "online", "secret": "1234"}, "not_allowed_by_policy"),
        ({"delivery": "pigeon"}, "malformed_request"),
    ],
    ids=str,
)
def test_keys_are_not_issued_over_a_channel_that_does_not_fit(stage: Stage, body: Json, code: str) -> None:
    user = stage.user()
    answer = stage.bank.request("POST", f"/v1/users/{user}/keysets", json=body)
    assert _refusal(stage, answer)[1] == code
    assert stage.bank.keysets(user) == []


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/users/anna", "DELETE GET HEAD PUT"),
        ("/v1/users/anna/keysets", "GET HEAD POST"),
        (TRANSACTIONS, "GET HEAD POST"),
    ],
)
def test_another_method_is_refused_with_every_one_that_is_allowed(
    stage: Stage, path: str, methods: str
) -> None:
    answer = stage.bank.request("PATCH", path, json={})
    assert answer.status_code == 405
    assert sorted(answer.headers["allow"].split(", ")) == methods.split()
