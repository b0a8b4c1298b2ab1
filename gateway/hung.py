"""How does a process end that waits for its token in vain?

A call that does not come back can be neither stopped nor waited for, and an orderly end would wait for it: the
threads, the module's own finalisation. So the process stops taking requests if it can, lets those under way end,
and then leaves without looking back. With status 0, because nothing is wrong with it: hypercorn ends all
processes of a door when one fails, but replaces one that leaves. Whoever supervises starts it anew.
"""

import multiprocessing
import os
import signal
import threading

import structlog

_log = structlog.get_logger("gateway")
_GRACE_SECONDS = 5


def end_process() -> None:
    """Begin the end of this process; returns at once. For any thread."""
    _log.critical("a call to the token does not come back: this process ends", seconds=_GRACE_SECONDS)
    threading.Timer(_GRACE_SECONDS, os._exit, (0,)).start()
    # A process of a door, which has a parent, cannot stop listening alone: it answers 503.
    if multiprocessing.parent_process() is None:
        signal.raise_signal(signal.SIGTERM)
