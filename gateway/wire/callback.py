"""How does an application know that a callback comes from the gateway?

Standard Webhooks 1.0 with symmetric seals.

Source: docs/reference/wire.md, "Callback".
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime

from gateway.wire import base64s, tlv
from gateway.wire.errors import WireError
from gateway.wire.text import check_id
from gateway.wire.timestep import unix_seconds

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, not a secret
_VERSION_BYTES = 4
_APPLICATION, _VERSION = 0x80, 0x81
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def secret_input(application: str, version: int) -> bytes:
    """Return what the webhook key in the HSM authenticates to yield the secret of an application.

    `version` counts the secrets of the application from 1. Raises WireError as `check_id`, or `out_of_range`.
    """
    if version < 1:
        raise WireError("out_of_range", "version")
    return tlv.sequence(
        [
            (_APPLICATION, check_id(application, what="application")),
            (_VERSION, tlv.number(version, _VERSION_BYTES, what="version")),
        ]
    )


def format_secret(mac: bytes) -> str:
    """Return the secret as the application sees it, once: whsec_ and base64. Raises WireError `length`."""
    return SECRET_PREFIX + base64s.encode(tlv.exactly(mac, SECRET_BYTES, what="secret"))


def seal_input(message_id: str, seconds: int, body: bytes) -> bytes:
    """Return what is sealed: id, unix seconds and body, joined by dots. Raises WireError `webhook_id`."""
    if _ID.fullmatch(message_id) is None:
        raise WireError("webhook_id", "message_id")
    return f"{message_id}.{seconds}.".encode("ascii") + body


def headers(message_id: str, sent_at: datetime, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """Return the headers that seal one callback, one seal for each secret (two during a change of secrets).

    `secrets` are raw, 32 bytes each; `sent_at` is the moment of this try: a repeat has the same id and a new
    seal. Raises WireError `webhook_id`, `time`, `length`, or `empty` without a secret.
    """
    if not secrets:
        raise WireError("empty", "secrets")
    seconds = unix_seconds(sent_at)
    sealed = seal_input(message_id, seconds, body)
    seals = [
        hmac.digest(tlv.exactly(secret, SECRET_BYTES, what="secret"), sealed, hashlib.sha256)
        for secret in secrets
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{base64s.encode(seal)}" for seal in seals),
    }
