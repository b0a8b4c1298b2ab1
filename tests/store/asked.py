"""Which statements does the gateway send: every function of the store that is given a connection, asked once or more.

On the database of ``crowded``; each is undone afterwards.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gateway.rules.delivery import DeliveryAction
from gateway.rules.push import PushProvider
from gateway.rules.transaction import TransactionStatus
from gateway.rules.user import UserStatus
from gateway.store import (
    authentications,
    deliveries,
    devices,
    earlier_answers,
    events,
    guards,
    history,
    holdings,
    keysets,
    loose_keys,
    pushes,
    rotating,
    transactions,
    uploads,
    users,
    waiting,
)
from gateway.store.database import Connection
from gateway.store.history import Wanted
from gateway.store.pushes import Push
from gateway.store.uploads import Upload
from tests.store.crowded import BIG, DEVICE, KEYSET, PENDING, SETTLED, USER
from tests.store.rows import anna, event, insert_delivery, transaction

Question = Callable[[Connection], object]
NOW, NUMBER, HASH = datetime.now(UTC), 2**62, bytes(32)
SOON, PAST = NOW + timedelta(minutes=5), NOW - timedelta(days=1)
NAMES, URIS = [PENDING, SETTLED], ["pkcs11:id=1", "pkcs11:id=99"]
PUSH = Push(
    device_id=DEVICE, application_id=BIG, user_id=USER, provider="apns", push_id="push_7", version=1, tries=0
)
UPLOAD = Upload(
    id="upl_7", application_id=BIG, media_type="text/plain", size=20, content_sha256=HASH, created_at=NOW,
    expires_at=SOON,
)  # fmt: skip
ROOM = {BIG: 10, "app_1": 10}


def _pages() -> dict[str, Question]:
    def page(user: str | None = None, status: str | None = None, after: str | None = None) -> Question:
        of = {"user_id": user, "status": status, "after": after, "limit": 20}
        return lambda c: transactions.list_transactions(c, BIG, **of)

    pending = transactions.pending_transactions
    return {
        "transactions.list_transactions": page(),
        "transactions.list_transactions (next page)": page(after=SETTLED),
        "transactions.list_transactions (of a state)": page(status="confirmed"),
        "transactions.list_transactions (of a user)": page(USER),
        "transactions.list_transactions (of a user in a state)": page(USER, "confirmed", SETTLED),
        "transactions.pending_transactions": lambda c: pending(c, {(BIG, USER), (BIG, "user_8")}, NOW, 20),
        "waiting.count_waiting": lambda c: waiting.count_waiting(c, {(BIG, USER)}),
        "waiting.bytes_waiting": lambda c: waiting.bytes_waiting(c, BIG, USER),
        "waiting.large_waiting": lambda c: waiting.large_waiting(c, BIG),
        "transactions.all_pending": lambda c: transactions.all_pending(c, BIG, USER),
        "transactions.expired_transactions": lambda c: transactions.expired_transactions(c, NOW, 100),
    }


def _transactions() -> dict[str, Question]:
    def settle(*, before_expiry: bool) -> Question:
        return lambda c: transactions.settle_transaction(
            c, PENDING, status=TransactionStatus.CANCELLED, reason=None, now=NOW, before_expiry=before_expiry
        )

    return {
        "transactions.insert_transactions": lambda c: transactions.insert_transactions(
            c, [(transaction("txn_new", application_id=BIG, user_id=USER), b"pay")]
        ),
        "transactions.find_transaction": lambda c: transactions.find_transaction(c, BIG, PENDING),
        "transactions.find_transactions": lambda c: transactions.find_transactions(c, NAMES),
        "transactions.settle_transaction": settle(before_expiry=True),
        "transactions.settle_transaction (whenever)": settle(before_expiry=False),
        "transactions.settle_transactions": lambda c: transactions.settle_transactions(
            c, NAMES, TransactionStatus.CONFIRMED, NOW, told=True
        ),
        "transactions.count_failure": lambda c: transactions.count_failure(c, PENDING),
        "transactions.read_content": lambda c: transactions.read_content(c, PENDING, 0, 20),
        "transactions.insert_attempts": lambda c: transactions.insert_attempts(
            c, [replace(each, id="att_new") for each in transactions.attempts_of(c, [SETTLED])[SETTLED]]
        ),
        "transactions.count_not_accepted": lambda c: transactions.count_not_accepted(c, SETTLED),
        "transactions.was_used": lambda c: transactions.was_used(c, "ks_unknown"),
        "transactions.first_parts": lambda c: transactions.first_parts(c, NAMES),
        "transactions.attempts_of": lambda c: transactions.attempts_of(c, NAMES),
    }


def _users() -> dict[str, Question]:
    user = replace(anna(USER), application_id=BIG)
    return {
        "users.insert_user": lambda c: users.insert_user(c, replace(user, user_id="new")),
        "users.find_user": lambda c: users.find_user(c, BIG, USER),
        "users.find_users": lambda c: users.find_users(c, [(BIG, USER), (BIG, "user_8")]),
        "users.failing_applications": users.failing_applications,
        "users.failing_users": lambda c: users.failing_users(c, BIG, 5, 100),
        "users.lock_user": lambda c: users.lock_user(c, BIG, USER),
        "users.lock_free_users": lambda c: users.lock_free_users(c, [(BIG, USER), (BIG, "user_8")]),
        "users.change_user": lambda c: users.change_user(c, user, status=UserStatus.BLOCKED, reason=None),
        "users.raise_version": lambda c: users.raise_version(c, user),
        "users.raise_versions": lambda c: users.raise_versions(c, [user, replace(user, user_id="user_8")]),
        "users.change_settings": lambda c: users.change_settings(c, user, {}),
        "users.count_failure": lambda c: users.count_failure(c, BIG, USER),
        "users.clear_failures": lambda c: users.clear_failures(c, BIG, USER),
    }


def _keysets() -> dict[str, Question]:
    def change(connection: Connection) -> object:
        (found, _) = keysets.find_with_users(connection, [KEYSET])[KEYSET]
        return keysets.change_keyset(connection, found, replace(found, lapses_at=SOON, binding=HASH))

    def insert(connection: Connection) -> object:
        (found, _) = keysets.find_with_users(connection, [KEYSET])[KEYSET]
        keysets.insert_keysets(connection, [replace(found, id="ks_newer", khmac="h2", kauth="a2")])
        return keysets.insert_keyset(connection, replace(found, id="ks_new", khmac="h", kauth="a"))

    return {
        "keysets.insert_keyset": insert,
        "keysets.insert_keysets": insert,
        "keysets.find_keyset": lambda c: keysets.find_keyset(c, KEYSET),
        "keysets.find_keysets": lambda c: keysets.find_keysets(c, [KEYSET, "ks_8"]),
        "keysets.find_with_users": lambda c: keysets.find_with_users(c, [KEYSET, "ks_8"]),
        "keysets.keysets_of": lambda c: keysets.keysets_of(c, BIG, USER),
        "keysets.keysets_of_users": lambda c: keysets.keysets_of_users(c, [(BIG, USER), (BIG, "user_8")]),
        "keysets.keysets_naming": lambda c: keysets.keysets_naming(c, "derived:aks_7"),
        "keysets.lapsed_keysets": lambda c: keysets.lapsed_keysets(c, NOW, 100),
        "keysets.change_keyset": change,
        "keysets.mark_code_given": lambda c: keysets.mark_code_given(c, KEYSET, NOW),
        "keysets.who_can_confirm": lambda c: keysets.who_can_confirm(c, [(BIG, USER), (BIG, "user_8")], NOW),
        "earlier_answers.earlier_answers": lambda c: earlier_answers.earlier_answers(
            c, replace(keysets.keysets_of(c, BIG, USER)[0], renews="ks_8"), 20, authenticates=True
        ),
    }


def _keys() -> dict[str, Question]:
    return {
        "holdings.named_keys": lambda c: list(holdings.named_keys(c)),
        "holdings.count_since": lambda c: holdings.count_since(c, PAST),
        "loose_keys.plan_keys": lambda c: loose_keys.plan_keys(c, ["pkcs11:new"], KEYSET, NOW),
        "loose_keys.plan_all": lambda c: loose_keys.plan_all(c, [("pkcs11:newer", KEYSET)], NOW),
        "loose_keys.adopt_keys": lambda c: loose_keys.adopt_keys(c, URIS),
        "loose_keys.doom_keys": lambda c: loose_keys.doom_keys(c, URIS, KEYSET, NOW),
        "loose_keys.doom_forgotten": lambda c: loose_keys.doom_forgotten(c, PAST, NOW),
        "loose_keys.doomed_keys": lambda c: loose_keys.doomed_keys(c, 100),
        "loose_keys.forget_key": lambda c: loose_keys.forget_key(c, URIS[0]),
        "loose_keys.known_uris": loose_keys.known_uris,
        "loose_keys.doom_unowned": lambda c: loose_keys.doom_unowned(c, URIS, KEYSET, NOW),
    }


def _devices() -> dict[str, Question]:
    every = dict.fromkeys(PushProvider, 10)
    return {
        "devices.insert_devices": lambda c: devices.insert_devices(
            c, [replace(devices.devices_of(c, BIG, USER)[DEVICE], id="dev_new")]
        ),
        "devices.devices_of": lambda c: devices.devices_of(c, BIG, USER),
        "devices.note_registered": lambda c: devices.note_registered(c, DEVICE, NOW),
        "devices.change_push": lambda c: devices.change_push(c, DEVICE, "fcm", "push"),
        "devices.remove_devices": lambda c: devices.remove_devices(c, [DEVICE, "dev_8"], NOW),
        "pushes.want_pushes": lambda c: pushes.want_pushes(c, {(BIG, USER)}, NOW, SOON),
        "pushes.due_providers": lambda c: pushes.due_providers(c, NOW),
        "pushes.claim_pushes": lambda c: pushes.claim_pushes(c, SOON, SOON, every),
        "pushes.waits_until": lambda c: pushes.waits_until(c, PUSH, NOW),
        "pushes.end_push": lambda c: pushes.end_push(c, PUSH),
        "pushes.postpone_push": lambda c: pushes.postpone_push(c, PUSH, SOON),
        "pushes.drop_push_address": lambda c: pushes.drop_push_address(c, PUSH),
        "pushes.forget_expired": lambda c: pushes.forget_expired(c, PAST),
    }


def _events() -> dict[str, Question]:
    def page(application: str | None = BIG, *, newest: bool = False, **filters: str) -> Question:
        return lambda c: events.list_events(
            c, application, filters=filters, after=5, through=NUMBER, limit=20, newest=newest
        )

    found: dict[str, Question] = {
        "events.append_events": lambda c: events.append_events(c, [event("evt_new")]),
        "events.horizon": events.horizon,
        "events.list_events": page(),
        "events.list_events (of everybody)": page(None),
        "events.list_events (the newest)": page(newest=True),
        "events.list_events (the newest of a user)": page(user_id=USER, newest=True),
        "events.list_events (of a user)": page(user_id=USER),
        "events.list_events (of a user's keyset)": page(user_id=USER, keyset_id=KEYSET),
        "events.list_events (of a keyset)": page(keyset_id=KEYSET),
        "events.list_events (of a transaction)": page(transaction_id=SETTLED),
        "events.list_events (of a type)": page(type="transaction.settled"),
        "events.lines_of": lambda c: events.lines_of(c, list(ROOM), after=5, through=NUMBER, limit=20),
        "events.lines_of (of one)": lambda c: events.lines_of(c, [BIG], after=5, through=NUMBER, limit=20),
        "events.subjects": lambda c: events.subjects(c, after=5, through=NUMBER, limit=20),
    }
    return found


def _history() -> dict[str, Question]:
    def answers(**wanted: str | datetime) -> Question:
        return lambda c: history.answers_of(c, BIG, USER, Wanted(**wanted), after="att_1", limit=20)  # type: ignore[arg-type]

    def authenticate(connection: Connection) -> object:
        (found,) = authentications.list_authentications(connection, BIG, USER, after=None, limit=1)
        return authentications.insert_authentication(connection, replace(found, id="atn_new"))

    return {
        "history.answers_of": answers(),
        "history.answers_of (of a keyset)": answers(keyset_id=KEYSET),
        "history.answers_of (of a device)": answers(device_id=DEVICE),
        "history.answers_of (of a time)": answers(since=PAST, until=NOW),
        "authentications.insert_authentication": authenticate,
        "authentications.find_authentication": lambda c: authentications.find_authentication(c, BIG, "atn_10000007"),
        "authentications.find_by_message": lambda c: authentications.find_by_message(c, KEYSET, HASH),
        "authentications.list_authentications": lambda c: authentications.list_authentications(
            c, BIG, USER, after="atn_2", limit=20
        ),
        "rotating.rows_by_version": rotating.rows_by_version,
        "rotating.derived_names": lambda c: list(rotating.derived_names(c)),
        "rotating.users_bound_before": lambda c: rotating.users_bound_before(c, 2, (BIG, USER), 5),
        "rotating.bind_keysets": lambda c: rotating.bind_keysets(c, replace(anna(USER), application_id=BIG), []),
        "rotating.transactions_bound_before": lambda c: rotating.transactions_bound_before(c, 2, SETTLED, 5),
        "rotating.bind_transactions": lambda c: rotating.bind_transactions(
            c, [(transaction(PENDING), transaction(PENDING))]
        ),
    }  # fmt: skip


def _deliveries() -> dict[str, Question]:
    def tried(action: DeliveryAction) -> Question:
        return lambda c: deliveries.note_try(c, "msg_20000001", action, None, now=NOW, next_at=SOON)

    return {
        "deliveries.next_sequence": lambda c: deliveries.next_sequence(c, PENDING),
        "deliveries.insert_deliveries": lambda c: insert_delivery(c, "msg_new", application_id=BIG),
        "deliveries.outbox": deliveries.outbox,
        "deliveries.due_applications": lambda c: deliveries.due_applications(c, NOW),
        "deliveries.claim_deliveries": lambda c: deliveries.claim_deliveries(c, NOW, SOON, ROOM),
        "deliveries.note_try": tried(DeliveryAction.ARRIVE),
        "deliveries.note_try (failed)": tried(DeliveryAction.FAIL),
        "guards.use_authcodes": lambda c: guards.use_authcodes(c, [(KEYSET, HASH), ("ks_8", HASH)], SOON),
        "guards.remember_request": lambda c: guards.remember_request(c, BIG, "key_7", HASH, SOON),
        "guards.finish_request": lambda c: guards.finish_request(c, BIG, "key_7", PENDING, SOON),
        "guards.remember_results": lambda c: guards.remember_results(c, [(BIG, "key_7", HASH, PENDING)], SOON),
        "guards.find_request": lambda c: guards.find_request(c, BIG, "key_7"),
        "guards.forget_result": lambda c: guards.forget_result(c, BIG, "key_7", PENDING),
        "guards.forget_request": lambda c: guards.forget_request(c, BIG, "key_7"),
        "guards.forget_expired": lambda c: guards.forget_expired(c, NOW, 100),
        "uploads.lock_waiting": lambda c: uploads.lock_waiting(c, BIG),
        "uploads.insert_upload": lambda c: uploads.insert_upload(c, replace(UPLOAD, id="upl_new")),
        "uploads.insert_part": lambda c: uploads.insert_part(c, UPLOAD.id, 1, b"pay"),
        "uploads.complete_upload": lambda c: uploads.complete_upload(c, UPLOAD),
        "uploads.find_upload": lambda c: uploads.find_upload(c, BIG, UPLOAD.id, NOW),
        "uploads.use_upload": lambda c: uploads.complete_upload(c, UPLOAD) and uploads.use_upload(c, UPLOAD, PENDING),
        "uploads.drop_upload": lambda c: uploads.drop_upload(c, UPLOAD.id),
        "uploads.expired_uploads": lambda c: uploads.expired_uploads(c, NOW, 100),
    }  # fmt: skip


QUESTIONS = {
    **_pages(), **_transactions(), **_users(), **_keysets(), **_keys(), **_devices(), **_events(),
    **_history(), **_deliveries(),
}  # fmt: skip
