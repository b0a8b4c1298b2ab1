"""Does each figure of the core document happen as it is drawn, over TLS, with a phone that accepts this door alone?

One test for each figure, its steps in the order of the arrows. Figure 1 shows the parts, figure 4 how a phone keeps
its keys (`tests/counterparts/test_phone_store.py`); the push of figures 2 and 8 wakes a phone in
`tests/guides/test_push.py`. Of the scenarios after the figures, blocking is followed here, compromise in
`tests/guides/test_compromise.py`.
"""

import threading
from pathlib import Path

import pytest

from tests.counterparts.bank import BankRefused
from tests.counterparts.callback_receiver import Callback
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import Line, NetworkFailure, NotRecognised, PhoneError
from tests.gateways import Authority
from tests.journeys.stage import DATABASES, Json, Stage

SECRET = "9XkQ2vB7mR4wT8zN5cL1"
# What is drawn depends on no database: the last of them, so that a run with PostgreSQL follows the figures there.
pytestmark = pytest.mark.parametrize("stage", DATABASES[-1:], indirect=True, scope="session")


def _enrolled(stage: Stage, delivery: str = "qr") -> Phone:
    user = stage.user()
    if delivery == "online":
        phone = stage.personalise(
            stage.bank.issue_keyset(user, delivery, secret=SECRET).package, secret=SECRET
        )
    elif delivery == "qr":
        phone = stage.personalise(stage.bank.issue_keyset(user, delivery).qr_png)
    else:
        issued = stage.bank.issue_keyset(user, delivery)
        code = stage.bank.activation_code(user, issued.id)
        phone = stage.personalise(issued.qr_svg.encode(), activation_code=code)
    return phone


def _proofs(transaction: Json) -> Json:
    return {name: transaction["confirmation"][name] for name in ("step", "code", "signature")}


def _told(stage: Stage, transaction: str) -> Callback:
    [told] = stage.receiver.wait_for("transaction.confirmed", transaction=transaction)
    return told


def test_figure_2_the_phone_wakes_shows_signs_and_the_application_is_told(stage: Stage) -> None:
    phone = _enrolled(stage)
    phone.register()
    woken: list[Json] = []
    waiting = threading.Thread(target=lambda: woken.extend(phone.pending(wait=20)))
    waiting.start()
    document = b"%PDF-1.7\nLoan agreement"
    made = stage.bank.create_transaction(
        phone.account.user, content=document, media_type="application/pdf", title="Loan"
    )
    waiting.join()
    assert [each["transaction"] for each in woken] == [made["id"]]
    shown = phone.show(made["id"])
    assert (shown.content, shown.title) == (document, "Loan")
    assert phone.approve(shown)["status"] == "confirmed"
    told = _told(stage, made["id"]).body["data"]
    assert told["confirmation"]["verified"] == ["step", "code", "signature"]
    assert {"code", "signature", "step", "device", "at"} <= set(told["confirmation"])


def test_figure_3_what_began_on_the_phone_goes_through_the_application_all_the_same(stage: Stage) -> None:
    phone = _enrolled(stage)
    phone.register()
    entered = "Transfer 25 EUR to Carol"  # in the bank's app on the same phone, which sends it to the bank
    made = stage.bank.create_transaction(phone.account.user, text=entered)
    shown = phone.show(made["id"])
    assert shown.text == entered
    phone.approve(shown)
    assert _told(stage, made["id"]).body["data"]["transaction"]["content_sha256"] == made["content_sha256"]


@pytest.mark.parametrize(
    "delivery",
    [
        pytest.param("online", id="figure_5_online"),
        pytest.param("qr", id="figure_6_qr_code"),
        pytest.param("qr_and_code", id="figure_7_qr_code_and_activation_code"),
    ],
)
def test_figures_5_6_7_a_phone_gets_its_keys(stage: Stage, delivery: str) -> None:
    phone = _enrolled(stage, delivery)
    assert phone.account.url == stage.gateway.client_url
    assert phone.account.url.startswith("https://")
    assert phone.account.door_pin is not None
    with pytest.raises(NotRecognised):
        phone.pending()  # keys that are not registered serve for nothing else
    phone.register(push={"provider": "none", "identifier": "phone-1"})
    [keyset] = stage.bank.keysets(phone.account.user)
    assert (keyset["status"], keyset["delivery"], keyset["device"]["push"]) == ("active", delivery, "none")
    assert phone.approve(stage.ask(phone))["status"] == "confirmed"


def test_the_phone_of_every_figure_speaks_with_no_other_door(stage: Stage, tmp_path: Path) -> None:
    issued = stage.bank.issue_keyset(stage.user())
    other = Authority.make(tmp_path).ca_file.read_text()
    with pytest.raises(PhoneError, match="pins"):
        Phone.enrol(issued.qr_text, ca_pem=other)
    misled = Line(stage.gateway.client_url, ca_pem=other)
    with pytest.raises(NetworkFailure, match="CERTIFICATE_VERIFY_FAILED"):
        misled.post("/client/v1/transactions.pending", b"{}", {})
    misled.close()
    stage.personalise(issued.qr_text).register()


def test_figure_8_a_document_is_signed_and_verified_later(stage: Stage) -> None:
    phone = _enrolled(stage)
    phone.register()
    text = "I have received and read the contract"
    made = stage.bank.create_transaction(phone.account.user, text=text, callback=stage.receiver.url)
    assert [each["transaction"] for each in phone.pending()] == [made["id"]]  # without any push
    phone.approve(phone.show(made["id"]))
    kept = _told(stage, made["id"]).body["data"]["confirmation"]  # what the application saves
    proofs = {name: kept[name] for name in ("step", "code", "signature")}
    verdict = stage.bank.verify(made["id"], text=text, **proofs)
    assert verdict["valid"]
    assert verdict["checks"] == {"code": True, "signature": True}
    assert (verdict["keyset"], verdict["content_sha256_matches"]) == (phone.account.keyset, True)
    assert not stage.bank.verify(made["id"], text=text + ".", **proofs)["content_sha256_matches"]


def test_figure_9_the_phone_updates_its_keys_under_the_old_ones(stage: Stage) -> None:
    phone = _enrolled(stage)
    phone.register()
    before = stage.ask(phone)
    phone.approve(before)
    old = phone.account.keyset
    phone.renew()
    states = [(each["id"], each["status"]) for each in stage.bank.keysets(phone.account.user)]
    assert states == [(old, "deleted"), (phone.account.keyset, "active")]
    assert phone.approve(stage.ask(phone))["status"] == "confirmed"
    verdict = stage.bank.verify(before.transaction, **_proofs(stage.bank.transaction(before.transaction)))
    assert (verdict["valid"], verdict["keyset"]) == (True, old)


def test_the_scenario_of_blocking_stops_everything_until_the_user_is_unblocked(stage: Stage) -> None:
    phone = _enrolled(stage)
    phone.register()
    shown = stage.ask(phone)
    stage.bank.block(phone.account.user, "lost")
    with pytest.raises(NotRecognised):
        phone.approve(shown)
    with pytest.raises(BankRefused):
        stage.bank.create_transaction(phone.account.user, text="Pay")
    stage.bank.unblock(phone.account.user)
    assert phone.approve(shown)["status"] == "confirmed"
