"""Vectors of whole requests, and of those that are refused before anything else is looked at."""

from collections.abc import Iterator

from gateway.wire import authcode
from gateway.wire.request import parse_envelope, parse_json
from tests.vectors.writing import material
from tests.vectors.writing.case import Case, refused, valid
from tests.vectors.writing.door import NONCE, READERS, all_bodies, envelope, raw_of


def request_cases() -> Iterator[Case]:
    """Whole requests with their AUTHCODE, and requests that are refused before anything else is looked at."""
    for action, body in all_bodies().items():
        raw = raw_of(envelope(action, body))
        READERS[action](parse_envelope(raw, action).body)
        mac = material.mac(material.KAUTH, raw)
        header = authcode.format_header(mac)
        yield valid(
            "request", action, action=action, kauth=material.KAUTH.hex(), raw=raw.decode(), header=header
        )
    yield from _refused_envelopes()
    yield from _refused_json()


NOT_ENVELOPES = (
    ("the action of another route", "action", {"action": "transactions.approve"}),
    ("no nonce", "missing", {"nonce": None}),
    ("no device", "missing", {"device": None}),
    ("an unknown member", "unknown", {"extra": 1}),
    ("a nonce of 15 bytes", "length", {"nonce": NONCE[:20]}),
    ("a nonce with padding", "base64url", {"nonce": NONCE + "=="}),
    ("a nonce with stray bits", "base64url", {"nonce": NONCE[:-1] + "x"}),
    ("a nonce that is a number", "type", {"nonce": 5}),
    ("a time with an offset", "time", {"time": "2026-11-21T22:41:03+00:00"}),
    ("a keyset id of 65 bytes", "too_long", {"keyset": "k" * 65}),
    ("a keyset id without characters", "empty", {"keyset": ""}),
    ("a body that is a list", "type", {"body": []}),
    ("a device that is a text", "type", {"device": "x"}),
    ("another way to unlock", "device", {"device": {"uv": "none"}}),
    ("device data in device data", "device", {"device": {"os": {"name": "x"}}}),
    ("a device value of null", "device", {"device": {"os": "x", "model": None}}),
    ("a device value of 257 bytes", "device", {"device": {"os": "x" * 257}}),
    ("a device name in capitals", "device", {"device": {"OS": "x"}}),
)


def _refused_envelopes() -> Iterator[Case]:
    action, body = "transactions.get", {"transaction": material.TRANSACTION}
    for name, reason, changes in NOT_ENVELOPES:
        raw = raw_of(envelope(action, body, **changes))
        yield _refused_raw(name, reason, raw, action)


def _refused_raw(name: str, reason: str, raw: bytes, action: str) -> Case:
    return refused(
        "request", name, reason, lambda: parse_envelope(raw, action), action=action, raw_hex=raw.hex()
    )


GOOD = raw_of(envelope("transactions.get", {"transaction": material.TRANSACTION}))
NOT_JSON = (
    ("a space first", "not_object", b" " + GOOD),
    ("a byte order mark", "not_object", b"\xef\xbb\xbf" + GOOD),
    ("a list", "not_object", b"[" + GOOD + b"]"),
    ("nothing", "not_object", b""),
    ("UTF-16", "not_object", GOOD.decode().encode("utf-16-be")),
    ("Latin-1", "not_text", GOOD.replace(b"password", "p\xe4".encode("latin-1"))),
    ("an overlong byte sequence", "not_text", GOOD.replace(b"password", b"\xc0\xaf")),
    ("a surrogate in UTF-8", "not_text", GOOD.replace(b"password", b"\xed\xa0\x80")),
    ("an escaped lone surrogate", "not_text", GOOD.replace(b"password", rb"\ud800")),
    ("a lone surrogate in a name", "not_text", GOOD.replace(b'"uv"', rb'"\udc00"')),
    ("escaped U+0000", "not_text", GOOD.replace(b"password", rb"a\u0000b")),
    ("a repeated member", "duplicate", GOOD.replace(b'"action"', b'"keyset":"ks_1","action"')),
    (
        "a repeated member, once escaped",
        "duplicate",
        GOOD.replace(b'"uv"', rb'"uv":"password","\u0075v"'),
    ),
    (
        "a repeated member in the body",
        "duplicate",
        GOOD.replace(b'"body":{', b'"body":{"transaction":"x",'),
    ),
    ("nine levels", "depth", GOOD.replace(b'"uv":"password"', b'"a":' + b"[" * 7 + b"]" * 7)),
    ("thousands of levels", "depth", b'{"a":' + b"[" * 4000 + b"]" * 4000 + b"}"),
    ("NaN", "number", GOOD.replace(b'"password"', b"NaN")),
    ("Infinity", "number", GOOD.replace(b'"password"', b"-Infinity")),
    ("a number beyond a double", "number", GOOD.replace(b'"password"', b"1e999")),
    ("an integer beyond 2^53 - 1", "number", GOOD.replace(b'"password"', b"9007199254740992")),
    ("an integer of a thousand digits", "number", GOOD.replace(b'"password"', b"1" * 1000)),
    ("a leading zero", "json", GOOD.replace(b'"password"', b"01")),
    ("a comment", "json", GOOD.replace(b"{", b"{/**/", 1)),
    ("a comma too many", "json", GOOD[:-1] + b",}"),
    ("single quotes", "json", GOOD.replace(b'"', b"'")),
    ("a line end in a text", "json", GOOD.replace(b"password", b"a\nb")),
    ("cut off", "json", GOOD[:-1]),
    ("two objects", "json", GOOD + GOOD),
    ("8193 bytes", "too_large", GOOD[:-1] + b" " * (8193 - len(GOOD)) + b"}"),
)


JSON = (
    ("white space behind", b'{"a":1}\n'),
    ("eight levels", b'{"a":' + b"[" * 7 + b"]" * 7 + b"}"),
    ("the greatest integer", b'{"a":9007199254740991,"b":-9007199254740991}'),
    ("escapes", rb'{"a":"\u00e9\ud83d\ude00\/\b"}'),
    ("beyond the first plane", '{"a":"\N{GRINNING FACE}"}'.encode()),
)


def _refused_json() -> Iterator[Case]:
    action = "transactions.get"
    for name, reason, raw in NOT_JSON:
        yield _refused_raw(name, reason, raw, action)
    for name, raw in JSON:
        parsed = parse_json(raw, most_bytes=8192)
        yield valid("json", name, raw=raw.decode(), value=parsed)
