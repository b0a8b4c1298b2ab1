"""Are requests read strictly, and is the proof over an answer bound to all of it?"""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import authcode, base64s, bodies, timestep
from gateway.wire.errors import WireError
from gateway.wire.request import check_members, parse_envelope, parse_json
from tests.vectors.writing import door, material
from tests.wire import values

ACTION = "transactions.get"
GOOD = door.envelope(ACTION, {"transaction": material.TRANSACTION})
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | values.texts(20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(values.texts(8), inner, max_size=3),
    max_leaves=8,
)


def _reason(raw: bytes, most_bytes: int = 8192) -> str:
    with pytest.raises(WireError) as caught:
        parse_json(raw, most_bytes=most_bytes)
    return caught.value.reason


@values.fixed
@given(st.dictionaries(values.texts(8), json_values, max_size=4), st.booleans())
def test_any_plain_json_object_is_read_as_it_is(members: dict[str, Any], ascii_only: bool):  # noqa: FBT001
    raw = json.dumps(members, ensure_ascii=ascii_only).encode()
    assert parse_json(raw, most_bytes=100_000, depth=20) == members


@values.fixed
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else_happens(data: bytes):
    for raw in (data, b"{" + data, b'{"a":' + data + b"}"):
        try:
            assert isinstance(parse_json(raw, most_bytes=100), dict)
        except WireError:
            continue


@pytest.mark.parametrize("name", ["action", "keyset", "time", "nonce", "device", "body"])
def test_each_member_of_a_request_is_needed_once_and_of_its_type(name: str):
    raw = door.raw_of(GOOD)
    assert parse_envelope(raw, ACTION).keyset == material.KEYSET
    for changes, reason in (({name: None}, "missing"), ({name: 1}, "type"), ({name: True}, "type")):
        with pytest.raises(WireError) as caught:
            parse_envelope(door.raw_of(door.envelope(ACTION, GOOD["body"], **changes)), ACTION)
        assert caught.value.reason == reason
    twice = raw[:-1] + b"," + json.dumps({name: GOOD[name]})[1:].encode()
    assert _reason(twice) == "duplicate"


def test_a_request_says_what_it_says():
    envelope = parse_envelope(door.raw_of(GOOD), ACTION)
    assert envelope.time == material.NOW
    assert envelope.time.tzinfo is UTC
    assert envelope.nonce == bytes(range(0xC0, 0xD0))
    assert envelope.device == {"uv": "password"}
    assert envelope.body == {"transaction": material.TRANSACTION}


@pytest.mark.parametrize("depth", range(1, 12))
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_eight_levels_are_read_and_nine_are_not(depth: int, pair: str):
    opening = "[" if pair == "[]" else '{"a":'
    raw = (
        '{"a":'
        + opening * (depth - 1)
        + ("1" if depth > 1 and pair == "{}" else "")
        + pair[1] * (depth - 1)
        + "}"
    )
    raw = '{"a":1}' if depth == 1 else raw
    if depth <= 8:
        assert parse_json(raw.encode(), most_bytes=8192)
    else:
        assert _reason(raw.encode()) == "depth"


def test_a_million_levels_are_refused_and_do_no_harm():
    assert _reason(b'{"a":' + b"[" * 1_000_000, 2_000_000) == "depth"


def test_brackets_in_a_text_are_no_levels():
    text = "[{" * 20
    assert parse_json(f'{{"a":"{text}"}}'.encode(), most_bytes=8192) == {"a": text}


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800", "\\udc00\\ud800"])
@pytest.mark.parametrize("form", ['{"%s":1}', '{"a":"%s"}', '{"a":["x%sx"]}', '{"a":[{"b":{"%s":[]}}]}'])
def test_an_escape_that_stands_for_no_character_of_a_text_is_refused_wherever_it_is(escape: str, form: str):
    assert _reason((form % escape).encode()) == "not_text"
    assert parse_json((form % "\\ud83d\\ude00").encode(), most_bytes=8192)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_greatest_request_has_8192_bytes(extra: int):
    raw = door.raw_of(GOOD)
    raw = raw[:-1] + b" " * (8192 + extra - len(raw)) + b"}"
    if extra:
        assert _reason(raw) == "too_large"
    else:
        assert parse_envelope(raw, ACTION)


@pytest.mark.parametrize("text", ["1", "-1", "9007199254740991", "1.5", "1e3", "0", "-0", "1E-400"])
def test_numbers_that_every_reader_reads_alike(text: str):
    assert parse_json(f'{{"a":{text}}}'.encode(), most_bytes=99) == {"a": json.loads(text)}


