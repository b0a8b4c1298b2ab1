"""Does a keyset take exactly one public key, proved threefold, and raise an alarm at a second one?"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.api.probe import Probe, problem
from tests.counterparts.phone import KEY_MEDIA_TYPE, Phone
from tests.counterparts.phone_line import Answer, NotRecognised
from tests.counterparts.phone_tlv import b64, unb64
from tests.counterparts.phone_wire import Operation, mac, sign
from tests.journeys.stage import Json, Stage

ONE_DATABASE = True
REGISTER = "keys.register"


@pytest.fixture
def fresh(stage: Stage) -> Phone:
    """A phone that has its package and is not registered; its clock stands still, for a step may end at any moment."""
    moment = datetime.now(UTC)
    return stage.enrol(stage.user(), clock=lambda: moment)


def _proved(phone: Phone, answer: Answer) -> bool:
    return answer.proved_under(phone.keys.kauth)


def _status(stage: Stage, phone: Phone) -> list[str]:
    return [keyset["status"] for keyset in stage.bank.keysets(phone.account.user)]


def _body_for(phone: Phone, spki: bytes) -> Json:
    """A registration of these bytes with code and signature over them."""
    message = phone.message(Operation.REGISTER_KEY, KEY_MEDIA_TYPE, hashlib.sha256(spki).digest()).encode()
    return phone.registration_body() | {
        "kpublic": b64(spki),
        "code": b64(mac(phone.keys.khmac, message)),
        "signature": b64(sign(phone.private_key, message)),
    }


def _spki(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _compressed(phone: Phone) -> bytes:
    point = phone.private_key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    return bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + point


def _flipped(spki: bytes, at: int) -> bytes:
    return spki[:at] + bytes([spki[at] ^ 1]) + spki[at + 1 :]


KEYS: dict[str, Callable[[Phone], bytes]] = {
    "P-384": lambda _: _spki(ec.generate_private_key(ec.SECP384R1()).public_key()),
    "secp256k1": lambda _: _spki(ec.generate_private_key(ec.SECP256K1()).public_key()),
    "RSA": lambda _: _spki(rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()),
    "off the curve": lambda phone: _flipped(phone.public_spki(), 90),
    "x of another point": lambda phone: _flipped(phone.public_spki(), 40),
    "point at infinity": lambda phone: phone.public_spki()[:27] + bytes(64),
    "coordinates of the field's size": lambda phone: phone.public_spki()[:27] + b"\xff" * 64,
    "compressed": _compressed,
    "compressed in the length of an uncompressed one": lambda phone: (
        phone.public_spki()[:26] + b"\x02" + phone.public_spki()[27:]
    ),
    "hybrid": lambda phone: phone.public_spki()[:26] + b"\x06" + phone.public_spki()[27:],
    "another algorithm": lambda phone: _flipped(phone.public_spki(), 10),
    "another curve's name": lambda phone: _flipped(phone.public_spki(), 22),
    "trailing byte": lambda phone: phone.public_spki() + b"\0",
    "bare point": lambda phone: phone.public_spki()[26:],
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_what_is_no_public_key_of_p256_is_refused(
    stage: Stage, fresh: Phone, key: Callable[[Phone], bytes]
) -> None:
    answer = fresh.request(REGISTER, _body_for(fresh, key(fresh)))
    assert problem(answer) == (400, "malformed_request")
    assert _proved(fresh, answer)
    assert [event["type"] for event in stage.recorded(answer)] == ["client.request"]
    fresh.register()
    assert _status(stage, fresh) == ["active"]


def _with_code_under_kauth(phone: Phone) -> Json:
    spki = hashlib.sha256(phone.public_spki()).digest()
    message = phone.message(Operation.REGISTER_KEY, KEY_MEDIA_TYPE, spki).encode()
    return {"code": b64(mac(phone.keys.kauth, message))}


WRONG: dict[str, Callable[[Phone], Json]] = {
    "code": lambda _: {"code": b64(bytes(32))},
    "code under Kauth": _with_code_under_kauth,
    "signature": lambda phone: {"signature": b64(sign(phone.private_key, b"something else"))},
    "signature by another key": lambda phone: {
        "signature": _body_for(_with_another_key(phone), phone.public_spki())["signature"]
    },
    "fingerprint": lambda _: {"fingerprint": b64(bytes(32))},
    "key": lambda phone: {"kpublic": b64(_with_another_key(phone).public_spki())},
    "step": lambda phone: {"step": phone.step() + 1},
}


def _with_another_key(phone: Phone) -> Phone:
    other = Phone(phone.account, phone.keys)
    other.private_key = ec.generate_private_key(ec.SECP256R1())
    other.close()
    return other


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_registration_with_one_wrong_proof_is_refused(
    stage: Stage, fresh: Phone, wrong: Callable[[Phone], Json]
) -> None:
    answer = fresh.request(REGISTER, fresh.registration_body() | wrong(fresh))
    assert problem(answer) == (403, "proof_refused")
    assert _proved(fresh, answer)
    assert [event["type"] for event in stage.recorded(answer)] == ["transaction.proof_refused"]
    assert stage.bank.user(fresh.account.user)["failures"] == 1
    fresh.register()
    assert _status(stage, fresh) == ["active"]
    assert stage.bank.user(fresh.account.user)["failures"] == 0


@pytest.mark.parametrize(
    "change", [{"signature": None}, {"package": None}, {"fingerprint": b64(bytes(31))}], ids=str
)
def test_a_registration_that_lacks_something_is_refused(stage: Stage, fresh: Phone, change: Json) -> None:
    body = {name: value for name, value in (fresh.registration_body() | change).items() if value is not None}
    assert problem(fresh.request(REGISTER, body)) == (400, "malformed_request")
    fresh.register()


def test_no_fingerprint_is_refused_where_the_policy_binds_to_a_device(stage: Stage, fresh: Phone) -> None:
    answer = fresh.request(REGISTER, fresh.registration_body() | {"fingerprint": ""})
    assert problem(answer) == (422, "not_allowed_by_policy")
    assert _proved(fresh, answer)
    fresh.register()


def test_an_altered_package_voids_the_keyset(stage: Stage, fresh: Phone) -> None:
    body = fresh.registration_body()
    answer = fresh.request(REGISTER, body | {"package": b64(_flipped(unb64(body["package"]), 0))})
    assert problem(answer) == (409, "package_differs")
    assert _proved(fresh, answer)
    assert {event["type"] for event in stage.recorded(answer)} == {"keyset.alarm", "keyset.ended"}
    assert _status(stage, fresh) == ["void"]
    with pytest.raises(NotRecognised):
        fresh.register()
    assert stage.phone(fresh.account.user).pending() == []  # new keys help


@pytest.mark.parametrize("what", ["key", "fingerprint"])
def test_a_second_registration_with_something_else_is_refused_with_an_alarm(
    stage: Stage, fresh: Phone, what: str
) -> None:
    body = fresh.registration_body()
    assert fresh.request(REGISTER, body).status == 200
    other = _body_for(_with_another_key(fresh), _with_another_key(fresh).public_spki())
    second = other if what == "key" else body | {"fingerprint": b64(bytes(32))}
    answer = fresh.request(REGISTER, second)
    assert problem(answer) == (409, "already_registered")
    assert _proved(fresh, answer)
    assert [event["type"] for event in stage.recorded(answer)] == ["keyset.alarm"]
    [keyset] = stage.bank.keysets(fresh.account.user)
    assert unb64(keyset["device"]["fingerprint"]) == fresh.account.fingerprint
    fresh.register()
    assert fresh.approve(stage.ask(fresh))["status"] == "confirmed"


def test_a_user_can_register_the_public_key_of_nobody_else(probe: Probe, fresh: Phone) -> None:
    body = _body_for(fresh, probe.phone.public_spki())
    assert problem(fresh.request(REGISTER, body)) == (403, "proof_refused")
