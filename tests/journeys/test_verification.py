"""Does a signature verify years later: with what it was made over, and with nothing else?"""

import base64
import hashlib
from dataclasses import dataclass

import pytest

from tests.counterparts.bank import BankRefused
from tests.counterparts.phone import Phone
from tests.journeys.stage import Json, Stage

TEXT = "Pay 10 EUR to Bob"


@dataclass(frozen=True)
class Signed:
    """A confirmed transaction and the proofs it was confirmed with."""

    id: str
    keyset: str
    proofs: Json


@pytest.fixture(scope="module")
def phone(stage: Stage) -> Phone:
    """A registered phone."""
    return stage.phone()


@pytest.fixture(scope="module")
def signed(stage: Stage, phone: Phone) -> Signed:
    """A confirmed transaction."""
    shown = stage.ask(phone, TEXT, title="Payment")
    phone.approve(shown)
    made = stage.bank.transaction(shown.transaction)["confirmation"]
    proofs = {name: made[name] for name in ("step", "code", "signature")}
    return Signed(shown.transaction, made["keyset"], proofs)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"text": TEXT},
        {"content": base64.b64encode(TEXT.encode()).decode()},
        {"content_sha256": _digest(TEXT)},
    ],
    ids=["stored digest", "text", "content", "digest"],
)
def test_a_signature_verifies_with_its_content_in_every_form(
    stage: Stage, signed: Signed, content: Json
) -> None:
    verdict = stage.bank.verify(signed.id, **signed.proofs, **content)
    assert verdict["valid"]
    assert verdict["checks"] == {"code": True, "signature": True}
    assert verdict["content_sha256_matches"]
    assert (verdict["keyset"], verdict["keyset_status_then"], verdict["keyset_status_now"]) == (
        signed.keyset,
        "active",
        "active",
    )
    assert verdict["device"]


@pytest.mark.parametrize("left_out", ["code", "signature"])
def test_code_and_signature_verify_alone(stage: Stage, signed: Signed, left_out: str) -> None:
    proofs = {name: value for name, value in signed.proofs.items() if name != left_out}
    verdict = stage.bank.verify(signed.id, **proofs)
    assert verdict["valid"]
    assert left_out not in verdict["checks"]


def _flip(value: str, at: int) -> str:
    raw = bytearray(base64.b64decode(value))
    raw[at] ^= 1
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("altered", "checks"),
    [
        ({"text": TEXT + " "}, {"code": False, "signature": False}),
        ({"content_sha256": _digest("other")}, {"code": False, "signature": False}),
        ({"code": 0}, {"code": False, "signature": True}),
        ({"signature": -1}, {"code": True, "signature": False}),
        ({"operation": "decline"}, {"code": False, "signature": False}),
    ],
    ids=["text", "digest", "code", "signature", "operation"],
)
def test_anything_altered_does_not_verify(stage: Stage, signed: Signed, altered: Json, checks: Json) -> None:
    changed = {
        name: _flip(signed.proofs[name], value) if isinstance(value, int) else value
        for name, value in altered.items()
    }
    verdict = stage.bank.verify(signed.id, **{**signed.proofs, **changed})
    assert not verdict["valid"]
    assert verdict["checks"] == checks


def test_a_step_in_which_nothing_was_signed_does_not_verify(stage: Stage, signed: Signed) -> None:
    verdict = stage.bank.verify(signed.id, **{**signed.proofs, "step": signed.proofs["step"] - 1})
    assert not verdict["valid"]


def test_proofs_of_one_transaction_do_not_verify_for_another_of_the_same_text(
    stage: Stage, phone: Phone, signed: Signed
) -> None:
    twin = stage.ask(phone, TEXT, title="Payment")
    phone.approve(twin)
    verdict = stage.bank.verify(twin.transaction, **signed.proofs)
    assert not verdict["valid"]


def test_a_decline_verifies_as_a_decline_only(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone)
    phone.decline(shown)
    made = stage.bank.transaction(shown.transaction)["confirmation"]
    proofs = {name: made[name] for name in ("step", "code", "signature")}
    assert stage.bank.verify(shown.transaction, operation="decline", **proofs)["valid"]
    assert not stage.bank.verify(shown.transaction, operation="approve", **proofs)["valid"]


def test_an_authentication_verifies(stage: Stage, phone: Phone) -> None:
    shown = stage.ask(phone, "Log in", kind="authenticate")
    phone.approve(shown)
    made = stage.bank.transaction(shown.transaction)["confirmation"]
    proofs = {name: made[name] for name in ("step", "code", "signature")}
    assert stage.bank.verify(shown.transaction, text="Log in", **proofs)["operation"] == "authenticate"


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        {"code": base64.b64encode(bytes(31)).decode()},
        {"code": "AA=="},
        {"signature": base64.b64encode(bytes(70)).decode()},
        {"signature": "MAYCAQECAQ"},
        {"code": base64.b64encode(bytes(32)).decode(), "content_sha256": "AAAA"},
        {"code": base64.b64encode(bytes(32)).decode(), "text": "a", "content_sha256": _digest("a")},
        {"code": base64.b64encode(bytes(32)).decode(), "operation": "authenticate"},
    ],
)
def test_evidence_of_another_form_is_refused(stage: Stage, signed: Signed, evidence: Json) -> None:
    with pytest.raises(BankRefused) as refused:
        stage.bank.verify(signed.id, step=signed.proofs["step"], **evidence)
    assert (refused.value.status, refused.value.code) == (400, "malformed_request")


def test_each_verification_is_an_event(stage: Stage, signed: Signed) -> None:
    stage.bank.verify(signed.id, **signed.proofs)
    last = stage.events(transaction=signed.id, type="signature.verified")[-1]
    assert (last["result"], last["keyset"]) == ("valid", signed.keyset)
