"""How does a phone register its key: proved with Kauth, Khmac and the new private key, once per keyset."""

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any

from gateway.refusals import Refusal
from gateway.rules import device as device_rules
from gateway.rules import keyset as keyset_rules
from gateway.rules.callback import CallbackType
from gateway.rules.device import Device, DeviceAction
from gateway.rules.event import EventType
from gateway.rules.keyset import Keyset, KeysetAction, KeysetStatus
from gateway.rules.policy import Flag
from gateway.scenarios import bindings, keynames, proofs
from gateway.scenarios.authentication import Caller
from gateway.scenarios.context import Context
from gateway.scenarios.deliveries import enqueue
from gateway.scenarios.ending import doom_spent, ended_by
from gateway.scenarios.failures import count_user_failure
from gateway.scenarios.packaging import package_policy
from gateway.scenarios.recording import make_event, record, use_request
from gateway.scenarios.representation import keyset_view
from gateway.scenarios.user_lifecycle import block_after_failures
from gateway.store import devices, keysets, loose_keys, transactions, users
from gateway.store.database import Connection
from gateway.wire import base64s
from gateway.wire.bodies import Register
from gateway.wire.message import KEY_MEDIA_TYPE, Message, Operation
from gateway.wire.timestep import format_time


@dataclass(frozen=True, slots=True)
class _Proved:
    """What the device said: the imported key's row and the row of the keys it renews, or why the proofs do not hold."""

    keyset: Keyset | None
    failed: str | None
    counts: bool
    renewed: Keyset | None = None


async def register_key(ctx: Context, caller: Caller) -> dict[str, Any]:
    """Register Kpublic, fingerprint and push address; return ``keyset``, ``valid_until`` and ``policy``.

    Raises:
        WireError: the body is malformed.
        Refusal: ``proof_refused``, ``already_registered``, ``package_differs``, ``not_allowed_by_policy``.
    """
    body = Register.read(caller.envelope.body)
    caller.require_allowed_unlocking()
    # What the package said, and the HSM vouches for, or what was decided since.
    bound = Flag.BIND_TO_DEVICE & caller.keyset.flags or caller.policy.bind_to_device
    if bound and not body.fingerprint:
        raise Refusal(
            "not_allowed_by_policy", detail="The policy binds keys to a device: send its fingerprint."
        )
    if caller.keyset.status is KeysetStatus.ACTIVE:
        return await _repeat(ctx, caller, body)
    if not hmac.compare_digest(body.package, caller.keyset.package_sha256):
        await _void(ctx, caller)
    old = await ctx.reading(_gather_renewed, caller, body)
    kpublic = keynames.new_public(caller.keyset, body.point)
    stored = keynames.on_token([kpublic])
    await ctx.unit(loose_keys.plan_keys, stored, caller.keyset.id, caller.now)
    try:
        proved = await ctx.on_device(_prove, ctx, caller, body, kpublic, old)
        failures = await ctx.unit(_settle, caller, body, proved, kpublic, old)
    except BaseException:
        await ctx.unit(loose_keys.doom_unowned, stored, caller.keyset.id, ctx.clock.now())
        raise
    if proved.keyset is not None:
        return _answer(caller, proved.keyset)
    if failures >= caller.application.policy.failures_most:
        await block_after_failures(ctx, caller.application, caller.user.user_id, caller.origin)
    raise Refusal("proof_refused", f"wrong {proved.failed}", recorded=True)


def _gather_renewed(connection: Connection, caller: Caller, body: Register) -> Keyset | None:
    """Return the keyset that this one renews, while it is open: it ends when this one begins, on the same device."""
    if caller.keyset.renews is None:
        return None
    user = users.find_user(connection, caller.application.id, caller.user.user_id)
    # Else what is read here would not go with the user's state as the request was authenticated.
    if user is None or user.version != caller.user.version:
        raise Refusal("concurrent_change", "the user changed meanwhile")
    old = keysets.find_keyset(connection, caller.keyset.renews)
    if old is None or old.status not in keyset_rules.OPEN:
        return None
    if old.status is KeysetStatus.ACTIVE and body.fingerprint != old.fingerprint:
        detail = "Renewed keys stay on their device: send the fingerprint that was registered with the keys before."
        raise Refusal("not_allowed_by_policy", "renewed keys with another fingerprint", detail=detail)
    return old


