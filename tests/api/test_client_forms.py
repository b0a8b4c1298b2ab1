"""What does the phone's door do with requests that are not the strict JSON it asks for?"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable

import pytest

from tests.api.probe import APPROVE, Probe, problem
from tests.counterparts.phone_line import PROOF_HEADER
from tests.journeys.stage import Json

ONE_DATABASE = True
FAILED, REQUEST = "client.authentication_failed", "client.request"
REMOVED = "(left out)"
VERY_DEEP = "[" * 3000


def _device(text: str) -> Callable[[bytes], bytes]:
    """Put raw text in the place of the device data."""
    return lambda raw: raw.replace(b'"device":{"uv":"password"}', b'"device":' + text.encode())


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "array": lambda raw: b"[" + raw + b"]",
    "space before": lambda raw: b" " + raw,
    "byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "truncated": lambda raw: raw[:-1],
    "trailing": lambda raw: raw + b"{}",
    "not UTF-8": lambda raw: raw.replace(b"password", b"pass\xff"),
    "overlong UTF-8": lambda raw: raw.replace(b"password", b"pass\xc0\xaf"),
    "UTF-16": lambda raw: raw.decode().encode("utf-16"),
    "surrogate in UTF-8": lambda raw: raw.replace(b"password", b"pass\xed\xa0\x80"),
    "lone surrogate": _device('{"model":"\\ud800"}'),
    "lone surrogate as a name": _device('{"\\udfff":1}'),
    "escaped NUL": _device('{"model":"a\\u0000b"}'),
    "raw control character": lambda raw: raw.replace(b"password", b"pass\nword"),
    "repeated member": lambda raw: raw[:-1] + b',"action":"transactions.approve"}',
    "repeated member, escaped": lambda raw: raw[:-1] + b',"\\u0061ction":"transactions.approve"}',
    "repeated member inside": lambda raw: raw.replace(b'"body":{', b'"body":{"step":1,'),
    "repeated device data": _device('{"uv":"password","uv":"password"}'),
    "deep": _device('{"a":' * 9 + "1" + "}" * 9),
    "very deep": lambda raw: raw[:-1] + b',"x":' + VERY_DEEP.encode(),
    "NaN": _device('{"score":NaN}'),
    "Infinity": _device('{"score":-Infinity}'),
    "beyond a double": _device('{"score":1e999}'),
    "huge number": _device('{"score":' + "9" * 400 + "}"),
    "device data nested": _device('{"screen":{"width":1}}'),
    "device data as a list": _device("[]"),
    "device data under a strange name": _device('{"Modèle":1}'),
    "unlocked by magic": _device('{"uv":"magic"}'),
    "step beyond 53 bits": lambda raw: raw.replace(b'"step":', b'"step":9007199254740992,"x":'),
    "comment": lambda raw: raw[:-1] + b"/* */}",
    "single quotes": lambda raw: raw.replace(b'"', b"'"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_is_not_strict_json_is_refused_unproved(probe: Probe, broken: Callable[[bytes], bytes]) -> None:
    raw = broken(probe.phone.envelope(APPROVE, probe.body()))
    answer = probe.phone.send(APPROVE, raw)
    event = probe.expect(answer, 400, "malformed_request", proved=False, event=FAILED)
    assert event["authcode"] == probe.phone.authcode(raw)
    assert event["body_sha256"] == hashlib.sha256(raw).digest()
    probe.still_works()


@pytest.mark.parametrize(
    "overrides",
    [
        {"action": "transactions.decline"},
        {"action": "transactions.approve "},
        {"action": None},
        {"keyset": ""},
        {"keyset": "k" * 65},
        {"keyset": 7},
        {"time": "2026-11-21 22:41:03Z"},
        {"time": "2026-11-21T22:41:03+00:00"},
        {"time": "2026-02-30T22:41:03Z"},
        {"time": 1795300000},
        {"nonce": "AAAA"},
        {"nonce": "A" * 23},
        {"nonce": "A" * 21 + "B"},  # stray bits
        {"nonce": "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"body": []},
        {"body": None},
        {"extra": 1},
        *({name: REMOVED} for name in ("action", "keyset", "time", "nonce", "device", "body")),
    ],
    ids=str,
)
def test_an_envelope_of_another_form_is_refused(probe: Probe, overrides: Json) -> None:
    members = json.loads(probe.phone.envelope(APPROVE, probe.body())) | overrides
    raw = json.dumps({name: value for name, value in members.items() if value is not REMOVED}).encode()
    answer = probe.phone.send(APPROVE, raw)
    probe.expect(answer, 400, "malformed_request", proved=False, event=FAILED)
    probe.still_works()


CODE = base64.b64encode(bytes(32)).decode()
BODIES: dict[str, Json] = {
    "unknown member": {"comment": "please"},
    "no transaction": {"transaction": None},
    "no step": {"step": None},
    "no code": {"code": None},
    "negative step": {"step": -1},
    "step as text": {"step": "5"},
    "step as a fraction": {"step": 1.0},
    "step as truth": {"step": True},
    "short code": {"code": "12345678"},
    "code of 31 bytes": {"code": base64.b64encode(bytes(31)).decode()},
    "code of 33 bytes": {"code": base64.b64encode(bytes(33)).decode()},
    "code without padding": {"code": CODE.rstrip("=")},
    "code with stray bits": {"code": CODE[:-2] + "B="},
    "code with a line break": {"code": CODE + "\n"},
    "code in base64url": {"code": CODE.replace("A", "-", 1)},
    "code as a list": {"code": [0] * 32},
    "empty transaction": {"transaction": ""},
    "transaction too long": {"transaction": "t" * 65},
    "transaction as a number": {"transaction": 1},
    "signature as null": {"signature": False},
}


@pytest.mark.parametrize("changes", BODIES.values(), ids=BODIES)
def test_a_body_of_another_form_is_refused_and_proved(probe: Probe, changes: Json) -> None:
    answer = probe.approve(probe.body(**changes))
    event = probe.expect(answer, 400, "malformed_request", proved=True, event=REQUEST)
    assert event["user_id"] == probe.phone.account.user
    assert probe.attempts() == []
    probe.still_works()


def test_a_request_of_8192_bytes_is_read_and_one_more_byte_is_too_large(probe: Probe) -> None:
    def padded(size: int) -> bytes:
        device: Json = {"uv": "password"}
        number = 0
        while (left := size - len(probe.phone.envelope(APPROVE, probe.body(), device=device))) > 0:
            number += 1
            frame = len(f',"d{number}":""')
            device[f"d{number}"] = "x" * max(0, min(200, left - frame))
        return probe.phone.envelope(APPROVE, probe.body(), device=device)

    # ECDSA signatures differ in length by a few bytes, so the exact size is found by trying.
    sizes = {len(raw): raw for raw in (padded(8192) for _ in range(40))}
    largest = max(size for size in sizes if size <= 8192)
    raw = sizes[largest] + b" " * (8192 - largest)
    assert probe.phone.send(APPROVE, raw).status == 200
    answer = probe.phone.send(APPROVE, raw + b" ")
    probe.expect(answer, 413, "too_large", proved=False, event=FAILED)


@pytest.mark.parametrize("size", [8193, 100_000, 5_000_000])
def test_an_oversized_request_is_refused(probe: Probe, size: int) -> None:
    answer = probe.phone.send(APPROVE, probe.phone.envelope(APPROVE, probe.body()).ljust(size))
    probe.expect(answer, 413, "too_large", proved=False, event=FAILED)
    probe.still_works()


@pytest.mark.parametrize(
    "change",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity"},
        {"Content-Encoding": "br"},
    ],
    ids=str,
)
def test_another_media_type_or_any_encoding_is_refused(probe: Probe, change: dict[str, str]) -> None:
    raw = probe.phone.envelope(APPROVE, probe.body())
    proof = base64.b64encode(probe.phone.authcode(raw)).decode()
    headers = {"Content-Type": "application/json", PROOF_HEADER: proof} | change
    answer = probe.phone.send(APPROVE, raw, headers=headers)
    probe.expect(answer, 415, "unsupported_media_type", proved=False, event=FAILED)
    probe.still_works()


@pytest.mark.parametrize(
    "action", ["transactions.delete", "keys", "", "transactions.approve/", "../v1/users/x"]
)
def test_an_unknown_action_is_refused_and_recorded(probe: Probe, action: str) -> None:
    raw = probe.phone.envelope(action, {})
    event = probe.expect(probe.phone.send(action, raw), 404, "not_found", proved=False, event=FAILED)
    assert event["authcode"] == probe.phone.authcode(raw)
    probe.still_works()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_another_method_is_refused(probe: Probe, method: str) -> None:
    answer = probe.phone.line._http.request(method, f"{probe.phone.line.base}/client/v1/{APPROVE}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_the_doors_do_not_offer_each_others_calls(probe: Probe) -> None:
    raw = probe.phone.envelope(APPROVE, probe.body())
    headers = {"content-type": "application/json"}
    bank = probe.stage.bank
    assert bank.request("POST", f"/client/v1/{APPROVE}", content=raw, headers=headers).status_code == 404
    token = {"authorization": f"Bearer {probe.stage.keys['api_key']}"}
    url = f"{probe.phone.line.base}/v1/users/{probe.phone.account.user}"
    assert probe.phone.line._http.get(url, headers=token).status_code == 404


@pytest.mark.parametrize("text", ["null", "true", "7", '"{}"'])
def test_json_that_is_no_object_is_refused(probe: Probe, text: str) -> None:
    assert problem(probe.phone.send(APPROVE, text.encode())) == (400, "malformed_request")


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("transactions.pending", {"wait": 31}),
        ("transactions.pending", {"wait": -1}),
        ("transactions.pending", {"limit": 5}),
        ("transactions.get", {}),
        ("transactions.content", {"transaction": "T", "offset": -1, "length": 5}),
        ("transactions.content", {"transaction": "T", "offset": 0, "length": 0}),
        ("transactions.content", {"transaction": "T", "offset": 0, "length": 2**20 + 1}),
        ("transactions.content", {"transaction": "T", "offset": 10**9, "length": 5}),
        ("devices.update", {}),
        ("devices.update", {"push": {"provider": "apns"}}),
        ("devices.update", {"push": {"provider": "p" * 33, "identifier": "x"}}),
        ("devices.update", {"push": {"provider": "apns", "identifier": ""}}),
    ],
    ids=str,
)
def test_every_other_action_refuses_a_body_of_another_form(probe: Probe, action: str, body: Json) -> None:
    text = json.dumps(body).replace('"T"', json.dumps(probe.shown.transaction))
    answer = probe.phone.request(action, json.loads(text))
    probe.expect(answer, 400, "malformed_request", proved=True, event=REQUEST)
    probe.still_works()


def test_random_bytes_never_make_the_door_fail(probe: Probe) -> None:
    raw = probe.phone.envelope(APPROVE, probe.body())
    for _ in range(60):
        wounded = bytearray(raw)
        for _ in range(1 + secrets.randbelow(4)):
            wounded[secrets.randbelow(len(raw))] = secrets.randbelow(256)
        assert probe.phone.send(APPROVE, bytes(wounded)).status in (200, 400, 401, 403, 404)
