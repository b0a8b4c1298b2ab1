"""Does the HSM vouch for a keyset row: making and checking the MAC that binds it."""

import hmac
from dataclasses import replace

from gateway.rules.keyset import Keyset
from gateway.rules.user import UserStatus
from gateway.scenarios.context import Context
from gateway.wire.binding import KeysetBinding


def binding_input(keyset: Keyset, user_status: UserStatus) -> bytes:
    """Return the bytes under the MAC: everything of the row that decisions rest on."""
    return KeysetBinding(
        application=keyset.application_id,
        user=keyset.user_id,
        user_status=user_status,
        keyset=keyset.id,
        keyset_status=keyset.status,
        khmac=keyset.khmac,
        kauth=keyset.kauth,
        kpublic=keyset.kpublic,
        spki=keyset.spki,
        fingerprint=keyset.fingerprint,
        device=keyset.device_id,
        step_seconds=keyset.step_seconds,
        digits=keyset.digits,
        flags=keyset.flags,
        package_sha256=keyset.package_sha256,
        created_at=keyset.created_at,
        valid_until=keyset.valid_until,
        lapses_at=keyset.lapses_at,
        ended_at=keyset.ended_at,
    ).encode()


def bind(ctx: Context, keyset: Keyset, user_status: UserStatus) -> Keyset:
    """Return the keyset with a fresh MAC. Talks to the device."""
    return replace(keyset, binding=ctx.device.mac(ctx.keys.binding, binding_input(keyset, user_status)))


def is_bound(ctx: Context, keyset: Keyset, user_status: UserStatus) -> bool:
    """Say whether the row is the one the HSM vouched for. Talks to the device."""
    mac = ctx.device.mac(ctx.keys.binding, binding_input(keyset, user_status))
    return hmac.compare_digest(mac, keyset.binding)
