"""Who uses the gateway while its processes are killed: a bank and phones that never give up.

Whatever fails on the way is tried again, with a fresh nonce by phones and under the same Idempotency-Key by the
bank. Every answer that a process of the gateway gave is believed, and noted down to be held against the database.
"""

import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import httpx2

from tests.counterparts.bank import Bank, BankRefused
from tests.counterparts.phone import Phone
from tests.counterparts.phone_line import NetworkFailure, NotRecognised, Refused
from tests.gateways import Gateway

T = TypeVar("T")
_PATIENCE_SECONDS = 300
_OUTAGE = 503


class GaveUp(Exception):
    """Somebody got no answer for far too long."""


@dataclass
class Notes:
    """What the crowd was told."""

    settled: dict[str, str] = field(default_factory=dict)  # transaction -> the status its phone was told
    created: dict[str, str] = field(default_factory=dict)  # Idempotency-Key -> transaction
    issued: dict[str, str] = field(default_factory=dict)  # keyset -> user
    failures: Counter[str] = field(default_factory=Counter)  # on the way: expected when processes are killed
    wrong: list[str] = field(default_factory=list)  # answers that no kill excuses


class Crowd:
    """A bank with its users and their phones at one gateway."""

    pause_seconds = 0.4  # before the next try

    def __init__(self, gateway: Gateway, api_key: str, users: int) -> None:
        self.gateway, self.api_key = gateway, api_key
        self.ca_pem = gateway.authority.ca_file.read_text()
        self.notes = Notes()
        names = [f"user-{number}" for number in range(users)]
        self.waiting: dict[str, queue.Queue[str | None]] = {name: queue.Queue() for name in names}
        self.phones = {name: self._enrol(name) for name in names}

    def bank(self) -> Bank:
        """Return a bank with connections of its own."""
        return self.gateway.bank(self.api_key)

    def _enrol(self, user: str) -> Phone:
        with self.bank() as bank:
            self._insist(lambda: bank.create_user(user))
            issued = self._insist(lambda: bank.issue_keyset(user))
        phone = Phone.enrol(issued.qr_text, ca_pem=self.ca_pem)
        self._insist(phone.register)
        return phone

    def close(self) -> None:
        """Close the phones' connections."""
        for phone in self.phones.values():
            phone.close()

    def ask(self, count: int) -> None:
        """Have the bank create so many transactions, for one user after the other."""
        with self.bank() as bank:
            for number in range(count):
                user = list(self.phones)[number % len(self.phones)]
                self.waiting[user].put(self._create(bank, user, f"payment-{number}"))
        for waiting in self.waiting.values():
            waiting.put(None)

    def _create(self, bank: Bank, user: str, key: str) -> str:
        made = self._insist(lambda: bank.create_transaction(user, key, idempotency_key=key, expires_in=7200))
        name = str(made["id"])
        if self.notes.created.setdefault(key, name) != name:
            self.notes.wrong.append(f"two transactions for the key {key}")
        return name

    def confirm(self, user: str) -> None:
        """Have the user answer what the bank asks, one after the other; every fifth is declined."""
        phone, answered = self.phones[user], 0
        while (name := self.waiting[user].get()) is not None:
            shown = self._insist(lambda name=name: phone.show(name))  # type: ignore[misc]
            answer = phone.decline if answered % 5 == 4 else phone.approve
            told = self._insist(lambda answer=answer, shown=shown: answer(shown))  # type: ignore[misc]
            self.notes.settled[name] = str(told["status"])
            answered += 1

    def change_keys(self, done: threading.Event, seed: int) -> None:
        """Issue, block, unblock and issue again, for users who confirm nothing, until it is done."""
        chance = random.Random(seed)  # noqa: S311 - chooses what comes next, no secret
        with self.bank() as bank:
            for user in ("new-0", "new-1"):
                self._insist(lambda user=user: bank.create_user(user))  # type: ignore[misc]
            while not done.is_set():
                self._change(bank, chance.choice(["new-0", "new-1"]), chance)
                time.sleep(chance.uniform(0, 0.5))

    def _change(self, bank: Bank, user: str, chance: random.Random) -> None:
        if chance.random() < 0.3:
            self._insist(lambda: bank.block(user))
            self._insist(lambda: bank.unblock(user))
        # Once, not until it works: what a killed process left half made is the point.
        keyset = self._try(lambda: bank.issue_keyset(user).id)
        if keyset is not None:
            self.notes.issued[keyset] = user

    def _insist(self, ask: Callable[[], T]) -> T:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = self._try(ask)
            if found is not None:
                return found
            time.sleep(self.pause_seconds)
        raise GaveUp(str(self.notes.failures))

    def _try(self, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except NotRecognised as error:
            self.notes.wrong.append(f"401 to a phone with good keys: {error}")
        except (NetworkFailure, httpx2.TransportError) as error:
            self.notes.failures[type(error).__name__] += 1
        except (BankRefused, Refused) as error:
            if error.status != _OUTAGE:
                self.notes.wrong.append(f"{error.status} {error.code}")
            self.notes.failures[f"{error.status} {error.code}"] += 1
        return None
