"""What the calls about transactions and signatures do."""

import asyncio

from gateway.api.application import models
from gateway.api.application.asking import Ask
from gateway.api.application.paging import page_of
from gateway.api.application.qr import qr_of
from gateway.api.problems import Reply, json_reply
from gateway.refusals import Refusal
from gateway.rules.scoring_policy import ScoringSetting
from gateway.rules.transaction import Kind
from gateway.scenarios import (
    authentications_verified,
    history,
    offline,
    offline_form,
    transactions,
    verification,
)
from gateway.scenarios.context import Context
from gateway.scenarios.creating import SMALL_BYTES, create_transaction
from gateway.scenarios.drafting import Wish
from gateway.scenarios.questions import Question, digest_of
from gateway.store.history import Wanted
from gateway.wire import base64s
from gateway.wire.code import LEAST_DIGITS, MOST_DIGITS, check_short_code
from gateway.wire.message import check_text
from gateway.wire.text import MEDIA_TYPE_BYTES, TITLE_BYTES, check_id
from gateway.wire.timestep import parse_time

_DIGEST_BYTES = 32


async def create(ctx: Context, ask: Ask) -> Reply:
    """Create a transaction."""
    body: models.CreateTransaction = ask.body
    is_small = len(body.content or "") + len(body.text or "") <= SMALL_BYTES
    wish = _wish(body) if is_small else await asyncio.to_thread(_wish, body)  # it decodes the content
    view, new = await create_transaction(ctx, ask.asker, wish, ask.once, ask.origin)
    return json_reply(201, view, {} if new else {"idempotency-replayed": "true"})


def _wish(body: models.CreateTransaction) -> Wish:
    check_id(body.user, what="user")
    if body.media_type is not None:
        check_text(body.media_type, what="media_type", most_bytes=MEDIA_TYPE_BYTES)
    if body.title is not None:
        check_text(body.title, what="title", most_bytes=TITLE_BYTES)
    return Wish(
        user_id=body.user,
        kind=Kind(body.kind),
        title=body.title,
        media_type=body.media_type or "",
        content=b"" if body.content_id else content_of(body.text, body.content),
        content_id=body.content_id,
        expires_in_seconds=body.expires_in,
        callback_url=body.callback,
        offline=body.confirmation.offline,
        digits=body.confirmation.digits,
        kpublic_required=body.confirmation.kpublic_required,
        scoring=ScoringSetting(body.confirmation.scoring),
    )


def content_of(text: str | None, content: str | None) -> bytes:
    """Return the bytes of content that was given as text or in base64; refuses none at all."""
    data = text.encode() if text is not None else base64s.decode(content or "", what="content")
    if not data:
        raise Refusal("malformed_request", "empty content", detail="The content is empty.")
    return data


async def get(ctx: Context, ask: Ask) -> Reply:
    """Read a transaction, now or when it is settled."""
    view = await transactions.fetch_transaction(
        ctx, ask.asker, ask.path["transaction_id"], ask.number("wait", 0)
    )
    return json_reply(200, view)


async def list_page(ctx: Context, ask: Ask) -> Reply:
    """Read a page of transactions."""
    views = await transactions.list_transactions(
        ctx,
        ask.asker,
        user_id=ask.query.get("user"),
        status=ask.query.get("status"),
        after=ask.query.get("after"),
        limit=ask.limit,
    )
    return page_of(ask, "transactions", views)


async def cancel(ctx: Context, ask: Ask) -> Reply:
    """Cancel a transaction."""
    body: models.CancelTransaction = ask.body
    view = await transactions.cancel_transaction(
        ctx, ask.asker, ask.path["transaction_id"], body.reason, ask.origin
    )
    return json_reply(200, view)


async def list_answers(ctx: Context, ask: Ask) -> Reply:
    """Read a page of a user's answers."""
    since, until = (parse_time(ask.query[name]) if name in ask.query else None for name in ("since", "until"))
    wanted = Wanted(
        keyset_id=ask.query.get("keyset"), device_id=ask.query.get("device"), since=since, until=until
    )
    found = await history.list_answers(
        ctx, ask.asker, ask.path["user_id"], wanted, after=ask.query.get("after", ""), limit=ask.limit
    )
    return page_of(ask, "answers", found)


async def show_qr(ctx: Context, ask: Ask) -> Reply:
    """Show the offline form of a transaction."""
    text = await offline_form.show_offline(ctx, ask.asker, ask.path["transaction_id"])
    return json_reply(200, {"transaction": ask.path["transaction_id"], "qr": await qr_of(text)})


async def submit_code(ctx: Context, ask: Ask) -> Reply:
    """Approve with a short code."""
    body: models.SubmitCode = ask.body
    view = await offline.submit_code(ctx, ask.asker, ask.path["transaction_id"], body.code, ask.origin)
    return json_reply(200, view)


async def verify(ctx: Context, ask: Ask) -> Reply:
    """Verify a past answer or authentication."""
    body: models.VerifySignature = ask.body
    given = (body.text, body.content, body.content_sha256, body.signature)
    is_small = sum(len(each) for each in given if each is not None) <= SMALL_BYTES
    # Decoding and hashing much would keep everybody waiting.
    question = _question(body) if is_small else await asyncio.to_thread(_question, body)
    verify = (
        verification.verify_signature if body.transaction else authentications_verified.verify_authentication
    )
    return json_reply(200, await verify(ctx, ask.asker, question, ask.origin))


def _question(body: models.VerifySignature) -> Question:
    return Question(
        about_id=body.transaction or body.authentication or "",
        operation=body.operation,
        content_sha256=_digest(body),
        step=body.step,
        code=_code(body.code),
        signature=None if body.signature is None else base64s.decode(body.signature, what="signature"),
    )


def _digest(body: models.VerifySignature) -> bytes | None:
    if body.text is not None or body.content is not None:
        return digest_of(content_of(body.text, body.content))
    return _exactly(body.content_sha256, _DIGEST_BYTES, "content_sha256")


def _code(text: str | None) -> bytes | str | None:
    """Return a short code as it is, and the bytes of a full one: the lengths of the two never meet."""
    if text is not None and len(text) <= MOST_DIGITS:
        return check_short_code(text, max(len(text), LEAST_DIGITS))
    return _exactly(text, _DIGEST_BYTES, "code")


def _exactly(text: str | None, size: int, name: str) -> bytes | None:
    if text is None:
        return None
    value = base64s.decode(text, what=name)
    if len(value) != size:
        raise Refusal("malformed_request", f"length of {name}", detail=f"{name} has {size} bytes.")
    return value
