"""Which devices may a user have: the states of one, and which keys give way when another is to get keys.

A device is the place of one phone: it comes to be when keys are issued for it, and all keys that follow on that
phone are its keys. Room is counted by keysets alone, because the HSM vouches for those and not for the rows of devices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.refusals import Refusal
from gateway.rules.keyset import OPEN, Keyset, KeysetStatus


class DeviceStatus(StrEnum):
    """State of a device. ``expected``: keys were issued for it, and no phone has registered with them yet."""

    EXPECTED = "expected"
    ACTIVE = "active"
    REMOVED = "removed"


class DeviceAction(StrEnum):
    """What can happen to a device."""

    REGISTER = "register"
    REMOVE = "remove"


START = DeviceStatus.EXPECTED
# New keys on a phone are registered for the device that it is; removing what is removed changes nothing.
TRANSITIONS: dict[tuple[DeviceStatus, DeviceAction], DeviceStatus] = {
    (DeviceStatus.EXPECTED, DeviceAction.REGISTER): DeviceStatus.ACTIVE,
    (DeviceStatus.EXPECTED, DeviceAction.REMOVE): DeviceStatus.REMOVED,
    (DeviceStatus.ACTIVE, DeviceAction.REGISTER): DeviceStatus.ACTIVE,
    (DeviceStatus.ACTIVE, DeviceAction.REMOVE): DeviceStatus.REMOVED,
    (DeviceStatus.REMOVED, DeviceAction.REMOVE): DeviceStatus.REMOVED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One phone of a user; push data is where it can be woken up."""

    id: str
    application_id: str
    user_id: str
    push_provider: str | None
    push_id: str | None
    created_at: datetime
    registered_at: datetime | None = None
    removed_at: datetime | None = None

    @property
    def status(self) -> DeviceStatus:
        """The state, as its times tell it."""
        if self.removed_at is not None:
            return DeviceStatus.REMOVED
        return DeviceStatus.EXPECTED if self.registered_at is None else DeviceStatus.ACTIVE


def next_status(status: DeviceStatus, action: DeviceAction) -> DeviceStatus:
    """Return the state after the action, or refuse: a removed device stays removed."""
    following = TRANSITIONS.get((status, action))
    if following is None:
        raise Refusal("not_found", f"{action} of a device that is {status}")
    return following


def replaces_all(device_id: str | None, most: int) -> bool:
    """Say whether keys for a device that is not named take the place of all others: where there is but one."""
    return device_id is None and most == 1


def giving_way(present: Sequence[Keyset], device_id: str | None, most: int, now: datetime) -> list[Keyset]:
    """Return the keysets that end when new keys are issued; refuses where there is no room for one more device.

    Args:
        present: every keyset of the user.
        device_id: whose keys are replaced; None: they are for one more device.
        most: how many devices the policy allows.
        now: the moment of the issue.

    Raises:
        Refusal: ``devices_full``.
    """
    opened = [keyset for keyset in present if keyset.status in OPEN]
    if replaces_all(device_id, most):
        return opened
    taken = sorted({str(keyset.device_id) for keyset in opened if not _has_lapsed(keyset, now)})
    if device_id not in taken and len(taken) >= most:
        detail = f"The policy allows {most}. These have keys: {', '.join(taken)}."
        raise Refusal("devices_full", f"{len(taken)} of {most} devices have keys", detail=detail)
    return [keyset for keyset in opened if keyset.device_id == device_id]


def _has_lapsed(keyset: Keyset, now: datetime) -> bool:
    """Say whether nobody registered in time; the sweep that ends such a keyset may not have come yet."""
    return keyset.status is KeysetStatus.ISSUED and keyset.lapses_at is not None and keyset.lapses_at <= now
