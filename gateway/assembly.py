"""How are the parts put together: from settings to a context."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import structlog

from gateway.clock import Clock, SystemClock
from gateway.pem_files import door_pin
from gateway.pin_files import warn_of_open_pins
from gateway.scenarios import house_values
from gateway.scenarios.canary import Canary
from gateway.scenarios.change_watch import ChangeWatch
from gateway.scenarios.context import (
    BINDING,
    HOUSE_KEYS,
    HOUSE_PAIR,
    MASTER,
    RECEIPT_VERSION,
    Context,
    HouseKeys,
)
from gateway.scenarios.device_threads import DeviceThreads
from gateway.scenarios.event_feed import EventFeed, StreamLimits
from gateway.scenarios.fair_share import FairShare
from gateway.scenarios.key_versions import has_any
from gateway.scenarios.store_access import StoreAccess
from gateway.scenarios.token_watch import TokenWatch
from gateway.scenarios.waiting import Waiters
from gateway.settings import Settings, SettingsError
from gateway.store import house_keys, receipt_keys, schema
from gateway.store.database import Database
from gateway.wire import spki
from hsm.any_device import AnyDevice
from hsm.device import Device
from hsm.errors import HouseKeyMissing
from hsm.limits import Limits
from hsm.tokens import Tokens

_log = structlog.get_logger("gateway")


def open_database(settings: Settings) -> Database:
    """Open the database of the settings; an embedded one gets its folder. Raises SettingsError."""
    if not settings.database_url:
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SettingsError(
                f"Cannot make the folder of COUNTERSIGN_DATA_DIR: {error.strerror}. Name one this user may write to."
            ) from None
    if settings.has_open_database_line:
        _log.warning("nobody verifies that it is the database: set sslmode=verify-full in its address")
    return Database(settings.full_database_url(), settings.database_connections)


def open_device(settings: Settings, on_hung: Callable[[], None] | None = None) -> AnyDevice:
    """Open the token of the settings, or those of several that are there.

    Args:
        settings: name the tokens and their limits.
        on_hung: called once, in another thread, when a call to a token does not come back.

    Raises:
        hsm.errors.StartupError: says what is wrong, of several with the first, and how to mend it.
    """
    uris = settings.token_uris()
    if not uris:
        raise SettingsError(
            "COUNTERSIGN_TOKEN_URI is not set. Name the token, the module and the PIN file in it."
        )
    limits = Limits(
        sessions=settings.token_sessions,
        most_waiting=settings.token_waiting_most,
        wait_seconds=settings.token_wait_seconds,
        call_seconds=settings.token_call_seconds,
        most_fleeting=settings.token_derived_most,
    )
    device: AnyDevice
    warn_of_open_pins(uris)
    if len(uris) == 1:
        device = Device.open(uris[0], limits=limits, on_hung=on_hung, alone=True)
    else:
        device = Tokens.open(uris, limits, on_hung)
    if device.sealing is None:
        _log.warning("the token cannot wrap keys: no keyset can be delivered, those there are can be used")
    elif device.strategy is None:
        _log.warning("the token wraps keys to RSA keys alone: keysets can only be delivered sealed")
    return device


def compared(device: AnyDevice) -> list[str]:
    """Compare several tokens; return a line about each that is away or has not all keys of the gateway."""
    if not isinstance(device, Tokens):
        return []
    device.compare()
    lines = []
    for each in device.standings():
        if each.state != "well":
            lines.append(f"token {each.number} ({each.label}) is {each.state}: {each.why or 'no answer'}")
        if each.awaited:
            names = ", ".join(each.awaited)
            lines.append(f"token {each.number} ({each.label}) has not got the new {names} yet")
        if each.differences:
            lines.append(
                f"token {each.number} ({each.label}) may not serve, bring the keys to it: {', '.join(each.differences)}"
            )
    return lines


def create_house_keys(device: AnyDevice) -> list[str]:
    """Make the gateway's own keys on the token where they are missing; return the names of the new ones."""
    rotated = {name for name in (BINDING, MASTER) if has_any(device, name)}  # version 1 may be retired
    made = [name for name in HOUSE_KEYS if name not in rotated and device.create_house_key(name)]
    if device.can_derive and MASTER not in rotated and device.create_master():
        made.append(MASTER)
    if device.create_house_pair(HOUSE_PAIR, RECEIPT_VERSION):
        made.append(HOUSE_PAIR)
    return made


def find_house_keys(device: AnyDevice) -> HouseKeys:
    """Return the gateway's own keys; hsm.errors.HouseKeyMissing names the one that is not there."""
    return HouseKeys.find(device)