def _answer(caller: Caller, keyset: Keyset) -> dict[str, Any]:
    return {
        "keyset": keyset.id,
        "valid_until": format_time(keyset.valid_until),
        "policy": base64s.encode(package_policy(caller.policy, keyset.step_seconds, keyset.digits).encode()),
    }


def _message(caller: Caller, body: Register) -> Message:
    return Message(
        operation=Operation.REGISTER_KEY,
        application=caller.application.id,
        user=caller.user.user_id,
        media_type=KEY_MEDIA_TYPE,
        content_digest=hashlib.sha256(body.kpublic).digest(),
        fingerprint=body.fingerprint,
        step=body.proofs.step,
    )


def _prove(ctx: Context, caller: Caller, body: Register, kpublic: str, old: Keyset | None) -> _Proved:
    """Verify the code, import the key, and verify the signature with the key as the HSM holds it."""
    message = _message(caller, body)
    policy = caller.application.policy
    early = proofs.verify(ctx, caller.keyset, message, body.proofs, policy, caller.now, needs_signature=False)
    if not early.accepted:
        return _Proved(None, str(early.failed), early.counts)
    keynames.keep_public(ctx, kpublic, body.point)
    if not proofs.signature_matches(ctx, kpublic, message, body.proofs.signature):
        return _Proved(None, "signature", counts=True)
    active = replace(
        caller.keyset,
        status=keyset_rules.next_status(caller.keyset.status, KeysetAction.REGISTER),
        kpublic=kpublic,
        spki=body.kpublic,
        fingerprint=body.fingerprint,
        registered_at=caller.now,
        lapses_at=None,
    )
    renewed = None if old is None else _end(ctx, caller, old)
    return _Proved(bindings.bind(ctx, active, caller.user.status), None, counts=False, renewed=renewed)


def _end(ctx: Context, caller: Caller, old: Keyset) -> Keyset:
    bindings.require_bound(ctx, old, caller.user.status)
    return ended_by(ctx, old, KeysetAction.REPLACE, caller.user.status, caller.now)


def _settle(
    connection: Connection,
    caller: Caller,
    body: Register,
    proved: _Proved,
    kpublic: str,
    old: Keyset | None,
) -> int:
    """Make the keyset active in one unit, or count the failure and return the user's number of failures."""
    use_request(connection, caller.keyset.id, caller.authcode, caller.now)
    if proved.keyset is None:
        return _refuse(connection, caller, proved, kpublic)
    if not users.raise_version(connection, caller.user):
        raise Refusal("concurrent_change", "the user changed meanwhile")
    if not loose_keys.adopt_keys(connection, keynames.on_token([kpublic])):
        raise Refusal("concurrent_change", "the sweep was faster than the registration")
    device = _keep_device(connection, body, proved.keyset)
    if not keysets.change_keyset(connection, caller.keyset, proved.keyset):
        raise Refusal("already_registered", "another registration was faster")
    users.clear_failures(connection, caller.application.id, caller.user.user_id)
    record(connection, [_event(caller, EventType.KEYSET_REGISTERED, "registered")])
    if old is not None and proved.renewed is not None:
        _write_end(connection, caller, old, proved.renewed)
    data = {"keyset": keyset_view(proved.keyset, device), "user": caller.user.user_id}
    enqueue(connection, caller.application, CallbackType.KEYS_REGISTERED, data, caller.now)
    return 0


def _keep_device(connection: Connection, body: Register, keyset: Keyset) -> Device:
    """Return the keyset's device, with the push address that was sent now; renewed keys leave the one before."""
    assert keyset.device_id is not None
    theirs = devices.devices_of(connection, keyset.application_id, keyset.user_id)
    device_rules.next_status(theirs[keyset.device_id].status, DeviceAction.REGISTER)  # else it refuses
    devices.note_registered(connection, keyset.device_id, keyset.registered_at)
    if body.push is not None:
        devices.change_push(connection, keyset.device_id, body.push.provider, body.push.identifier)
    elif keyset.renews is None:  # perhaps another phone, at the place of the one before
        devices.change_push(connection, keyset.device_id, None, None)
    return devices.devices_of(connection, keyset.application_id, keyset.user_id)[keyset.device_id]


