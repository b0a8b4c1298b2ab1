"""A line to a PostgreSQL server that can stand still: it stays open, takes what is sent and passes nothing on."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

_NAME = ".s.PGSQL.5432"


class Line:
    """Whether what is said on it arrives."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self._ended = False

    def hold(self) -> None:
        """From now on nothing arrives, in either direction."""
        self._open.clear()

    def release(self) -> None:
        """Pass on again, what was held too."""
        self._open.set()

    def end(self) -> None:
        """Let the threads of the line end."""
        self._ended = True
        self._open.set()

    def carry(self, near: socket.socket, server: str) -> None:
        """Pass on what both sides say until one has enough."""
        with near, socket.socket(socket.AF_UNIX) as far, selectors.DefaultSelector() as ready:
            far.connect(server)
            ready.register(near, selectors.EVENT_READ, far)
            ready.register(far, selectors.EVENT_READ, near)
            while not self._ended:
                for key, _ in ready.select(0.1):
                    self._open.wait()
                    said = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not said:
                        return
                    key.data.sendall(said)


@contextlib.contextmanager
def line_to(server: Path, folder: Path) -> Iterator[Line]:
    """Give a line to the server whose socket is in a folder; its own end is a socket in the other folder."""
    line, threads = Line(), []
    with socket.socket(socket.AF_UNIX) as ear:
        ear.bind(str(folder / _NAME))
        ear.listen()

        def listen() -> None:
            with contextlib.suppress(OSError):  # the ear was closed
                while True:
                    near, _ = ear.accept()
                    with contextlib.suppress(OSError):
                        threads.append(_started(line.carry, near, str(server / _NAME)))

        listener = _started(listen)
        try:
            yield line
        finally:
            line.end()
            ear.shutdown(socket.SHUT_RDWR)
            for thread in (listener, *threads):
                thread.join()


def _started(work: object, *args: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=args)  # type: ignore[arg-type]
    thread.start()
    return thread
