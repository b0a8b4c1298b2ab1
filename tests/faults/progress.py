"""How far is a run that takes a while?"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

SECONDS = 20


class Progress:
    """Prints what `state` returns every twenty seconds, with the time since the start, inside a `with` statement."""

    def __init__(self, state: Callable[[], str]) -> None:
        self._state = state
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _tell(self) -> None:
        begin = time.monotonic()
        while not self._over.wait(SECONDS):
            print(f"{time.monotonic() - begin:>6.0f} s  {self._state()}", flush=True)  # noqa: T201 - for who waits
