"""Did the HSM sign this receipt, what does it say, and by which keys can anybody check it?"""

import hashlib
from collections.abc import Mapping
from typing import Any

from gateway.scenarios.context import Context
from gateway.store import receipt_keys
from gateway.wire import base64s, receipt
from gateway.wire.errors import WireError
from gateway.wire.message import Message


class Unsigned(Exception):
    """The receipt is none of the gateway's; the text says why and holds nothing of it."""


def read_signed(ctx: Context, text: str) -> tuple[dict[str, Any], Message]:
    """Return the claims of a receipt, and the message they are about. Talks to the device.

    Raises:
        Unsigned: no receipt key of the gateway has signed it.
        WireError, ValueError, LookupError, TypeError, AttributeError: it is not in the form of a receipt.
    """
    signed = receipt.read(text)
    digest = hashlib.sha256(signed.signing_input).digest()
    key = ctx.keys.receipts.find(str(signed.header.get("kid")))
    if key is None or signed.header != receipt.header(key.kid):
        raise Unsigned("the receipt names another key")
    if not ctx.device.verify(key.public, digest, signed.signature):
        raise Unsigned("the receipt is not signed by the receipt key")
    return signed.claims, Message.decode(base64s.url_decode(str(signed.claims["message"])))


def vouched_message(ctx: Context, text: str | None, told: Mapping[str, object]) -> Message | None:
    """Return the message that a receipt is about; None unless the HSM signed it and its claims are those told.

    Talks to the device.
    """
    try:
        claims, message = read_signed(ctx, text or "")
    except (Unsigned, WireError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return message if told == {name: claims.get(name) for name in told} else None


async def receipt_key_set(ctx: Context) -> dict[str, Any]:
    """Return the JWK Set of the receipt keys; the points come from the HSM, the times from the database."""
    times = {each.version: each for each in await ctx.reading(receipt_keys.list_receipt_keys)}
    keys = []
    for key in ctx.keys.receipts.known:
        noted = times.get(key.version)
        valid_from, valid_until = (noted.created_at, noted.retired_at) if noted else (None, None)
        keys.append(receipt.jwk(key.point, key.kid, valid_from=valid_from, valid_until=valid_until))
    return {"keys": keys}
