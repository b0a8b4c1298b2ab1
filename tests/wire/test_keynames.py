"""Names of keys that are not on the token: one spelling each, and a context that nothing else shares."""

import hashlib

import pytest

from gateway.wire.errors import WireError
from gateway.wire.keyname import DerivedName, is_forgotten, is_salted, point_name, read_point

SALT = bytes(range(32))
NAME = DerivedName(1, SALT)
TEXT = f"derived:master=1;salt={SALT.hex()}"
PLACE = ("khmac", "app_1", "anna", "ks_1")


def test_a_name_is_written_and_read_in_one_way():
    assert NAME.text() == TEXT
    assert DerivedName.read(TEXT) == NAME
    assert is_salted(TEXT)
    assert not is_forgotten(TEXT)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        TEXT + "\n",
        TEXT + ";",
        " " + TEXT,
        TEXT.upper(),
        TEXT[:-1],
        TEXT + "0",
        TEXT.replace("=1", "=0"),
        TEXT.replace("=1", "=01"),
        TEXT.replace("=1", "=-1"),
        TEXT.replace("=1", "=\u0661"),
        TEXT.replace("salt", "forgotten"),
        f"derived:salt={SALT.hex()};master=1",
        NAME.forgotten("ks_1"),
        "pkcs11:id=%00;type=secret-key",
        point_name(bytes(65)),
    ],
)
def test_another_spelling_is_refused(wrong: str):
    with pytest.raises(WireError):
        DerivedName.read(wrong)
    assert not is_salted(wrong)


def test_a_forgotten_name_tells_nothing_of_the_salt_and_is_the_only_one_of_its_keyset():
    gone = NAME.forgotten("ks_1")
    assert gone == "derived:master=1;forgotten=ks_1"
    assert is_forgotten(gone)
    assert gone != NAME.forgotten("ks_2")


def test_the_context_is_a_hash_over_all_that_makes_the_key_the_only_one():
    parts = [b"countersign derived key 1", *(each.encode() for each in PLACE), SALT]
    tlv = b"".join(bytes([0x80 + number, len(part)]) + part for number, part in enumerate(parts))
    assert NAME.context(*PLACE) == hashlib.sha256(tlv).digest()


def test_every_part_of_the_place_and_the_salt_changes_the_context():
    contexts = {NAME.context(*PLACE), DerivedName(1, bytes(32)).context(*PLACE)}
    for number in range(len(PLACE)):
        contexts.add(NAME.context(*(part + "x" * (place == number) for place, part in enumerate(PLACE))))
    contexts.add(NAME.context("khmac", "app_1a", "nna", "ks_1"))
    assert len(contexts) == 7


def test_a_point_is_written_and_read_in_one_way():
    point = b"\x04" + bytes(range(64))
    assert read_point(point_name(point)) == point
    for wrong in ("", "point:", point_name(point)[:-2], point_name(point) + "\n", point_name(point).upper()):
        with pytest.raises(WireError):
            read_point(wrong)
