"""Which PKCS#11 module is loaded in this process, initialised for threads, and in which epoch of its life?

A module is loaded once per process and never unloaded (objects that outlive it crash), never used across a
fork (sockets and random generators would be shared), and shared by all devices of the process: so the lock
and the epoch live here. The epoch counts initialisations; handles of an older epoch may name other keys now.
"""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict, deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

import pkcs11
from pkcs11.exceptions import PKCS11Error

from hsm.cryptoki import CKR_OK, DirectCalls
from hsm.errors import DeviceError, ModuleUnusable, TokenMissing
from hsm.faults import named
from hsm.lock import ReadWriteLock
from hsm.pace import Pace
from hsm.watch import Watch

if TYPE_CHECKING:  # a connection is one to a module
    from hsm.connection import Connection

_MEND_ANSWER = "Check the module's own configuration and that its device answers."
_loaded: dict[str, Module] = {}
_loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # one that hangs holds up no other


class Module:
    """One loaded module. Get it with `load`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = ReadWriteLock()
        self.epoch = 0
        self.watch = Watch()
        self.reinitialized: deque[float] = deque(maxlen=100)  # when, on the monotonic clock
        self.refused_logins: set[bytes] = set()
        self.accepted_logins: set[bytes] = set()
        self.connections: WeakSet[Connection] = WeakSet()  # of every device that is open on it
        self._process = os.getpid()
        self._library = _open(path)
        self.direct = _direct_calls(path)
        # A module that hands out instances (p11-kit's client) sends all calls through one connection; threads
        # that wait there for each other's answers can wait for ever when it breaks. So it is used by one at a time.
        self.sharing = self.lock.exclusive if self.direct is None else self.lock.shared
        self._initialize()

    def reinitialize(self) -> None:
        """Initialise the module again, with `lock` held alone. Every session, handle and login is void."""
        self.epoch += 1
        self.reinitialized.append(time.monotonic())
        self._initialize()

    def renew(self, wait_seconds: float, pace: Pace) -> None:
        """Initialise the module again, if it may be now, so that it sees tokens that were away before."""
        with self.lock.exclusive(wait_seconds):
            if not self.seconds_to_reinitialisation(pace):
                self.reinitialize()

    def look_again(self, wait_seconds: float) -> None:
        """Initialise the module again if nobody loses a session by it. Raises ModuleUnusable."""
        with self.lock.exclusive(wait_seconds):
            if not any(each.is_alive() for each in tuple(self.connections)):
                self.epoch += 1
                self._initialize()

    def seconds_to_reinitialisation(self, pace: Pace) -> float:
        """How long the module must not be initialised again, for one of its tokens; 0 if it may be now.

        While another of its tokens answers, hardly ever, for that one loses its sessions by it. The caller holds the
        lock alone.
        """
        now = time.monotonic()
        if self.reinitialized and any(each.is_alive() for each in tuple(self.connections)):
            return max(0.0, self.reinitialized[-1] + pace.period - now)
        return pace.wait(self.reinitialized, now)

    def token(self, label: str) -> pkcs11.Token:
        """Return the one token with `label`. Raises TokenMissing."""
        try:
            found = [token for token in _tokens(self._library) if token.label == label]
        except PKCS11Error as exc:
            text = f"The module {self.path} cannot list its tokens ({type(exc).__name__})."
            raise ModuleUnusable(text, _MEND_ANSWER) from exc
        if len(found) != 1:
            how_many = "no token" if not found else f"{len(found)} tokens"
            mend = "Correct token= in the URI, or initialise the token (SoftHSM: softhsm2-util --init-token)."
            raise TokenMissing(f"The module shows {how_many} with the label {label!r}.", mend)
        return found[0]

    def check_process(self) -> None:
        """Raise if this process is a fork of the one that loaded the module."""
        if os.getpid() != self._process:
            raise DeviceError("the module was loaded before a fork; start processes with spawn")

    def _initialize(self) -> None:
        if self.direct is None:
            self._initialize_by_library()
            return
        rv = self.direct.initialize_for_threads()
        if rv != CKR_OK:
            text = f"The module {self.path} cannot be initialised for threads (0x{rv:x})."
            raise ModuleUnusable(
                text, "Use a module that supports CKF_OS_LOCKING_OK, or load it through p11-kit."
            )

    def _initialize_by_library(self) -> None:
        with suppress(PKCS11Error):  # a lost device may make C_Finalize fail; C_Initialize tells
            self._library.finalize()
        try:
            self._library.initialize()
        except PKCS11Error as exc:
            text = f"The module {self.path} cannot be initialised ({type(exc).__name__})."
            raise ModuleUnusable(text, _MEND_ANSWER) from exc


def load(path: str) -> Module:
    """Return the module at `path`, loading it at the first call. Raises ModuleUnusable."""
    with _loading[path]:
        module = _loaded.get(path)
        if module is None:
            module = _loaded[path] = Module(path)
    module.check_process()
    return module


def _open(path: str) -> pkcs11._pkcs11.lib:
    if not Path(path).is_file():
        raise ModuleUnusable(
            f"There is no PKCS#11 module at {path}.", "Correct module-path= or install the module."
        )
    try:
        return pkcs11.lib(path)
    except PKCS11Error as exc:
        text = f"The PKCS#11 module {path} cannot be loaded: {str(exc) or named(exc)}."
        mend = (
            "Check that it is a PKCS#11 module for this machine and that its configuration file can be read."
        )
        raise ModuleUnusable(text, mend) from exc


def _direct_calls(path: str) -> DirectCalls | None:
    try:
        return DirectCalls.of(path)
    except (OSError, AttributeError) as exc:
        raise ModuleUnusable(
            f"The file {path} is not a PKCS#11 module.", "Correct module-path= in the URI."
        ) from exc


def _tokens(library: pkcs11._pkcs11.lib) -> list[pkcs11.Token]:
    return [slot.get_token() for slot in library.get_slots(token_present=True)]
