"""Are code and signature right: both verified in the HSM over the same message, and a receipt for what was."""

import hashlib
import hmac
from datetime import datetime

from gateway.rules import confirmation as rules
from gateway.rules.confirmation import Check, Verdict
from gateway.rules.keyset import Keyset
from gateway.rules.policy import Policy
from gateway.rules.transaction import Kind, Transaction
from gateway.scenarios import keynames
from gateway.scenarios.context import Context
from gateway.wire import receipt, spki, timestep
from gateway.wire.bodies import Proofs
from gateway.wire.code import truncate
from gateway.wire.message import Message, Operation
from gateway.wire.receipt import ReceiptClaims

SHORT_VERIFIED = (Check.STEP, Check.CODE)


def verify(
    ctx: Context,
    keyset: Keyset,
    message: Message,
    shown: Proofs,
    policy: Policy,
    now: datetime,
    *,
    needs_signature: bool,
    is_timely: bool = True,
) -> Verdict:
    """Verify what a phone showed for a message. Talks to the device.

    Both values are always computed, so that the time an answer takes does not tell which one was wrong. A time inside
    the content that does not fit (``is_timely``) is judged like a step out of the window.
    """
    window = timestep.window(now, keyset.step_seconds, policy.steps_back, policy.steps_ahead)
    matches = code_matches(ctx, keyset, message, shown.code)
    signed = signature_matches(ctx, keyset.kpublic, message, shown.signature) if needs_signature else None
    return rules.judge(
        step_in_window=is_timely and shown.step in window,
        code_matches=matches,
        signature_matches=signed,
        registered=keyset.kpublic is not None,
    )


def operation_of(kind: Kind, *, declines: bool = False) -> Operation:
    """Return what the user does who answers a transaction of this kind."""
    if declines:
        return Operation.DECLINE
    return Operation.AUTHENTICATE if kind is Kind.AUTHENTICATE else Operation.APPROVE


def message_about(
    transaction: Transaction,
    operation: Operation,
    fingerprint: bytes,
    step: int,
    content_sha256: bytes | None = None,
) -> Message:
    """Return what code and signature stand for when a user answers a transaction.

    Args:
        transaction: what is answered.
        operation: what the answer says.
        fingerprint: of the device the keyset is bound to.
        step: the time step the phone named.
        content_sha256: digest of other content than the transaction's, where that is the question.
    """
    return Message(
        operation=operation,
        application=transaction.application_id,
        user=transaction.user_id,
        transaction=transaction.id,
        media_type=transaction.media_type,
        content_digest=content_sha256 or transaction.content_sha256,
        title=transaction.title,
        fingerprint=fingerprint,
        step=step,
    )


def code_matches(ctx: Context, keyset: Keyset, message: Message, code: bytes) -> bool:
    """Say whether the full code (32 bytes) is right; compared in constant time."""
    return hmac.compare_digest(_full_code(ctx, keyset, message), code)


def short_code_matches(ctx: Context, keyset: Keyset, message: Message, code: str, digits: int) -> bool:
    """Say whether the digits are right; compared in constant time."""
    expected = truncate(_full_code(ctx, keyset, message), digits)
    return hmac.compare_digest(expected.encode(), code.encode())


def _full_code(ctx: Context, keyset: Keyset, message: Message) -> bytes:
    return ctx.device.mac(keynames.khmac_of(keyset), message.encode())


def signature_matches(ctx: Context, kpublic: str | None, message: Message, signature: bytes | None) -> bool:
    """Say whether the signature (r || s, 64 bytes) is right; a missing key or signature is a wrong one."""
    if kpublic is None or signature is None:
        return False
    digest = hashlib.sha256(message.encode()).digest()
    return ctx.device.verify(keynames.public_ref(kpublic), digest, signature)


def make_receipt(
    ctx: Context,
    keyset: Keyset,
    message: Message,
    shown: Proofs,
    verdict: Verdict,
    attempt_id: str,
    now: datetime,
    scoring: tuple[int, str] | None = None,
    *,
    under: tuple[str, str] | None = None,
) -> str:
    """Return the receipt: a compact JWS signed by the receipt key in the HSM over what was verified."""
    signed = keyset.spki is not None and shown.signature_der is not None
    claims = ReceiptClaims(
        issuer=ctx.issuer,
        issued_at=now.replace(microsecond=0),
        id=attempt_id,
        keyset=keyset.id,
        message=message,
        code=shown.code,
        verified=verdict.passed,
        signature=shown.signature_der if signed else None,
        kpublic=_thumbprint(keyset) if signed else None,
        scoring=scoring,
        under=under,
    )
    return _sign(ctx, claims)


def make_short_receipt(
    ctx: Context,
    keyset: Keyset,
    message: Message,
    code: str,
    attempt_id: str,
    now: datetime,
    scoring: tuple[int, str] | None = None,
    *,
    under: tuple[str, str] | None = None,
) -> str:
    """Return the receipt for a short code, with which no signature comes."""
    claims = ReceiptClaims(
        issuer=ctx.issuer,
        issued_at=now.replace(microsecond=0),
        id=attempt_id,
        keyset=keyset.id,
        message=message,
        code=code,
        verified=SHORT_VERIFIED,
        scoring=scoring,
        under=under,
    )
    return _sign(ctx, claims)


def _sign(ctx: Context, claims: ReceiptClaims) -> str:
    key = ctx.keys.receipts.current
    signing_input = receipt.signing_input(key.kid, claims)
    raw = ctx.device.sign(key.private, hashlib.sha256(signing_input).digest())
    return receipt.compact(signing_input, raw)


def _thumbprint(keyset: Keyset) -> str | None:
    return None if keyset.spki is None else spki.spki_thumbprint(keyset.spki)