def _write_end(connection: Connection, caller: Caller, old: Keyset, ended: Keyset) -> None:
    if not keysets.change_keyset(connection, old, ended):
        raise Refusal("concurrent_change", "the keys before changed meanwhile")
    doom_spent(connection, ended, caller.now)
    ids = {"application_id": old.application_id, "user_id": old.user_id, "keyset_id": old.id}
    ended_event = make_event(
        EventType.KEYSET_ENDED, "deleted", caller.now, caller.origin, reason="renewed", **ids
    )
    record(connection, [ended_event])


def _refuse(connection: Connection, caller: Caller, proved: _Proved, kpublic: str) -> int:
    loose_keys.doom_unowned(connection, keynames.on_token([kpublic]), caller.keyset.id, caller.now)
    reason = f"wrong {proved.failed} at registration"
    record(connection, [_event(caller, EventType.PROOF_REFUSED, "refused", reason)])
    if not proved.counts:
        return 0
    return count_user_failure(connection, caller.application, caller.user.user_id, caller.origin, caller.now)


def _event(caller: Caller, type_: EventType, result: str, reason: str | None = None) -> Any:
    return make_event(
        type_,
        result,
        caller.now,
        caller.origin,
        reason=reason,
        detail={"device": caller.envelope.device},
        **caller.subject,
    )


async def _repeat(ctx: Context, caller: Caller, body: Register) -> dict[str, Any]:
    """The phone lost the answer and asks again; anything else under a registered keyset is an alarm."""
    keyset = caller.keyset
    same = (body.kpublic, body.fingerprint) == (keyset.spki, keyset.fingerprint)
    await ctx.unit(_record_repeat, caller, same=same)
    if not same:
        reason = "registration with another key or fingerprint"
        raise Refusal("already_registered", reason, recorded=True)
    return _answer(caller, keyset)


def _record_repeat(connection: Connection, caller: Caller, *, same: bool) -> None:
    use_request(connection, caller.keyset.id, caller.authcode, caller.now)
    if same:
        record(connection, [_event(caller, EventType.REQUEST, "repeated")])
    else:
        record(connection, [_event(caller, EventType.KEYSET_ALARM, "alarm", "registered with another key")])


async def _void(ctx: Context, caller: Caller) -> None:
    """End a keyset whose package was altered on its way."""
    answered = await ctx.reading(transactions.was_used, caller.keyset.id)
    how = (caller.keyset, KeysetAction.VOID, caller.user.status, caller.now)
    ended = await ctx.on_device(ended_by, ctx, *how, answered=answered)
    await ctx.unit(_write_void, caller, ended, answered=answered)
    raise Refusal("package_differs", "the digest of the package is not the issued one", recorded=True)


def _write_void(connection: Connection, caller: Caller, ended: Keyset, *, answered: bool) -> None:
    use_request(connection, caller.keyset.id, caller.authcode, caller.now)
    if not users.raise_version(connection, caller.user) or not keysets.change_keyset(
        connection, caller.keyset, ended
    ):
        raise Refusal("concurrent_change")
    # Only now: whoever keeps an answer locks the user.
    if transactions.was_used(connection, ended.id) != answered:
        raise Refusal("concurrent_change", "an answer was given meanwhile")
    spent = keynames.on_token(keyset_rules.spent_keys(ended, answered=answered))
    # Kauth still proves the answer to this request; as a key that nobody adopts it goes a little later.
    loose_keys.doom_keys(connection, [uri for uri in spent if uri != ended.kauth], ended.id, caller.now)
    loose_keys.plan_keys(connection, keynames.on_token([ended.kauth]), ended.id, caller.now)
    record(
        connection,
        [
            _event(caller, EventType.KEYSET_ALARM, "alarm", "package differs from the issued one"),
            _event(caller, EventType.KEYSET_ENDED, "void", "package differs from the issued one"),
        ],
    )
