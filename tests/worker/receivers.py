"""How badly can an application's address behave? Receivers that answer with whatever bytes they like."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Self

Behaviour = Callable[[socket.socket], None]


class RawReceiver:
    """Accepts connections and lets a function do with each what it wants, after the request was read."""

    def __init__(self, behave: Behaviour, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self._behave, self._tls = behave, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    @property
    def port(self) -> int:
        """Where it listens on the loopback."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Its address for callbacks."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}/callbacks"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                connection, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self.requests.append(_request(connection))
                self._behave(connection)

    def until_stopped(self, seconds: float) -> bool:
        """Wait; True when the test is over."""
        return self._stop.wait(seconds)


def _request(connection: socket.socket) -> bytes:
    """Read one request with its body; what is missing at the end of the connection stays missing."""
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].split(b":")[1]) if lengths else 0
    while len(body) < length and (more := connection.recv(65536)):
        body += more
    return head + b"\r\n\r\n" + body


def answer(text: str) -> Behaviour:
    """Answer with these bytes and close."""
    return lambda connection: connection.sendall(text.encode())


def close_at_once(connection: socket.socket) -> None:
    """Hang up without a word."""


def say_nothing(connection: socket.socket) -> None:
    """Wait until the other hangs up."""
    connection.recv(1)


def endless_body(connection: socket.socket) -> None:
    """Accept, and never stop sending the body."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def endless_headers(connection: socket.socket) -> None:
    """Begin an answer, and never stop sending headers."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-More: " + b"m" * 4096 + b"\r\n")


def one_byte_at_a_time(connection: socket.socket) -> None:
    """Answer so slowly that no single byte is late but the whole is."""
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
        connection.sendall(bytes([byte]))
        if threading.Event().wait(0.3):
            return
