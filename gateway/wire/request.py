"""Which bytes are a request of the client, and what do they say?

Source: docs/reference/wire.md, "Requests of the client".
"""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from gateway.wire import base64s
from gateway.wire.errors import WireError
from gateway.wire.text import check_id
from gateway.wire.timestep import parse_time

MOST_REQUEST_BYTES = 8192
MOST_DEPTH = 8
NONCE_BYTES = 16
MOST_INTEGER = 2**53 - 1
_MOST_INTEGER_CHARACTERS = 17
_ENVELOPE = ("action", "keyset", "time", "nonce", "device", "body")
UNLOCKED_BY = ("password", "biometric")
DEVICE_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
MOST_DEVICE_TEXT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every request of the client says around its body. `nonce` has 16 bytes."""

    action: str
    keyset: str
    time: datetime
    nonce: bytes
    device: dict[str, object]
    body: dict[str, object]


def parse_json(raw: bytes, *, most_bytes: int, depth: int = MOST_DEPTH) -> dict[str, object]:
    """Return the JSON object in `raw`, strictly.

    Raises WireError `too_large`, `not_object` (first byte is not `{`), `not_text` (not UTF-8, U+0000, a lone
    surrogate), `duplicate`, `depth` (objects and arrays nested deeper than `depth`), `number` (NaN, Infinity,
    beyond a double, an integer beyond 2^53 - 1) or `json`.
    """
    if len(raw) > most_bytes:
        raise WireError("too_large")
    if raw[:1] != b"{":
        raise WireError("not_object")
    value = _load(raw)
    # Without an escape there is neither U+0000 nor a lone surrogate, and each level takes a bracket of its own.
    if b"\\" in raw or raw.count(b"{") + raw.count(b"[") > depth:
        _check_values(value, depth)
    return value


def _load(raw: bytes) -> dict[str, object]:
    try:
        value: dict[str, object] = _STRICT.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise WireError("not_text") from None
    except json.JSONDecodeError:
        raise WireError("json") from None
    except RecursionError:
        raise WireError("depth") from None
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise WireError("duplicate")
    return members


def _integer(text: str) -> int:
    if len(text) > _MOST_INTEGER_CHARACTERS or abs(int(text)) > MOST_INTEGER:
        raise WireError("number")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise WireError("number")
    return value


def _constant(_: str) -> NoReturn:
    raise WireError("number")


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _check_values(root: object, depth: int) -> None:
    """Check nesting and every string, level by level: a deep document must not cost a deep stack."""
    level: list[object] = [root]
    for left in range(depth, -1, -1):
        nested: list[object] = []
        for value in level:
            if isinstance(value, dict):
                nested += value.keys()
                nested += value.values()
            elif isinstance(value, list):
                nested += value
            elif isinstance(value, str):
                _check_string(value)
        if left == 0 and any(isinstance(value, dict | list) for value in level):
            raise WireError("depth")
        level = nested


def _check_string(value: str) -> None:
    if "\x00" in value or not (value.isascii() or _is_utf8(value)):
        raise WireError("not_text")


def _is_utf8(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_members(
    members: Mapping[str, object], *, required: Collection[str], optional: Collection[str] = ()
) -> None:
    """Refuse an object that lacks a required member or has one that is not known.

    Raises WireError `missing` or `unknown`, naming a known member only.
    """
    for name in required:
        if name not in members:
            raise WireError("missing", name)
    if len(members) > len(required) + sum(name in members for name in optional):
        raise WireError("unknown")


def member_text(members: Mapping[str, object], name: str) -> str:
    """Return the string of a member that was checked to be there. Raises WireError `type`."""
    value = members[name]
    if not isinstance(value, str):
        raise WireError("type", name)
    return value


def member_object(members: Mapping[str, object], name: str) -> dict[str, object]:
    """Return the object of a member that was checked to be there. Raises WireError `type`."""
    value = members[name]
    if not isinstance(value, dict):
        raise WireError("type", name)
    return value


def parse_envelope(raw: bytes, action: str) -> Envelope:
    """Return the request in `raw` (at most 8 KiB), which must be for `action`, the action of its route.

    Raises WireError as `parse_json`, and `missing`, `unknown`, `type`, `action`, `empty`, `too_long`,
    `not_text`, `time`, `base64url`, `length`, `device`.
    """
    members = parse_json(raw, most_bytes=MOST_REQUEST_BYTES)
    check_members(members, required=_ENVELOPE)
    if member_text(members, "action") != action:
        raise WireError("action", "action")
    keyset = member_text(members, "keyset")
    check_id(keyset, what="keyset")
    nonce = base64s.url_decode(member_text(members, "nonce"), what="nonce")
    if len(nonce) != NONCE_BYTES:
        raise WireError("length", "nonce")
    return Envelope(
        action=action,
        keyset=keyset,
        time=parse_time(member_text(members, "time"), what="time"),
        nonce=nonce,
        device=_check_device(member_object(members, "device")),
        body=member_object(members, "body"),
    )


def _check_device(device: dict[str, object]) -> dict[str, object]:
    """Device data is flat: short texts, numbers, true and false under plain names."""
    for name, value in device.items():
        if DEVICE_NAME.fullmatch(name) is None or not isinstance(value, str | int | float):
            raise WireError("device", "device")
        if isinstance(value, str) and len(value.encode("utf-8")) > MOST_DEVICE_TEXT:
            raise WireError("device", "device")
    if "uv" in device and device["uv"] not in UNLOCKED_BY:
        raise WireError("device", "uv")
    return device
