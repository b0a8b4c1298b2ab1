"""Is the bank told of everything, under a seal, once, in order, and with a receipt it can verify?"""

import base64
import hashlib
import time

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from joserfc.jwk import ECKey

from tests.counterparts.callback_receiver import Arrival, verify_receipt
from tests.journeys.stage import Stage


def test_a_confirmation_is_told_with_its_proofs_and_a_receipt(stage: Stage) -> None:
    phone = stage.phone()
    shown = stage.ask(phone, "Pay 10 EUR to Bob", title="Payment")
    phone.approve(shown)
    [told] = stage.receiver.wait_for("transaction.confirmed", transaction=shown.transaction)
    data, settled = told.body["data"], stage.bank.transaction(shown.transaction)
    assert data["transaction"]["status"] == "confirmed"
    assert data["confirmation"] == settled["confirmation"]
    assert data["receipt"] == settled["receipt"]
    assert told.body["sequence"] == 1
    claims = told.receipt
    assert claims is not None
    assert claims["application"] == stage.keys["application"]
    assert claims["user"] == phone.account.user
    assert claims["transaction"] == shown.transaction
    assert claims["code"] == settled["confirmation"]["code"]
    assert claims["signature"] == settled["confirmation"]["signature"]
    assert claims["keyset"] == phone.account.keyset
    message = base64.urlsafe_b64decode(claims["message"] + "==")
    assert message == phone.message_of(shown, 1, step=claims["step"]).encode()


def test_a_stranger_verifies_the_signature_with_the_receipt_and_the_key_that_the_bank_was_told(
    stage: Stage,
) -> None:
    phone = stage.phone()
    shown = stage.ask(phone)
    phone.approve(shown)
    [registered] = stage.told(
        lambda body: body["type"] == "keys.registered" and body["data"]["user"] == phone.account.user
    )
    spki = registered["data"]["keyset"]["kpublic"]
    assert [each["kpublic"] for each in stage.bank.keysets(phone.account.user)] == [spki]
    claims = verify_receipt(stage.bank.transaction(shown.transaction)["receipt"], stage.bank.jwks())
    key = load_der_public_key(base64.b64decode(spki))
    assert isinstance(key, EllipticCurvePublicKey)
    message = base64.urlsafe_b64decode(claims["message"] + "==")
    key.verify(base64.b64decode(claims["signature"]), message, ECDSA(SHA256()))
    named = ECKey.import_key(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert named.thumbprint() == claims["kpublic"]


def test_no_callback_holds_the_content(stage: Stage) -> None:
    phone = stage.phone()
    secret = hashlib.sha256(phone.account.user.encode()).hexdigest()
    shown = stage.ask(phone, f"Pay {secret}")
    phone.approve(shown)
    [told] = stage.receiver.wait_for("transaction.confirmed", transaction=shown.transaction)
    assert secret.encode() not in told.raw


def test_a_decline_a_cancellation_and_a_timeout_are_told(stage: Stage) -> None:
    phone = stage.phone()
    declined, cancelled = stage.ask(phone), stage.ask(phone)
    timed_out = stage.bank.create_transaction(phone.account.user, text="Quick", expires_in=1)["id"]
    phone.decline(declined)
    stage.bank.cancel(cancelled.transaction)
    [told] = stage.receiver.wait_for("transaction.declined", transaction=declined.transaction)
    assert told.body["data"]["confirmation"]["operation"] == "decline"
    assert told.receipt is not None
    for transaction, reason in ((cancelled.transaction, "application"), (timed_out, "timeout")):
        [told] = stage.receiver.wait_for("transaction.cancelled", transaction=transaction)
        assert told.body["data"]["transaction"]["reason"] == reason
        assert (told.body["data"]["confirmation"], told.body["data"]["receipt"]) == (None, None)


def test_a_registration_is_told(stage: Stage) -> None:
    user = stage.user()
    phone = stage.phone(user)
    [told] = stage.told(lambda body: body["type"] == "keys.registered" and body["data"]["user"] == user)
    assert told["data"]["keyset"]["id"] == phone.account.keyset
    assert told["data"]["keyset"]["status"] == "active"


def test_a_callback_that_was_refused_comes_again_under_the_same_id(stage: Stage) -> None:
    phone = stage.phone()
    shown = stage.ask(phone)
    stage.receiver.fail(503)
    try:
        phone.approve(shown)
        while not _arrivals(stage, shown.transaction):
            time.sleep(0.02)
    finally:
        stage.receiver.recover()
    stage.receiver.wait_for("transaction.confirmed", transaction=shown.transaction)
    arrivals = _arrivals(stage, shown.transaction)
    assert arrivals[0].status == 503
    assert arrivals[-1].status == 204
    assert len({arrival.id for arrival in arrivals}) == 1
    assert len({arrival.raw for arrival in arrivals}) == 1
    failed = stage.events(transaction=shown.transaction, type="callback.failed")
    assert failed[0]["reason"] == "answered with status 503"


def _arrivals(stage: Stage, transaction: str) -> list[Arrival]:
    return [arrival for arrival in list(stage.receiver.arrivals) if transaction.encode() in arrival.raw]


def test_the_receipt_of_a_settled_transaction_verifies_with_the_published_keys(stage: Stage) -> None:
    phone = stage.phone()
    shown = stage.ask(phone)
    phone.approve(shown)
    receipt = stage.bank.transaction(shown.transaction)["receipt"]
    assert verify_receipt(receipt, stage.bank.jwks())["transaction"] == shown.transaction
