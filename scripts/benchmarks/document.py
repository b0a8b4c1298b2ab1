"""Documents of growing size from bank to phone: how much memory does a gateway need while one passes?"""

import contextlib
import hashlib
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from scripts.benchmarks.population import enrol_customers
from scripts.benchmarks.running import add_running_options, prepared, settings_of
from scripts.benchmarks.servers import Server
from scripts.benchmarks.sheet import Cell, Grid, Plot, Sheet
from tests.counterparts.bank import Bank
from tests.counterparts.phone import Phone

_SIZES_MIB = (0.1, 1, 5, 10)
_TIMES, _WARMING = 3, 24
_WAYS = ("handed in as JSON", "handed in by itself", "fetched and answered")
_RESET_PEAK = "5"  # proc(5), clear_refs


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser, users=1)


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Let documents pass, the small ones first, and look at the peak of each."""
    sizes = _SIZES_MIB[:2] if arguments.quick else _SIZES_MIB
    with prepared(arguments, folder, token_uri) as (stage, _):
        api_key, (phone,) = enrol_customers(stage, 1)
        with (
            stage.everything() as server,
            Bank(f"http://127.0.0.1:{stage.application_port}", api_key) as bank,
        ):
            # What the frugal way leaves in the process would not be seen after the other one.
            frugal, plain = [
                _peaks(server, bank, phone, sizes, hand_in) for hand_in in (_by_itself, _as_json)
            ]
    rows: list[list[Cell]] = [
        [size, whole[0], *parts] for size, whole, parts in zip(sizes, plain, frugal, strict=True)
    ]
    last = [float(cell or 0) for cell in rows[-1]]
    title = "peak of the gateway's memory above what it was before, MiB"
    return Sheet(
        scenario="document",
        title=f"Documents passing, {arguments.database}",
        says=[
            f"A document of {last[0]:g} MiB, handed in as JSON: {last[1]:.1f} MiB more than before all documents.",
            f"Handed in by itself and then named: {last[2]:.1f} MiB.",
            f"While the phone fetches it and answers: {last[3]:.1f} MiB. The most of {_TIMES} times.",
        ],
        grids=[Grid(title, ["size, MiB", *_WAYS], rows)],
        plots=[Plot("Peak above what it was before", "MiB", "MiB of the document", lines=_lines(rows))],
        settings=settings_of(arguments),
        figures={"rows": rows},
    )


def _lines(rows: list[list[Cell]]) -> dict[str, list[tuple[float, float]]]:
    """Return the peaks by size; every cell is a number."""
    sizes = [float(row[0] or 0) for row in rows]
    return {
        name: [(size, float(row[place] or 0)) for size, row in zip(sizes, rows, strict=True)]
        for place, name in enumerate(_WAYS, 1)
    }


def _by_itself(bank: Bank, user: str, content: bytes) -> str:
    return str(bank.create_transaction(user, content_id=bank.upload(content)["id"])["id"])


def _as_json(bank: Bank, user: str, content: bytes) -> str:
    return str(bank.create_transaction(user, content=content, media_type="application/pdf")["id"])


def _peaks(
    server: Server,
    bank: Bank,
    phone: Phone,
    sizes: Sequence[float],
    hand_in: Callable[[Bank, str, bytes], str],
) -> list[tuple[float, float]]:
    """Return, by size, how far the memory went above what it was before all of them: handing in, then answering."""
    for _ in range(_WARMING):
        _pass(server, bank, phone, 2**20, hand_in)  # fills the caches of all connections, which is not meant
    before = _begin(server)
    found = []
    for size in sizes:
        peaks = [_pass(server, bank, phone, round(size * 2**20), hand_in) for _ in range(_TIMES)]
        handed_in, answered = (max(column) - before for column in zip(*peaks, strict=True))
        found.append((handed_in, answered))
    return found


def _pass(
    server: Server, bank: Bank, phone: Phone, size: int, hand_in: Callable[[Bank, str, bytes], str]
) -> tuple[float, float]:
    content = os.urandom(size)
    _begin(server)
    transaction = hand_in(bank, phone.account.user, content)
    handed_in = _peak(server)
    _begin(server)
    with contextlib.closing(Phone(phone.account, phone.keys)) as line:
        shown = line.show(transaction)
        assert hashlib.sha256(shown.content).digest() == hashlib.sha256(content).digest()
        line.approve(shown)
    return handed_in, _peak(server)


def _begin(server: Server) -> float:
    """Forget the peak so far; returns the memory of this moment."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text(_RESET_PEAK)
    return _status(server, "VmRSS")


def _peak(server: Server) -> float:
    return _status(server, "VmHWM")


def _status(server: Server, name: str) -> float:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
