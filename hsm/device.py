"""Everything the gateway can ask of the device, in one place.

Synchronous and safe for threads; call it from worker threads. Keys are named by `KeyRef`; no handle, session
or key object ever leaves this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pkcs11 import Attribute, Session

from hsm import conformance, derivation, ecdsa, fleeting, module, rsawrap, sighting, templates, wrapping
from hsm.connection import Connection, pin_file_of
from hsm.counting import Snapshot
from hsm.cryptoki import DirectCalls
from hsm.desk import Desk
from hsm.errors import (
    DeliveryRefused,
    DeviceRefused,
    InvalidUri,
    KeyMissing,
    KeyProtected,
)
from hsm.guard import Guard
from hsm.handles import NotFound, find_by_id
from hsm.house import House
from hsm.keys import DerivedRef, FleetingRef, KeyKind, KeyRef
from hsm.limits import Limits
from hsm.recovery import Recovery
from hsm.uri import TokenUri

T = TypeVar("T")
USER_LABEL = "countersign-user-"
_Ways = tuple[wrapping.Strategy | None, wrapping.Strategy | None]
_Found = tuple[bool, _Ways, bool]  # see _found_out


class Device(House):
    """One token, logged in, with its pool of sessions. Open it once per process."""

    def __init__(self, guard: Guard, counts: fleeting.Counts, pin_file: Path, found: _Found) -> None:
        private_public_keys, (strategy, sealing), can_derive = found
        super().__init__(guard, private_public_keys=private_public_keys, pin_file=pin_file)
        self._counts = counts
        self._usable_hashes: frozenset[str] | None = None
        self.can_derive = can_derive  # False: no key can be derived, so all of them are on the token
        self.strategy = strategy  # None: the token cannot wrap under AES keys
        self.sealing = strategy or sealing  # None: nor to RSA keys, and every delivery is refused

    @classmethod
    def open(
        cls,
        uri: str,
        *,
        sessions: int = 16,
        wait_seconds: float = 5.0,
        limits: Limits | None = None,
        on_hung: Callable[[], None] | None = None,
        renew: bool = False,
        alone: bool = False,
    ) -> Device:
        """Load the module, log in once, and test the token.

        `uri` is a PKCS#11 URI (RFC 7512) with token, module-path and pin-source. `limits` says everything about
        how many callers may come and how long things may take; `sessions` and `wait_seconds` say its two most
        usual parts. `on_hung` is called once, from another thread, when a call into the module does not come
        back: the process has to end then, and not by exit handlers, which would wait for that call. `renew` says
        that an earlier attempt failed: a module may have to be initialised again to see a token that was away.
        `alone` says that no other token serves meanwhile: `on_hung` is told of a call that hangs in here as well.
        Raises StartupError, whose text says what to mend, and DeviceUnavailable. A PIN is tried once.
        """
        where = TokenUri.parse(uri)
        if not (where.token and where.module_path and where.pin_source):
            raise InvalidUri("The URI lacks token, module-path or pin-source.", "Give all three.")
        label, pin_source = where.token, where.pin_source
        limits = limits or Limits(sessions=sessions, wait_seconds=wait_seconds)
        counts = fleeting.Counts(limits.most_fleeting)
        pin_file = pin_file_of(pin_source)
        with sighting.in_turn(pin_file, limits.wait_seconds):
            loaded = module.load(where.module_path)
            if renew:
                loaded.renew(limits.wait_seconds, limits.pace)

            def connect() -> Connection:
                return Connection(loaded, label, pin_source, limits.sessions, counts)

            def guarded() -> Guard:
                return Guard(loaded, connect, limits, on_hung, alone=alone)

            guard = sighting.connect(guarded, loaded, limits.wait_seconds)
        return cls(guard, counts, pin_file, _found_out(guard))

    def close(self) -> None:
        """Close all sessions; nothing works afterwards. The module stays loaded."""
        self._guard.close()

    @property
    def recovery(self) -> Recovery:
        """Whether it can be reached."""
        return self._guard.recovery

    def has_waited(self, seconds: float) -> bool:
        """Whether a call of it into the module has been under way for longer than that."""
        return self._guard.module.watch.has_waited(seconds, self._guard)

    @property
    def is_hung(self) -> bool:
        """Whether a call did not come back: this process cannot use the device any more."""
        return self._guard.is_hung

    def snapshot(self) -> Snapshot:
        """Return what was counted so far and the state of this moment; cheap."""
        return replace(self._guard.snapshot(), fleeting=self._counts.read())

    def together(self, work: Callable[[Desk], T], fleeting_keys: Sequence[FleetingRef] = ()) -> T:
        """Run work that uses keys many times, in one turn: it waits once and keeps one session.

        `fleeting_keys` are those of its keys that are not on the token. The ones that the HSM does not hold are made
        first, in one turn. Without this list they are missed on the way, and then all the work is done alone.
        If an operation fails, all the work is tried a second and last time, and the error raised is about all of it.
        So it must change nothing. Whoever needs to know which operation it was asks for each alone.
        """
        if fleeting_keys:
            self._hold(fleeting_keys)
        try:
            return self._guard.use_together(lambda turn: work(Desk(turn)))
        except fleeting.NotHeld:
            return self._guard.change_together(lambda turn: work(Desk(turn)))

    def random(self, length: int) -> bytes:
        """Return `length` random bytes (1 to 4096) of the device's generator."""
        if not 0 < length <= 4096:  # noqa: PLR2004  # as the docstring says
            raise DeviceRefused("ask for 1 to 4096 random bytes")
        return self._guard.use(lambda _, session: bytes(session.generate_random(length * 8)), "random")

    def issue(self, cover: wrapping.Cover, ids: Sequence[bytes], label: str) -> list[bytes]:
        """Generate one stored HMAC key for each id (16 bytes); return them wrapped under `cover`.

        That is an AES key of 32 bytes (RFC 3394, 40 bytes each) or an RSA key of whoever gets them (OAEP, one block
        each). The stored keys can never be wrapped again. All or nothing.
        """
        strategy = self._way(cover)
        return self._guard.change(
            lambda connection, session: wrapping.issue(
                session, cover, ids, label, strategy, _undo_of(connection), connection.module.direct
            ),
            "issue",
        )

    def issue_derived(self, cover: wrapping.Cover, keys: Sequence[DerivedRef]) -> list[bytes]:
        """Return derived keys wrapped under `cover`, as `issue` does; nothing is stored."""
        self._way(cover)
        if not self.can_derive:
            raise DeliveryRefused("the token cannot derive keys, so none of these can be delivered")
        return self._guard.change(
            lambda connection, session: derivation.issue(connection, session, cover, keys), "issue"
        )

    def _way(self, cover: wrapping.Cover) -> wrapping.Strategy:
        way = self.sealing if isinstance(cover, rsawrap.RsaCover) else self.strategy
        if way is None:
            raise DeliveryRefused("the token cannot wrap keys so, and none can be delivered")
        return way

    def usable_hashes(self, modulus: int, exponent: int) -> frozenset[str]:
        """Return under which of `rsawrap.HASHES` the token wraps to RSA keys; tried once, with this one."""
        if self._usable_hashes is None:
            self._usable_hashes = self._guard.change(
                lambda _, session: rsawrap.usable_hashes(session, modulus, exponent), "issue"
            )
        return self._usable_hashes

    def forget(self, keys: Sequence[FleetingRef]) -> None:
        """Keep session objects of these keys no longer; the next that is made destroys them."""

        def forget(connection: Connection, _: Session) -> None:
            for key in keys:
                connection.fleeting.drop(key)

        self._guard.use(forget, "forget")

    def import_public(self, id: bytes, point: bytes, label: str) -> KeyRef:  # noqa: A002
        """Store a P-256 public key (uncompressed point, 65 bytes) for verification. Raises DeviceRefused."""
        ref = KeyRef(KeyKind.PUBLIC, templates.check_id(id))
        ecdsa.check_point(point)
        private = self._private_public_keys

        def create(connection: Connection, session: Session) -> KeyRef:
            try:
                ecdsa.create_public(session, id, point, label, stored=True, private=private)
            except BaseException as exc:
                _undo_of(connection)([ref], exc)
                raise
            return ref

        return self._guard.change(create, "import")

    def public_point(self, key: KeyRef) -> bytes:
        """Return the uncompressed point of a public key, 65 bytes. Raises KeyMissing."""
        return self._guard.use(lambda _, session: ecdsa.public_point(session, key), "find")

    def destroy(self, key: KeyRef) -> bool:
        """Destroy a user's key. False if it was not there. Raises KeyProtected for any other key.

        Who names a key to destroy read its name in a database; the label on the token has the last word.
        """

        def run(connection: Connection, session: Session) -> bool:
            found = find_by_id(session, key)
            if not found:
                raise NotFound(key.uri())  # the guard makes sure that we are logged in before we say so
            if not all(each[Attribute.LABEL].startswith(USER_LABEL) for each in found):
                raise KeyProtected(f"not a key of a user: {key.uri()}")
            connection.handles.drop(key)
            for each in found:
                each.destroy()
            return True

        try:
            return self._guard.change(run, "destroy")
        except KeyMissing:
            return False

    def warm(self) -> int:
        """Fill the table of handles in one pass over the token; returns how many keys are known."""
        return len(self._sweep())

    def user_keys(self) -> list[KeyRef]:
        """Return every key whose label begins with `countersign-user-`."""
        return [ref for ref, label in self._sweep() if label.startswith(USER_LABEL)]

    def _hold(self, keys: Sequence[FleetingRef]) -> None:
        def missing(connection: Connection, _: Session) -> list[FleetingRef]:
            return connection.fleeting.missing(keys)

        def make(connection: Connection, session: Session) -> None:
            for key in wanted:
                with suppress(DeviceRefused, NotFound):  # who uses it will be told
                    derivation.made(connection, session, key)

        wanted = self._guard.use(missing, "look")
        if wanted:
            self._guard.change(make, "make")

    def _sweep(self) -> list[tuple[KeyRef, str]]:
        return self._guard.use(lambda connection, session: connection.handles.sweep(session), "sweep")


def _found_out(guard: Guard) -> _Found:
    """Return the CKA_PRIVATE of public keys, the ways of delivering, and whether keys can be derived; or close it."""
    direct = guard.module.direct
    try:
        return guard.change(
            lambda connection, session: (
                connection.private_public_keys,
                _ways(session, direct),
                derivation.can_derive(session, direct),
            )
        )
    except BaseException:
        guard.close()
        raise


def _ways(session: Session, direct: DirectCalls | None) -> _Ways:
    """Find the way of delivering under AES keys, and, only if there is none, the one to RSA keys."""
    strategy = conformance.choose_strategy(session, direct=direct)
    return strategy, None if strategy else conformance.choose_sealing(session, direct)


def _undo_of(connection: Connection) -> wrapping.Undo:
    """Undo in the login's session, because the caller's own may be what broke."""
    return wrapping.undo_in(connection.login_session, connection.is_alive)
