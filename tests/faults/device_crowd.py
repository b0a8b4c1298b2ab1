"""Who confirms while the token is lost: eight phones on eight connections, each with a bank of its own.

They never give up, as the others of `crowd.py`, and note when each answer was asked for and when it came, so that
it can be told how long after a loss everybody was served again.
"""

import threading
import time
from dataclasses import dataclass

from tests.counterparts.bank import Bank
from tests.counterparts.phone import Phone, Shown
from tests.faults.crowd import Crowd
from tests.gateways import Gateway

CONNECTIONS = 8
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Answer:
    """One confirmation that was answered; the moments are those of the monotonic clock."""

    user: str
    asked_at: float  # when the request that was answered was sent
    answered_at: float


class Confirming(Crowd):
    """Users who are enrolled now, and confirm later, one payment after the other."""

    pause_seconds = _PAUSE_SECONDS

    def __init__(self, gateway: Gateway, api_key: str) -> None:
        super().__init__(gateway, api_key, CONNECTIONS)
        self.answers: list[Answer] = []
        self._over = threading.Event()

    def stop(self) -> None:
        """Have everybody finish what is begun."""
        self._over.set()

    def work(self, user: str) -> None:
        """Create and confirm until told to stop."""
        phone, number = self.phones[user], 0
        with self.bank() as bank:
            while not self._over.is_set():
                self._confirm(bank, phone, user, f"{user}-{number}")
                number += 1

    def _confirm(self, bank: Bank, phone: Phone, user: str, key: str) -> None:
        name = self._create(bank, user, key)
        shown = self._insist(lambda: phone.show(name))
        self.notes.settled[name] = self._insist(lambda: self._approve(phone, shown, user))

    def _approve(self, phone: Phone, shown: Shown, user: str) -> str:
        asked_at = time.monotonic()
        told = phone.approve(shown)
        self.answers.append(Answer(user, asked_at, time.monotonic()))
        return str(told["status"])

    def until_served(self, since: float, most_seconds: float) -> tuple[float, float]:
        """Wait until everybody got an answer to a confirmation sent after `since`.

        Returns: after how many seconds the first of them was answered, and the last.
        """
        end = time.monotonic() + most_seconds
        while time.monotonic() < end:
            first = self._first_answers(since)
            if len(first) == len(self.phones):
                return min(first.values()) - since, max(first.values()) - since
            time.sleep(0.01)
        raise TimeoutError(f"{len(self._first_answers(since))} of {len(self.phones)} were served")

    def _first_answers(self, since: float) -> dict[str, float]:
        first: dict[str, float] = {}
        for answer in reversed(self.answers):
            if answer.answered_at < since:
                break
            if answer.asked_at >= since:
                first[answer.user] = answer.answered_at
        return first
