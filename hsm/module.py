"""Which PKCS#11 module is loaded in this process, initialised for threads, and in which epoch of its life?

A module is loaded once per process and never unloaded (objects that outlive it crash), never used across a
fork (sockets and random generators would be shared), and shared by all devices of the process: so the lock
and the epoch live here. The epoch counts initialisations; handles of an older epoch may name other keys now.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import pkcs11
from pkcs11.exceptions import PKCS11Error

from hsm.cryptoki import CKR_OK, DirectCalls
from hsm.errors import DeviceError, ModuleUnusable, TokenMissing
from hsm.lock import ReadWriteLock
from hsm.watch import Watch

_MEND_ANSWER = "Check the module's own configuration and that its device answers."
_loaded: dict[str, Module] = {}
_loading = threading.Lock()


class Module:
    """One loaded module. Get it with `load`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = ReadWriteLock()
        self.epoch = 0
        self.watch = Watch()
        self.reinitialized: deque[float] = deque(maxlen=100)  # when, on the monotonic clock
        self.refused_logins: set[bytes] = set()
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
    with _loading:
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
        text = f"The PKCS#11 module {path} cannot be loaded: {exc or type(exc).__name__}."
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