@pytest.mark.parametrize("text", ["9007199254740992", "-9007199254740992", "1e309", "-1e309", "1" * 5000])
def test_numbers_that_readers_read_differently(text: str):
    assert _reason(f'{{"a":{text}}}'.encode()) == "number"


@pytest.mark.parametrize("action", door.READERS)
def test_the_good_body_of_each_action_is_read_and_an_unknown_member_is_not(action: str):
    body = door.all_bodies()[action]
    assert door.READERS[action](body)
    with pytest.raises(WireError) as caught:
        door.READERS[action]({**body, "surplus": 1})
    assert caught.value.reason == "unknown"


@pytest.mark.parametrize("action", door.READERS)
@pytest.mark.parametrize("value", [None, 1.5, True, [], {}, "\x00", "~"], ids=repr)
def test_no_member_of_any_body_takes_a_value_of_another_form(action: str, value: object):
    body = door.all_bodies()[action]
    for name in body:
        if (name, value) in (("push", None), ("transaction", "~"), ("media_type", "~")):
            continue
        with pytest.raises(WireError):
            door.READERS[action]({**body, name: value})


def test_proofs_without_a_signature_are_read_where_no_key_may_be_registered():
    body = door.all_bodies()["transactions.approve"]
    proofs = bodies.Decision.read({name: body[name] for name in body if name != "signature"}).proofs
    assert proofs.signature is None
    assert proofs.signature_der is None
    both = bodies.Decision.read(body).proofs
    assert both.signature_der == base64s.decode(body["signature"])
    assert len(both.signature or b"") == 64


def test_an_unbound_keyset_registers_with_an_empty_fingerprint():
    body = {**door.all_bodies()["keys.register"], "fingerprint": ""}
    assert bodies.Register.read(body).fingerprint == b""


def test_a_refusal_names_no_member_that_the_sender_chose():
    with pytest.raises(WireError) as caught:
        check_members({"<script>": 1}, required=())
    assert "script" not in str(caught.value)


@values.fixed
@given(st.binary(min_size=32, max_size=32))
def test_the_header_carries_the_authcode_in_one_way(mac: bytes):
    text = authcode.format_header(mac)
    assert len(text) == 44
    assert authcode.parse_header([text]) == mac


def test_each_part_of_an_answer_enters_its_proof():
    parts: dict[str, Any] = {
        "authcode": bytes(32),
        "status": 200,
        "content_type": "application/json",
        "body": b"{}",
    }
    changes = {"authcode": b"\x01" * 32, "status": 201, "content_type": "application/json ", "body": b"{} "}
    inputs = {authcode.answer_input(**parts | {name: value}) for name, value in changes.items()}
    inputs.add(authcode.answer_input(**parts))
    assert len(inputs) == 5
    assert {len(data) for data in inputs} == {99}
    assert {data[0] for data in inputs} == {0}


@pytest.mark.parametrize("status", [0, 99, 600, 65536, -1])
def test_a_proof_needs_a_status_of_http(status: int):
    with pytest.raises(WireError):
        authcode.answer_input(bytes(32), status, "", b"")


@values.fixed
@given(values.moments)
def test_times_are_read_as_they_were_written(moment: datetime):
    assert timestep.parse_time(timestep.format_time(moment)) == moment


def test_a_moment_is_written_in_utc_and_cut_to_the_second():
    moment = datetime(2026, 11, 21, 23, 41, 3, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert timestep.format_time(moment) == "2026-11-21T22:41:03Z"
    assert timestep.unix_seconds(moment) == timestep.unix_seconds(material.NOW)


@pytest.mark.parametrize("function", [timestep.format_time, timestep.unix_seconds])
def test_a_moment_without_a_zone_is_refused(function: Any):
    with pytest.raises(WireError):
        function(datetime(2026, 11, 21, 22, 41, 3))  # noqa: DTZ001


@values.fixed
@given(st.integers(0, timestep.LATEST), st.integers(1, 65535), st.integers(0, 10), st.integers(0, 10))
def test_the_window_holds_the_present_step_and_so_many_more(seconds: int, length: int, back: int, ahead: int):
    moment = timestep.moment_at(seconds)
    step = timestep.step_at(moment, length)
    accepted = timestep.window(moment, length, back, ahead)
    assert step * length <= seconds < (step + 1) * length
    assert list(accepted) == [near for near in range(step - back, step + ahead + 1) if near >= 0]
