"""Can an operator point callbacks elsewhere, replace an API key without a pause, and see who has which?"""

import json
import secrets
from typing import Any

import pytest

from gateway.store.tables import credentials
from tests.counterparts.bank import BankRefused
from tests.journeys.stage import Json, Stage

ONE_DATABASE = True


@pytest.fixture
def added(stage: Stage) -> Json:
    """An application of its own."""
    name = f"operated {secrets.token_hex(4)}"
    return {"name": name, **_told(stage, "application", "add", name, "--json")}


def _told(stage: Stage, *words: str) -> dict[str, Any]:
    return dict(json.loads(stage.gateway.run(*words).stdout))


def _listed(stage: Stage, application_id: str) -> dict[str, Any]:
    found = json.loads(stage.gateway.run("application", "list", "--json").stdout)
    return next(dict(each) for each in found if each["application"] == application_id)


def _credential_of(api_key: str) -> str:
    return "key_" + api_key.partition(".")[0].removeprefix("csk_")


def _is_served(stage: Stage, api_key: str) -> bool:
    with stage.gateway.bank(api_key) as bank:
        try:
            bank.policy()
        except BankRefused as refused:
            return (refused.status, refused.code) != (401, "unauthenticated")
    return True


def test_a_key_is_replaced_while_the_old_one_still_works_and_then_taken_back(
    stage: Stage, added: Json
) -> None:
    new = _told(stage, "application", "credential", "add", added["name"], "--scope", "policy:write", "--json")
    assert _is_served(stage, added["api_key"])
    assert _is_served(stage, new["api_key"])
    stage.gateway.run("application", "credential", "revoke", _credential_of(added["api_key"]))
    assert not _is_served(stage, added["api_key"])  # at once, in a process that is running
    assert _is_served(stage, new["api_key"])
    listed = _listed(stage, added["application"])
    assert [bool(each["revoked_at"]) for each in listed["credentials"]] == [True, False]
    assert "policy:write" in listed["credentials"][1]["scopes"]
    with stage.gateway.bank(new["api_key"]) as bank:
        told = [event["type"] for event in bank.events()["events"]]
    assert told[:3] == ["application.created", "credential.created", "credential.created"]
    assert sorted(told[3:]) == ["application.refused", "credential.revoked"]


def test_a_revoked_key_stays_revoked_for_who_clears_the_time_in_the_database(
    stage: Stage, added: Json
) -> None:
    name = _credential_of(added["api_key"])
    stage.gateway.run("application", "credential", "revoke", name)
    with stage.database() as connection:
        connection.execute(credentials.update().where(credentials.c.id == name).values(revoked_at=None))
    assert not _is_served(stage, added["api_key"])


def test_a_key_is_not_revoked_twice_nor_one_that_is_not_there(stage: Stage, added: Json) -> None:
    name = _credential_of(added["api_key"])
    stage.gateway.run("application", "credential", "revoke", name)
    again = stage.gateway.run("application", "credential", "revoke", name, check=False)
    assert (again.returncode, again.stderr) == (
        1,
        f"countersign: the credential '{name}' was revoked before\n",
    )
    never = stage.gateway.run("application", "credential", "revoke", "key_0", check=False)
    assert (never.returncode, never.stderr) == (1, "countersign: there is no credential 'key_0'\n")


def test_callbacks_follow_the_address_that_was_set_last(stage: Stage, added: Json) -> None:
    assert _listed(stage, added["application"])["callback"] is None
    stage.gateway.run("application", "callback", added["name"], stage.receiver.url)
    assert _listed(stage, added["application"])["callback"] == stage.receiver.url
    stage.gateway.run("application", "callback", added["application"], "--none")
    assert _listed(stage, added["application"])["callback"] is None
    for words in (["https://name:word@bank.example/"], [stage.receiver.url, "--none"]):
        refused = stage.gateway.run("application", "callback", added["name"], *words, check=False)
        assert refused.returncode == 1
        assert refused.stderr.startswith("countersign: ")
        assert refused.stderr.count("\n") == 1
    unknown = stage.gateway.run("application", "callback", "nobody", "--none", check=False)
    assert unknown.stderr == "countersign: there is no application 'nobody'\n"


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 101])
def test_a_name_that_nobody_can_read_is_refused(stage: Stage, name: str) -> None:
    refused = stage.gateway.run("application", "add", name, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("countersign: the name of an application")


def test_a_narrow_terminal_shows_every_id_in_full(stage: Stage, added: Json) -> None:
    done = stage.gateway.run("application", "list")
    assert [line for line in done.stdout.splitlines() if line.startswith(added["application"] + " ")]


def test_programs_learn_of_every_version_of_a_key_whether_the_token_has_it(stage: Stage) -> None:
    found = json.loads(stage.gateway.run("keys", "list", "--json").stdout)
    assert {each["name"] for each in found} >= {"binding", "receipt"}
    assert {each["on_token"] for each in found} == {True}


def test_keys_that_no_row_names_are_listed(stage: Stage) -> None:
    found = json.loads(stage.gateway.run("keys", "orphans", "--json").stdout)
    shown = stage.gateway.run("keys", "orphans").stdout.splitlines()
    assert shown == [*found, f"{len(found)} that no row names"]
