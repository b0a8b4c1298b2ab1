"""What every scenario works with: the clock, the database, the device, and the threads they run in."""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

from gateway.scenarios.batching import Room
from gateway.scenarios.canary import Canary
from gateway.scenarios.change_watch import ChangeWatch
from gateway.scenarios.device_turns import DeviceTurns
from gateway.scenarios.event_feed import EventFeed
from gateway.scenarios.fair_share import FairShare
from gateway.scenarios.key_versions import KeyVersions, has_any
from gateway.scenarios.known_keys import KnownKeys
from gateway.scenarios.receipt_versions import ReceiptVersions
from gateway.scenarios.store_access import StoreAccess
from gateway.scenarios.token_watch import TokenWatch
from gateway.scenarios.vouched import Vouched
from gateway.scenarios.waiting import Waiters
from hsm.any_device import AnyDevice
from hsm.desk import Desk
from hsm.keys import FleetingRef, KeyRef

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")

HOUSE_KEYS = ("binding", "webhook", "activation", "credential", "decoy")
HOUSE_PAIR = "receipt"
RECEIPT_VERSION = 1
MASTER = "master"  # from which keys are derived
BINDING = "binding"


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseKeys:
    """Handles of the gateway's own keys on the token, found by their labels, never by the database."""

    binding: KeyVersions
    master: KeyVersions | None  # None: the token cannot derive keys, or has no master
    webhook: KeyRef
    activation: KeyRef
    credential: KeyRef
    decoy: KeyRef
    receipts: ReceiptVersions
    receipt_point: bytes  # of the first version: by it a database knows its token

    @classmethod
    def find(cls, device: AnyDevice) -> "HouseKeys":
        """Find them; hsm.errors.HouseKeyMissing names the one that is not there."""
        named = {name: device.house_key(name) for name in HOUSE_KEYS if name != BINDING}
        binding = KeyVersions(device, BINDING)
        master = KeyVersions(device, MASTER) if device.can_derive and has_any(device, MASTER) else None
        receipts = ReceiptVersions(device, HOUSE_PAIR)
        return cls(
            **named,
            binding=binding,
            master=master,
            receipts=receipts,
            receipt_point=receipts.known[0].point,
        )

    @property
    def newest(self) -> dict[str, int]:
        """The newest version that is known of each key that can be rotated, by its name."""
        known = {BINDING: self.binding.newest, HOUSE_PAIR: self.receipts.current.version}
        return known if self.master is None else known | {MASTER: self.master.newest}

    @property
    def is_version_awaited(self) -> bool:
        """Whether a row named a version that is not known yet."""
        return any(versions.is_one_awaited for versions in filter(None, (self.binding, self.master)))

    def refresh(self) -> None:
        """Learn of versions that were made since. Talks to the device."""
        for versions in filter(None, (self.binding, self.master)):
            versions.refresh()
        self.receipts.refresh()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(StoreAccess):
    """The parts, put together once per process by ``assembly``."""

    device: AnyDevice
    keys: HouseKeys
    canary: Canary
    token_watch: TokenWatch
    waiters: Waiters
    changes: ChangeWatch
    vouched: Vouched = field(default_factory=Vouched)
    known_keys: KnownKeys = field(default_factory=KnownKeys)
    feed: EventFeed
    device_threads: ThreadPoolExecutor
    device_share: FairShare
    computing: ThreadPoolExecutor  # for what keeps a core busy without the interpreter
    issuer: str
    client_url: str
    door_pin: bytes | None
    content_bytes_most: int
    uploads_most: int
    upload_bytes_most: int
    pending_bytes_most: int
    waiting_most: int  # requests that wait for work on the device to be done together

    rooms: dict[Any, Room[Any, Any]] = field(init=False, default_factory=dict)
    turns: DeviceTurns = field(default_factory=DeviceTurns)

    def room(
        self,
        work: "Callable[[Context, list[Item]], Awaitable[Sequence[Result | Exception]]]",
        most: int,
        at_once: int,
    ) -> Room[Item, Result]:
        """Return where items for this work wait for each other: one place for each work, for so many."""
        if work not in self.rooms:
            waiting_most = max(most * at_once, self.waiting_most)
            self.rooms[work] = Room(
                partial(work, self), most=most, at_once=at_once, waiting_most=waiting_most
            )
        return self.rooms[work]

    def at(self, desk: Desk) -> "Context":
        """Return this context for work that only uses keys, all of it in the one turn that the desk stands for."""
        return replace(self, device=desk)  # type: ignore[arg-type]

    def in_turns(
        self,
        kind: str,
        work: "Callable[[Context, Item], Result]",
        items: Sequence[Item],
        keys_of: Callable[[Item], Sequence[FleetingRef]] = lambda _: (),
    ) -> list[Result]:
        """Do work that only uses keys for each of several items, in as few turns as is good (``device_turns``).

        Runs in this thread.
        """

        def all_of(desk: Desk, some: Sequence[Item]) -> list[Result]:
            ctx = self.at(desk)
            return [work(ctx, each) for each in some]

        return self.turns.share(kind, self.device, self.device_threads, all_of, items, keys_of)

    async def on_device(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work(...)``, which talks to the device, in a thread: one hop for all operations of a step."""

        def run() -> T:
            return work(*args, **kwargs)

        return await self.device_share.run(run)
