"""The stored keys give no oracle: nothing but the gateway tells a right password from a wrong one."""

import json
import stat
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from tests.counterparts.phone_keys import (
    CURVE_ORDER,
    DEFAULT_ITERATIONS,
    Keys,
    LockedKeys,
    PhoneStore,
    StoreDamaged,
    lock,
    unlock,
)

ITERATIONS = 10
GUESSES = 400


def fresh() -> Keys:
    return Keys.fresh(bytes(range(32)), bytes(range(32, 64)))


def public(keys: Keys) -> ec.EllipticCurvePublicNumbers:
    return keys.private_key.public_key().public_numbers()


def test_the_right_password_gives_the_keys_back():
    keys = fresh()
    found = unlock(lock(keys, "correct horse", iterations=ITERATIONS), "correct horse")
    assert found == keys
    assert public(found) == public(keys)


def test_every_wrong_password_gives_other_keys_that_work_as_well():
    locked = lock(fresh(), "correct horse", iterations=ITERATIONS)
    seen = set()
    for guess in range(GUESSES):
        keys = unlock(locked, f"guess {guess}")
        assert [len(part) for part in (keys.khmac, keys.kauth, keys.scalar)] == [32, 32, 32]
        keys.private_key.sign(b"message", ec.ECDSA(SHA256()))
        seen.add(keys.khmac + keys.kauth + keys.scalar)
    assert len(seen) == GUESSES


@pytest.mark.parametrize("number", [0, 1, CURVE_ORDER - 2, CURVE_ORDER - 1, CURVE_ORDER, 2**256 - 1])
def test_any_32_bytes_are_a_private_key(number: int):
    scalar = Keys(bytes(32), bytes(32), number.to_bytes(32, "big")).private_key.private_numbers()
    assert 1 <= scalar.private_value < CURVE_ORDER


def test_the_stored_scalar_of_a_new_key_is_the_whole_range_and_no_more():
    lowest = Keys(bytes(32), bytes(32), bytes(32))
    highest = Keys(bytes(32), bytes(32), (CURVE_ORDER - 2).to_bytes(32, "big"))
    assert lowest.private_key.private_numbers().private_value == 1
    assert highest.private_key.private_numbers().private_value == CURVE_ORDER - 1


def test_the_keys_under_the_password_are_96_bytes_without_any_frame():
    locked = lock(fresh(), "correct horse", iterations=ITERATIONS)
    assert len(locked.ciphertext) == 96
    assert set(locked.to_json()) == {"kdf", "iterations", "salt", "cipher", "counter", "keys"}


def test_neither_ciphertexts_nor_wrong_decryptions_have_biased_bits():
    locked = [lock(fresh(), "correct horse", iterations=1) for _ in range(GUESSES)]
    wrong = [unlock(locked[0], f"guess {guess}") for guess in range(GUESSES)]
    for sample in (
        [record.ciphertext for record in locked],
        [keys.khmac + keys.kauth + keys.scalar for keys in wrong],
    ):
        for bit in range(96 * 8):
            ones = sum(data[bit // 8] >> (bit % 8) & 1 for data in sample)
            # 8 standard deviations: one run in 10^12 fails by chance.
            assert abs(ones - GUESSES / 2) < 8 * (GUESSES / 4) ** 0.5


def test_each_lock_has_a_salt_and_a_counter_of_its_own():
    keys = fresh()
    first, second = (lock(keys, "correct horse", iterations=ITERATIONS) for _ in range(2))
    assert first.salt != second.salt
    assert first.counter != second.counter


def test_the_default_cost_is_600_000_iterations_and_is_recorded():
    assert DEFAULT_ITERATIONS == 600_000
    assert lock(fresh(), "correct horse", iterations=ITERATIONS).to_json()["iterations"] == ITERATIONS


def test_the_inner_cipher_is_plain_counter_mode_under_pbkdf2():
    # Told from outside once: an independent decryption of a fixed record.
    record = {
        "kdf": "pbkdf2-hmac-sha-256",
        "iterations": 1,
        "salt": "AAAAAAAAAAAAAAAAAAAAAA==",
        "cipher": "aes-256-ctr",
        "counter": "AAAAAAAAAAAAAAAAAAAAAA==",
        "keys": "A" * 128,
    }
    keys = unlock(LockedKeys.from_json(record), "password")
    # openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:password -kdfopt hexsalt:00...
    #   -kdfopt iter:1 PBKDF2
    # openssl enc -aes-256-ctr -K <that> -iv 00...  over zero bytes
    assert keys.khmac.hex() == "40af6e1dd3187588d991906a9a54f7c260586e1166bb49fb3bcbf85591a0ac81"


def test_an_unknown_kdf_is_refused():
    record = lock(fresh(), "correct horse", iterations=ITERATIONS).to_json() | {"kdf": "md5"}
    with pytest.raises(StoreDamaged):
        LockedKeys.from_json(record)


def saved(directory: Path) -> tuple[PhoneStore, Keys]:
    store, keys = PhoneStore(directory / "store"), fresh()
    store.save("account", {"user": "user-1"}, lock(keys, "correct horse", iterations=ITERATIONS))
    return store, keys


def test_the_store_gives_back_what_it_took(tmp_path: Path):
    store, keys = saved(tmp_path)
    account, locked = store.load("account")
    assert account == {"user": "user-1"}
    assert unlock(locked, "correct horse") == keys


def test_every_file_of_the_store_is_for_its_owner_only(tmp_path: Path):
    store, _ = saved(tmp_path)
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    names = {file.name for file in store.directory.iterdir()}
    assert names == {"device.key", "account.box"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in store.directory.iterdir()} == {0o600}


def test_what_lies_under_the_device_key_holds_nothing_derived_from_the_keys(tmp_path: Path):
    store, keys = saved(tmp_path)
    box = (store.directory / "account.box").read_bytes()
    device_key = (store.directory / "device.key").read_bytes()
    plain = AESGCM(device_key).decrypt(box[:12], box[12:], b"account")
    assert set(json.loads(plain)) == {"account", "locked_keys"}
    x = public(keys).x.to_bytes(32, "big")
    assert x.hex() not in plain.decode()


def test_the_box_alone_is_of_no_use(tmp_path: Path):
    store, _ = saved(tmp_path)
    (store.directory / "device.key").write_bytes(bytes(32))
    with pytest.raises(StoreDamaged):
        store.load("account")


def test_a_changed_or_exchanged_box_is_refused(tmp_path: Path):
    store, _ = saved(tmp_path)
    path = store.directory / "account.box"
    (store.directory / "next.box").write_bytes(path.read_bytes())
    with pytest.raises(StoreDamaged):
        store.load("next")
    box = path.read_bytes()
    path.write_bytes(box[:-1] + bytes([box[-1] ^ 1]))
    with pytest.raises(StoreDamaged):
        store.load("account")


def test_saving_again_draws_a_new_nonce(tmp_path: Path):
    store, _ = saved(tmp_path)
    boxes = []
    for _ in range(3):
        boxes.append((store.directory / "account.box").read_bytes()[:12])
        store.save("account", *store.load("account"))
    assert all(one != other for one, other in pairwise(boxes))


def test_keys_do_not_show_themselves_in_a_traceback():
    assert repr(fresh()) == "Keys(...)"
