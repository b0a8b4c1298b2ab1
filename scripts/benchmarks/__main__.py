"""The command line of the benchmark: what to measure, how long, on what."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from scripts.benchmarks import (
    cold,
    confirm,
    create,
    document,
    endurance,
    enrol,
    mixed,
    offline,
    read,
    residency,
    scale,
    slow_device,
    verify,
    waiting,
)
from scripts.benchmarks.page import write_page
from scripts.benchmarks.sheet import Sheet
from tests.tokens import configure, create_token

_SCENARIOS: dict[str, tuple[ModuleType, str]] = {
    "confirm": (confirm, "confirmations per second, next to an echo on the same server, in one run"),
    "create": (create, "new transactions per second, asked for by the bank"),
    "read": (read, "contents per second, read by phones"),
    "enrol": (enrol, "users who are given keys, next to what the token alone can make"),
    "offline": (offline, "short codes per second, submitted by the bank"),
    "verify": (verify, "verifications of past answers per second"),
    "mixed": (mixed, "a bank's day with its peak, all kinds of requests, derived users"),
    "waiting": (waiting, "a thousand phones that long-poll, and confirmations beside them"),
    "document": (document, "memory while documents of growing size pass"),
    "cold": (cold, "people who were not there lately, on a slow device"),
    "scale": (scale, "confirmations with a million users and their past, next to a thousand"),
    "device": (slow_device, "MACs per second of a slow device with 1, 4 and 16 sessions"),
    "residency": (residency, "keys on the token and derived ones, by number of users"),
    "endurance": (endurance, "what millions of device operations leave behind"),
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (scenario, what) in _SCENARIOS.items():
        one = commands.add_parser(name, help=what, description=scenario.__doc__)
        scenario.add_options(one)
        one.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE as well")
        one.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots to FILE as well")
    report = commands.add_parser("report", help="one page with plots, of the files that --json wrote")
    report.add_argument("files", type=Path, nargs="+", metavar="JSON")
    report.add_argument("--html", type=Path, metavar="FILE", required=True)
    return parser.parse_args()


def main() -> None:
    """Measure and print; everything is made in a temporary folder and removed at the end."""
    arguments = _arguments()
    if arguments.command == "report":
        write_page([Sheet.read(file) for file in arguments.files], arguments.html)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # clean up then, too
    scenario, _ = _SCENARIOS[arguments.command]
    with tempfile.TemporaryDirectory(prefix="countersign-bench-") as name:
        folder = Path(name)
        configure(folder)
        sheet: Sheet = scenario.measure(arguments, folder, create_token(folder))
    sheet.print()
    if arguments.json:
        sheet.write(arguments.json)
    if arguments.html:
        write_page([sheet], arguments.html)


if __name__ == "__main__":
    main()
