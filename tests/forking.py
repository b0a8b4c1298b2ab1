"""How does a test start many commands of the gateway without each importing everything anew?

Imports are nearly all of the time that a short command takes. So a process of its own imports the gateway once, opens
nothing, and forks whenever a command is asked for. The child is what `python -m gateway` would be from there on: a
process with its own environment, arguments, outputs, exit status, and signals; it has loaded no PKCS#11 module and
opened no database. Two things differ: its line in the list of processes, and that what it imports late is there
already. Whoever asks about those takes `subprocess`.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
IMPORTED = ("gateway.__main__", "gateway.serving", "gateway.store.migrate")
RUN_SECONDS = 120
MOST_BYTES = 128 * 1024  # of arguments and environment


class Forked:
    """A command of the gateway that was started; has what tests use of `subprocess.Popen`."""

    def __init__(
        self, words: Sequence[str], environment: dict[str, str], out: IO[bytes], err: IO[bytes]
    ) -> None:
        self.args = ["gateway", *words]
        self.returncode: int | None = None
        self._line, theirs = socket.socketpair()
        with theirs:
            asked = json.dumps([self.args, environment]).encode()
            assert len(asked) < MOST_BYTES
            socket.send_fds(_parent(), [asked], [out.fileno(), err.fileno(), theirs.fileno()])
        told, (self._process, *_), _, _ = socket.recv_fds(self._line, 8, 1)
        self.pid = int.from_bytes(told, "big")

    def poll(self) -> int | None:
        """The exit status, negative for the signal that ended it; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once there is one."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                told = self._line.recv(8)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self.returncode = int.from_bytes(told, "big", signed=True)
            self._line.close()
            os.close(self._process)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended; never to another that has its number by now."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def run_forked(words: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of the gateway to its end, as `subprocess.run` would."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        running = Forked(words, environment, out, err)
        try:
            status = running.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
        told, complained = (_read(file) for file in (out, err))
    return subprocess.CompletedProcess(running.args, status, told, complained)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@functools.cache
def _parent() -> socket.socket:
    """The way to the process that forks; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.forking", str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours


class _Parent:
    """The process that forks: who of its children still runs, and who is to be told of its end."""

    def __init__(self, orders: socket.socket) -> None:
        self.orders = orders
        self.selector = selectors.DefaultSelector()
        self.selector.register(orders, selectors.EVENT_READ)
        self.children: dict[int, tuple[int, socket.socket]] = {}

    def fork_until_child(self) -> list[str]:
        """Fork as asked; returns in the child alone, with its arguments. Ends when nobody asks any more."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is not self.orders:
                    self._tell_end(key.fd)
                    continue
                asked, (*outputs, line), _, _ = _received(self.orders)
                if not asked:
                    sys.exit()
                if (words := self._fork(asked, outputs, line)) is not None:
                    return words

    def _fork(self, asked: bytes, outputs: list[int], line: int) -> list[str] | None:
        words, environment = json.loads(asked)
        number = os.fork()
        if number == 0:
            self._forget()
            for place, output in enumerate(outputs, 1):
                os.dup2(output, place)
            for given in (*outputs, line):
                os.close(given)
            os.environ.clear()
            os.environ.update(environment)
            return list(words)
        for output in outputs:
            os.close(output)
        process, told = os.pidfd_open(number), socket.socket(fileno=line)
        self.children[process] = (number, told)
        self.selector.register(process, selectors.EVENT_READ)
        socket.send_fds(told, [number.to_bytes(8, "big")], [process])
        return None

    def _tell_end(self, process: int) -> None:
        number, line = self.children.pop(process)
        _, status = os.waitpid(number, 0)
        self.selector.unregister(process)
        os.close(process)
        with line, contextlib.suppress(OSError):  # the test may have ended before
            line.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))

    def _forget(self) -> None:
        """What is the parent's: a child that held its lines open would keep others waiting."""
        self.selector.close()
        self.orders.close()
        for process, (_, line) in self.children.items():
            os.close(process)
            line.close()


def _received(orders: socket.socket) -> tuple[bytes, list[int], int, object]:
    asked, found, flags, address = socket.recv_fds(orders, MOST_BYTES, 3)
    return asked, found or [-1], flags, address


def _wait_for_orders() -> list[str]:
    for name in IMPORTED:
        importlib.import_module(name)
    del sys.modules["gateway.__main__"]  # it runs anew in each child
    gc.freeze()  # a child that looked through all this at its end would copy every page of it
    return _Parent(socket.socket(fileno=int(sys.argv[1]))).fork_until_child()


if __name__ == "__main__":
    sys.argv = _wait_for_orders()
    runpy.run_module("gateway", run_name="__main__", alter_sys=True)
