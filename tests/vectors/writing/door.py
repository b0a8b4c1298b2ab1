"""Vectors of the client door: requests, their header, bodies, answers."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.wire import authcode, base64s, bodies
from gateway.wire.message import KEY_MEDIA_TYPE, Message, Operation
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


MAC = material.mac(material.KAUTH, b"{}")
GOOD = authcode.format_header(MAC)
NOT_HEADERS = (
    ("no header", "authcode_count", []),
    ("two headers", "authcode_count", [GOOD, GOOD]),
    ("two values in one header", "length", [f"{GOOD}, {GOOD}"]),
    ("hexadecimal", "length", [MAC.hex()]),
    ("no padding", "length", [GOOD[:-1]]),
    ("a space before", "length", [f" {GOOD}"]),
    ("base64url", "base64", ["-" + GOOD[1:]]),
    ("stray bits", "base64", [GOOD[:42] + chr(ord(GOOD[42]) + 1) + "="]),
    ("33 bytes", "length", [base64s.encode(bytes(33))]),
)


def header_cases() -> Iterator[Case]:
    """The header that carries an AUTHCODE."""
    yield valid("header", "one value", values=[GOOD], authcode=MAC.hex())
    for name, reason, values in NOT_HEADERS:
        yield refused("header", name, reason, lambda v=values: authcode.parse_header(v), values=values)


def _off_curve() -> str:
    good = material.spki_of(material.KPRIVATE)
    return base64s.encode(good[:-1] + bytes([good[-1] ^ 1]))


GOOD_BODIES = all_bodies()
S_ZERO = base64s.encode(bytes.fromhex("3006020101020100"))
NOT_BODIES = (
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
    (
        "transactions.approve",
        "s zero",
        "signature_range",
        {"signature": S_ZERO},
    ),
    ("transactions.approve", "a raw signature", "der", {"signature": base64s.encode(bytes(range(64)))}),
    ("transactions.approve", "a signature of null", "type", {"signature": None}),
    ("transactions.decline", "a reason", "unknown", {"reason": "x"}),
    ("keys.register", "no signature", "missing", {"signature": ...}),
    ("keys.register", "a fingerprint of 16 bytes", "length", {"fingerprint": base64s.encode(bytes(16))}),
    ("keys.register", "a package digest of no bytes", "length", {"package": ""}),
    ("keys.register", "a push address of null", "type", {"push": None}),
    ("keys.register", "a push address without a provider", "missing", {"push": {"identifier": "x"}}),
    ("keys.register", "a key off the curve", "point", {"kpublic": _off_curve()}),
    ("keys.renew", "an EC key to wrap to", "spki", {"wrap_key": GOOD_BODIES["keys.register"]["kpublic"]}),
    ("keys.renew", "no hash", "type", {"oaep": []}),
    ("keys.renew", "an unknown hash", "out_of_range", {"oaep": ["MD5"]}),
    ("keys.renew", "a hash twice", "out_of_range", {"oaep": ["SHA-256", "SHA-256"]}),
    ("authentications.create", "no content", "empty", {"content": ""}),
    ("authentications.create", "content with stray bits", "base64", {"content": "Zh=="}),
    ("devices.update", "no push address", "missing", {"push": ...}),
)


def body_cases() -> Iterator[Case]:
    """Bodies that are refused: proofs, keys and members of the wrong form."""
    for action, name, reason, changes in NOT_BODIES:
        body = {
            member: value for member, value in (GOOD_BODIES[action] | changes).items() if value is not ...
        }
        yield refused(
            "body",
            f"{action}: {name}",
            reason,
            lambda a=action, b=body: READERS[a](b),
            action=action,
            body=body,
        )


PROBLEM = b'{"type":"about:blank","title":"The proofs were not accepted","status":403,"code":"proof_refused"}'
ANSWERS = (
    ("JSON", 200, "application/json", b'{"transaction":"txn_1","status":"confirmed","reason":null}'),
    ("a problem", 403, "application/problem+json", PROBLEM),
    ("content", 200, "application/octet-stream", material.TEXT),
    ("no body and no Content-Type", 204, "", b""),
    ("parameters are part of the value", 200, "application/json; charset=utf-8", b"{}"),
)


def answer_cases() -> Iterator[Case]:
    """The gateway's own proof over an answer."""
    code = material.mac(material.KAUTH, raw_of(envelope("transactions.pending", {"wait": 30})))
    for name, status, content_type, body in ANSWERS:
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
