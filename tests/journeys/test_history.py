"""Does the gateway answer who signed what, when, with which keys and which device?"""

import json
from typing import Any

import pytest

from tests.counterparts.bank import BankRefused
from tests.counterparts.phone_line import Refused
from tests.journeys.stage import Stage


def _answers(stage: Stage, user: str, **query: object) -> list[dict[str, Any]]:
    return list(stage.bank.call("GET", f"/v1/users/{user}/answers", params=query)["answers"])


def test_the_answers_of_a_user_name_keys_device_and_transaction(stage: Stage) -> None:
    first = stage.phone()
    user = first.account.user
    approved, declined = stage.ask(first), stage.ask(first)
    first.approve(approved)
    first.decline(declined)
    second = stage.phone(user)
    wrong = stage.ask(second)
    with pytest.raises(Refused):
        second.call("transactions.approve", lambda: second.confirmation_body(wrong, 2))
    second.approve(wrong)
    found = _answers(stage, user)
    assert [(each["transaction"], each["operation"], each["outcome"]) for each in found] == [
        (approved.transaction, "approve", "accepted"),
        (declined.transaction, "decline", "accepted"),
        (wrong.transaction, "approve", "refused"),
        (wrong.transaction, "approve", "accepted"),
    ]
    devices = [each["device"]["id"] for each in stage.bank.keysets(user)]
    assert [each["device_id"] for each in found] == [devices[0]] * 2 + [devices[1]] * 2
    keyset = second.account.keyset
    assert {each["keyset"] for each in _answers(stage, user, keyset=keyset)} == {keyset}
    assert len(_answers(stage, user, device=devices[0])) == 2
    assert _answers(stage, user, until=found[0]["at"]) == []
    assert _answers(stage, user, since="2000-01-01T00:00:00Z", until="2100-01-01T00:00:00Z") == found


def test_pages_of_answers_hold_each_once(stage: Stage) -> None:
    phone = stage.phone()
    for _ in range(5):
        phone.approve(stage.ask(phone))
    whole, pages, after = _answers(stage, phone.account.user), [], {}
    while True:
        page = stage.bank.call("GET", f"/v1/users/{phone.account.user}/answers", params={"limit": 2, **after})
        pages += page["answers"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert pages == whole
    assert len(whole) == 5


def test_another_banks_user_has_no_answers_here(stage: Stage) -> None:
    phone = stage.phone()
    phone.approve(stage.ask(phone))
    with pytest.raises(BankRefused) as refused:
        stage.foreign.call("GET", f"/v1/users/{phone.account.user}/answers")
    assert refused.value.code == "not_found"


def test_events_are_found_by_keyset(stage: Stage) -> None:
    phone = stage.phone()
    phone.approve(stage.ask(phone))
    found = stage.events(keyset=phone.account.keyset)
    assert {each["keyset"] for each in found} == {phone.account.keyset}
    assert {"keyset.issued", "keyset.registered", "transaction.settled"} <= {each["type"] for each in found}


def test_the_operator_reads_the_log_from_the_command_line(stage: Stage) -> None:
    phone = stage.phone()
    phone.approve(stage.ask(phone))
    user = phone.account.user
    printed = stage.gateway.run("events", "--user", user, "--json").stdout.splitlines()
    lines = [json.loads(line) for line in printed]
    theirs = stage.events(user=user)
    assert [line["id"] for line in lines] == [event["id"] for event in theirs]
    assert {line["application"] for line in lines} == {stage.keys["application"]}
    page = stage.gateway.run("events", "--user", user, "--limit", "2")
    assert f"--after {theirs[1]['number']}" in page.stdout
    last = stage.gateway.run(
        "events", "--user", user, "--limit", "2", "--newest", "--json"
    ).stdout.splitlines()
    assert [json.loads(line)["id"] for line in last] == [event["id"] for event in theirs[-2:]]
    unknown = stage.gateway.run("events", "--application", "nobody", check=False)
    assert (unknown.returncode, unknown.stderr) == (1, "countersign: there is no application 'nobody'\n")


def test_nothing_that_an_application_names_changes_what_the_operator_reads(stage: Stage) -> None:
    """The id of a user and a reason may hold what a terminal, or the printing of a table, would act on."""
    hostile = "[/red][conceal]:warning:\x1b[2J\u202e" + stage.user()[-6:]
    stage.bank.create_user(hostile)
    stage.bank.block(hostile, reason="[/]\x1b[1A\x1b[2K")
    printed = stage.gateway.run("events", "--user", hostile).stdout
    assert not {"\x1b", "\u202e"} & set(printed)
    [blocked] = [line for line in printed.splitlines() if " user.blocked " in line]
    assert r"[/]\x1b[1A\x1b[2K" in blocked
    assert r"[/red][conceal]:warning:\x1b[2J\u202e" in blocked
