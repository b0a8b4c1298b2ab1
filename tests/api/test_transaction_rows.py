"""What does somebody gain who can write to the rows of transactions? No answer of a phone to anything else."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from gateway.store.tables import contents, transactions
from tests.counterparts.bank import BankRefused
from tests.counterparts.phone_line import Refused
from tests.journeys.stage import Json, Stage

BROKEN = "transaction.binding_broken"
LATER = datetime.now(UTC).replace(microsecond=0) + timedelta(days=300)
OTHER = b"Pay 9,999 EUR to Mallory"
FORGED: dict[str, Json] = {
    "title": {"title": "Harmless"},
    "media type": {"media_type": "text/html"},
    "kind": {"kind": "authenticate"},
    "time": {"expires_at": LATER},
    "demand of a Kpublic": {"kpublic_required": False},
    "address of the callback": {"callback_url": "https://127.0.0.1:1/else"},
    "content": {"content_sha256": hashlib.sha256(OTHER).digest(), "size": len(OTHER)},
}


def _write(stage: Stage, transaction: str, **values: object) -> Json:
    """Change the row beside the gateway and return what it said before."""
    mine = transactions.c.id == transaction
    with stage.database() as connection:
        before = dict(connection.execute(sa.select(transactions).where(mine)).one()._mapping)
        connection.execute(sa.update(transactions).where(mine).values(**values))
        if "content_sha256" in values:
            connection.execute(
                sa.update(contents).where(contents.c.transaction_id == transaction).values(data=OTHER)
            )
    return before


@pytest.mark.parametrize("forged", FORGED)
def test_an_answer_to_a_transaction_that_was_changed_counts_for_nothing_and_raises_the_alarm(
    stage: Stage, forged: str
) -> None:
    phone = stage.phone()
    transaction = stage.bank.create_transaction(phone.account.user, text="Pay 10 EUR", title="Payment")["id"]
    before = _write(stage, transaction, **FORGED[forged])
    shown = phone.show(transaction)
    for answer in (phone.approve, phone.decline):
        with pytest.raises(Refused) as refused:
            answer(shown)
        assert (refused.value.status, refused.value.code) == (409, "integrity_failure")
    assert stage.bank.transaction(transaction)["status"] == "pending"
    assert stage.bank.transaction(transaction)["attempts"] == []
    assert len(stage.events(transaction=transaction, type=BROKEN)) == 2
    assert stage.bank.user(phone.account.user)["failures"] == 0
    if forged != "content":
        _write(stage, transaction, **{name: before[name] for name in FORGED[forged]})
        assert phone.approve(phone.show(transaction))["status"] == "confirmed"


def test_a_transaction_that_was_given_to_another_user_is_not_theirs_to_answer(stage: Stage) -> None:
    owner, other = stage.phone(), stage.phone()
    transaction = stage.bank.create_transaction(owner.account.user, text="Pay 10 EUR")["id"]
    _write(stage, transaction, user_id=other.account.user)
    with pytest.raises(Refused) as refused:
        other.approve(other.show(transaction))
    assert refused.value.code == "integrity_failure"
    assert stage.events(transaction=transaction, type=BROKEN) != []


def test_what_was_changed_after_it_was_signed_does_not_verify(stage: Stage) -> None:
    phone = stage.phone()
    transaction = stage.bank.create_transaction(phone.account.user, text="Pay 10 EUR", title="Payment")["id"]
    phone.approve(phone.show(transaction))
    shown = stage.bank.transaction(transaction)["confirmation"]
    evidence = {"step": shown["step"], "code": shown["code"], "signature": shown["signature"]}
    assert stage.bank.verify(transaction, **evidence)["valid"]
    _write(stage, transaction, title="Another")
    with pytest.raises(BankRefused) as refused:
        stage.bank.verify(transaction, **evidence)
    assert refused.value.code == "integrity_failure"
    assert stage.events(transaction=transaction, type=BROKEN) != []
