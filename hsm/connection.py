"""What lives as long as one login: its session, the canary, the pool and the handles.

All of it is made together and thrown away together, so nothing of an older epoch can be used by mistake.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn

from hsm import templates
from hsm.cryptoki import CKR_OK, CKR_USER_ALREADY_LOGGED_IN, DirectCalls
from hsm.errors import DeviceError, LoginInterrupted, LoginRefused, PinRejected, PinUnreadable
from hsm.faults import Fault, classify, rv_of
from hsm.fleeting import Counts, FleetingKeys
from hsm.handles import Handles
from hsm.keys import ID_LENGTH, KeyRef
from hsm.module import Module
from hsm.rawkey import hmac_sha256
from hsm.selftest import require_mechanisms, test_known_answers
from hsm.sessions import SessionPool, open_session
from hsm.watch import beat

_QUESTION = b"countersign canary"
_LONGEST_PIN = 1024  # bytes
_PAUSES_SECONDS = (0.005, 0.02)  # another process writes for microseconds
# The PIN is incorrect, invalid, of a wrong length, expired, locked, or not initialised.
_PIN_CODES = {0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0x102}
# Slot, memory, general error, device, session, token, and a module that was finalised: not about the PIN.
_OUTAGES = {0x02, 0x03, 0x05, 0x30, 0x31, 0x32, 0xB0, 0xB1, 0xB3, 0xE0, 0xE1, 0x190}


class Connection:
    """One logged-in life of a token in one epoch of its module. The caller holds the module's lock alone."""

    def __init__(self, module: Module, label: str, pin_source: str, sessions: int, counts: Counts) -> None:
        self.module = module
        self.epoch = module.epoch
        self.handles = Handles()
        self.fleeting = FleetingKeys(counts)
        token = module.token(label)
        require_mechanisms(token)
        self._slot = token.slot
        self.login_session = log_in(module, token, pin_source)
        try:
            beat()
            self._canary, self._answer = _make_canary(module.direct, self.login_session)
            self.private_public_keys = test_known_answers(self.login_session, module.direct)
            beat()
            self.pool = SessionPool(token, sessions)
        except BaseException:
            with suppress(PKCS11Error):
                self.login_session.close()
            raise
        module.connections.add(self)

    @property
    def is_current(self) -> bool:
        """Whether the module has not been initialised again since; if it has, touch nothing of this."""
        return self.epoch == self.module.epoch

    def is_alive(self) -> bool:
        """Ask the canary: a private key, in a session of its own, must compute what it computed at first.

        It answers only while the device works and the login holds, whatever a single operation ran into. The
        session is for one thread at a time.
        """
        if not self.is_current:
            return False
        try:
            answer = hmac_sha256(self.module.direct, self.login_session, self._canary, _QUESTION)
        except PKCS11Error:
            return False
        return answer == self._answer

    def is_shown(self) -> bool:
        """Whether the module can still tell about its token, which it may not although it computes.

        Ask where something was looked for and not found. Each login writes the token's file. A SoftHSM that read it in
        that moment sees no change of the token until it is initialised: keys that others made do not exist for it.
        Asking reads that file as well, so it is not asked more often than it has to be.
        """
        for pause in (*_PAUSES_SECONDS, 0.0):
            try:
                self._slot.get_token()
            except PKCS11Error:
                time.sleep(pause)
            else:
                return True
        return False

    def sweep(self) -> list[tuple[KeyRef, str]]:
        """Learn every handle in one pass over the token. The caller holds the lock alone."""
        return self.handles.sweep(self.login_session)

    def close(self) -> None:
        """Close all sessions, the login's last: with it the login ends. The caller holds the lock alone."""
        self.module.connections.discard(self)
        if not self.is_current:
            return  # its session numbers belong to others now
        self.pool.close()
        with suppress(PKCS11Error):
            self.login_session.close()


