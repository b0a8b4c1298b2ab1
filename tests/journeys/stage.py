"""Where do journeys happen: one gateway for each database, with banks, users and phones of its own.

A test process starts at most one gateway for each database and shares it between modules; tests stay apart by
their users. `scripts/test` provides PostgreSQL. Without it (plain pytest) SQLite alone is tested.
"""

import contextlib
import json
import os
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from gateway.store.tables import events
from tests import order
from tests.counterparts.bank import Bank
from tests.counterparts.callback_receiver import CallbackReceiver
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_line import Line
from tests.gateways import Authority, Gateway, fresh_database

DATABASES = ("sqlite", "postgresql") if "TEST_POSTGRES_URL" in os.environ else ("sqlite",)
ANSWERED_PAGE = 200
# On a busy machine a request may wait for the token for long; no test of this gateway asks how long it may.
PATIENT = {"COUNTERSIGN_TOKEN_WAIT_SECONDS": "30"}
Json = dict[str, Any]


@dataclass
class Stage:
    """A running gateway, two banks that know nothing of each other, and a way into the database."""

    kind: str
    gateway: Gateway
    receiver: CallbackReceiver
    keys: Json
    foreign_keys: Json
    open: contextlib.ExitStack
    _banks: dict[str, Bank] = field(default_factory=dict)
    _twin: Gateway | None = None

    @classmethod
    def start(cls, kind: str, folder: Path, token_uri: str) -> "Stage":
        """Start the gateway, add the banks, and open an address for callbacks."""
        opened = contextlib.ExitStack()
        authority = Authority.make(folder)
        gateway = Gateway(
            folder, token_uri, authority, opened.enter_context(fresh_database(kind)), {**PATIENT}
        )
        gateway.run("init")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(authority.chain_file, authority.key_file)
        receiver = opened.enter_context(CallbackReceiver(tls=tls))
        keys, foreign = gateway.add_application(callback=receiver.url), gateway.add_application()
        gateway.start()
        opened.callback(gateway.stop)
        made = cls(kind, gateway, receiver, keys, foreign, opened)
        receiver.trust(keys["webhook_secret"], jwks=made.bank.jwks)
        return made

    @property
    def bank(self) -> Bank:
        """The bank of most tests."""
        return self._bank(self.keys)

    @property
    def foreign(self) -> Bank:
        """Another bank at the same gateway."""
        return self._bank(self.foreign_keys)

    def bank_with(self, **policy: Any) -> Bank:
        """A bank with this policy; made once."""
        name = f"{self.kind} {json.dumps(policy, sort_keys=True)}"
        if name not in self._banks:
            self._banks[name] = self.gateway.bank(self.gateway.add_application(policy=policy)["api_key"])
            self.open.callback(self._banks[name].close)
        return self._banks[name]

    def _bank(self, keys: Json) -> Bank:
        if keys["api_key"] not in self._banks:
            self._banks[keys["api_key"]] = self.gateway.bank(keys["api_key"])
            self.open.callback(self._banks[keys["api_key"]].close)
        return self._banks[keys["api_key"]]

    @property
    def twin(self) -> Gateway:
        """A second gateway process on the same database and token."""
        if self._twin is None:
            folder = self.gateway.folder / "twin"
            folder.mkdir(exist_ok=True)
            first = self.gateway
            self._twin = Gateway(folder, first.token_uri, first.authority, first.database_url)
            self._twin.extra = {**PATIENT, "COUNTERSIGN_DATA_DIR": str(first.folder / "data")}
            self._twin.start()
            self.open.callback(self.end_twin)
        return self._twin

    def end_twin(self) -> None:
        """End the second process, if there is one."""
        if self._twin is not None:
            self._twin.stop()
            self._twin = None

    def twin_bank(self, keys: Json | None = None) -> Bank:
        """The same bank, at the second process."""
        bank = self.twin.bank((keys or self.keys)["api_key"])
        self.open.callback(bank.close)
        return bank

    def through_twin(self, phone: Phone) -> Phone:
        """The same phone, talking to the second process."""
        other = Phone(phone.account, phone.keys, clock=phone.clock)
        other.close()
        self.open.callback(other.close)  # closes the line below
        other.line = Line(self.twin.client_url, ca_pem=phone.account.ca_pem, pin=phone.account.door_pin)
        return other

    # Users and phones

    def user(self, bank: Bank | None = None) -> str:
        """A new user."""
        name = f"user-{secrets.token_hex(6)}"
        (bank or self.bank).create_user(name)
        return name

    def enrol(self, user: str, bank: Bank | None = None, **how: Any) -> Phone:
        """A phone with a fresh package of the user; not registered yet."""
        return self.personalise((bank or self.bank).issue_keyset(user).qr_text, **how)

    def personalise(self, source: str | bytes, **how: Any) -> Phone:
        """A phone from a package in whatever form."""
        phone = Phone.enrol(source, ca_pem=self.gateway.authority.ca_file.read_text(), **how)
        self.open.callback(phone.close)
        return phone

    def phone(self, user: str | None = None, bank: Bank | None = None) -> Phone:
        """A registered phone, of a new user if none is named."""
        phone = self.enrol(user or self.user(bank), bank)
        phone.register()
        return phone

    def ask(
        self, phone: Phone, text: str = "Pay 10 EUR to Bob", bank: Bank | None = None, **more: Any
    ) -> Shown:
        """Have the bank ask for a confirmation, and show it on the phone."""
        made = (bank or self.bank).create_transaction(phone.account.user, text=text, **more)
        return phone.show(made["id"])

    # Callbacks, the log, the database

    def told(self, matches: Callable[[Json], bool], *, count: int = 1, seconds: float = 60) -> list[Json]:
        """Wait for so many callbacks whose body matches, and return their bodies."""
        end = time.monotonic() + seconds
        while True:
            found = [each.body for each in list(self.receiver.received) if matches(each.body)]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"{len(found)} of {count} callbacks came"
            time.sleep(0.02)

    def events(self, bank: Bank | None = None, **query: Any) -> list[Json]:
        """Every event of the bank that the query selects."""
        found: list[Json] = []
        after = 0
        while True:
            page = (bank or self.bank).events(limit=ANSWERED_PAGE, after=after, **query)
            found += page["events"]
            if page["next"] is None:
                return found
            after = page["next"]

    def recorded(self, answer: httpx2.Response | Any) -> list[Json]:
        """Every event that the request of this answer brought about, whoever may read it."""
        request = answer.headers["request-id"]
        with self.database() as connection:
            chosen = sa.select(events).where(events.c.request_id == request)
            # PostgreSQL promises no order by itself.
            rows = connection.execute(chosen.order_by(events.c.number))
            return [dict(row._mapping) for row in rows]

    @contextlib.contextmanager
    def database(self) -> Iterator[sa.Connection]:
        """One transaction beside the gateway, as somebody would do it who can write to its database."""
        path = self.gateway.folder / "data" / "countersign.db"
        engine = sa.create_engine(self.gateway.database_url or f"sqlite:///{path}", poolclass=sa.NullPool)
        with engine.begin() as connection:
            yield connection


class Stages:
    """The stages of a test process. A second process lives until its module ends, they until no module needs them."""

    def __init__(self) -> None:
        self.started: dict[str, Stage] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        """End what the tests that follow do not use: gateways never rest."""
        try:
            yield
        finally:
            if nextitem is None or (self.started and nextitem.path != item.path):
                self._end_unused(nextitem)

    def _end_unused(self, following: pytest.Item | None) -> None:
        if following is None or following.path not in order.files_on_stage(following.session.items):
            self.end()
        for stage in self.started.values():
            stage.end_twin()

    def end(self) -> None:
        """End them all."""
        while self.started:
            self.started.popitem()[1].open.close()


_STAGES = pytest.StashKey[Stages]()


def stage_of(
    config: pytest.Config, kind: str, new_folder: Callable[[], Path], new_token: Callable[[], str]
) -> Stage:
    """The stage of this database; started at the first call."""
    if _STAGES not in config.stash:
        config.stash[_STAGES] = Stages()
        config.pluginmanager.register(config.stash[_STAGES])
        config.add_cleanup(config.stash[_STAGES].end)
    started = config.stash[_STAGES].started
    if kind not in started:
        started[kind] = Stage.start(kind, new_folder(), new_token())
    return started[kind]
