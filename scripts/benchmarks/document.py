"""Documents of growing size from bank to phone: how much memory does a gateway need while one passes?"""

import contextlib
import hashlib
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

from scripts.benchmarks.population import enrol_customers
from scripts.benchmarks.running import add_running_options, prepared, settings_of
from scripts.benchmarks.servers import Server
from scripts.benchmarks.sheet import Cell, Grid, Plot, Sheet
from tests.counterparts.bank import Bank
from tests.counterparts.phone import Phone

_SIZES_MIB = (0.1, 1, 5, 10)
_TIMES = 3
_RESET_PEAK = "5"  # proc(5), clear_refs


def add_options(parser: ArgumentParser) -> None:
    """Say what can be chosen."""
    add_running_options(parser, users=1)


def measure(arguments: Namespace, folder: Path, token_uri: str) -> Sheet:
    """Let documents pass, the small ones first, and look at the peak of each."""
    sizes = _SIZES_MIB[:2] if arguments.quick else _SIZES_MIB
    with prepared(arguments, folder, token_uri) as (stage, _):
        api_key, (phone,) = enrol_customers(stage, 1)
        rows: list[list[Cell]] = []
        with (
            stage.everything() as server,
            Bank(f"http://127.0.0.1:{stage.application_port}", api_key) as bank,
        ):
            _pass(server, bank, phone, 1024)  # what is allocated once is not meant
            for size in sizes:
                peaks = [_pass(server, bank, phone, round(size * 2**20)) for _ in range(_TIMES)]
                rows.append([size, *(max(column) for column in zip(*peaks, strict=True))])
    last, title = rows[-1], "peak of the gateway's memory above what it was before, MiB"
    return Sheet(
        scenario="document",
        title=f"Documents passing, {arguments.database}",
        says=[
            f"A document of {last[0]} MiB: {last[1]:.1f} MiB more than before while the bank hands it in.",
            f"While the phone fetches it and answers: {last[2]:.1f} MiB. The most of {_TIMES} times.",
        ],
        grids=[Grid(title, ["size, MiB", "handed in", "fetched and answered"], rows)],
        plots=[Plot("Peak above what it was before", "MiB", "MiB of the document", lines=_lines(rows))],
        settings=settings_of(arguments),
        figures={"rows": rows},
    )


def _lines(rows: list[list[Cell]]) -> dict[str, list[tuple[float, float]]]:
    """Return the peaks by size; every cell is a number."""
    sizes = [float(row[0] or 0) for row in rows]
    return {
        name: [(size, float(row[place] or 0)) for size, row in zip(sizes, rows, strict=True)]
        for place, name in enumerate(("handed in", "fetched"), 1)
    }


def _pass(server: Server, bank: Bank, phone: Phone, size: int) -> tuple[float, float]:
    content = os.urandom(size)
    before = _begin(server)
    made = bank.create_transaction(phone.account.user, content=content, media_type="application/pdf")
    handed_in = _peak(server) - before
    before = _begin(server)
    with contextlib.closing(Phone(phone.account, phone.keys)) as line:
        shown = line.show(made["id"])
        assert hashlib.sha256(shown.content).digest() == hashlib.sha256(content).digest()
        line.approve(shown)
    return handed_in, _peak(server) - before


def _begin(server: Server) -> float:
    """Forget the peak so far; returns the memory of this moment."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text(_RESET_PEAK)
    return _status(server, "VmRSS")


def _peak(server: Server) -> float:
    return _status(server, "VmHWM")


def _status(server: Server, name: str) -> float:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
