"""Short codes by the application door: what users typed off their phones, verified in the token, committed durably."""

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.benchmarks.exchange import BankCall, Exchange
from scripts.benchmarks.population import Transactions, enrol_customers
from scripts.benchmarks.running import add_running_options, contest_sheet, prepared
from scripts.benchmarks.servers import Stage
from scripts.benchmarks.sheet import Sheet
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser)


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Enrol phones, and have their codes submitted."""
    with prepared(arguments, folder, token_uri) as (stage, database):
        api_key, phones = enrol_customers(stage, arguments.users, {"offline_allowed": True})
        with contextlib.closing(Transactions(stage, phones, offline=True)) as waiting:
            return contest_sheet(
                arguments,
                stage,
                database,
                Codes(waiting, api_key),
                Stage.application_door,
                f"Short codes, {arguments.database}, {arguments.server}",
            )


class Codes:
    """Codes of pending transactions, computed by the phones when they are taken."""

    def __init__(self, waiting: Transactions, api_key: str) -> None:
        self._waiting, self._api_key = waiting, api_key

    def take(self, count: int) -> Sequence[Exchange]:
        """Return so many, for this moment's time step."""
        return [self._call(phone, shown) for phone, shown in self._waiting.take(count)]

    def give_back(self, unused: Sequence[Exchange]) -> None:
        """Take back what was not sent; the code is computed anew then."""
        self._waiting.give_back([each.subject for each in unused if isinstance(each, BankCall)])

    def _call(self, phone: Phone, shown: Shown) -> BankCall:
        def is_right(said: dict[str, Any]) -> bool:
            return (said["id"], said["status"]) == (shown.transaction, "confirmed")

        path = f"/v1/transactions/{shown.transaction}/code"
        body = {"code": phone.short_code(shown)}
        return BankCall.write(self._api_key, path, body, is_right, subject=(phone, shown))
