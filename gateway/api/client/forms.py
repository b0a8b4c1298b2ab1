"""What do requests and answers of the client door look like: the schemas of its OpenAPI document.

They describe what ``gateway.wire`` reads and what the scenarios answer, which alone decide; tests hold them to it.
Where a schema cannot say all (bytes of UTF-8, a point on the curve, strict DER) its description does.
"""

from gateway.api.describing import Json, base64_pattern, ref
from gateway.rules.transaction import Kind, TransactionStatus
from gateway.wire.bodies import (
    DIGEST_BYTES,
    LARGEST_STEP,
    MOST_PIECE_BYTES,
    MOST_WAIT_SECONDS,
    PUSH_IDENTIFIER_BYTES,
    PUSH_PROVIDER_BYTES,
)
from gateway.wire.code import CODE_BYTES
from gateway.wire.request import DEVICE_NAME, MOST_DEVICE_TEXT, UNLOCKED_BY
from gateway.wire.text import ID_BYTES, MEDIA_TYPE_BYTES, TITLE_BYTES
from gateway.wire.wrapping import OAEP_HASHES

_TEXT = r"^[^\u0000]+$"
_TIME_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
_NONCE_PATTERN = "^[A-Za-z0-9_-]{21}[AQgw]$"  # 16 bytes, canonical
_SPKI_PATTERN = "^MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE[A-Za-z0-9+/]{85}[AQgw]==$"  # P-256, uncompressed


def _object(required: Json, optional: Json | None = None, about: str = "") -> Json:
    members = {**required, **(optional or {})}
    shape: Json = {
        "type": "object",
        "properties": members,
        "required": list(required),
        "additionalProperties": False,
    }
    return {"description": about, **shape} if about else shape


def _text(most: int) -> Json:
    described = f"at most {most} bytes of UTF-8"
    return {"type": "string", "minLength": 1, "maxLength": most, "pattern": _TEXT, "description": described}


def _base64(about: str, size: int | None = None) -> Json:
    return {"type": "string", "pattern": base64_pattern(size), "description": about}


def _number(least: int, most: int, about: str) -> Json:
    return {"type": "integer", "minimum": least, "maximum": most, "description": about}


_ID = _text(ID_BYTES)
_TIME: Json = {"type": "string", "pattern": _TIME_PATTERN}
_POLICY = _base64("the policy TLV")
_SPKI: Json = {
    "type": "string",
    "pattern": _SPKI_PATTERN,
    "description": "SPKI in DER of a P-256 key, uncompressed, 91 bytes",
}
_SIGNATURE: Json = {
    "type": "string",
    "pattern": "^M[A-Za-z0-9+/]{10,95}={0,2}$",
    "description": "ECDSA over P-256 and SHA-256 of the message, strict DER in base64",
}
_PROOFS: Json = {
    "step": _number(0, LARGEST_STEP, "T of the message"),
    "code": _base64("the full code", CODE_BYTES),
}
_SIGNED: Json = {"signature": {**_SIGNATURE, "description": "absent as long as no Kpublic is registered"}}
_OAEP: Json = {
    "type": "array",
    "items": {"enum": list(OAEP_HASHES)},
    "minItems": 1,
    "uniqueItems": True,
    "description": "the hashes the phone accepts for RSA-OAEP",
}
_FINGERPRINT: Json = {
    "anyOf": [_base64("of the device", DIGEST_BYTES), {"const": ""}],
    "description": "32 bytes, or none where the policy does not bind keys to a device",
}

