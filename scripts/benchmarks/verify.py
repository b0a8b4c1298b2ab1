"""Past answers by the application door: code and signature verified once more, with the keys of that moment."""

import contextlib
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from scripts.benchmarks.exchange import Approval, BankCall, Exchange
from scripts.benchmarks.load import run_burst
from scripts.benchmarks.population import Approvals, Transactions, enrol_customers
from scripts.benchmarks.running import add_running_options, contest_sheet, prepared
from scripts.benchmarks.servers import Stage
from scripts.benchmarks.sheet import Sheet

_PAST, _PAST_QUICK = 500, 10
_MOST_SECONDS, _CONNECTIONS = 120.0, 8


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser)


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Let phones confirm, then ask about what they answered, again and again."""
    with prepared(arguments, folder, token_uri) as (stage, database):
        api_key, phones = enrol_customers(stage, arguments.users)
        with contextlib.closing(Transactions(stage, phones)) as waiting:
            past = confirm_some(stage, waiting, _PAST_QUICK if arguments.quick else _PAST)
        return contest_sheet(
            arguments,
            stage,
            database,
            Questions(api_key, past),
            Stage.application_door,
            f"Verifications of past answers, {arguments.database}, {arguments.server}",
        )


def confirm_some(stage: Stage, waiting: Transactions, count: int) -> list[Approval]:
    """Have so many transactions confirmed by the client door; returns what the phones sent."""
    approvals = Approvals(waiting).take(count)
    wires = ((number, each.wire) for number, each in enumerate(approvals))
    with stage.client_door() as server:
        burst = run_burst([server.port], wires, _MOST_SECONDS, _CONNECTIONS, lambda: None)
    for answer in burst.answers:
        approvals[answer.number].check(answer)
    assert len(burst.answers) == count
    return approvals


class Questions:
    """Questions about past answers, one after the other and from the beginning again."""

    def __init__(self, api_key: str, past: Sequence[Approval]) -> None:
        self._calls = cycle([_question(api_key, each) for each in past])

    def take(self, count: int) -> Sequence[Exchange]:
        """Return the next ones."""
        return list(islice(self._calls, count))

    def give_back(self, unused: Sequence[Exchange]) -> None:
        """Forget them: a question can be asked at any time."""


def _question(api_key: str, past: Approval) -> BankCall:
    def is_right(said: dict[str, Any]) -> bool:
        return said["valid"] is True

    proofs = {name: past.proofs[name] for name in ("transaction", "step", "code", "signature")}
    body = {**proofs, "operation": "approve", "text": past.shown.content.decode()}
    return BankCall.write(api_key, "/v1/signatures/verify", body, is_right)
