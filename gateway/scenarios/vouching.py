"""Is a callback in the outbox what the gateway put there? Asked before it is sealed.

The outbox is a table, and whoever can write to the database can write to it. That a user confirmed or declined is
told only with a receipt that the HSM signed and that says the same. Everything else a callback tells rests on the
database (docs/explanation/threat-model.md, "What is left").
"""

from typing import Any

import orjson

from gateway.rules.transaction import Kind, TransactionStatus
from gateway.scenarios.context import Context
from gateway.scenarios.receipts import Unsigned, read_signed
from gateway.store.deliveries import Delivery
from gateway.wire.errors import WireError
from gateway.wire.message import Message
from gateway.wire.timestep import format_time, moment_at

_ANSWERED = (TransactionStatus.CONFIRMED, TransactionStatus.DECLINED)
_AUTHENTICATED = "authentication.confirmed"
_PROOFS = ("operation", "keyset", "step", "code", "verified")


class Forged(Exception):
    """The callback is none of the gateway's; the text says why and holds nothing of the body."""


def as_text(body: dict[str, Any]) -> str:
    """Return a body as it is put into the outbox: one text for one body."""
    return orjson.dumps(body).decode()


def require_genuine(ctx: Context, delivery: Delivery) -> None:
    """Raise Forged unless the gateway could have put the callback into the outbox. Talks to the device."""
    try:
        body = _read(delivery)
        if _tells_of_an_answer(body):
            _require_receipt(ctx, delivery, body)
    except (WireError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Forged("the body is not in the form of a callback") from None


def _read(delivery: Delivery) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(delivery.body)
    # A name that is there twice would be read by some as the first, by others as the second.
    if as_text(body) != delivery.body:
        raise Forged("the body is not written as the gateway writes it")
    if (body["type"], body["sequence"]) != (delivery.type, delivery.sequence):
        raise Forged("type or sequence of the body are others than in the outbox")
    return body


def _tells_of_an_answer(body: dict[str, Any]) -> bool:
    data = body["data"]
    transaction = data.get("transaction") or {}
    types = {f"transaction.{status}" for status in _ANSWERED}
    told = body["type"] in (*types, _AUTHENTICATED) or transaction.get("status") in _ANSWERED
    return told or any(data.get(name) is not None for name in ("receipt", "confirmation", "authentication"))


def _require_receipt(ctx: Context, delivery: Delivery, body: dict[str, Any]) -> None:
    try:
        claims, message = read_signed(ctx, body["data"]["receipt"])
    except Unsigned as why:
        raise Forged(str(why)) from None
    told, said = _told(delivery, body), _said(claims, message)
    differing = sorted(name for name in told.keys() | said.keys() if told.get(name) != said.get(name))
    if differing:
        raise Forged(f"the receipt says another {', '.join(differing)}")


def _told(delivery: Delivery, body: dict[str, Any]) -> dict[str, Any]:
    """Return what the callback tells, under the names of the receipt's claims."""
    if body["type"] == _AUTHENTICATED:
        return _told_of_authentication(delivery, body)
    transaction, confirmation = body["data"]["transaction"], body["data"]["confirmation"]
    about = {name: transaction[name] for name in ("user", "content_sha256", "title", "media_type")}
    shown = {name: confirmation[name] for name in (*_PROOFS, "signature")} | _score(confirmation)
    if delivery.transaction_id != transaction["id"] or body["type"] != f"transaction.{transaction['status']}":
        raise Forged("the body is about another transaction or state than the outbox says")
    if confirmation["operation"] != _operation(transaction["kind"], transaction["status"]):
        raise Forged("the operation does not lead to this state")
    ids = {
        "application": delivery.application_id,
        "transaction": transaction["id"],
        "jti": confirmation["id"],
        "iat": {body["timestamp"], confirmation["at"], transaction["settled_at"]},
    }
    return {**ids, **about, **shown}


def _told_of_authentication(delivery: Delivery, body: dict[str, Any]) -> dict[str, Any]:
    """Return the same of content that a phone made by itself: there is neither transaction nor title."""
    made = body["data"]["authentication"]
    if delivery.transaction_id is not None or set(body["data"]) != {"authentication", "receipt"}:
        raise Forged("an authentication is told together with something else")
    names = ("user", "content_sha256", "media_type", *_PROOFS[1:], "signature", "rule", "channel")
    return {
        "application": delivery.application_id,
        "jti": made["id"],
        "iat": {body["timestamp"], made["at"]},
        "operation": "authenticate",
        "title": None,
        "transaction": None,
        **{name: made[name] for name in names},
        **_score(made),
    }


def _score(told: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of the score, as far as a receipt says it."""
    scoring = told["scoring"]
    return {"scoring": scoring and {name: scoring[name] for name in ("value", "level")}}


def _operation(kind: str, status: str) -> str | None:
    if status == TransactionStatus.DECLINED:
        return "decline"
    return {Kind.SIGN: "approve", Kind.AUTHENTICATE: "authenticate"}.get(Kind(kind))


def _said(claims: dict[str, Any], message: Message) -> dict[str, Any]:
    """Return what the receipt says of the same."""
    names = ("application", "transaction", "jti", "user", "content_sha256", "signature", "scoring", *_PROOFS)
    return {
        **{name: claims.get(name) for name in (*names, "rule", "channel")},
        "iat": {format_time(moment_at(claims["iat"]))},
        "title": message.title,
        "media_type": message.media_type,
    }
