"""Which callbacks there are: the catalogue of everything an application is told without asking."""

from enum import StrEnum


class CallbackType(StrEnum):
    """Type of a callback; the text beside it in ``CALLBACKS`` says when it is sent."""

    TRANSACTION_CONFIRMED = "transaction.confirmed"
    TRANSACTION_DECLINED = "transaction.declined"
    TRANSACTION_CANCELLED = "transaction.cancelled"
    AUTHENTICATION_CONFIRMED = "authentication.confirmed"
    AUTHENTICATION_REFUSED = "authentication.refused"
    KEYS_REGISTERED = "keys.registered"
    DEVICE_REMOVED = "device.removed"
    USER_BLOCKED = "user.blocked"
    USER_UNBLOCKED = "user.unblocked"
    USER_DELETED = "user.deleted"


CALLBACKS: dict[CallbackType, str] = {
    CallbackType.TRANSACTION_CONFIRMED: "The user approved, with right proofs and in time.",
    CallbackType.TRANSACTION_DECLINED: "The user declined, with right proofs and in time.",
    CallbackType.TRANSACTION_CANCELLED: "It ended without a decision; `reason` of the transaction says why.",
    CallbackType.AUTHENTICATION_CONFIRMED: "A user was authenticated by content that the phone made under a rule.",
    CallbackType.AUTHENTICATION_REFUSED: "The proofs of such content were right, but too much speaks against it.",
    CallbackType.KEYS_REGISTERED: "A phone registered its key; the keyset is active.",
    CallbackType.DEVICE_REMOVED: "The application removed a device of a user.",
    CallbackType.USER_BLOCKED: "A user was blocked, by the application or by too many failures.",
    CallbackType.USER_UNBLOCKED: "A user was unblocked.",
    CallbackType.USER_DELETED: "A user was deleted.",
}
