"""How much work on the device may be under way in this process, and what happens to more than that?

One thread for each session of the token, and one for each piece of work that may wait for a session; what comes
beyond that is refused at once, because a queue that only grows answers nobody in time.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import ParamSpec, TypeVar

from hsm.errors import DeviceUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class DeviceThreads(ThreadPoolExecutor):
    """Threads for work on the device; none of it waits for a thread."""

    def __init__(self, sessions: int, most_waiting: int) -> None:
        self.most = sessions + most_waiting
        super().__init__(self.most, "device")
        self._room = BoundedSemaphore(self.most)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn``. Raises hsm.errors.DeviceUnavailable if there is no room for more."""
        if not self._room.acquire(blocking=False):
            raise DeviceUnavailable("the device is busy: too much waits for it")

        def run() -> T:
            try:
                return fn(*args, **kwargs)
            finally:
                self._room.release()

        try:
            future = super().submit(run)
        except BaseException:
            self._room.release()
            raise
        future.add_done_callback(self._never_ran)
        return future

    def _never_ran(self, future: Future[T]) -> None:
        if future.cancelled():  # before its thread took it up; work that began is never cancelled
            self._room.release()
