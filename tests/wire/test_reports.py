"""Do other libraries accept the seal of a callback and a receipt?"""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.wire import base64s, callback, receipt, spki
from gateway.wire.errors import WireError
from gateway.wire.message import Message, Operation
from gateway.wire.receipt import ReceiptClaims
from tests.vectors.writing import material

SECRET, OTHER = bytes(range(32)), bytes(range(32, 64))
BODY = '{"type":"transaction.confirmed","note":"Grüße"}'.encode()
POINT = material.point_of(material.RECEIPT_KEY)
KID = spki.jwk_thumbprint(POINT)


def _now() -> datetime:
    return datetime.now(UTC)


def _claims() -> ReceiptClaims:
    message = material.message()
    return ReceiptClaims(
        issuer=material.URL,
        issued_at=material.NOW,
        id="rcp_1",
        keyset=material.KEYSET,
        message=message,
        code=material.mac(material.KHMAC, message.encode()),
        signature=material.sign(material.KPRIVATE, message.digest()),
        kpublic=spki.jwk_thumbprint(material.point_of(material.KPRIVATE)),
        verified=("step", "code", "signature"),
    )


def _receipt(claims: ReceiptClaims) -> str:
    data = receipt.signing_input(KID, claims)
    return receipt.compact(data, material.sign_raw(material.RECEIPT_KEY, data))


def test_the_library_of_standard_webhooks_accepts_the_seal():
    headers = callback.headers("msg_1", _now(), BODY, [SECRET])
    assert Webhook(callback.format_secret(SECRET)).verify(BODY, headers) == json.loads(BODY)


@pytest.mark.parametrize("known", [SECRET, OTHER])
def test_while_secrets_change_either_opens_the_seal(known: bytes):
    headers = callback.headers("msg_1", _now(), BODY, [SECRET, OTHER])
    assert Webhook(callback.format_secret(known)).verify(BODY, headers)


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "webhook-signature", "body", "secret"])
def test_a_change_of_any_part_breaks_the_seal(part: str):
    headers = callback.headers("msg_1", _now(), BODY, [SECRET])
    body, secret = BODY, SECRET
    if part == "body":
        body += b" "
    elif part == "secret":
        secret = OTHER
    else:
        changed = {"webhook-id": "msg_2", "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}
        headers[part] = changed.get(part, f"v1,{base64s.encode(OTHER)}")
    with pytest.raises(WebhookVerificationError):
        Webhook(callback.format_secret(secret)).verify(body, headers)


def test_the_seal_is_the_one_the_library_makes():
    moment = _now()
    headers = callback.headers("msg_1", moment, BODY, [SECRET])
    made = Webhook(callback.format_secret(SECRET)).sign("msg_1", moment, BODY.decode())
    assert headers["webhook-signature"] == made


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "ä", "a\n", "a" * 65])
def test_an_id_that_could_move_the_dots_is_refused(message_id: str):
    with pytest.raises(WireError):
        callback.headers(message_id, _now(), BODY, [SECRET])


def test_a_seal_without_a_secret_is_refused():
    with pytest.raises(WireError):
        callback.headers("msg_1", _now(), BODY, [])


def test_secrets_differ_by_application_and_by_version():
    inputs = {
        callback.secret_input(name, number) for name in ("a", "b", "a\x01") for number in (1, 2, 256, 2**31)
    }
    assert len(inputs) == 12
    for version in (0, -1, 2**32):
        with pytest.raises(WireError):
            callback.secret_input("a", version)


def test_joserfc_accepts_a_receipt_under_the_published_key():
    key = ECKey.import_key({name: str(value) for name, value in receipt.jwk(POINT, KID).items()})
    found = jws.deserialize_compact(_receipt(_claims()), key, algorithms=["ES256"])
    assert found.headers() == {"alg": "ES256", "typ": "pc-receipt+jwt", "kid": KID}
    claims = json.loads(found.payload)
    assert claims == _claims().as_json()
    assert Message.decode(base64s.url_decode(claims["message"])) == material.message()


@pytest.mark.parametrize("part", [0, 1, 2])
def test_joserfc_refuses_a_receipt_with_a_changed_character(part: int):
    parts = _receipt(_claims()).split(".")
    middle = len(parts[part]) // 2
    other = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + other + parts[part][middle + 1 :]
    key = ECKey.import_key({name: str(value) for name, value in receipt.jwk(POINT, KID).items()})
    with pytest.raises(JoseError):
        jws.deserialize_compact(".".join(parts), key, algorithms=["ES256"])


def test_a_receipt_leaves_out_what_there_was_not():
    alone = material.message(Operation.AUTHENTICATE, transaction=None, title=None)
    claims = replace(_claims(), message=alone, signature=None, kpublic=None, code="00112233").as_json()
    assert {"transaction", "signature", "kpublic"}.isdisjoint(claims)
    assert claims["code"] == "00112233"
    assert claims["operation"] == "authenticate"


@pytest.mark.parametrize(
    "changes",
    [
        {"signature": None},
        {"kpublic": None},
        {"code": bytes(31)},
        {"issuer": ""},
        {"id": "a" * 65},
        {"keyset": ""},
    ],
    ids=str,
)
def test_a_receipt_refuses_what_does_not_fit_together(changes: dict[str, object]):
    with pytest.raises(WireError):
        replace(_claims(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("raw", [b"", bytes(64), bytes(63)])
def test_a_receipt_needs_a_signature_that_can_be_one(raw: bytes):
    with pytest.raises(WireError):
        receipt.compact(b"a.b", raw)


def test_the_published_key_shows_its_validity_when_it_has_one():
    key = receipt.jwk(POINT, KID, valid_from=material.NOW, valid_until=material.UNTIL)
    assert (key["nbf"], key["exp"]) == (int(material.NOW.timestamp()), int(material.UNTIL.timestamp()))
    assert key["kid"] == KID
    assert {"nbf", "exp"}.isdisjoint(receipt.jwk(POINT, KID))
