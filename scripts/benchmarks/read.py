"""Contents by the client door: what phones read before they show it, admitted durably, proved; next to a bare echo."""

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from scripts.benchmarks.exchange import Exchange, PhoneCall
from scripts.benchmarks.population import Transactions, enrol_phones
from scripts.benchmarks.running import add_running_options, contest_sheet, prepared, processes_of
from scripts.benchmarks.servers import Stage
from scripts.benchmarks.sheet import Sheet
from tests.counterparts.phone import Phone
from tests.counterparts.phone_account import Shown

_WAITING = 400  # transactions


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser)


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Enrol phones, and let them read what waits for their users."""
    with prepared(arguments, folder, token_uri) as (stage, database):
        phones = enrol_phones(stage, arguments.users)
        with contextlib.closing(Transactions(stage, phones)) as waiting:
            shown = waiting.take(_WAITING)
        return contest_sheet(
            arguments,
            stage,
            database,
            Readings(shown),
            Stage.client_door,
            f"Contents read by phones, {arguments.database}, {processes_of(arguments)}",
        )


class Readings:
    """Requests for contents, one transaction after the other and from the beginning again."""

    def __init__(self, shown: Sequence[tuple[Phone, Shown]]) -> None:
        self._shown = cycle(shown)

    def take(self, count: int) -> Sequence[Exchange]:
        """Return so many, signed for this moment."""
        return [self._call(phone, shown) for phone, shown in islice(self._shown, count)]

    def give_back(self, unused: Sequence[Exchange]) -> None:
        """Forget them: a content can be read again."""

    def _call(self, phone: Phone, shown: Shown) -> PhoneCall:
        part = {"transaction": shown.transaction, "offset": 0, "length": len(shown.content)}
        return PhoneCall.sign(phone, "transactions.content", part, shown.content)
