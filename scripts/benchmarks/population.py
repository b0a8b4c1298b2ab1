"""Who confirms what: users with enrolled phones, made through the doors, and pending transactions, made in bulk."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice

from rich.progress import track

from gateway.ids import new_id
from gateway.rules.transaction import Kind, Transaction, TransactionStatus
from gateway.scenarios.bindings import transaction_input
from gateway.store import applications, transactions
from gateway.store.database import Database
from hsm.device import Device
from scripts.benchmarks.exchange import Approval, Exchange
from scripts.benchmarks.servers import Stage
from tests.counterparts.bank import Bank
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown

MEDIA_TYPE = "text/plain; charset=utf-8"
TITLE = "Payment"
_DIGITS = 8
_HOURS_OPEN = 2
_ROWS_OF_A_UNIT = 500


def enrol_phones(stage: Stage, count: int, policy: dict[str, object] | None = None) -> list[Phone]:
    """Make users and enrol a phone for each, as banks and phones do it: Kpublic registered."""
    return enrol_customers(stage, count, policy)[1]


def enrol_customers(
    stage: Stage, count: int, policy: dict[str, object] | None = None
) -> tuple[str, list[Phone]]:
    """Do the same; return the application's API key as well."""
    api_key = stage.add_application(policy)
    with stage.everything(), Bank(f"http://127.0.0.1:{stage.application_port}", api_key) as bank:
        phones = [_enrol(bank, f"user-{number}") for number in track(range(count), "Enrolling phones")]
    return api_key, phones


def _enrol(bank: Bank, user: str) -> Phone:
    bank.create_user(user)
    phone = Phone.enrol(bank.issue_keyset(user, "qr").package)
    phone.register()
    phone.close()  # from now on it signs only; the load generator sends
    return phone


def application_of(database: Database) -> str:
    """Return the id of the one application there is."""
    with database.reading() as connection:
        (found,) = applications.list_applications(connection)
    return found.id


class Transactions:
    """Pending transactions of the phones' users, one user after the other; each is taken once."""

    def __init__(self, stage: Stage, phones: list[Phone], *, offline: bool = False) -> None:
        self._offline = offline
        self._database = Database(stage.database_url, 2)
        self._device = Device.open(stage.token_uri)
        self._binding = self._device.house_key("binding")
        self._phones = cycle(phones)
        self._application = phones[0].account.application
        self._waiting: list[tuple[Phone, Shown]] = []

    def close(self) -> None:
        """Close database and token."""
        self._database.close()
        self._device.close()

    @property
    def count(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self, count: int) -> list[tuple[Phone, Shown]]:
        """Return `count` of them, each with the phone that is asked, making those that are missing."""
        missing = count - len(self._waiting)
        for start in range(0, missing, _ROWS_OF_A_UNIT):
            self._waiting += self._insert(min(_ROWS_OF_A_UNIT, missing - start))
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def give_back(self, unused: list[tuple[Phone, Shown]]) -> None:
        """Take back what was not sent."""
        self._waiting = unused + self._waiting

    def _insert(self, count: int) -> list[tuple[Phone, Shown]]:
        made = list(islice(self._drafts(), count))
        with self._database.unit() as connection:
            for _, shown, row in made:
                transactions.insert_transactions(connection, [(self._bound(row), shown.content)])
        return [(phone, shown) for phone, shown, _ in made]

    def _bound(self, row: Transaction) -> Transaction:
        return replace(row, binding=self._device.mac(self._binding, transaction_input(row)))

    def _drafts(self) -> Iterator[tuple[Phone, Shown, Transaction]]:
        for phone in self._phones:
            row, content = _row(self._application, phone.account.user, offline=self._offline)
            shown = Shown(
                transaction=row.id,
                kind="sign",
                title=TITLE,
                media_type=MEDIA_TYPE,
                content=content,
                digits=_DIGITS,
                expires="",
            )
            yield phone, shown, row


class Approvals:
    """Approvals of pending transactions, signed when they are taken."""

    def __init__(self, waiting: Transactions) -> None:
        self._waiting = waiting

    @property
    def waiting(self) -> int:
        """How many transactions are there that were not confirmed."""
        return self._waiting.count

    def take(self, count: int) -> list[Approval]:
        """Return so many, signed for this moment."""
        return [Approval.sign(phone, shown) for phone, shown in self._waiting.take(count)]

    def give_back(self, unused: Sequence[Exchange]) -> None:
        """Take back what was not sent; it is signed anew then."""
        self._waiting.give_back([(each.phone, each.shown) for each in unused if isinstance(each, Approval)])


def _row(application: str, user: str, *, offline: bool) -> tuple[Transaction, bytes]:
    now = datetime.now(UTC)
    name = new_id("txn", now)
    content = f"Pay 250.00 EUR to account DE02 1203 0000 0000 2020 51, reference {name[-12:]}".encode()
    row = Transaction(
        id=name,
        application_id=application,
        user_id=user,
        kind=Kind.SIGN,
        status=TransactionStatus.PENDING,
        reason=None,
        title=TITLE,
        media_type=MEDIA_TYPE,
        size=len(content),
        content_sha256=hashlib.sha256(content).digest(),
        digits=_DIGITS,
        offline=offline,
        kpublic_required=True,
        callback_url=None,
        failures=0,
        created_at=now,
        expires_at=now + timedelta(hours=_HOURS_OPEN),
        settled_at=None,
    )
    return row, content
