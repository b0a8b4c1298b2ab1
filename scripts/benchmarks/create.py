"""New transactions by the application door: bound by the token, committed durably, told to who waits for them."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from uuid import uuid4

from scripts.benchmarks.crowd import Crowd
from scripts.benchmarks.exchange import BankCall, Exchange
from scripts.benchmarks.known_keys import KnownKeys
from scripts.benchmarks.running import add_running_options, contest_sheet, prepared, processes_of
from scripts.benchmarks.servers import Stage
from scripts.benchmarks.sheet import Sheet

_CREATED = 201
_USERS = 1000  # at least: no more than a hundred may wait for one of them


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser, users=_USERS)


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Have users asked to confirm something."""
    known = KnownKeys.place(token_uri)
    with prepared(arguments, folder, token_uri) as (stage, database):
        crowd = Crowd.gather(stage, known, max(_USERS, arguments.users))
        return contest_sheet(
            arguments,
            stage,
            database,
            Creations(crowd.api_key, [phone.account.user for phone in crowd.phones]),
            Stage.application_door,
            f"New transactions, {arguments.database}, {processes_of(arguments)}",
        )


class Creations:
    """Requests for new transactions, for one user after the other, each under a key of its own."""

    def __init__(self, api_key: str, users: Sequence[str]) -> None:
        self._api_key, self._users = api_key, cycle(users)

    def take(self, count: int) -> Sequence[Exchange]:
        """Return the next ones."""
        return [creation(self._api_key, next(self._users)) for _ in range(count)]

    def give_back(self, unused: Sequence[Exchange]) -> None:
        """Forget them: nothing was made for them."""


def creation(api_key: str, user: str) -> BankCall:
    """Return the request for one payment of the user."""
    body = {
        "user": user,
        "media_type": "text/plain; charset=utf-8",
        "title": "Payment",
        "text": "Pay 10.00 EUR",
    }
    key = {"Idempotency_Key": str(uuid4())}
    return BankCall.write(
        api_key, "/v1/transactions", body, lambda said: said["user"] == user, status=_CREATED, **key
    )
