"""Is an answer accepted only with code and signature over exactly this message, by this phone, at this time?"""

import base64
import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from tests.api.probe import APPROVE, Probe, without_ids
from tests.counterparts.phone import Phone
from tests.counterparts.phone_tlv import b64
from tests.counterparts.phone_wire import Operation, Signed, mac, sign
from tests.journeys.stage import Json, Stage

ONE_DATABASE = True
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
REFUSED = "transaction.proof_refused"


def _right(probe: Probe) -> Signed:
    return probe.phone.message_of(probe.shown, Operation.APPROVE)


def _code(probe: Probe, message: Signed) -> str:
    return b64(mac(probe.phone.keys.khmac, message.encode()))


def _signature(probe: Probe, message: Signed) -> str:
    return b64(sign(probe.phone.private_key, message.encode()))


def _both(message: Callable[[Probe], Signed]) -> Callable[[Probe], Json]:
    return lambda probe: {
        "code": _code(probe, message(probe)),
        "signature": _signature(probe, message(probe)),
    }


def _changed(**changes: object) -> Callable[[Probe], Json]:
    return _both(lambda probe: replace(_right(probe), **changes))


def _fresh_key(probe: Probe) -> Json:
    return {"signature": b64(sign(ec.generate_private_key(ec.SECP256R1()), _right(probe).encode()))}


def _of_another_user(probe: Probe) -> Json:
    other = probe.stage.phone()
    encoded = _right(probe).encode()
    return {"code": b64(mac(other.keys.khmac, encoded)), "signature": b64(sign(other.private_key, encoded))}


