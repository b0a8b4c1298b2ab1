"""The bank believes only sealed callbacks with a valid receipt, and keeps each of them once."""

import base64
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import trustme
from joserfc import jws
from joserfc.jwk import ECKey
from standardwebhooks import Webhook

from tests.counterparts.callback_receiver import CallbackReceiver, WrongSeal, verify_receipt

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
KEY = ECKey.generate_key("P-256", {"kid": "receipt-1"})


def jwks(key: ECKey = KEY):
    return {"keys": [key.as_dict(private=False)]}


def receipt(transaction: str = "txn_1", typ: str = "pc-receipt+jwt", key: ECKey = KEY):
    claims = json.dumps({"transaction": transaction, "operation": "approve"})
    return jws.serialize_compact({"alg": "ES256", "typ": typ, "kid": "receipt-1"}, claims, key)


def body(compact: str | None = None):
    data = {"transaction": {"id": "txn_1"}, "receipt": compact}
    return json.dumps({"type": "transaction.confirmed", "sequence": 1, "data": data})


def sealed(text: str, name: str = "msg_1", secret: str = SECRET, at: datetime | None = None):
    at = at or datetime.now(UTC)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, at, text),
    }


def post(receiver: CallbackReceiver, text: str, headers: dict[str, str], **how: Any):
    return httpx2.post(receiver.url, content=text.encode(), headers=headers, **how).status_code


@pytest.fixture
def receiver():
    with CallbackReceiver(secrets=[SECRET], jwks=jwks) as running:
        yield running


def test_a_sealed_callback_is_kept_with_the_claims_of_its_receipt(receiver: CallbackReceiver):
    text = body(receipt())
    assert post(receiver, text, sealed(text)) == 204
    (callback,) = receiver.wait_for("transaction.confirmed", transaction="txn_1")
    assert callback.receipt == {"transaction": "txn_1", "operation": "approve"}
    assert callback.raw == text.encode()
    assert receiver.of("txn_1") == [callback]


def test_a_callback_without_receipt_is_kept(receiver: CallbackReceiver):
    assert post(receiver, body(), sealed(body())) == 204
    assert receiver.received[0].receipt is None


WRONG = {
    "no header": lambda _: {},
    "another secret": lambda text: sealed(text, secret=OTHER),
    "another body": lambda text: sealed(text + " "),
    "another id": lambda text: sealed(text) | {"webhook-id": "msg_2"},
    "another time": lambda text: sealed(text) | {"webhook-timestamp": "1"},
    "too old": lambda text: sealed(text, at=datetime.now(UTC) - timedelta(minutes=6)),
    "too new": lambda text: sealed(text, at=datetime.now(UTC) + timedelta(minutes=6)),
    "no version": lambda text: sealed(text) | {"webhook-signature": "rubbish"},
    "another version": lambda text: {
        name: value.replace("v1,", "v2,") for name, value in sealed(text).items()
    },
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_a_wrong_seal_is_refused(receiver: CallbackReceiver, headers: Callable[[str], dict[str, str]]):
    assert post(receiver, body(), headers(body())) == 400
    assert not receiver.received
    assert receiver.arrivals[0].reason


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_a_wrong_seal_is_refused_by_another_clock_too(headers: Callable[[str], dict[str, str]]):
    with CallbackReceiver(secrets=[SECRET], clock=lambda: datetime.now(UTC)) as receiver:
        assert post(receiver, body(), headers(body())) == 400


def test_the_age_of_a_seal_is_judged_by_the_given_clock():
    then = datetime(2030, 1, 1, tzinfo=UTC)
    with CallbackReceiver(secrets=[SECRET], clock=lambda: then) as receiver:
        assert post(receiver, body(), sealed(body(), at=then)) == 204
        assert post(receiver, body(), sealed(body(), at=datetime.now(UTC))) == 400


def test_two_seals_and_two_secrets_serve_a_rotation(receiver: CallbackReceiver):
    headers = sealed(body())
    headers["webhook-signature"] = "v1,AAAA " + headers["webhook-signature"]
    assert post(receiver, body(), headers) == 204
    receiver.trust(OTHER)
    assert post(receiver, body(), sealed(body(), "msg_2", secret=OTHER)) == 204


def test_a_repeat_is_answered_and_kept_once(receiver: CallbackReceiver):
    for _ in range(3):
        assert post(receiver, body(), sealed(body())) == 204
    assert len(receiver.received) == 1
    assert len(receiver.arrivals) == 3


def test_a_failing_receiver_keeps_nothing_until_it_recovers(receiver: CallbackReceiver):
    receiver.fail(503, times=2)
    assert [post(receiver, body(), sealed(body())) for _ in range(3)] == [503, 503, 204]
    assert len(receiver.received) == 1
    receiver.fail()
    assert post(receiver, body(), sealed(body(), "msg_2")) == 500
    receiver.recover()
    assert post(receiver, body(), sealed(body(), "msg_2")) == 204


def test_a_slow_receiver_keeps_what_the_sender_gave_up_on(receiver: CallbackReceiver):
    receiver.be_slow(5, times=1)
    with pytest.raises(httpx2.ReadTimeout):
        post(receiver, body(), sealed(body()), timeout=httpx2.Timeout(30, read=0.3))
    assert receiver.wait_for()
    assert post(receiver, body(), sealed(body())) == 204
    assert len(receiver.received) == 1


WRONG_RECEIPTS = {
    "another key": lambda: receipt(key=ECKey.generate_key("P-256", {"kid": "receipt-1"})),
    "an unknown key id": lambda: receipt().replace(".", "", 1),
    "another type": lambda: receipt(typ="JWT"),
    "another transaction": lambda: receipt("txn_2"),
    "no receipt at all": lambda: "rubbish",
    "altered claims": lambda: ".".join(
        [receipt().split(".")[0], receipt("txn_9").split(".")[1], receipt().split(".")[2]]
    ),
}


@pytest.mark.parametrize("wrong", WRONG_RECEIPTS.values(), ids=WRONG_RECEIPTS)
def test_a_wrong_receipt_is_refused_under_a_right_seal(receiver: CallbackReceiver, wrong: Callable[[], str]):
    text = body(wrong())
    assert post(receiver, text, sealed(text)) == 400


def test_a_receipt_without_signature_is_refused():
    part = base64.urlsafe_b64encode(b'{"alg":"none","typ":"pc-receipt+jwt"}').rstrip(b"=").decode()
    with pytest.raises(WrongSeal):
        verify_receipt(f"{part}.e30.", jwks())


def test_waiting_in_vain_says_why(receiver: CallbackReceiver):
    post(receiver, body(), {})
    with pytest.raises(TimeoutError, match="no secret"):
        receiver.wait_for(seconds=0.01)


def test_callbacks_over_tls():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    with CallbackReceiver(secrets=[SECRET], tls=server) as receiver:
        assert receiver.url.startswith("https://")
        assert post(receiver, body(), sealed(body()), verify=client) == 204