SCHEMAS: dict[str, Json] = {
    "Push": _object(
        {"provider": _text(PUSH_PROVIDER_BYTES), "identifier": _text(PUSH_IDENTIFIER_BYTES)},
        about="Where the phone can be woken.",
    ),
    "Device": {
        "description": "Device data: flat, short texts, numbers, true and false under plain names.",
        "type": "object",
        "properties": {"uv": {"enum": list(UNLOCKED_BY), "description": "how the keys were unlocked"}},
        "propertyNames": {"pattern": f"^{DEVICE_NAME.pattern}$"},
        "additionalProperties": {
            "anyOf": [
                {"type": "string", "maxLength": MOST_DEVICE_TEXT, "pattern": r"^[^\u0000]*$"},
                {"type": "number"},
                {"type": "boolean"},
            ]
        },
    },
    "Register": _object(
        {
            "kpublic": _SPKI,
            "fingerprint": _FINGERPRINT,
            "package": _base64("SHA-256 of the package as received, without tag 8B", DIGEST_BYTES),
            **_PROOFS,
            "signature": _SIGNATURE,
        },
        {"push": ref("Push")},
        about="The key of the phone, with proofs of all three keys.",
    ),
    "Renew": _object(
        {
            "wrap_key": _base64("SPKI in DER of a fresh RSA key of 3072 bits at least"),
            "oaep": _OAEP,
            **_PROOFS,
        },
        _SIGNED,
        about="The key to which the new keys are sealed.",
    ),
    "Pending": _object(
        {},
        {"wait": _number(0, MOST_WAIT_SECONDS, "seconds to wait until something is pending")},
        about="What waits for an answer.",
    ),
    "Get": _object({"transaction": _ID}, about="One transaction."),
    "Content": _object(
        {
            "transaction": _ID,
            "offset": _number(0, LARGEST_STEP, "of the first byte"),
            "length": _number(1, MOST_PIECE_BYTES, "of the part; the last one may be shorter"),
        },
        about="A part of the content.",
    ),
    "Decision": _object({"transaction": _ID, **_PROOFS}, _SIGNED, about="The user's answer, proved."),
    "Authentication": _object(
        {
            "media_type": _text(MEDIA_TYPE_BYTES),
            "content": _base64("made by a rule of the application, at least one byte"),
            **_PROOFS,
        },
        _SIGNED,
        about="Content that the phone made by a rule, proved.",
    ),
    "DeviceUpdate": _object(
        {"push": {"anyOf": [ref("Push"), {"type": "null"}]}}, about="Where to wake the phone from now on."
    ),
    "Registered": _object(
        {"keyset": _ID, "valid_until": _TIME, "policy": _POLICY}, about="The keys are in use."
    ),
    "Renewed": _object({"package": _base64("the package with the new keys")}),
    "Transaction": _object(
        {
            "transaction": _ID,
            "kind": {"enum": list(Kind)},
            "title": {"anyOf": [_text(TITLE_BYTES), {"type": "null"}]},
            "media_type": {"type": "string"},
            "size": {"type": "integer", "minimum": 1},
            "content_sha256": _base64("helps to recognise content that is there already", DIGEST_BYTES),
            "created": _TIME,
            "expires": _TIME,
            "digits": _number(6, 10, "of a short code"),
            "offline": {"type": "boolean", "description": "whether a short code is accepted"},
        },
        about="What the phone shows of a transaction, beside its content.",
    ),
    "TransactionList": _object(
        {"transactions": {"type": "array", "items": ref("Transaction")}, "policy": _POLICY},
        about="What waits for the user, oldest first.",
    ),
    "Decided": _object(
        {
            "transaction": _ID,
            "status": {"enum": [TransactionStatus.CONFIRMED, TransactionStatus.DECLINED]},
            "reason": {"type": ["string", "null"]},
        },
        about="The outcome, which stands.",
    ),
    "Authenticated": _object(
        {"authentication": _ID, "status": {"const": "confirmed"}}, about="The user is authenticated, once."
    ),
    "DeviceUpdated": _object({"device": _ID}),
}


def envelope(action: str, body: str) -> Json:
    """Return the schema of a whole request: what every one says, around the body of this action."""
    return _object(
        {
            "action": {"const": action},
            "keyset": {**_ID, "description": "names the keys in use"},
            "time": {**_TIME, "description": "near the gateway's own, by what the policy allows"},
            "nonce": {
                "type": "string",
                "pattern": _NONCE_PATTERN,
                "description": "16 random bytes, base64url",
            },
            "device": ref("Device"),
            "body": ref(body),
        }
    )
