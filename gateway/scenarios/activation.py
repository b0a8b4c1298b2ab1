"""How does the activation code leave the gateway: once, by a call and a scope of its own."""

from datetime import datetime

from gateway.refusals import Refusal
from gateway.rules import keyset as keyset_rules
from gateway.rules import user as user_rules
from gateway.rules.event import EventType
from gateway.rules.keyset import Delivery, Keyset, KeysetStatus
from gateway.rules.user import User
from gateway.scenarios import bindings
from gateway.scenarios.access import Asker
from gateway.scenarios.context import Context
from gateway.scenarios.packaging import activation_code
from gateway.scenarios.recording import Origin, make_event, record
from gateway.store import keysets, users
from gateway.store.database import Connection
from gateway.wire import secret as secrets_wire


async def give_activation_code(
    ctx: Context, asker: Asker, user_id: str, keyset_id: str, origin: Origin
) -> str:
    """Return the activation code in groups of four, once.

    Raises:
        Refusal: ``not_found``, ``keyset_not_open``, ``already_delivered``.
    """
    now = ctx.clock.now()
    keyset, user = await ctx.reading(_find_issued, asker, user_id, keyset_id)
    why = keyset_rules.why_unusable(keyset, now, registering=True, kpublic_required=False)
    if why is not None:
        raise Refusal("keyset_not_open", why)
    code = await ctx.on_device(_bound_code, ctx, keyset, user)
    await ctx.unit(_mark_given, keyset, origin, now)
    return secrets_wire.group(code)


def _find_issued(connection: Connection, asker: Asker, user_id: str, keyset_id: str) -> tuple[Keyset, User]:
    keyset = keysets.find_keyset(connection, keyset_id)
    if keyset is None or (keyset.application_id, keyset.user_id) != (asker.application.id, user_id):
        raise Refusal("not_found", "unknown keyset")
    user = users.find_user(connection, keyset.application_id, keyset.user_id)
    assert user is not None
    user_rules.require_open(user, asker.application.policy.failures_most)
    if keyset.status is not KeysetStatus.ISSUED or keyset.delivery is not Delivery.QR_AND_CODE:
        raise Refusal("keyset_not_open", f"{keyset.delivery} keyset is {keyset.status}")
    return keyset, user


def _bound_code(ctx: Context, keyset: Keyset, user: User) -> str:
    bindings.require_bound(ctx, keyset, user.status)
    return activation_code(ctx, keyset.application_id, keyset.id, keyset.salt)


def _mark_given(connection: Connection, keyset: Keyset, origin: Origin, now: datetime) -> None:
    if not keysets.mark_code_given(connection, keyset.id, now):
        raise Refusal("already_delivered", "activation code")
    event = make_event(
        EventType.KEYSET_CODE_GIVEN,
        "given",
        now,
        origin,
        application_id=keyset.application_id,
        user_id=keyset.user_id,
        keyset_id=keyset.id,
    )
    record(connection, [event])
