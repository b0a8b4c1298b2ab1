"""What a keyset may be used for: its states, and the checks before each use."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gateway.refusals import Refusal


class KeysetStatus(StrEnum):
    """State of a keyset.

    ``issued``: made and delivered, the phone has not registered yet. ``active``: in use. ``deleted``: replaced
    or removed, verifies old signatures only. ``void``: its package was altered on the way. ``lapsed``: never
    registered in time. ``unreadable``: the row says what no gateway writes; the HSM vouches for no such row.
    """

    ISSUED = "issued"
    ACTIVE = "active"
    DELETED = "deleted"
    VOID = "void"
    LAPSED = "lapsed"
    UNREADABLE = "unreadable"


class KeysetAction(StrEnum):
    """What can happen to a keyset."""

    REGISTER = "register"
    REPLACE = "replace"
    VOID = "void"
    LAPSE = "lapse"


START = KeysetStatus.ISSUED
TRANSITIONS: dict[tuple[KeysetStatus, KeysetAction], KeysetStatus] = {
    (KeysetStatus.ISSUED, KeysetAction.REGISTER): KeysetStatus.ACTIVE,
    (KeysetStatus.ISSUED, KeysetAction.REPLACE): KeysetStatus.DELETED,
    (KeysetStatus.ISSUED, KeysetAction.VOID): KeysetStatus.VOID,
    (KeysetStatus.ISSUED, KeysetAction.LAPSE): KeysetStatus.LAPSED,
    (KeysetStatus.ACTIVE, KeysetAction.REPLACE): KeysetStatus.DELETED,
}

OPEN = (KeysetStatus.ISSUED, KeysetStatus.ACTIVE)
# Keys that were in use leave what verifies old answers on the token for ever: one phone must not fill it.
_RENEWALS_MOST, _RENEWALS_WITHIN = 10, timedelta(days=1)


class Delivery(StrEnum):
    """How the keys travel to the phone; ``unreadable`` where the row says what no gateway writes."""

    ONLINE = "online"
    QR = "qr"
    QR_AND_CODE = "qr_and_code"
    SEALED = "sealed"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyset:
    """One user's keys on one device, as handles; ``binding`` is the HSM's MAC over what is trusted of it."""

    id: str
    application_id: str
    user_id: str
    status: KeysetStatus
    delivery: Delivery
    khmac: str
    kauth: str
    kpublic: str | None
    spki: bytes | None
    fingerprint: bytes
    device_id: str | None
    step_seconds: int
    digits: int
    flags: int
    renews: str | None = None
    salt: bytes
    package_sha256: bytes
    created_at: datetime
    valid_until: datetime
    lapses_at: datetime | None
    registered_at: datetime | None
    ended_at: datetime | None
    code_given_at: datetime | None
    policy_version: int = 1  # of the policy under which it was made
    binding: bytes
    binding_version: int = 1  # of the key under the MAC


def next_status(status: KeysetStatus, action: KeysetAction) -> KeysetStatus:
    """Return the state after the action, or refuse."""
    following = TRANSITIONS.get((status, action))
    if following is None:
        raise Refusal("keyset_not_open", f"{action} of a keyset that is {status}")
    return following


def spent_keys(keyset: Keyset, *, answered: bool) -> tuple[str, ...]:
    """Return the handles nobody needs any more: none of an open keyset, Kauth of one that has ended.

    Khmac as well where the keyset was never registered and no answer was given with it; else it verifies old answers
    for ever.
    """
    if keyset.status in (*OPEN, KeysetStatus.UNREADABLE):
        return ()
    if keyset.registered_at is None and not answered:
        return keyset.khmac, keyset.kauth
    return (keyset.kauth,)


def why_unusable(keyset: Keyset, now: datetime, *, registering: bool, kpublic_required: bool) -> str | None:
    """Say why the keyset cannot authenticate a request now; None if it can.

    An ``issued`` keyset may only register, unless the policy does without Kpublic. One that renews another may always
    only register: it is bound to no device yet, and needs no signature, which the keys before perhaps do.
    """
    if keyset.valid_until <= now:  # first, as the specification has it
        return "keyset has expired"
    if keyset.status not in OPEN:
        return f"keyset is {keyset.status}"
    if keyset.status is KeysetStatus.ISSUED:
        if keyset.lapses_at is not None and keyset.lapses_at <= now:
            return "keyset has lapsed"
        if not registering and (kpublic_required or keyset.renews is not None):
            return "keyset is not registered"
    return None


def require_few_renewals(present: Iterable[Keyset], device_id: str, now: datetime) -> None:
    """Refuse (``too_many_renewals``) a device that was given new keys very often lately, of those its user ever had."""
    since = now - _RENEWALS_WITHIN
    lately = [each for each in present if each.renews and each.device_id == device_id]
    if sum(each.created_at > since for each in lately) >= _RENEWALS_MOST:
        detail = f"A device gets new keys {_RENEWALS_MOST} times in 24 hours at most."
        raise Refusal("too_many_renewals", detail=detail)
