"""Which rows do the store's tests begin with: one application, one user, transactions and callbacks of it."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from gateway.rules.policy import Policy
from gateway.rules.transaction import Kind, Transaction, TransactionStatus
from gateway.rules.user import User, UserStatus
from gateway.store import applications, deliveries, transactions, users
from gateway.store.applications import Application
from gateway.store.deliveries import Delivery
from gateway.store.events import Event

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
APPLICATION, USER = "app_1", "anna"


def application() -> Application:
    """Return the application as it is first written."""
    return Application(
        id=APPLICATION,
        name="bank",
        callback_url="https://bank.example/",
        webhook_version=1,
        policy=Policy(),
        policy_version=1,
        created_at=NOW,
    )


def insert_anna(connection: Connection) -> None:
    """Add the application and its user."""
    assert applications.insert_application(connection, application())
    assert users.insert_user(connection, anna())


def anna(user_id: str = USER) -> User:
    """Return a user as it is first written."""
    return User(
        application_id=APPLICATION,
        user_id=user_id,
        status=UserStatus.ACTIVE,
        reason=None,
        failures=0,
        version=1,
        created_at=NOW,
    )


def transaction(name: str, content: bytes = b"pay", **changed: object) -> Transaction:
    """Return a pending transaction over the content."""
    plain = Transaction(
        id=name,
        application_id=APPLICATION,
        user_id=USER,
        kind=Kind.SIGN,
        status=TransactionStatus.PENDING,
        reason=None,
        title=None,
        media_type="text/plain",
        size=len(content),
        content_sha256=hashlib.sha256(content).digest(),
        digits=8,
        offline=False,
        kpublic_required=True,
        callback_url=None,
        failures=0,
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=15),
        settled_at=None,
    )
    return replace(plain, **changed)  # type: ignore[arg-type]


def insert_transaction(connection: Connection, name: str, content: bytes = b"pay") -> None:
    """Add a pending transaction over the content."""
    transactions.insert_transactions(connection, [(transaction(name, content), content)])


def insert_delivery(
    connection: Connection,
    name: str,
    transaction_id: str | None = None,
    sequence: int = 0,
    application_id: str = APPLICATION,
) -> None:
    """Add a callback that is due at NOW."""
    delivery = Delivery(
        id=name,
        application_id=application_id,
        transaction_id=transaction_id,
        sequence=sequence,
        type="transaction.confirmed",
        url="https://bank.example/",
        body="{}",
        tries=0,
    )
    deliveries.insert_deliveries(connection, [delivery], NOW)


def event(name: str) -> Event:
    """Return a line for the log."""
    return Event(id=name, type="user.created", result="created", application_id=APPLICATION, created_at=NOW)
