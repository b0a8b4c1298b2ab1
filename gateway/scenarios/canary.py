"""Does the token still compute what it computed when this process began? Asked at an interval, in every process.

A MAC must be the one of the first time, and a signature of the receipt key must verify in the token. So a token that
answers wrongly is found before somebody is refused for it, and one that is away although nobody asks it anything.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from hsm.any_device import AnyDevice
from hsm.errors import DeviceError
from hsm.keys import KeyRef

OUTCOMES = ("ok", "away", "wrong")
_QUESTION = b"countersign canary"
_log = structlog.get_logger("gateway")


class Canary:
    """What the token was asked, and how it went."""

    def __init__(self, device: AnyDevice, *, secret: KeyRef, private: KeyRef, public: KeyRef) -> None:
        self._device = device
        self._secret, self._private, self._public = secret, private, public
        self._answer: bytes | None = None
        self.runs: Counter[str] = Counter()
        self.last = "not yet"

    def sing(self) -> str:
        """Ask the token once; returns ``ok``, ``away`` or ``wrong``. Talks to the device."""
        try:
            outcome = "ok" if self._is_right() else "wrong"
        except DeviceError as error:
            outcome = "away"
            if self.last != "away":
                _log.error("the token does not answer", why=str(error))
        if outcome == "ok" and self.last == "away":
            _log.info("the token answers again")
        if outcome == "wrong" and self.last != "wrong":
            _log.critical("the token computes something else than when this process began")
        self.runs[outcome] += 1
        self.last = outcome
        return outcome

    def _is_right(self) -> bool:
        mac = self._device.mac(self._secret, _QUESTION)
        self._answer = self._answer or mac
        digest = hashlib.sha256(_QUESTION).digest()  # of no text that a receipt could have
        signature = self._device.sign(self._private, digest)
        return mac == self._answer and self._device.verify(self._public, digest, signature)

    @contextmanager
    def singing(self, seconds: float, *then: Callable[[], None]) -> Iterator[None]:
        """Ask at this interval, in a thread of its own, for as long as the block lasts, and do `then` each time."""
        over = threading.Event()

        def run() -> None:
            while not over.is_set():
                self.sing()
                for each in then:
                    with suppress(DeviceError):
                        each()
                over.wait(seconds)

        thread = threading.Thread(target=run, name="canary", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
