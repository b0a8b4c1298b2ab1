"""Which action leads where: every state with every action, written out, so that a changed table is noticed."""

from datetime import UTC, datetime

import pytest

from gateway.refusals import Refusal
from gateway.rules import delivery, device, keyset, transaction, user
from gateway.rules.delivery import DeliveryAction, DeliveryStatus
from gateway.rules.device import DeviceAction, DeviceStatus
from gateway.rules.keyset import KeysetAction, KeysetStatus
from gateway.rules.transaction import TransactionAction, TransactionStatus
from gateway.rules.user import User, UserAction, UserStatus

NO = "refused"

# One line a state, one column an action.
TRANSACTION = """
            approve    decline   cancel     expire     exhaust    refuse
pending     confirmed  declined  cancelled  cancelled  cancelled  cancelled
confirmed   refused    refused   refused    refused    refused    refused
declined    refused    refused   refused    refused    refused    refused
cancelled   refused    refused   refused    refused    refused    refused
"""
KEYSET = """
            register   replace   void       lapse
issued      active     deleted   void       lapsed
active      refused    deleted   refused    refused
deleted     refused    refused   refused    refused
void        refused    refused   refused    refused
lapsed      refused    refused   refused    refused
unreadable   refused    refused   refused    refused
"""
USER = """
            block      unblock   delete
active      blocked    active    deleted
blocked     blocked    active    deleted
deleted     refused    refused   deleted
"""
# What is refused is not heard here: a worker that lost its claim may come late.
DELIVERY = """
            arrive     fail      give_up
pending     delivered  pending   given_up
delivered   refused    refused   refused
given_up    delivered  refused   given_up
"""
DEVICE = """
            register   remove
expected    active     removed
active      active     removed
removed     refused    removed
"""


def _cases(table: str) -> list[tuple[str, str, str]]:
    head, *rows = table.strip("\n").splitlines()
    actions = head.split()
    return [
        (state, action, outcome)
        for state, *outcomes in map(str.split, rows)
        for action, outcome in zip(actions, outcomes, strict=True)
    ]


@pytest.mark.parametrize(
    ("table", "states", "actions"),
    [
        (TRANSACTION, TransactionStatus, TransactionAction),
        (KEYSET, KeysetStatus, KeysetAction),
        (USER, UserStatus, UserAction),
        (DEVICE, DeviceStatus, DeviceAction),
        (DELIVERY, DeliveryStatus, DeliveryAction),
    ],
    ids=["transaction", "keyset", "user", "device", "delivery"],
)
def test_the_tables_name_every_state_and_every_action(table: str, states: type, actions: type):
    assert {(state, action) for state, action, _ in _cases(table)} == {
        (str(state), str(action)) for state in states for action in actions
    }


@pytest.mark.parametrize(("state", "action", "outcome"), _cases(TRANSACTION))
def test_a_transaction_goes_where_the_table_says(state: str, action: str, outcome: str):
    def go() -> TransactionStatus:
        return transaction.next_status(TransactionStatus(state), TransactionAction(action))

    _expect(go, outcome, "transaction_settled")


@pytest.mark.parametrize(("state", "action", "outcome"), _cases(KEYSET))
def test_a_keyset_goes_where_the_table_says(state: str, action: str, outcome: str):
    _expect(lambda: keyset.next_status(KeysetStatus(state), KeysetAction(action)), outcome, "keyset_not_open")


@pytest.mark.parametrize(("state", "action", "outcome"), _cases(USER))
def test_a_user_goes_where_the_table_says(state: str, action: str, outcome: str):
    _expect(lambda: user.next_status(UserStatus(state), UserAction(action)), outcome, "user_deleted")


@pytest.mark.parametrize(("state", "action", "outcome"), _cases(DEVICE))
def test_a_device_goes_where_the_table_says(state: str, action: str, outcome: str):
    _expect(lambda: device.next_status(DeviceStatus(state), DeviceAction(action)), outcome, "not_found")


@pytest.mark.parametrize(("state", "action", "outcome"), _cases(DELIVERY))
def test_a_callback_goes_where_the_table_says(state: str, action: str, outcome: str):
    assert delivery.outcomes(DeliveryAction(action)).get(DeliveryStatus(state), NO) == outcome


def _expect(go: object, outcome: str, code: str) -> None:
    assert callable(go)
    if outcome != NO:
        assert go() == outcome
        return
    with pytest.raises(Refusal) as refused:
        go()
    assert refused.value.problem.code == code


# state of the user, failures so far -> code of the refusal at a limit of 3
OPEN_USERS = [
    (UserStatus.ACTIVE, 0, None),
    (UserStatus.ACTIVE, 2, None),
    (UserStatus.ACTIVE, 3, "user_blocked"),
    (UserStatus.ACTIVE, 4, "user_blocked"),
    (UserStatus.BLOCKED, 0, "user_blocked"),
    (UserStatus.BLOCKED, 3, "user_blocked"),
    (UserStatus.DELETED, 0, "user_deleted"),
    (UserStatus.DELETED, 3, "user_deleted"),
]


@pytest.mark.parametrize(("status", "failures", "code"), OPEN_USERS)
def test_a_user_acts_only_while_active_and_below_the_limit(
    status: UserStatus, failures: int, code: str | None
):
    found = User(
        application_id="app_1",
        user_id="anna",
        status=status,
        reason=None,
        failures=failures,
        version=1,
        created_at=datetime(2030, 1, 1, tzinfo=UTC),
    )
    if code is None:
        user.require_open(found, 3)
        return
    with pytest.raises(Refusal) as refused:
        user.require_open(found, 3)
    assert refused.value.problem.code == code
