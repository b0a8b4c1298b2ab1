"""How does a start find its token while other processes use it?

SoftHSM reads its tokens when it is initialised and leaves out one that another process writes to just then, as each
login does, or refuses the login. Gateways that are started at the same moment would keep each other from starting, so
those with one PIN file take turns; and who does not find the token looks again.
"""

from __future__ import annotations

import fcntl
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from hsm.errors import DeviceError, DeviceUnavailable, LoginInterrupted, ModuleUnusable, TokenMissing
from hsm.module import Module

T = TypeVar("T")
_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4)
_TURN_PAUSE_SECONDS = 0.01


@contextmanager
def in_turn(pin_file: Path, wait_seconds: float) -> Iterator[None]:
    """Go on when no other process with this PIN file is at this point; after that time, or without the file, anyhow."""
    try:
        file = pin_file.open("rb", buffering=0)
    except OSError:  # whoever reads it will say so
        yield
        return
    with file:
        end = time.monotonic() + wait_seconds
        while not _is_ours(file.fileno()) and time.monotonic() < end:
            time.sleep(_TURN_PAUSE_SECONDS)
        yield


def _is_ours(file: int) -> bool:
    try:
        # The lock is given up when the file is closed, however that happens.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def connect(connected: Callable[[], T], loaded: Module, wait_seconds: float) -> T:
    """Return what `connected` makes, looking again for a moment while the token is not shown.

    Raises the error of the first look, which no later one made unclear. A login that was asked for and not given is
    never asked for again, whatever the answer was: a token may count it as a wrong PIN.
    """
    errors: list[DeviceError] = []
    for pause in (*_PAUSES_SECONDS, 0.0):
        try:
            return connected()
        except LoginInterrupted:
            raise
        except (TokenMissing, ModuleUnusable, DeviceUnavailable) as error:
            errors.append(error)
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # it keeps processes apart, and no secret
        with suppress(ModuleUnusable, DeviceUnavailable):
            loaded.look_again(wait_seconds)
    raise errors[0]
