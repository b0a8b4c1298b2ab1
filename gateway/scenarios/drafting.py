"""What does an application ask to have confirmed, and what is the transaction that it would be?"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from gateway.ids import new_id
from gateway.refusals import Refusal
from gateway.rules import callback_address, scoring_policy
from gateway.rules.scoring_policy import ScoringSetting
from gateway.rules.transaction import Kind, Transaction, TransactionStatus
from gateway.scenarios.context import Context
from gateway.store.applications import Application
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


def draft_transaction(
    ctx: Context, application: Application, wish: Wish, upload: Upload | None
) -> Transaction:
    """Return the transaction that is wished for, not bound yet; hashes its content.

    Args:
        ctx: the parts.
        application: whose it is.
        wish: what is asked.
        upload: the content, if it was handed in by itself.

    Raises:
        Refusal: ``not_allowed_by_policy``, ``too_large``.
    """
    policy = application.policy
    now = ctx.clock.now()
    _require_allowed(application, wish, ctx.content_bytes_most)
    waits = wish.expires_in_seconds or min(policy.transaction_seconds, policy.transaction_seconds_most)
    digest = hashlib.sha256(wish.content).digest() if upload is None else upload.content_sha256
    assert digest is not None
    return Transaction(
        id=new_id("txn", now),
        application_id=application.id,
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
        policy_version=application.policy_version,
        scoring=wish.scoring,
    )


def _require_allowed(application: Application, wish: Wish, content_bytes_most: int) -> None:
    policy = application.policy
    if len(wish.content) > content_bytes_most:
        raise Refusal("too_large", detail=f"Content has at most {content_bytes_most} bytes.")
    if wish.offline and not policy.offline_allowed:
        raise Refusal("not_allowed_by_policy", detail="The policy does not allow offline confirmation.")
    if wish.digits is not None and wish.digits < policy.digits:
        # Else whoever found an API key would choose how well a code can be guessed.
        detail = (
            f"Short codes have {policy.digits} digits by the policy; a transaction may ask for more alone."
        )
        raise Refusal("not_allowed_by_policy", "fewer digits than the policy's", detail=detail)
    scoring_policy.require_allowed(policy.scoring, wish.scoring)
    if wish.callback_url is not None:
        callback_address.require_allowed(wish.callback_url, application.callback_url)
    if (wish.expires_in_seconds or 0) > policy.transaction_seconds_most:
        detail = f"A transaction waits at most {policy.transaction_seconds_most} seconds."
        raise Refusal("not_allowed_by_policy", detail=detail)
