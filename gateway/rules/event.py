"""Which events there are: the catalogue of everything the log may say."""

from enum import StrEnum


class EventType(StrEnum):
    """Name of an event; the text beside it in ``CATALOGUE`` is its meaning."""

    REQUEST = "client.request"
    AUTHENTICATION_FAILED = "client.authentication_failed"
    APPLICATION_REFUSED = "application.refused"
    APPLICATION_CREATED = "application.created"
    APPLICATION_CHANGED = "application.changed"
    CREDENTIAL_CREATED = "credential.created"
    CREDENTIAL_REVOKED = "credential.revoked"
    POLICY_CHANGED = "policy.changed"
    WEBHOOK_SECRET_SHOWN = "webhook.secret_shown"  # noqa: S105 - the name of an event
    USER_CREATED = "user.created"
    USER_BLOCKED = "user.blocked"
    USER_BLOCK_NEAR = "user.block_near"
    USER_UNBLOCKED = "user.unblocked"
    USER_DELETED = "user.deleted"
    USER_SETTINGS_CHANGED = "user.settings_changed"
    KEYSET_ISSUED = "keyset.issued"
    KEYSET_CODE_GIVEN = "keyset.activation_code_given"
    KEYSET_REGISTERED = "keyset.registered"
    KEYSET_ENDED = "keyset.ended"
    KEYSET_ALARM = "keyset.alarm"
    DEVICE_REMOVED = "device.removed"
    BINDING_BROKEN = "keyset.binding_broken"
    KEY_DESTROYED = "key.destroyed"
    HOUSE_KEY_ROTATED = "house_key.rotated"
    HOUSE_KEY_RETIRED = "house_key.retired"
    CONTENT_RECEIVED = "content.received"
    TRANSACTION_CREATED = "transaction.created"
    TRANSACTION_BROKEN = "transaction.binding_broken"
    TRANSACTION_SETTLED = "transaction.settled"
    TRANSACTION_LATE = "transaction.late_answer"
    PROOF_REFUSED = "transaction.proof_refused"
    SCORE_TOO_HIGH = "answer.score_too_high"
    AUTHENTICATION_CONFIRMED = "authentication.confirmed"
    AUTHENTICATION_REFUSED = "authentication.refused"
    AUTHENTICATION_REPEATED = "authentication.repeated"
    SIGNATURE_VERIFIED = "signature.verified"
    CALLBACK_DELIVERED = "callback.delivered"
    CALLBACK_FAILED = "callback.failed"
    CALLBACK_GIVEN_UP = "callback.given_up"
    CALLBACK_FORGED = "callback.forged"
    PUSH_ADDRESS_DROPPED = "device.push_dropped"


CATALOGUE: dict[EventType, str] = {
    EventType.REQUEST: "a phone's authenticated request and its result",
    EventType.AUTHENTICATION_FAILED: "a phone's request that was not authenticated, with the reason",
    EventType.APPLICATION_REFUSED: "an application's request that was refused, with the reason",
    EventType.APPLICATION_CREATED: "an application was added",
    EventType.APPLICATION_CHANGED: "the callback address of an application was changed",
    EventType.CREDENTIAL_CREATED: "a credential was made for an application",
    EventType.CREDENTIAL_REVOKED: "a credential was taken back",
    EventType.POLICY_CHANGED: "an application's policy was replaced",
    EventType.WEBHOOK_SECRET_SHOWN: "a new version of the callback secret was shown",
    EventType.USER_CREATED: "a user was created",
    EventType.USER_BLOCKED: "a user was blocked, by whom and why",
    EventType.USER_BLOCK_NEAR: "one more failure will block the user",
    EventType.USER_UNBLOCKED: "a user was unblocked",
    EventType.USER_DELETED: "a user was deleted and all its keys ended",
    EventType.USER_SETTINGS_CHANGED: "flags and password rules of one user were changed by its application",
    EventType.KEYSET_ISSUED: "a keyset was made in the HSM and its package given out",
    EventType.KEYSET_CODE_GIVEN: "the activation code of a keyset was given out",
    EventType.KEYSET_REGISTERED: "a phone registered Kpublic; the keyset is active",
    EventType.KEYSET_ENDED: "a keyset was replaced, removed, voided or has lapsed",
    EventType.KEYSET_ALARM: "a registered keyset was registered again with another key, or its package differs",
    EventType.DEVICE_REMOVED: "a device was removed by its application, or gave way to another; its keys ended",
    EventType.BINDING_BROKEN: "a row of keys is not the one the HSM vouched for",
    EventType.KEY_DESTROYED: "a key nobody needs any more was destroyed on the token",
    EventType.HOUSE_KEY_ROTATED: "a new version of a key of the gateway was made, or its rows were bound to it anew",
    EventType.HOUSE_KEY_RETIRED: "an old version of a key of the gateway, which no row used any more, was destroyed",
    EventType.CONTENT_RECEIVED: "an application handed in content by itself, for a transaction to come",
    EventType.TRANSACTION_CREATED: "an application created a transaction",
    EventType.TRANSACTION_BROKEN: "a row of a transaction is not the one the HSM vouched for",
    EventType.TRANSACTION_SETTLED: "a transaction was confirmed, declined or cancelled",
    EventType.TRANSACTION_LATE: "an answer came for a transaction that was settled already",
    EventType.PROOF_REFUSED: "code, signature or step of an answer were not right",
    EventType.SCORE_TOO_HIGH: "an answer with right proofs was refused, because too much spoke against it",
    EventType.AUTHENTICATION_CONFIRMED: "a user was authenticated by content that its phone made under a rule",
    EventType.AUTHENTICATION_REFUSED: "code, signature, step or time of such content were not right",
    EventType.AUTHENTICATION_REPEATED: "right proofs of such content came again; they had served already",
    EventType.SIGNATURE_VERIFIED: "an application had a past signature verified",
    EventType.CALLBACK_DELIVERED: "a callback was accepted by the application",
    EventType.CALLBACK_FAILED: "a callback was not accepted and will be tried again",
    EventType.CALLBACK_GIVEN_UP: "a callback was not accepted in time and is given up",
    EventType.CALLBACK_FORGED: "a callback in the outbox is not the gateway's; it is given up and never sent",
    EventType.PUSH_ADDRESS_DROPPED: "a push service knows a phone's push address no more; the address was forgotten",
}
