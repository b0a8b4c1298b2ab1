"""Whole `transactions.approve` requests: verified in the token, committed durably, proved; next to a bare echo."""

import contextlib
from argparse import ArgumentParser, Namespace
from pathlib import Path

from scripts.benchmarks.population import Approvals, Transactions, enrol_phones
from scripts.benchmarks.running import add_running_options, contest_sheet, prepared, processes_of
from scripts.benchmarks.servers import Stage
from scripts.benchmarks.sheet import Sheet


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser)
    parser.add_argument(
        "--residency", choices=("resident", "derived"), default="resident", help="default: %(default)s"
    )


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Enrol phones, and let them confirm."""
    with prepared(arguments, folder, token_uri) as (stage, database):
        phones = enrol_phones(stage, arguments.users, {"residency": arguments.residency})
        with contextlib.closing(Transactions(stage, phones)) as waiting:
            return contest_sheet(
                arguments,
                stage,
                database,
                Approvals(waiting),
                Stage.client_door,
                f"Confirmations, {arguments.residency}, {arguments.database}, {processes_of(arguments)}",
            )
