"""Are callers let in by number, in order, in time, and turned away when there is no use in waiting?"""

from __future__ import annotations

import threading
import time

import pytest

from hsm.errors import DeviceUnavailable
from hsm.gate import Deadline, Gate
from hsm.lock import ReadWriteLock


def start(target: object) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


def waiting(gate: Gate, number: int) -> None:
    while gate.waiting != number:
        time.sleep(0.001)


def test_no_more_are_inside_than_there_are_places():
    gate, inside, most = Gate(3, 100), [], []

    def visit() -> None:
        for _ in range(200):
            with gate.turn(Deadline(30)):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    for thread in [start(visit) for _ in range(10)]:
        thread.join()
    assert max(most) <= 3
    assert (gate.inside, gate.waiting) == (0, 0)


def test_who_waits_longest_comes_next():
    gate, order, threads = Gate(1, 10), [], []

    def visit(number: int) -> None:
        with gate.turn(Deadline(30)):
            order.append(number)

    with gate.turn(Deadline(1)):
        for number in range(6):
            threads.append(start(lambda number=number: visit(number)))
            waiting(gate, number + 1)
    for thread in threads:
        thread.join()
    assert order == list(range(6))


def test_who_finds_the_queue_full_is_told_at_once():
    gate = Gate(1, 0)
    with gate.turn(Deadline(1)), pytest.raises(DeviceUnavailable, match="wait already"):
        gate.enter(Deadline(1000))
    with gate.turn(Deadline(0)):
        pass


def test_nobody_waits_beyond_the_deadline_and_the_queue_forgets_who_left():
    gate = Gate(1, 1)
    with gate.turn(Deadline(1)):
        for _ in range(3):
            with pytest.raises(DeviceUnavailable, match="within the time allowed"):
                gate.enter(Deadline(0.01))
        assert gate.waiting == 0


def test_all_who_wait_are_turned_away_and_later_ones_are_not():
    gate, told, threads = Gate(1, 10), [], []

    def visit() -> None:
        with pytest.raises(DeviceUnavailable, match="lost") as raised, gate.turn(Deadline(60)):
            pass
        told.append(raised.value.retry_after_seconds)

    with gate.turn(Deadline(1)):
        threads += [start(visit) for _ in range(4)]
        waiting(gate, 4)
        gate.turn_away(DeviceUnavailable("lost", retry_after_seconds=7))
        for thread in threads:
            thread.join()
    assert told == [7] * 4
    with gate.turn(Deadline(0)):
        assert gate.inside == 1


def test_turns_that_come_or_end_in_the_last_moment_are_not_lost():
    gate = Gate(2, 50)

    def visit() -> None:
        for _ in range(300):
            try:
                with gate.turn(Deadline(0.0002)):
                    pass
            except DeviceUnavailable:
                pass

    for thread in [start(visit) for _ in range(12)]:
        thread.join()
    assert (gate.inside, gate.waiting) == (0, 0)


def test_a_lock_that_is_never_given_back_keeps_nobody():
    lock, told = ReadWriteLock(), []

    def wait_for(attempt: object) -> None:
        with pytest.raises(DeviceUnavailable, match="hangs"), attempt(60):
            pass
        told.append(1)

    with lock.shared(1):
        writer = start(lambda: wait_for(lock.exclusive))
        while not lock._writers_waiting:
            time.sleep(0.001)
        user = start(lambda: wait_for(lock.shared))
        lock.turn_away("it hangs")
        writer.join()
        user.join()
        wait_for(lock.shared)
    assert told == [1] * 3
