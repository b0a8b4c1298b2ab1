"""How do tests drive scenarios without a server: a context on a real token and database, with a clock of their own.

The phone is the tests' own counterpart; its requests are handed to the scenarios as the client door would.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from gateway import assembly
from gateway.api.client.actions import ACTIONS
from gateway.rules.keyset import Delivery, Keyset
from gateway.rules.policy import Policy
from gateway.rules.transaction import Kind
from gateway.rules.user import UserAction
from gateway.scenarios import bindings, operating, user_lifecycle
from gateway.scenarios.access import DEFAULT_SCOPES, EXTRA_SCOPES, Asker
from gateway.scenarios.authentication import ClientRequest, authenticate
from gateway.scenarios.context import Context
from gateway.scenarios.creating import create_transaction
from gateway.scenarios.drafting import Wish
from gateway.scenarios.idempotency import Once
from gateway.scenarios.personalization import Given, Issued, issue_keyset
from gateway.scenarios.recording import Origin
from gateway.settings import Settings
from gateway.store import applications, keysets, users
from gateway.store.database import Database
from gateway.wire.request import parse_envelope
from hsm.device import Device
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown

T = TypeVar("T")
ORIGIN = Origin(request_id="req_test", action="test", address="127.0.0.1")
SCOPES = (*DEFAULT_SCOPES, *EXTRA_SCOPES)
WISH = Wish(
    user_id="anna",
    kind=Kind.SIGN,
    title="Payment",
    media_type="text/plain",
    content=b"Pay 10 EUR",
    expires_in_seconds=None,
    callback_url=None,
    offline=False,
    digits=None,
    kpublic_required=None,
)


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2030, 6, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the moment that was set."""
        return self.moment

    def move(self, **by: float) -> None:
        """Move on, by the arguments of a timedelta."""
        self.moment += timedelta(**by)


