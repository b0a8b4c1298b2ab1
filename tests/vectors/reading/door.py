"""What is a good request of the client, and which answer is proved?"""

import hashlib
import re
from typing import Any

from tests.vectors.reading import crypto, strict_json
from tests.vectors.reading.octets import FOR_URLS, base64, moment, need, text, to_base64

Case = dict[str, Any]
PROOFS = {"step": "step", "code": "32", "signature": "der"}
# action: member -> form; a leading question mark marks what may be absent.
BODIES: dict[str, dict[str, str]] = {
    "keys.register": {
        "kpublic": "p256", "fingerprint": "0 or 32", "package": "32", "?push": "push", **PROOFS,
    },
    "keys.renew": {
        "wrap_key": "rsa", "oaep": "hashes", "step": "step", "code": "32", "?signature": "der",
    },
    "transactions.pending": {"?wait": "0..30"},
    "transactions.get": {"transaction": "id"},
    "transactions.content": {
        "transaction": "id", "offset": "0..9007199254740991", "length": "1..1048576",
    },
    "transactions.approve": {"transaction": "id", "step": "step", "code": "32", "?signature": "der"},
    "transactions.decline": {"transaction": "id", "step": "step", "code": "32", "?signature": "der"},
    "authentications.create": {
        "media_type": "media type", "content": "content", "step": "step", "code": "32", "?signature": "der",
    },
    "devices.update": {"push": "push or null"},
}  # fmt: skip


def _object(value: Any, required: set[str], optional: set[str] = frozenset()) -> Case:  # type: ignore[assignment]
    need(isinstance(value, dict), "type")
    need(required <= value.keys(), "missing")
    need(value.keys() <= required | optional, "unknown")
    return value


def _is_text(value: Any) -> str:
    need(isinstance(value, str), "type")
    return value


def _check(form: str, value: Any) -> None:
    if form in ("step", "0..30") or ".." in form:
        least, most = (0, 2**53 - 1) if form == "step" else map(int, form.split(".."))
        need(isinstance(value, int) and not isinstance(value, bool), "type")
        need(least <= value <= most, "out_of_range")
    elif form in ("push", "push or null"):
        if value is not None or form == "push":
            push = _object(value, {"provider", "identifier"})
            text(_is_text(push["provider"]).encode(), 32)
            text(_is_text(push["identifier"]).encode(), 4096)
    elif form == "hashes":
        need(isinstance(value, list) and value and all(isinstance(name, str) for name in value), "type")
        need(set(value) <= {"SHA-1", "SHA-256", "SHA-384", "SHA-512"}, "out_of_range")
        need(len(set(value)) == len(value), "out_of_range")
    elif form in ("id", "media type"):
        text(_is_text(value).encode(), 64 if form == "id" else 255)
    else:
        _check_bytes(form, base64(_is_text(value)))


def _check_bytes(form: str, data: bytes) -> None:
    if form == "p256":
        crypto.point(data)
    elif form == "rsa":
        crypto.rsa_numbers(data, 3072)
    elif form == "der":
        crypto.raw_signature(data)
    elif form == "content":
        need(data, "empty")
    else:
        need(len(data) == 32 or (form == "0 or 32" and not data), "length")


def check_body(action: str, body: Case) -> None:
    """The members of a body and their forms."""
    forms = BODIES[action]
    _object(body, {name for name in forms if name[0] != "?"}, {name[1:] for name in forms if name[0] == "?"})
    for name, form in forms.items():
        if name.lstrip("?") in body:
            _check(form, body[name.lstrip("?")])


def request(case: Case) -> Case:
    """A whole request."""
    raw = case["raw"].encode() if "raw" in case else bytes.fromhex(case["raw_hex"])
    members = strict_json.read(raw)
    _object(members, {"action", "keyset", "time", "nonce", "device", "body"})
    need(_is_text(members["action"]) == case["action"], "action")
    text(_is_text(members["keyset"]).encode())
    nonce = base64(_is_text(members["nonce"]), alphabet=FOR_URLS)
    need(len(nonce) == 16, "length")
    moment(_is_text(members["time"]))
    need(isinstance(members["device"], dict) and isinstance(members["body"], dict), "type")
    _check_device(members["device"])
    check_body(case["action"], members["body"])
    return {"header": to_base64(crypto.mac(bytes.fromhex(case["kauth"]), raw))}


def _check_device(device: Case) -> None:
    for name, value in device.items():
        need(re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name), "device")
        need(isinstance(value, str | int | float), "device")
        need(not isinstance(value, str) or len(value.encode()) <= 256, "device")
    need(device.get("uv", "password") in ("password", "biometric"), "device")


def header(case: Case) -> Case:
    """The values of PC-Authorization."""
    need(len(case["values"]) == 1, "authcode_count")
    need(len(case["values"][0]) == 44, "length")
    found = base64(case["values"][0])
    need(len(found) == 32, "length")
    return {"authcode": found.hex()}


def answer(case: Case) -> Case:
    """The proof over an answer."""
    parts = [bytes.fromhex(case["authcode"]), case["status"].to_bytes(2, "big")]
    parts += [
        hashlib.sha256(part).digest() for part in (case["content_type"].encode(), bytes.fromhex(case["body"]))
    ]
    data = b"\0" + b"".join(parts)
    return {"input": data.hex(), "header": to_base64(crypto.mac(bytes.fromhex(case["kauth"]), data))}
