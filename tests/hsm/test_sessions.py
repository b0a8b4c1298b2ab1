"""Are sessions, logins and handles renewed when they break, and never leaked?"""

from __future__ import annotations

import ctypes
import os
import secrets
import threading
import time
from collections.abc import Callable

import pytest
from pkcs11.exceptions import SessionHandleInvalid

from hsm.device import Device
from hsm.errors import DeviceError, DeviceUnavailable, DuplicateKey, KeyMissing
from hsm.gate import Deadline
from hsm.handles import find_one
from hsm.keys import KeyKind, KeyRef
from hsm.sessions import SessionPool, open_session
from hsm.templates import hmac_key
from hsm.wrapping import destroy_all, generate
from tests.hsm.programs import Program
from tests.hsm.reopening import reopen
from tests.tokens import pin_file_of

LABEL = "countersign-user-khmac"
_C_LOGOUT = 19  # position in CK_FUNCTION_LIST


def pool_of(device: Device) -> SessionPool:
    return device._guard._connection.pool


def log_out(device: Device) -> None:
    """End the login behind the device's back, as a careless library in the same process would."""
    connection = device._guard._connection
    function = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong)(
        connection.module.direct._functions[_C_LOGOUT]
    )
    assert function(connection.login_session.handle) == 0


def close_all_idle(device: Device) -> None:
    """Close the sessions of the pool without telling the pool."""
    for place in pool_of(device)._idle:
        place.session().close()


def issue_one(device: Device) -> KeyRef:
    key_id = secrets.token_bytes(16)
    device.issue(secrets.token_bytes(32), [key_id], LABEL)
    return KeyRef(KeyKind.SECRET, key_id)


def test_closed_sessions_are_replaced_and_the_caller_notices_nothing(own_device: Device):
    key = own_device.house_key("binding")
    expected = own_device.mac(key, b"x")
    close_all_idle(own_device)
    assert [own_device.mac(key, b"x") for _ in range(8)] == [expected] * 8
    assert pool_of(own_device).idle == 4


# The library complains of its own.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_delivery_survives_a_closed_session(own_device: Device):
    close_all_idle(own_device)
    key = issue_one(own_device)
    assert own_device.user_keys() == [key]


def test_a_lost_login_is_renewed_and_no_key_is_called_missing(own_device: Device):
    key = own_device.house_key("binding")
    expected = own_device.mac(key, b"x")
    log_out(own_device)
    assert own_device.mac(key, b"x") == expected
    log_out(own_device)
    assert own_device.house_key("binding") == key
    log_out(own_device)
    other = issue_one(own_device)
    log_out(own_device)
    assert own_device.destroy(other) is True