WRONG: dict[str, Callable[[Probe], Json]] = {
    "code right, signature by another key": _fresh_key,
    "code right, signature over another message": lambda probe: {
        "signature": _signature(probe, replace(_right(probe), operation=2))
    },
    "code right, no signature": lambda _: {"signature": None},
    "signature right, random code": lambda _: {"code": b64(secrets.token_bytes(32))},
    "signature right, code of zeros": lambda _: {"code": b64(bytes(32))},
    "signature right, code under Kauth": lambda probe: {
        "code": b64(mac(probe.phone.keys.kauth, _right(probe).encode()))
    },
    "signature right, code of the decline": lambda probe: {
        "code": _code(probe, replace(_right(probe), operation=2))
    },
    "both of the decline": _changed(operation=Operation.DECLINE),
    "both of an authentication": _changed(operation=Operation.AUTHENTICATE),
    "both of a registration": _changed(operation=Operation.REGISTER_KEY),
    "both of another transaction": _changed(transaction="txn_" + "0" * 32),
    "both of no transaction": _changed(transaction=None),
    "both of another user": _changed(user="somebody-else"),
    "both of another application": _changed(application="app_" + "0" * 32),
    "both of another device": _changed(fingerprint=bytes(32)),
    "both without a device": _changed(fingerprint=b""),
    "both of another content": _changed(content_digest=bytes(32)),
    "both of another media type": _changed(media_type="text/plain"),
    "both of another title": _changed(title="Payment"),
    "both of another step than named": _both(lambda p: replace(_right(p), step=_right(p).step - 1)),
    "both by another user's keys": _of_another_user,
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_proof_is_refused_kept_and_counted(probe: Probe, wrong: Callable[[Probe], Json]) -> None:
    answer = probe.approve(probe.body(**wrong(probe)))
    event = probe.expect(answer, 403, "proof_refused", proved=True, event=REFUSED)
    assert event["transaction_id"] == probe.shown.transaction
    [(outcome, verified)] = probe.attempts()
    assert outcome == "refused"
    assert not {"code", "signature"} <= set(verified)
    assert probe.stage.bank.user(probe.phone.account.user)["failures"] == 1
    probe.still_works()


# The step may end on the way to the gateway: by 2 it is met exactly in tests/scenarios/test_windows.py.
@pytest.mark.parametrize("by", [-2, 3, -1000, 1000])
def test_a_step_out_of_the_window_is_refused_and_does_not_count(probe: Probe, by: int) -> None:
    body = probe.phone.confirmation_body(probe.shown, Operation.APPROVE, step=probe.phone.step() + by)
    answer = probe.approve(body)
    event = probe.expect(answer, 403, "proof_refused", proved=True, event=REFUSED)
    assert event["reason"] == "wrong step"
    assert probe.stage.bank.user(probe.phone.account.user)["failures"] == 0
    probe.still_works()


@pytest.mark.parametrize("by", [-1, 1])
def test_a_step_beside_the_present_one_is_accepted(probe: Probe, by: int) -> None:
    body = probe.phone.confirmation_body(probe.shown, Operation.APPROVE, step=probe.phone.step() + by)
    # The window may move on between the phone's look at the clock and the gateway's.
    assert probe.approve(body).status in ((200,) if by == 1 else (200, 403))


def test_no_answer_tells_which_proof_was_wrong(probe: Probe) -> None:
    seen = []
    for name in (
        "code right, signature by another key",
        "signature right, random code",
        "both of the decline",
    ):
        answer = probe.approve(probe.body(**WRONG[name](probe)))
        seen.append([part for part in without_ids(answer)[1] if part[0] != "pc-authorization"])
        seen[-1].append(without_ids(answer)[2])
    assert seen[0] == seen[1] == seen[2]
    probe.still_works()


def test_the_short_code_is_not_accepted_online(probe: Probe) -> None:
    digits = probe.phone.short_code(probe.shown)
    for code in (digits, b64(digits.encode()), b64(digits.encode().rjust(32, b"\0"))):
        assert probe.approve(probe.body(code=code)).status in (400, 403)
    probe.still_works()


@pytest.fixture
def raw_signature(probe: Probe) -> tuple[int, int]:
    """The numbers r and s of a right signature."""
    return decode_dss_signature(sign(probe.phone.private_key, _right(probe).encode()))


def test_a_high_s_is_accepted(probe: Probe, raw_signature: tuple[int, int]) -> None:
    r, s = raw_signature
    high = max(s, ORDER - s)
    answer = probe.approve(probe.body(signature=b64(encode_dss_signature(r, high))))
    assert (answer.status, answer.json()["status"]) == (200, "confirmed")


def test_a_low_s_is_accepted(probe: Probe, raw_signature: tuple[int, int]) -> None:
    r, s = raw_signature
    answer = probe.approve(probe.body(signature=b64(encode_dss_signature(r, min(s, ORDER - s)))))
    assert answer.status == 200


def _integer(value: int, *, pad: bytes = b"") -> bytes:
    octets = pad + value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
    return bytes([2, len(octets)]) + octets


def _der(*integers: bytes) -> bytes:
    body = b"".join(integers)
    return bytes([0x30, len(body)]) + body


ODD: dict[str, Callable[[int, int], bytes]] = {
    "nothing": lambda *_: b"",
    "only r": lambda r, _: _der(_integer(r)),
    "three numbers": lambda r, s: _der(_integer(r), _integer(s), _integer(s)),
    "trailing byte": lambda r, s: _der(_integer(r), _integer(s)) + b"\0",
    "missing byte": lambda r, s: _der(_integer(r), _integer(s))[:-1],
    "negative r": lambda r, s: _der(_integer(-r), _integer(s)),
    "negative s": lambda r, s: _der(_integer(r), _integer(-s)),
    "padded r": lambda r, s: _der(_integer(r, pad=b"\0"), _integer(s)),
    "padded s": lambda r, s: _der(_integer(r), _integer(s, pad=b"\0\0")),
    "length in two bytes": lambda r, s: b"\x30\x81" + _der(_integer(r), _integer(s))[1:],
    "indefinite length": lambda r, s: b"\x30\x80" + _der(_integer(r), _integer(s))[2:] + b"\0\0",
    "set instead of sequence": lambda r, s: b"\x31" + _der(_integer(r), _integer(s))[1:],
    "r of zero": lambda _, s: _der(_integer(0), _integer(s)),
    "s of zero": lambda r, _: _der(_integer(r), _integer(0)),
    "both of zero": lambda *_: _der(_integer(0), _integer(0)),
    "r beyond the order": lambda r, s: _der(_integer(r + ORDER), _integer(s)),
    "s beyond the order": lambda r, s: _der(_integer(r), _integer(s + ORDER)),
    "s of the order": lambda r, _: _der(_integer(r), _integer(ORDER)),
    "empty integer": lambda *_: b"\x30\x04\x02\x00\x02\x00",
    "raw r and s": lambda r, s: r.to_bytes(32, "big") + s.to_bytes(32, "big"),
    "long": lambda *_: b"\x30\x82\x10\x00" + bytes(4096),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_signature_that_is_not_strict_der_is_refused(
    probe: Probe, raw_signature: tuple[int, int], odd: Callable[[int, int], bytes]
) -> None:
    answer = probe.approve(probe.body(signature=b64(odd(*raw_signature))))
    probe.expect(answer, 400, "malformed_request", proved=True, event="client.request")
    assert probe.attempts() == []
    probe.still_works()


def test_swapped_r_and_s_are_a_wrong_signature(probe: Probe, raw_signature: tuple[int, int]) -> None:
    r, s = raw_signature
    answer = probe.approve(probe.body(signature=b64(encode_dss_signature(s, r))))
    probe.expect(answer, 403, "proof_refused", proved=True, event=REFUSED)
    probe.still_works()


def test_what_the_user_saw_decides_not_what_was_announced(probe: Probe) -> None:
    seen = replace(probe.shown, content=b"Pay 10000 EUR to Mallory")
    answer = probe.phone.request(APPROVE, probe.phone.confirmation_body(seen, Operation.APPROVE))
    probe.expect(answer, 403, "proof_refused", proved=True, event=REFUSED)
    probe.still_works()


def test_an_old_key_pair_does_not_sign_after_a_second_registration(stage: Stage) -> None:
    user = stage.user()
    old, new = stage.phone(user), stage.phone(user)
    shown = stage.ask(new)
    mixed = Phone(replace(new.account), new.keys)
    mixed.private_key = old.private_key
    stage.open.callback(mixed.close)
    answer = mixed.request(APPROVE, mixed.confirmation_body(shown, Operation.APPROVE))
    assert answer.json()["code"] == "proof_refused"
    assert base64.b64decode(answer.headers["pc-authorization"])
    assert new.approve(shown)["status"] == "confirmed"
