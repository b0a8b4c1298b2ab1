"""How does a transaction come to be, get read and get cancelled: the application's and the phone's views."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules import callback_address, scoring_policy
from gateway.rules import user as user_rules
from gateway.rules.event import EventType
from gateway.rules.scoring_policy import ScoringSetting
from gateway.rules.transaction import CancelReason, Kind, Transaction, TransactionAction, TransactionStatus
from gateway.scenarios import bindings, settling
from gateway.scenarios.access import Asker
from gateway.scenarios.change_watch import pending_topic, watched
from gateway.scenarios.context import Context
from gateway.scenarios.idempotency import Once, claim, finish
from gateway.scenarios.recording import Origin, make_event, record
from gateway.scenarios.representation import created_view, transaction_view
from gateway.scenarios.uploads import no_such_content, require_vouched
from gateway.store import keysets, pushes, transactions, uploads, users
from gateway.store.applications import Application
from gateway.store.database import Connection
from gateway.store.uploads import Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an application asks to have confirmed; values were checked for form, not for policy."""

    user_id: str
    kind: Kind
    title: str | None
    media_type: str
    content: bytes
    expires_in_seconds: int | None
    callback_url: str | None
    offline: bool
    digits: int | None
    kpublic_required: bool | None
    scoring: ScoringSetting = ScoringSetting.POLICY
    content_id: str | None = None  # in the place of content and media type


async def create_transaction(
    ctx: Context, asker: Asker, wish: Wish, once: Once, origin: Origin
) -> tuple[dict[str, Any], bool]:
    """Create a transaction and return its view, and whether it is new (False: the answer is repeated).

    Raises:
        Refusal: ``not_found``, ``user_blocked``, ``user_deleted``, ``no_active_keys``, ``not_allowed_by_policy``,
            ``idempotency_mismatch``, ``integrity_failure``.
    """
    upload: Upload | None = None
    if wish.content_id is not None:
        upload = await ctx.reading(
            uploads.find_upload, asker.application.id, wish.content_id, ctx.clock.now()
        )
        if upload is None:
            return await ctx.unit(_repeat, ctx, asker, once, no_such_content())
    try:  # in a thread, because it hashes up to the largest content
        transaction = await asyncio.to_thread(_draft, ctx, asker, wish, upload)
    except Refusal as refused:
        return await ctx.unit(_repeat, ctx, asker, once, refused)
    transaction = await ctx.on_device(_bind, ctx, transaction, upload)
    view, new = await ctx.unit(_create, ctx, asker, transaction, upload or wish.content, once, origin)
    ctx.waiters.wake(pending_topic(asker.application.id, wish.user_id))
    return view, new


def _repeat(
    connection: Connection, ctx: Context, asker: Asker, once: Once, refused: Refusal
) -> tuple[dict[str, Any], bool]:
    """Return the transaction that an earlier request under the key made, which it may not make now, or refuse.

    Whoever lost the answer must not be told that there is no such transaction, whatever was decided meanwhile.
    """
    earlier = claim(connection, asker, once, ctx.clock.now())
    if earlier is None:
        raise refused
    return created_view(_load(connection, asker, earlier)), False


def _bind(ctx: Context, transaction: Transaction, upload: Upload | None) -> Transaction:
    if upload is not None:
        require_vouched(ctx, upload)
    return bindings.bind_transaction(ctx, transaction)


def _draft(ctx: Context, asker: Asker, wish: Wish, upload: Upload | None) -> Transaction:
    policy = asker.application.policy
    now = ctx.clock.now()
    _require_allowed(asker.application, wish, ctx.content_bytes_most)
    waits = wish.expires_in_seconds or min(policy.transaction_seconds, policy.transaction_seconds_most)
    digest = hashlib.sha256(wish.content).digest() if upload is None else upload.content_sha256
    assert digest is not None
    return Transaction(
        id=new_id("txn", now),
        application_id=asker.application.id,
        user_id=wish.user_id,
        kind=wish.kind,
        status=TransactionStatus.PENDING,
        reason=None,
        title=wish.title,
        media_type=wish.media_type if upload is None else upload.media_type,
        size=len(wish.content) if upload is None else upload.size,
        content_sha256=digest,
        digits=wish.digits or policy.digits,
        offline=wish.offline,
        kpublic_required=policy.kpublic_required if wish.kpublic_required is None else wish.kpublic_required,
        callback_url=wish.callback_url,
        failures=0,
        created_at=now,
        expires_at=now + timedelta(seconds=waits),
        settled_at=None,
        policy_version=asker.application.policy_version,
        scoring=wish.scoring,
    )