@dataclass
class Bench:
    """One application on a context of its own."""

    ctx: Context
    clock: SetClock
    asker: Asker

    @property
    def device(self) -> Device:
        """The token under it."""
        return self.ctx.device

    def rows(self, statement: sa.Select[Any] | str) -> list[Any]:
        """Read rows beside the gateway."""
        plain = sa.text(statement) if isinstance(statement, str) else statement
        with self.ctx.database.reading() as connection:
            return list(connection.execute(plain))  # type: ignore[call-overload]

    def write(self, statement: str, **values: object) -> None:
        """Write beside the gateway, as somebody who got hold of the database."""
        with self.ctx.database.unit() as connection:
            connection.execute(sa.text(statement), values)

    def present(self) -> Asker:
        """Return who asks, with the application as it is stored now."""
        with self.ctx.database.reading() as connection:
            application = applications.find_application(connection, self.asker.application.id)
        assert application is not None
        return replace(self.asker, application=application)

    def keyset(self, keyset_id: str) -> Keyset:
        """Return a keyset as it is stored."""
        with self.ctx.database.reading() as connection:
            found = keysets.find_keyset(connection, keyset_id)
        assert found is not None
        return found

    def failures(self, user: str) -> int:
        """Return how often the user failed in a row."""
        with self.ctx.database.reading() as connection:
            found = users.find_user(connection, self.asker.application.id, user)
        assert found is not None
        return found.failures

    def unbound(self) -> list[str]:
        """Return the keysets that the HSM does not vouch for."""
        with self.ctx.database.reading() as connection:
            names = connection.execute(sa.text("SELECT DISTINCT application_id, user_id FROM keysets")).all()
            broken = []
            for application_id, user_id in names:
                user = users.find_user(connection, application_id, user_id)
                assert user is not None
                present = keysets.keysets_of(connection, application_id, user_id)
                broken += [each.id for each in present if not bindings.is_bound(self.ctx, each, user.status)]
        return broken

    # What an application asks. Coroutines, so that a test can ask for several at once.

    async def issue(
        self,
        user: str,
        *,
        delivery: Delivery = Delivery.QR,
        secret: str | None = None,
        key: str | None = None,
        device: str | None = None,
    ) -> Issued:
        """Issue a keyset."""
        given = Given(secret=secret, device_id=device)
        return await issue_keyset(self.ctx, self.asker, user, delivery, given, Once(key, bytes(32)), ORIGIN)

    async def change(self, user: str, action: UserAction) -> dict[str, Any]:
        """Block, unblock or delete."""
        return await user_lifecycle.change_user(
            self.ctx, self.asker.application, user, action, "test", ORIGIN
        )

    async def create_user(self, user: str) -> None:
        """Create a user."""
        await user_lifecycle.create_user(self.ctx, self.asker.application, user, ORIGIN)

    async def enrol(self, user: str) -> Phone:
        """Create a user with keys and register its phone."""
        await self.create_user(user)
        phone = self.phone(await self.issue(user))
        await self.register(phone)
        return phone

    async def ask_to_confirm(self, user: str, text: bytes = b"Pay 10 EUR", **changed: Any) -> str:
        """Create a transaction and return its id."""
        wish = replace(WISH, user_id=user, content=text, **changed)
        once = Once(secrets.token_hex(8), bytes(32))
        view, _ = await create_transaction(self.ctx, self.asker, wish, once, ORIGIN)
        return str(view["id"])

    # What a phone asks.

    def phone(self, issued: Issued) -> Phone:
        """Return the phone that scanned the package."""
        return Phone.enrol(issued.package.to_qr(), clock=self.clock.now)

    def raw(self, phone: Phone, action: str, body: object) -> bytes:
        """Return a fresh request of the phone."""
        return phone.envelope(action, body)

    async def send(self, phone: Phone, action: str, raw: bytes, authcode: bytes | None = None) -> Any:
        """Hand a request to its scenario, as the client door does."""
        code = phone.authcode(raw) if authcode is None else authcode
        origin = replace(ORIGIN, action=action, authcode=code)
        request = ClientRequest(raw=raw, envelope=parse_envelope(raw, action), authcode=code, origin=origin)
        return await ACTIONS[action].scenario(self.ctx, await authenticate(self.ctx, request))

    async def ask(self, phone: Phone, action: str, body: object) -> Any:
        """Send a fresh request."""
        return await self.send(phone, action, self.raw(phone, action, body))

    async def register(self, phone: Phone) -> Any:
        """Register the phone's key."""
        answer = await self.ask(phone, "keys.register", phone.registration_body())
        phone.account = replace(phone.account, registered=True)
        return answer

    async def show(self, phone: Phone, transaction: str) -> Shown:
        """Fetch a transaction onto the phone."""
        found = await self.ask(phone, "transactions.get", {"transaction": transaction})
        part = {"transaction": transaction, "offset": 0, "length": found["size"]}
        content = await self.ask(phone, "transactions.content", part)
        return Shown(
            transaction=transaction,
            kind=found["kind"],
            title=found["title"],
            media_type=found["media_type"],
            content=content,
            digits=found["digits"],
            expires=found["expires"],
        )

    async def approve(self, phone: Phone, shown: Shown) -> Any:
        """Approve what the phone shows."""
        return await self.ask(phone, "transactions.approve", phone.confirmation_body(shown, 1))

    async def approve_wrongly(self, phone: Phone, shown: Shown) -> Any:
        """Approve with a code that is not right."""
        body = {**phone.confirmation_body(shown, 1), "code": "A" * 43 + "="}
        return await self.ask(phone, "transactions.approve", body)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end."""
    return asyncio.run(work)


def counted_units(bench: Bench, patch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets a line for each unit that is begun from now on."""
    units: list[str] = []
    unit = type(bench.ctx.database).unit

    def counted(self: Any) -> Any:
        units.append("unit")
        return unit(self)

    patch.setattr(type(bench.ctx.database), "unit", counted)
    return units


@contextlib.contextmanager
def opened_bench(
    database: Database, device: Device, policy: Policy | None = None, callback_url: str | None = None
) -> Iterator[Bench]:
    """Give a bench on the database and the device, with a new application."""
    clock = SetClock()
    settings = Settings(client_url="https://127.0.0.1:1", database_connections=8, token_sessions=8)
    with assembly.make_context(settings, database, device, clock) as ctx:
        name = f"bank {secrets.token_hex(4)}"
        made = run(operating.add_application(ctx, name, callback_url, SCOPES, policy or Policy()))
        with database.reading() as connection:
            application = applications.find_application(connection, made.id)
        assert application is not None
        yield Bench(ctx, clock, Asker(application, "key_test", frozenset(SCOPES)))
