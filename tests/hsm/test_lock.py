"""Does the lock keep writers alone, let neither them nor users starve, and give up in time?"""

from __future__ import annotations

import threading
import time

import pytest

from hsm.errors import DeviceUnavailable
from hsm.lock import ReadWriteLock


def start(target: object) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def test_users_share_and_a_writer_is_alone():
    lock = ReadWriteLock()
    inside, most_sharing, with_writer = [], [], []

    def use() -> None:
        for _ in range(200):
            with lock.shared(10):
                inside.append(1)
                most_sharing.append(len(inside))
                time.sleep(0)
                inside.pop()

    def write() -> None:
        for _ in range(50):
            with lock.exclusive(10):
                with_writer.append(len(inside))
                time.sleep(0)
                with_writer.append(len(inside))

    for thread in [start(use) for _ in range(6)] + [start(write) for _ in range(3)]:
        thread.join()
    assert set(with_writer) == {0}
    assert max(most_sharing) > 1


def test_a_waiting_writer_goes_before_those_who_come_later():
    lock = ReadWriteLock()
    order, threads = [], []
    with lock.shared(1):
        threads.append(start(lambda: _with(lock.exclusive(5), order, "writer")))
        while not lock._writers_waiting:
            time.sleep(0.001)
        threads.append(start(lambda: _with(lock.shared(5), order, "user")))
        time.sleep(0.02)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == ["writer", "user"]


def test_users_who_waited_for_a_writer_go_before_the_next_one():
    lock = ReadWriteLock()
    order, threads = [], []
    with lock.exclusive(1):
        threads.append(start(lambda: _with(lock.exclusive(5), order, "writer")))
        while not lock._writers_waiting:
            time.sleep(0.001)
        threads += [start(lambda: _with(lock.shared(5), order, "user")) for _ in range(2)]
        while lock._users_waiting < 2:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == ["user", "user", "writer"]


def test_a_user_that_gave_up_keeps_no_writer_out():
    lock = ReadWriteLock()
    with lock.exclusive(1), pytest.raises(DeviceUnavailable), lock.shared(0.01):
        pass
    with lock.exclusive(0.01):
        pass


def test_nobody_waits_longer_than_allowed():
    lock = ReadWriteLock()
    with lock.exclusive(1):
        for attempt in (lock.shared, lock.exclusive):
            with pytest.raises(DeviceUnavailable, match="no turn"), attempt(0.01):
                pass
    with lock.shared(1), pytest.raises(DeviceUnavailable), lock.exclusive(0.01):
        pass
    with lock.shared(1), lock.shared(1):  # the writer that gave up keeps nobody out
        pass


def test_the_lock_is_free_again_after_an_error():
    lock = ReadWriteLock()
    for attempt in (lock.shared, lock.exclusive):
        with pytest.raises(ZeroDivisionError), attempt(1):
            raise ZeroDivisionError
    with lock.exclusive(1):
        pass


def _with(held: object, order: list[str], name: str) -> None:
    with held:
        order.append(name)
