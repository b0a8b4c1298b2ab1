"""How do the processes of one door learn that it is to stop: the one that was told passes it on to the others.

The server lets them end what they have under way. Whoever waits for something (a long-poll, a stream of events) would
keep them for as long as it may wait; a signal of our own lets it have its answer at once.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

TOLD_TO_STOP = frozenset((signal.SIGTERM, signal.SIGINT))
_PASSED_ON = signal.SIGUSR1


@contextmanager
def stop_passed_on() -> Iterator[set[int]]:
    """Pass on to the processes started in this block that we are told to stop; the handlers are somebody else's.

    Gives a set that holds, at the end, the signals that came.
    """
    heard: set[int] = set()
    ear, mouth = socket.socketpair()

    def listen() -> None:
        while came := ear.recv(1):
            heard.add(came[0])
            if came[0] in TOLD_TO_STOP:
                _pass_on()

    listener = threading.Thread(target=listen, name="signals")
    with ear:
        with mouth:
            mouth.settimeout(0)
            signal.set_wakeup_fd(mouth.fileno())
            listener.start()
            try:
                yield heard
            finally:
                signal.set_wakeup_fd(-1)
        listener.join()


def _pass_on() -> None:
    for child in multiprocessing.active_children():
        if child.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(child.pid, _PASSED_ON)


def when_passed_on(stop: Callable[[], None]) -> None:
    """Call it, in a process that was started there, when the signal comes, or end when nobody is left to send it.

    An orphan would keep the port and the token.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(_PASSED_ON, stop)
    parent = multiprocessing.parent_process()
    if parent is not None:
        loop.add_reader(parent.sentinel, signal.raise_signal, signal.SIGTERM)
