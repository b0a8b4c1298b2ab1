"""Which content authenticates: what a rule's template says, and nothing else?"""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.refusals import Refusal
from gateway.rules import policy
from gateway.rules.authentication_rule import AuthenticationRule, Match, find_match, read_rules

TEXT = "text/plain; charset=utf-8"
NOW = datetime(2030, 6, 1, 12, 0, 7, tzinfo=UTC)
LOGIN = AuthenticationRule(name="login", media_type=TEXT, template="Log in to Bank (A+B), {user}, {time}")
DOOR = AuthenticationRule(
    name="door", media_type="application/json", template='{"for":"{user}","at":"{step}"}'
)
RULES = (LOGIN, DOOR)


def test_content_that_follows_a_rule_names_the_rule_and_its_moment():
    found = find_match(RULES, "anna", TEXT, b"Log in to Bank (A+B), anna, 2030-06-01T12:00:07Z")
    assert found == Match(LOGIN, NOW)
    found = find_match(RULES, "anna", "application/json", b'{"for":"anna","at":"2030-06-01T12:00:07Z"}')
    assert found == Match(DOOR, NOW)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("user", ["anna", "a.*", "{time}", "smith@example.ru", "Jörg", "x" * 64])
def test_what_a_rule_writes_follows_it(rule: AuthenticationRule, user: str):
    assert find_match(RULES, user, rule.media_type, rule.write(user, NOW)) == Match(rule, NOW)


@pytest.mark.parametrize(
    ("user", "media_type", "content"),
    [
        ("bert", TEXT, b"Log in to Bank (A+B), anna, 2030-06-01T12:00:07Z"),
        ("anna", "text/plain", b"Log in to Bank (A+B), anna, 2030-06-01T12:00:07Z"),
        ("anna", TEXT, b"Log in to Bank (A+B), anna, 2030-06-01T12:00:07Z "),
        ("anna", TEXT, b"Log in to Bank (A+B), anna, 2030-06-01T12:00:07Z\n"),
        ("anna", TEXT, b"xLog in to Bank (A+B), anna, 2030-06-01T12:00:07Z"),
        ("anna", TEXT, b"Log in to Bank AAB, anna, 2030-06-01T12:00:07Z"),
        ("anna", TEXT, b"Log in to Bank (A+B), anna, 2030-02-30T12:00:07Z"),
        ("anna", TEXT, b"Log in to Bank (A+B), anna, 2030-06-01T12:00:60Z"),
        ("anna", TEXT, b"Log in to Bank (A+B), anna, 2030-06-01 12:00:07"),
        ("anna", TEXT, "Log in to Bank (A+B), anna, \uff12\uff1030-06-01T12:00:07Z".encode()),
        ("anna", TEXT, b"Log in to Bank (A+B), anna, {time}"),
        ("anna", TEXT, b"\xff"),
        ("anna", TEXT, b""),
        ("a.*a", TEXT, b"Log in to Bank (A+B), anna, 2030-06-01T12:00:07Z"),
    ],
)
def test_anything_else_follows_no_rule(user: str, media_type: str, content: bytes):
    assert find_match(RULES, user, media_type, content) is None


@pytest.mark.parametrize(
    ("rule", "seconds", "timely"),
    [
        (LOGIN, -1, False), (LOGIN, 0, True), (LOGIN, 200, True), (LOGIN, 539, True), (LOGIN, 540, False),
        (DOOR, 180, True), (DOOR, 181, False), (DOOR, 0, False), (DOOR, 360, False),
    ],
)  # fmt: skip
def test_a_moment_lies_in_the_window_or_begins_the_step(rule: AuthenticationRule, seconds: int, timely: bool):  # noqa: FBT001
    start = datetime(2030, 6, 1, 12, tzinfo=UTC)

    def after(more: int) -> datetime:
        return start + timedelta(seconds=more)

    assert Match(rule, after(seconds)).is_timely(after(180), start, after(540)) is timely


def test_only_content_without_a_moment_of_its_own_is_known_beforehand():
    assert (LOGIN.is_known_beforehand, DOOR.is_known_beforehand) == (False, True)


GOOD = {"name": "login", "media_type": TEXT, "template": "Log in, {time}"}


@pytest.mark.parametrize(
    "rules",
    [
        "login", [GOOD, GOOD], [{**GOOD, "more": "x"}], [{"name": "login"}], [GOOD | {"name": "Log in"}],
        [GOOD | {"media_type": "text"}], [GOOD | {"template": "Log in"}], [GOOD | {"template": "Log in, {user}"}],
        [GOOD | {"template": "{time} {time}"}], [GOOD | {"template": "{time} {step}"}], [GOOD | {"template": 5}],
        [GOOD | {"template": "{time} {usr}"}], [GOOD | {"template": "\x00{time}"}],
        [GOOD | {"template": "\ud800{time}"}],
        [GOOD | {"template": "x" * 1000 + "{time}"}], [GOOD | {"name": f"r{n}"} for n in range(17)], [None],
    ],
)  # fmt: skip
def test_a_rule_without_a_time_or_with_anything_odd_is_refused(rules: object):
    with pytest.raises(Refusal) as refused:
        policy.from_json({"authentication_rules": rules})
    assert [error["pointer"] for error in refused.value.errors] == ["/authentication_rules"]


def test_rules_survive_being_stored():
    made = policy.from_json({"authentication_rules": [GOOD]})
    assert made.authentication_rules == read_rules([GOOD])
    assert policy.from_stored(policy.to_json(made)) == made
    assert policy.Policy().authentication_rules == ()