def test_many_threads_that_meet_a_lost_login_all_succeed(own_device: Device):
    key = own_device.house_key("binding")
    expected = own_device.mac(key, b"x")
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.extend(own_device.mac(key, b"x") for _ in range(500)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for _ in range(3):
        with own_device._guard.module.lock.exclusive(10):
            log_out(own_device)
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    assert answers == [expected] * 6000


def test_a_login_that_cannot_be_renewed_stops_the_device_for_good(own_device: Device, token_uri: str):
    key = own_device.house_key("binding")
    pin_file_of(token_uri).write_text("not the pin\n")
    log_out(own_device)
    with pytest.raises(DeviceUnavailable, match="was refused"):
        own_device.mac(key, b"x")
    with pytest.raises(DeviceUnavailable, match="Correct the PIN file"):
        own_device.mac(key, b"x")


def test_a_key_that_another_destroyed_is_missing(own_device: Device):
    key = issue_one(own_device)
    own_device.mac(key, b"x")
    own_device._guard.change(lambda _, session: destroy_all(session, key))  # the table of handles is not told
    with pytest.raises(KeyMissing):
        own_device.mac(key, b"x")


def test_a_key_that_another_replaced_is_found_again(own_device: Device):
    key = issue_one(own_device)
    before = own_device.mac(key, b"x")
    own_device._guard.change(lambda _, session: destroy_all(session, key))
    template = hmac_key(key.id, LABEL, stored=True, extractable=False, modifiable=False)
    own_device._guard.change(lambda _, session: generate(session, template))
    assert own_device.mac(key, b"x") != before


def test_two_objects_with_one_id_are_an_alarm(own_device: Device):
    key = issue_one(own_device)
    template = hmac_key(key.id, LABEL, stored=True, extractable=False, modifiable=False)
    own_device._guard.change(lambda _, session: generate(session, template))
    with pytest.raises(DuplicateKey):
        own_device.mac(key, b"x")


def test_a_handle_is_looked_up_once_per_epoch(own_device: Device):
    keys = [issue_one(own_device) for _ in range(3)]
    assert own_device.warm() == 4
    first = own_device._guard._connection
    assert len(first.handles) == 4
    reopen(own_device)
    second = own_device._guard._connection
    assert second is not first
    assert second.epoch == first.epoch + 1
    assert len(second.handles) == 0
    for key in keys:
        own_device.mac(key, b"x")
    assert len(second.handles) == 3


def test_other_devices_of_the_process_follow_a_reinitialisation(own_device: Device, device: Device):
    key = device.house_key("binding")
    expected = device.mac(key, b"x")
    reopen(own_device)
    assert device.mac(key, b"x") == expected
    assert not device._guard._connection.epoch < own_device._guard._connection.epoch


def test_two_devices_on_one_token_do_not_log_each_other_out(own_device: Device, token_uri: str):
    key = own_device.house_key("binding")
    expected = own_device.mac(key, b"x")
    second = Device.open(token_uri, sessions=2)
    assert second.mac(key, b"x") == expected
    second.close()
    assert own_device.mac(key, b"x") == expected
    assert own_device._guard._connection.is_alive()


def test_when_all_sessions_are_lent_the_caller_is_told_in_time(new_token: Callable[[], str]):
    device = Device.open(new_token(), sessions=2, wait_seconds=0.2)
    gate, soon = device._guard._gate, Deadline(1)
    with gate.turn(soon), gate.turn(soon), pytest.raises(DeviceUnavailable, match="no session") as raised:
        device.random(1)
    assert raised.value.retry_after_seconds >= 1
    assert len(device.random(1)) == 1
    device.close()


def test_failures_of_every_class_leave_all_places_in_the_pool(own_device: Device):
    pool = pool_of(own_device)

    def broken(_: object, session: object) -> None:
        raise SessionHandleInvalid

    for _ in range(10):
        with pytest.raises(DeviceUnavailable):
            own_device._guard.use(broken)
        with pytest.raises(ZeroDivisionError):
            own_device._guard.use(lambda *_: 1 // 0)
        with pytest.raises(KeyMissing):
            own_device.mac(KeyRef(KeyKind.SECRET, secrets.token_bytes(16)), b"x")
    assert pool.idle == pool.size
    assert len(own_device.random(8)) == 8


COUNT_SESSIONS = """
from hsm.sessions import open_session
from pkcs11.exceptions import SessionHandleInvalid
device = Device.open(URI, sessions=4)

def broken(_, session):
    raise SessionHandleInvalid

handle = open_session(device._guard.module.token(LABEL)).handle
for _ in range(50):
    try: device._guard.use(broken)
    except Exception: pass
    device.random(1)
prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)
info = prototype(device._guard.module.direct._functions[15])  # C_GetSessionInfo
room = ctypes.create_string_buffer(64)
last = open_session(device._guard.module.token(LABEL)).handle
print(sum(info(number, room) == 0 for number in range(1, last + 1)))
"""


def test_replaced_sessions_are_closed(program: Callable[[str], Program]):
    # Alive are the login's, four of the pool, two of the test, and one that waits to be closed.
    assert int(program(COUNT_SESSIONS).lines()[0]) <= 1 + 4 + 2 + 1


def test_a_closed_device_says_so(token_uri: str):
    device = Device.open(token_uri)
    device.close()
    with pytest.raises(DeviceUnavailable, match="closed"):
        device.random(1)
    Device.open(token_uri).close()


def test_after_a_fork_the_device_refuses_to_work(device: Device):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            device.random(1)
        except DeviceError as exc:
            os.write(writing, str(exc).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        assert "fork" in answer.read()


def test_an_object_is_found_only_by_class_and_id(own_device: Device):
    key = issue_one(own_device)
    found = own_device._guard.use(lambda _, session: find_one(session, key))
    assert found.session is not None
    with pytest.raises(KeyMissing):
        own_device.public_point(KeyRef(KeyKind.PUBLIC, key.id))


def test_sessions_are_opened_without_a_pin(own_device: Device):
    connection = own_device._guard._connection
    assert int(connection.login_session.user_type) == 999  # the library's word for nobody
    assert int(open_session(connection.module.token(connection.login_session.token.label)).user_type) == 999
