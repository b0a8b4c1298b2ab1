"""Is each device woken by one worker at a time, once for all that waits, and forgotten in time?"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from gateway.rules.device import Device
from gateway.rules.keyset import Delivery, Keyset, KeysetStatus
from gateway.rules.push import PushProvider
from gateway.store import devices, keysets, pushes
from gateway.store.database import Database
from gateway.store.pushes import Push
from gateway.store.tables import pushes as table
from tests.store.racing import in_threads
from tests.store.rows import APPLICATION, NOW, USER, insert_anna, insert_transaction

MINUTE = timedelta(minutes=1)
LATER = NOW + 15 * MINUTE
ROOM = {PushProvider.FCM: 3, PushProvider.APNS: 3}


def _device(name: str, provider: str | None) -> Device:
    return Device(
        id=f"dev_{name}",
        application_id=APPLICATION,
        user_id=USER,
        push_provider=provider,
        push_id=None if provider is None else f"address of {name}",
        created_at=NOW,
        removed_at=None,
    )


def _keyset(name: str, status: KeysetStatus) -> Keyset:
    return Keyset(
        id=f"ks_{name}",
        application_id=APPLICATION,
        user_id=USER,
        status=status,
        delivery=Delivery.QR,
        khmac=f"khmac {name}",
        kauth=f"kauth {name}",
        kpublic=None,
        spki=None,
        fingerprint=b"",
        device_id=f"dev_{name}",
        step_seconds=180,
        digits=8,
        flags=0,
        salt=b"",
        package_sha256=b"",
        created_at=NOW,
        valid_until=NOW + timedelta(days=1),
        lapses_at=None,
        registered_at=NOW,
        ended_at=None,
        code_given_at=None,
        binding=b"",
    )


@pytest.fixture
def phones(database: Database) -> Database:
    """A database in which anna has two phones to be woken, and three that are not."""
    active = KeysetStatus.ACTIVE
    made = [
        ("android", "fcm", active),
        ("iphone", "apns", active),
        ("old", "fcm", KeysetStatus.DELETED),
        ("silent", None, active),
        ("strange", "example", active),
    ]
    with database.unit() as connection:
        insert_anna(connection)
        insert_transaction(connection, "txn_1")
        for name, provider, status in made:
            devices.insert_devices(connection, [_device(name, provider)])
            keysets.insert_keyset(connection, _keyset(name, status))
    return database


def _want(database: Database, until: datetime = LATER) -> None:
    with database.unit() as connection:
        pushes.want_pushes(connection, {(APPLICATION, USER)}, NOW, until)


def _claim(
    database: Database, now: datetime = NOW, room: Mapping[PushProvider, int] = ROOM
) -> dict[str, Push]:
    with database.unit() as connection:
        return {push.device_id: push for push in pushes.claim_pushes(connection, now, now + MINUTE, room)}


def _rows(database: Database) -> dict[str, tuple[int, int]]:
    with database.reading() as connection:
        return {row.device_id: (row.version, row.tries) for row in connection.execute(sa.select(table))}


def test_the_devices_with_keys_in_force_and_a_known_push_service_are_woken(phones: Database):
    _want(phones)
    assert _rows(phones) == {"dev_android": (1, 0), "dev_iphone": (1, 0)}
    with phones.reading() as connection:
        assert pushes.due_providers(connection, NOW) == {"fcm", "apns"}
    claimed = _claim(phones)
    assert claimed["dev_android"].push_id == "address of android"
    assert claimed["dev_iphone"].provider == "apns"


def test_keys_that_have_run_out_wake_nobody(phones: Database):
    with phones.unit() as connection:
        pushes.want_pushes(connection, {(APPLICATION, USER)}, NOW + timedelta(days=1), LATER)
        pushes.want_pushes(connection, {(APPLICATION, "berta")}, NOW, LATER)
        pushes.want_pushes(connection, {("app_2", USER)}, NOW, LATER)
    assert _rows(phones) == {}


def test_what_is_claimed_is_nobody_elses_until_the_claim_ends(phones: Database):
    _want(phones)
    assert len(_claim(phones)) == 2
    assert _claim(phones) == {}
    assert len(_claim(phones, NOW + MINUTE)) == 2


def test_no_more_is_claimed_than_there_is_room_for(phones: Database):
    _want(phones)
    assert set(_claim(phones, room={PushProvider.FCM: 1})) == {"dev_android"}


def test_many_workers_claim_each_device_once(phones: Database):
    _want(phones)
    claimed = in_threads(6, lambda _: sorted(_claim(phones)))
    assert sorted(name for names in claimed for name in names) == ["dev_android", "dev_iphone"]


def test_many_transactions_at_once_leave_one_row_for_each_device(phones: Database):
    in_threads(6, lambda _: _want(phones))
    assert _rows(phones) == {"dev_android": (6, 0), "dev_iphone": (6, 0)}


def test_a_push_that_is_done_is_gone_and_one_for_more_than_that_is_due_again(phones: Database):
    _want(phones)
    claimed = _claim(phones)
    with phones.unit() as connection:
        pushes.end_push(connection, claimed["dev_iphone"])
    _want(phones)
    with phones.unit() as connection:
        pushes.end_push(connection, claimed["dev_android"])
    assert _rows(phones) == {"dev_android": (2, 0), "dev_iphone": (1, 0)}
    assert set(_claim(phones)) == {"dev_android", "dev_iphone"}


def test_a_failed_try_is_counted_unless_something_more_came_meanwhile(phones: Database):
    _want(phones)
    claimed = _claim(phones)
    with phones.unit() as connection:
        pushes.postpone_push(connection, claimed["dev_iphone"], NOW + MINUTE)
    _want(phones)
    with phones.unit() as connection:
        pushes.postpone_push(connection, claimed["dev_android"], NOW + MINUTE)
    assert _rows(phones) == {"dev_android": (2, 0), "dev_iphone": (2, 0)}
    assert _claim(phones) == {}
    claimed = _claim(phones, NOW + MINUTE)
    with phones.unit() as connection:
        pushes.postpone_push(connection, claimed["dev_android"], NOW + 2 * MINUTE)
    assert _rows(phones)["dev_android"] == (2, 1)


def test_an_address_is_dropped_only_while_it_is_the_one_that_proved_dead(phones: Database):
    _want(phones)
    claimed = _claim(phones)
    with phones.unit() as connection:
        devices.change_push(connection, "dev_iphone", "apns", "another")
        assert not pushes.drop_push_address(connection, claimed["dev_iphone"])
        assert pushes.drop_push_address(connection, claimed["dev_android"])
        found = devices.devices_of(connection, APPLICATION, USER)
    assert (found["dev_iphone"].push_id, found["dev_android"].push_id) == ("another", None)


def test_a_device_is_forgotten_when_the_last_of_what_it_was_to_be_woken_for_has_ended(phones: Database):
    for minutes in (10, 20, 5):
        _want(phones, NOW + minutes * MINUTE)
    with phones.unit() as connection:
        pushes.forget_expired(connection, NOW + 19 * MINUTE)
    assert len(_rows(phones)) == 2
    with phones.unit() as connection:
        pushes.forget_expired(connection, NOW + 20 * MINUTE)
    assert _rows(phones) == {}


def test_a_phone_is_woken_until_the_last_pending_transaction_ends(phones: Database):
    _want(phones)
    push = _claim(phones)["dev_android"]
    with phones.reading() as connection:
        assert pushes.waits_until(connection, push, NOW) == LATER
        assert pushes.waits_until(connection, push, LATER) is None