def prepare(database: Database, device: AnyDevice, clock: Clock | None = None) -> list[str]:
    """Make the gateway's own keys where they are missing, and note whose database it is; return the new names.

    One process at a time: two that make a key of one name at once leave a token with two of them, of no use.

    Raises:
        SettingsError: the database belongs to another token. Nothing was made on this one.
    """
    with database.alone() as connection:
        known = receipt_keys.receipt_thumbprint(connection, RECEIPT_VERSION)
        if known is not None:
            _require_same(known, _thumbprint_on(device))
        made = create_house_keys(device)
        keys = find_house_keys(device)
        now = (clock or SystemClock()).now()
        receipt_keys.note_receipt_key(
            connection, RECEIPT_VERSION, spki.jwk_thumbprint(keys.receipt_point), now
        )
        house_keys.note_house_keys(connection, house_values.values_of(device, keys), now)
    return made


def require_own_token(database: Database, keys: HouseKeys) -> None:
    """Raise SettingsError unless the keys are on the token that the database was made with."""
    with database.reading() as connection:
        known = receipt_keys.receipt_thumbprint(connection, RECEIPT_VERSION)
    if known is None:
        raise SettingsError("The database knows no receipt key yet. Run `countersign init`.")
    _require_same(known, spki.jwk_thumbprint(keys.receipt_point))


def _thumbprint_on(device: AnyDevice) -> str | None:
    try:
        _, public = device.house_pair(HOUSE_PAIR, RECEIPT_VERSION)
    except HouseKeyMissing:
        return None
    return spki.jwk_thumbprint(device.public_point(public))


def _require_same(known: str, found: str | None) -> None:
    if found != known:
        has = "none" if found is None else found
        raise SettingsError(
            f"The database belongs to another token: its receipt key is {known}, this token has {has}. Name the token "
            "of this database in COUNTERSIGN_TOKEN_URI or restore it from its backup, or name another database in "
            "COUNTERSIGN_DATABASE_URL."
        )


@contextmanager
def open_context(
    settings: Settings, clock: Clock | None = None, on_hung: Callable[[], None] | None = None
) -> Iterator[Context]:
    """Open everything a process works with, and close it again in the right order.

    Raises:
        hsm.errors.StartupError, SchemaBehind, SettingsError: cannot start; the text says how to mend it.
    """
    database = open_database(settings)
    try:
        schema.require_current(database)
        device = open_device(settings, on_hung)
        try:
            device.warm()
            house_values.expect_noted(device, database)
            with make_context(settings, database, device, clock or SystemClock()) as context:
                require_own_token(database, context.keys)
                if device.can_derive and context.keys.master is None:
                    device.house_key(MASTER)  # says what is missing, and how to mend it
                context.token_watch.look()
                yield context
        finally:
            device.close()
    finally:
        database.close()


@contextmanager
def open_store_access(settings: Settings) -> Iterator[StoreAccess]:
    """Open what a process without a token works with.

    Raises:
        SchemaBehind, SettingsError: cannot start; the text says how to mend it.
    """
    with closing(open_database(settings)) as database:
        schema.require_current(database)
        with ThreadPoolExecutor(settings.database_connections, "store") as threads:
            yield _store_access(settings, database, SystemClock(), threads)


def _store_access(
    settings: Settings, database: Database, clock: Clock, threads: ThreadPoolExecutor
) -> StoreAccess:
    share = FairShare(threads, settings.database_connections // 2)
    return StoreAccess(clock=clock, database=database, store_threads=threads, store_share=share)


@contextmanager
def make_context(
    settings: Settings, database: Database, device: AnyDevice, clock: Clock
) -> Iterator[Context]:
    """Put open parts together."""
    store_threads = ThreadPoolExecutor(settings.database_connections, "store")
    device_threads = DeviceThreads(settings.token_sessions, settings.token_waiting_most)
    computing = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2), "computing")
    with store_threads, device_threads, computing:
        keys = find_house_keys(device)
        waiters = Waiters()
        access = _store_access(settings, database, clock, store_threads)
        yield Context(
            clock=clock,
            database=database,
            device=device,
            keys=keys,
            canary=_canary(device, keys),
            token_watch=TokenWatch(device),
            waiters=waiters,
            changes=ChangeWatch(access, waiters),
            feed=EventFeed(access, waiters, _stream_limits(settings)),
            store_threads=store_threads,
            store_share=access.store_share,
            device_threads=device_threads,
            device_share=FairShare(device_threads, device_threads.most // 2),
            computing=computing,
            issuer=settings.issuer,
            client_url=settings.client_url,
            door_pin=door_pin(settings),
            content_bytes_most=settings.content_bytes_most,
            uploads_most=settings.uploads_most,
            upload_bytes_most=settings.upload_bytes_most,
            pending_bytes_most=settings.pending_bytes_most,
            waiting_most=settings.token_waiting_most,
        )


def _canary(device: AnyDevice, keys: HouseKeys) -> Canary:
    receipt = keys.receipts.known[0]
    return Canary(device, secret=keys.decoy, private=receipt.private, public=receipt.public)


def _stream_limits(settings: Settings) -> StreamLimits:
    return StreamLimits(
        most=settings.event_streams_most,
        most_per_application=settings.event_streams_per_application_most,
        seconds=settings.event_stream_seconds_most,
    )