def _make_canary(direct: DirectCalls | None, session: pkcs11.Session) -> tuple[int, bytes]:
    template = templates.hmac_key(
        secrets.token_bytes(ID_LENGTH),
        "countersign-canary",
        stored=False,
        extractable=False,
        modifiable=False,
    )
    key: Any = session.generate_key(
        pkcs11.KeyType.GENERIC_SECRET,
        templates.SECRET_LENGTH * 8,
        mechanism=pkcs11.Mechanism.GENERIC_SECRET_KEY_GEN,
        capabilities=pkcs11.MechanismFlag(0),
        template=template,
    )
    handle = int(key.handle)
    return handle, hmac_sha256(direct, session, handle, _QUESTION)


def log_in(module: Module, token: pkcs11.Token, pin_source: str) -> pkcs11.Session:
    """Open the session that holds the login. A PIN that was refused is not tried again in this process.

    An unclear answer counts as a refusal as long as the token never accepted the PIN here. Afterwards it is taken for
    one of a device that was lost and comes back.
    """
    if token.serial in module.refused_logins:
        raise _rejected("was refused before and is not tried again")
    pin = _read_pin(pin_source)
    try:
        session = _log_in_directly(module, token, pin) if module.direct else _log_in_by_library(token, pin)
    except (PinRejected, LoginRefused) as exc:
        if isinstance(exc, PinRejected) or token.serial not in module.accepted_logins:
            module.refused_logins.add(token.serial)
        raise
    finally:
        pin[:] = bytes(len(pin))
    module.accepted_logins.add(token.serial)
    return session


def _log_in_directly(module: Module, token: pkcs11.Token, pin: bytearray) -> pkcs11.Session:
    session = open_session(token)
    rv = module.direct.login(session.handle, pin) if module.direct else CKR_OK  # type: ignore[attr-defined]
    if rv in (CKR_OK, CKR_USER_ALREADY_LOGGED_IN):  # a login belongs to the process, not to the session
        return session
    with suppress(PKCS11Error):  # a device that is lost closes nothing
        session.close()
    raise _refusal(rv, f"0x{rv:x}")


def _log_in_by_library(token: pkcs11.Token, pin: bytearray) -> pkcs11.Session:
    try:
        return token.open(rw=True, user_pin=pin.decode(), attribute_mapper=templates.MAPPER)
    except UserAlreadyLoggedIn:
        return open_session(token)
    except PKCS11Error as exc:
        rv = rv_of(exc)
        if rv is None and classify(exc) is Fault.DEVICE:  # the module is not initialised: nothing was asked
            raise
        raise _refusal(rv, type(exc).__name__) from None


def _refusal(rv: int | None, named: str) -> DeviceError:
    """Say what became of a login that was asked for. What is not clearly an outage may have been counted."""
    if rv in _PIN_CODES:
        return _rejected(f"was refused ({named})")
    if rv in _OUTAGES:
        return LoginInterrupted(f"the token does not let us log in ({named})", retry_after_seconds=5)
    return LoginRefused(
        f"The token refused the login ({named}), which may be about the PIN.",
        "Look the answer up with the vendor and check the PIN file before starting again: each start tries once.",
    )


def pin_file_of(source: str) -> Path:
    """Return the file that a `pin-source` names."""
    return Path(source.removeprefix("file://").removeprefix("file:"))


def _read_pin(source: str) -> bytearray:
    path = pin_file_of(source)
    try:
        pin = _read_without_copies(path)
    except OSError as exc:
        raise PinUnreadable(
            f"The PIN file {path} cannot be read ({exc.strerror}).",
            "Correct pin-source= in the URI, or let this user read the file.",
        ) from None
    while pin.endswith((b"\n", b"\r")):
        pin.pop()
    if not pin:
        raise PinUnreadable(f"The PIN file {path} is empty.", "Write the PIN of the token's user into it.")
    return pin


def _read_without_copies(path: Path) -> bytearray:
    room = bytearray(_LONGEST_PIN)
    with path.open("rb", buffering=0) as file:
        del room[file.readinto(room) or 0 :]
    return room


def _rejected(what: str) -> PinRejected:
    return PinRejected(
        f"The PIN of the token {what}.",
        "Correct the PIN file and start again; a start makes one attempt, so that the token is not locked.",
    )
