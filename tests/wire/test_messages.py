"""Does every part of a message change its bytes, and does a message refuse what it cannot hold?"""

import itertools
from typing import Any

import pytest

from gateway.wire.errors import WireError
from gateway.wire.message import KEY_MEDIA_TYPE, Operation
from gateway.wire.text import check_text
from tests.vectors.writing import material

CHANGES: dict[str, Any] = {
    "operation": Operation.DECLINE,
    "application": "app_other",
    "user": "user-0002",
    "media_type": "text/html",
    "content_digest": bytes(32),
    "fingerprint": bytes(32),
    "step": 1,
    "transaction": "txn_2",
    "title": "Another",
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_part_enters_the_digest(name: str):
    assert material.message(**{name: CHANGES[name]}).digest() != material.message().digest()


def test_no_combination_of_changes_collides_with_another():
    """Each of the 512 subsets of nine changes gives other bytes."""
    found = set()
    for size in range(len(CHANGES) + 1):
        for names in itertools.combinations(CHANGES, size):
            found.add(material.message(**{name: CHANGES[name] for name in names}).encode())
    assert len(found) == 2 ** len(CHANGES)


def test_moving_a_character_from_one_part_to_the_next_gives_other_bytes():
    assert (
        material.message(application="ab", user="c").encode()
        != material.message(application="a", user="bc").encode()
    )


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("transaction", ["txn_1", None])
@pytest.mark.parametrize("title", ["T", None])
@pytest.mark.parametrize("media_type", ["text/plain", KEY_MEDIA_TYPE])
def test_which_operations_go_with_a_transaction_a_title_and_a_media_type(
    operation: Operation, transaction: str | None, title: str | None, media_type: str
):
    about_keys = operation in (Operation.REGISTER_KEY, Operation.RENEW_KEYS)
    decides = operation in (Operation.APPROVE, Operation.DECLINE)
    good = (
        (transaction is not None or not decides)
        and (transaction is None or not about_keys)
        and (title is None or transaction is not None)
        and (media_type == KEY_MEDIA_TYPE or not about_keys)
    )
    values = {"transaction": transaction, "title": title, "media_type": media_type}
    if good:
        assert material.message(operation, **values).encode()
        return
    with pytest.raises(WireError):
        material.message(operation, **values)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("application", "", "empty"),
        ("application", "a" * 65, "too_long"),
        ("user", "ü" * 33, "too_long"),
        ("user", "a\x00b", "not_text"),
        ("user", "\ud800", "not_text"),
        ("transaction", "", "empty"),
        ("transaction", "t" * 65, "too_long"),
        ("title", "", "empty"),
        ("title", "t" * 257, "too_long"),
        ("media_type", "", "empty"),
        ("media_type", "m" * 256, "too_long"),
        ("content_digest", b"", "length"),
        ("content_digest", bytes(31), "length"),
        ("fingerprint", bytes(31), "length"),
        ("fingerprint", bytes(33), "length"),
        ("step", -1, "out_of_range"),
        ("step", 2**64, "out_of_range"),
    ],
)
def test_a_message_refuses_what_it_cannot_hold(name: str, value: object, reason: str):
    with pytest.raises(WireError) as caught:
        material.message(**{name: value})
    assert caught.value.reason == reason
    assert caught.value.what == name


@pytest.mark.parametrize("value", ["a", "é" * 32, "\N{GRINNING FACE}" * 16, "\x01", "\x7f", "\ufeff"])
def test_an_id_is_any_text_of_1_to_64_bytes(value: str):
    assert check_text(value, what="id", most_bytes=64) == value.encode()


def test_a_refusal_never_quotes_what_it_refuses():
    with pytest.raises(WireError) as caught:
        material.message(user="secret-looking" * 9)
    assert "secret" not in str(caught.value)