def _require_allowed(application: Application, wish: Wish, content_bytes_most: int) -> None:
    policy = application.policy
    if len(wish.content) > content_bytes_most:
        raise Refusal("too_large", detail=f"Content has at most {content_bytes_most} bytes.")
    if wish.offline and not policy.offline_allowed:
        raise Refusal("not_allowed_by_policy", detail="The policy does not allow offline confirmation.")
    scoring_policy.require_allowed(policy.scoring, wish.scoring)
    if wish.callback_url is not None:
        callback_address.require_allowed(wish.callback_url, application.callback_url)
    if (wish.expires_in_seconds or 0) > policy.transaction_seconds_most:
        detail = f"A transaction waits at most {policy.transaction_seconds_most} seconds."
        raise Refusal("not_allowed_by_policy", detail=detail)


def _create(
    connection: Connection,
    ctx: Context,
    asker: Asker,
    transaction: Transaction,
    content: bytes | Upload,
    once: Once,
    origin: Origin,
) -> tuple[dict[str, Any], bool]:
    now = ctx.clock.now()
    earlier = claim(connection, asker, once, now)
    if earlier is not None:
        return created_view(_load(connection, asker, earlier)), False
    application = asker.application
    # Locked, so that whoever deletes the user now finds the transaction and cancels it.
    user = users.lock_user(connection, application.id, transaction.user_id)
    if user is None:
        raise Refusal("not_found", "unknown user", detail="There is no such user.")
    user_rules.require_open(user, application.policy.failures_most)
    needs_kpublic = transaction.kpublic_required or application.policy.kpublic_required
    if not keysets.can_confirm(connection, application.id, user.user_id, now, needs_kpublic=needs_kpublic):
        raise Refusal("no_active_keys")
    _insert(connection, transaction, content)
    event = make_event(
        EventType.TRANSACTION_CREATED,
        "created",
        now,
        origin,
        detail=_told(transaction, content),
        **settling.subject(application.id, transaction),
    )
    record(connection, [event])
    _wake_phones(connection, application, transaction)
    finish(connection, asker, once, transaction.id, now)
    return created_view(transaction), True


def _told(transaction: Transaction, content: bytes | Upload) -> dict[str, object]:
    told: dict[str, object] = {"kind": transaction.kind, "media_type": transaction.media_type}
    told["size"] = transaction.size
    return told | ({"content_id": content.id} if isinstance(content, Upload) else {})


def _insert(connection: Connection, transaction: Transaction, content: bytes | Upload) -> None:
    if not isinstance(content, Upload):
        transactions.insert_transaction(connection, transaction, content)
        return
    transactions.insert_transaction(connection, transaction, b"")
    if not uploads.use_upload(connection, content, transaction.id):
        raise no_such_content()


def _wake_phones(connection: Connection, application: Application, transaction: Transaction) -> None:
    if application.policy.push:
        pushes.want_pushes(
            connection, application.id, transaction.user_id, transaction.created_at, transaction.expires_at
        )


def _load(connection: Connection, asker: Asker, transaction_id: str) -> Transaction:
    transaction = transactions.find_transaction(connection, asker.application.id, transaction_id)
    if transaction is None:
        raise Refusal("not_found", "unknown transaction")
    return transaction


async def fetch_transaction(
    ctx: Context, asker: Asker, transaction_id: str, wait_seconds: float = 0
) -> dict[str, Any]:
    """Return the transaction, at once or as soon as it is settled or the time is over."""

    async def look() -> dict[str, Any]:
        return await ctx.reading(_view, asker, transaction_id)

    return await watched(
        ctx, transaction_id, wait_seconds, look, lambda view: view["status"] != TransactionStatus.PENDING
    )


def _view(connection: Connection, asker: Asker, transaction_id: str) -> dict[str, Any]:
    transaction = _load(connection, asker, transaction_id)
    return transaction_view(transaction, transactions.attempts_of(connection, transaction_id))


async def list_transactions(
    ctx: Context, asker: Asker, *, user_id: str | None, status: str | None, after: str | None, limit: int
) -> Sequence[dict[str, Any]]:
    """Return a page of transactions, newest first, without their attempts."""
    found = await ctx.reading(
        transactions.list_transactions,
        asker.application.id,
        user_id=user_id,
        status=status,
        after=after,
        limit=limit,
    )
    return [transaction_view(transaction) for transaction in found]


async def cancel_transaction(
    ctx: Context, asker: Asker, transaction_id: str, reason: str | None, origin: Origin
) -> dict[str, Any]:
    """Cancel a pending transaction for the application.

    Raises:
        Refusal: ``not_found``, or ``transaction_settled`` when it has its final state already.
    """
    view = await ctx.unit(_cancel, ctx, asker, transaction_id, reason, origin)
    ctx.waiters.wake(transaction_id)
    return view


def _cancel(
    connection: Connection,
    ctx: Context,
    asker: Asker,
    transaction_id: str,
    reason: str | None,
    origin: Origin,
) -> dict[str, Any]:
    _load(connection, asker, transaction_id)
    won = settling.cancel(
        connection,
        asker.application,
        transaction_id,
        TransactionAction.CANCEL,
        reason or CancelReason.APPLICATION,
        origin,
        ctx.clock.now(),
    )
    if not won:
        raise Refusal("transaction_settled")
    return _view(connection, asker, transaction_id)
