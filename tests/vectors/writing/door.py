"""Vectors of the client door: requests, their header, bodies, answers."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.wire import authcode, base64s, bodies
from gateway.wire.message import KEY_MEDIA_TYPE, Message, Operation
from gateway.wire.request import parse_envelope, parse_json
from gateway.wire.timestep import format_time
from tests.vectors.writing import material, packages, rsa_wrapping
from tests.vectors.writing.case import Case, refused, valid

READERS: dict[str, Callable[[Mapping[str, object]], object]] = {
    "keys.register": bodies.Register.read,
    "keys.renew": bodies.Renew.read,
    "transactions.pending": bodies.Pending.read,
    "transactions.get": bodies.Get.read,
    "transactions.content": bodies.Content.read,
    "transactions.approve": bodies.Decision.read,
    "transactions.decline": bodies.Decision.read,
    "authentications.create": bodies.Authentication.read,
    "devices.update": bodies.DeviceUpdate.read,
}
NONCE = base64s.url_encode(bytes(range(0xC0, 0xD0)))
AUTHENTICATION = b"Log in to Example Bank, 2026-11-21T22:41:03Z"


def proofs_of(message: Message) -> dict[str, Any]:
    """The three members that carry proofs."""
    return {
        "step": message.step,
        "code": base64s.encode(material.mac(material.KHMAC, message.encode())),
        "signature": base64s.encode(material.sign(material.KPRIVATE, message.digest())),
    }


def _key_message(operation: Operation, spki: bytes) -> Message:
    return material.message(operation, spki, transaction=None, title=None, media_type=KEY_MEDIA_TYPE)


def all_bodies() -> dict[str, dict[str, Any]]:
    """One good body for each action, with proofs over the messages of the vectors."""
    kpublic, wrap_key = material.spki_of(material.KPRIVATE), rsa_wrapping.spki()
    about = {"transaction": material.TRANSACTION}
    return {
        "keys.register": {
            "kpublic": base64s.encode(kpublic),
            "fingerprint": base64s.encode(material.FINGERPRINT),
            "package": base64s.encode(packages.with_code().digest()),
            "push": {"provider": "example", "identifier": "device-token-1"},
            **proofs_of(_key_message(Operation.REGISTER_KEY, kpublic)),
        },
        "keys.renew": {
            "wrap_key": base64s.encode(wrap_key),
            "oaep": ["SHA-256", "SHA-1"],
            **proofs_of(_key_message(Operation.RENEW_KEYS, wrap_key)),
        },
        "transactions.pending": {"wait": 30},
        "transactions.get": about,
        "transactions.content": {**about, "offset": 0, "length": len(material.TEXT)},
        "transactions.approve": {**about, **proofs_of(material.message())},
        "transactions.decline": {**about, **proofs_of(material.message(Operation.DECLINE))},
        "authentications.create": {
            "media_type": material.PLAIN,
            "content": base64s.encode(AUTHENTICATION),
            **proofs_of(
                material.message(Operation.AUTHENTICATE, AUTHENTICATION, transaction=None, title=None)
            ),
        },
        "devices.update": {"push": None},
    }


def envelope(action: str, body: object, /, **changes: object) -> dict[str, Any]:
    """The members around a body; a change to None removes one."""
    members: dict[str, Any] = {
        "action": action,
        "keyset": material.KEYSET,
        "time": format_time(material.NOW),
        "nonce": NONCE,
        "device": {"uv": "password"},
        "body": body,
    }
    return {name: value for name, value in (members | changes).items() if value is not None}


def raw_of(members: object) -> bytes:
    """Compact JSON in UTF-8; a phone may write any other JSON of the same value."""
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()


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


def _refused_envelopes() -> Iterator[Case]:
    action, body = "transactions.get", {"transaction": material.TRANSACTION}
    for name, reason, changes in (
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
    ):
        raw = raw_of(envelope(action, body, **changes))
        yield _refused_raw(name, reason, raw, action)


def _refused_raw(name: str, reason: str, raw: bytes, action: str) -> Case:
    return refused(
        "request", name, reason, lambda: parse_envelope(raw, action), action=action, raw_hex=raw.hex()
    )


def _refused_json() -> Iterator[Case]:
    action = "transactions.get"
    good = raw_of(envelope(action, {"transaction": material.TRANSACTION}))
    for name, reason, raw in (
        ("a space first", "not_object", b" " + good),
        ("a byte order mark", "not_object", b"\xef\xbb\xbf" + good),
        ("a list", "not_object", b"[" + good + b"]"),
        ("nothing", "not_object", b""),
        ("UTF-16", "not_object", good.decode().encode("utf-16-be")),
        ("Latin-1", "not_text", good.replace(b"password", "p\xe4".encode("latin-1"))),
        ("an overlong byte sequence", "not_text", good.replace(b"password", b"\xc0\xaf")),
        ("a surrogate in UTF-8", "not_text", good.replace(b"password", b"\xed\xa0\x80")),
        ("an escaped lone surrogate", "not_text", good.replace(b"password", rb"\ud800")),
        ("a lone surrogate in a name", "not_text", good.replace(b'"uv"', rb'"\udc00"')),
        ("escaped U+0000", "not_text", good.replace(b"password", rb"a\u0000b")),
        ("a repeated member", "duplicate", good.replace(b'"action"', b'"keyset":"ks_1","action"')),
        (
            "a repeated member, once escaped",
            "duplicate",
            good.replace(b'"uv"', rb'"uv":"password","\u0075v"'),
        ),
        (
            "a repeated member in the body",
            "duplicate",
            good.replace(b'"body":{', b'"body":{"transaction":"x",'),
        ),
        ("nine levels", "depth", good.replace(b'"uv":"password"', b'"a":' + b"[" * 7 + b"]" * 7)),
        ("thousands of levels", "depth", b'{"a":' + b"[" * 4000 + b"]" * 4000 + b"}"),
        ("NaN", "number", good.replace(b'"password"', b"NaN")),
        ("Infinity", "number", good.replace(b'"password"', b"-Infinity")),
        ("a number beyond a double", "number", good.replace(b'"password"', b"1e999")),
        ("an integer beyond 2^53 - 1", "number", good.replace(b'"password"', b"9007199254740992")),
        ("an integer of a thousand digits", "number", good.replace(b'"password"', b"1" * 1000)),
        ("a leading zero", "json", good.replace(b'"password"', b"01")),
        ("a comment", "json", good.replace(b"{", b"{/**/", 1)),
        ("a comma too many", "json", good[:-1] + b",}"),
        ("single quotes", "json", good.replace(b'"', b"'")),
        ("a line end in a text", "json", good.replace(b"password", b"a\nb")),
        ("cut off", "json", good[:-1]),
        ("two objects", "json", good + good),
        ("8193 bytes", "too_large", good[:-1] + b" " * (8193 - len(good)) + b"}"),
    ):
        yield _refused_raw(name, reason, raw, action)
    for name, raw in (
        ("white space behind", b'{"a":1}\n'),
        ("eight levels", b'{"a":' + b"[" * 7 + b"]" * 7 + b"}"),
        ("the greatest integer", b'{"a":9007199254740991,"b":-9007199254740991}'),
        ("escapes", rb'{"a":"\u00e9\ud83d\ude00\/\b"}'),
        ("beyond the first plane", '{"a":"\N{GRINNING FACE}"}'.encode()),
    ):
        parsed = parse_json(raw, most_bytes=8192)
        yield valid("json", name, raw=raw.decode(), value=parsed)


def header_cases() -> Iterator[Case]:
    """The header that carries an AUTHCODE."""
    mac = material.mac(material.KAUTH, b"{}")
    good = authcode.format_header(mac)
    yield valid("header", "one value", values=[good], authcode=mac.hex())
    for name, reason, values in (
        ("no header", "authcode_count", []),
        ("two headers", "authcode_count", [good, good]),
        ("two values in one header", "length", [f"{good}, {good}"]),
        ("hexadecimal", "length", [mac.hex()]),
        ("no padding", "length", [good[:-1]]),
        ("a space before", "length", [f" {good}"]),
        ("base64url", "base64", ["-" + good[1:]]),
        ("stray bits", "base64", [good[:42] + chr(ord(good[42]) + 1) + "="]),
        ("33 bytes", "length", [base64s.encode(bytes(33))]),
    ):
        yield refused("header", name, reason, lambda v=values: authcode.parse_header(v), values=values)


def body_cases() -> Iterator[Case]:
    """Bodies that are refused: proofs, keys and members of the wrong form."""
    good = all_bodies()
    high = base64s.encode(bytes.fromhex("3006020101020100"))
    for action, name, reason, changes in (
        ("transactions.get", "no transaction", "missing", {"transaction": ...}),
        ("transactions.get", "an unknown member", "unknown", {"x": 1}),
        ("transactions.get", "a transaction that is a number", "type", {"transaction": 1}),
        ("transactions.pending", "31 seconds", "out_of_range", {"wait": 31}),
        ("transactions.pending", "true seconds", "type", {"wait": True}),
        ("transactions.pending", "half a second", "type", {"wait": 0.5}),
        ("transactions.content", "no bytes", "out_of_range", {"length": 0}),
        ("transactions.content", "more than a mebibyte", "out_of_range", {"length": 1048577}),
        ("transactions.content", "a negative offset", "out_of_range", {"offset": -1}),
        ("transactions.approve", "no step", "missing", {"step": ...}),
        ("transactions.approve", "a negative step", "out_of_range", {"step": -1}),
        ("transactions.approve", "a step in quotes", "type", {"step": "5"}),
        ("transactions.approve", "a short code", "base64", {"code": "12345678"[:7]}),
        ("transactions.approve", "a code of 31 bytes", "length", {"code": base64s.encode(bytes(31))}),
        ("transactions.approve", "s zero", "signature_range", {"signature": high}),
        ("transactions.approve", "a raw signature", "der", {"signature": base64s.encode(bytes(range(64)))}),
        ("transactions.approve", "a signature of null", "type", {"signature": None}),
        ("transactions.decline", "a reason", "unknown", {"reason": "x"}),
        ("keys.register", "no signature", "missing", {"signature": ...}),
        ("keys.register", "a fingerprint of 16 bytes", "length", {"fingerprint": base64s.encode(bytes(16))}),
        ("keys.register", "a package digest of no bytes", "length", {"package": ""}),
        ("keys.register", "a push address of null", "type", {"push": None}),
        ("keys.register", "a push address without a provider", "missing", {"push": {"identifier": "x"}}),
        ("keys.register", "a key off the curve", "point", {"kpublic": _off_curve()}),
        ("keys.renew", "an EC key to wrap to", "spki", {"wrap_key": good["keys.register"]["kpublic"]}),
        ("keys.renew", "no hash", "type", {"oaep": []}),
        ("keys.renew", "an unknown hash", "out_of_range", {"oaep": ["MD5"]}),
        ("keys.renew", "a hash twice", "out_of_range", {"oaep": ["SHA-256", "SHA-256"]}),
        ("authentications.create", "no content", "empty", {"content": ""}),
        ("authentications.create", "content with stray bits", "base64", {"content": "Zh=="}),
        ("devices.update", "no push address", "missing", {"push": ...}),
    ):
        body = {member: value for member, value in (good[action] | changes).items() if value is not ...}
        yield refused(
            "body",
            f"{action}: {name}",
            reason,
            lambda a=action, b=body: READERS[a](b),
            action=action,
            body=body,
        )


def _off_curve() -> str:
    good = material.spki_of(material.KPRIVATE)
    return base64s.encode(good[:-1] + bytes([good[-1] ^ 1]))


def answer_cases() -> Iterator[Case]:
    """The gateway's own proof over an answer."""
    code = material.mac(material.KAUTH, raw_of(envelope("transactions.pending", {"wait": 30})))
    problem = (
        b'{"type":"about:blank","title":"The proofs were not accepted","status":403,"code":"proof_refused"}'
    )
    for name, status, content_type, body in (
        ("JSON", 200, "application/json", b'{"transaction":"txn_1","status":"confirmed","reason":null}'),
        ("a problem", 403, "application/problem+json", problem),
        ("content", 200, "application/octet-stream", material.TEXT),
        ("no body and no Content-Type", 204, "", b""),
        ("parameters are part of the value", 200, "application/json; charset=utf-8", b"{}"),
    ):
        data = authcode.answer_input(code, status, content_type, body)
        yield valid(
            "answer",
            name,
            kauth=material.KAUTH.hex(),
            authcode=code.hex(),
            status=status,
            content_type=content_type,
            body=body.hex(),
            input=data.hex(),
            header=authcode.format_header(material.mac(material.KAUTH, data)),
        )
